//! Families as OTLP's protobuf (opentelemetry-proto, metrics/v1).

use std::borrow::Cow;

use histogram::{Histogram, bounds};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Metric,
    NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, metric, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message as _;

use crate::family::{Family, Kind, Labels, Picture, Row, Value, families};

/// 32 buckets an octave, as our own histograms have.
const FINEST_SCALE: i32 = 5;
const COARSEST_SCALE: i32 = -4;
/// As many as OpenTelemetry's SDKs keep by default; the scale is the finest that keeps to it.
const MAX_BUCKETS: i32 = 160;
const NANOS_PER_MS: u64 = 1_000_000;

/// Whose metrics they are.
pub struct Origin<'a> {
    pub host: &'a str,
    /// Pando's home: a machine may have several.
    pub home: &'a str,
    pub version: &'a str,
}

/// The body of one request.
pub(super) fn metrics(
    picture: &Picture<'_>,
    now_ms: i64,
    service: &str,
    origin: &Origin<'_>,
) -> Vec<u8> {
    let times = Times {
        start: nanos(picture.totals.since_ms),
        now: nanos(now_ms),
    };
    let instance = format!("{}:{}", origin.host, origin.home);
    let attributes = [
        ("service.name", service),
        ("service.instance.id", &instance),
        ("service.version", origin.version),
        ("host.name", origin.host),
    ];
    let resource = Resource {
        attributes: attributes
            .map(|(key, value)| attribute(key, value))
            .to_vec(),
        ..Resource::default()
    };
    let scoped = ScopeMetrics {
        scope: Some(InstrumentationScope {
            name: "pando".into(),
            version: origin.version.into(),
            ..InstrumentationScope::default()
        }),
        metrics: families(picture)
            .iter()
            .map(|family| wire(family, &times))
            .collect(),
        ..ScopeMetrics::default()
    };
    let all = ResourceMetrics {
        resource: Some(resource),
        scope_metrics: vec![scoped],
        ..ResourceMetrics::default()
    };
    let request = ExportMetricsServiceRequest {
        resource_metrics: vec![all],
    };
    request.encode_to_vec()
}

struct Times {
    start: u64,
    now: u64,
}

impl Times {
    fn start(&self, row: Row<'_>) -> u64 {
        row.since_ms.map_or(self.start, nanos)
    }
}

fn nanos(ms: i64) -> u64 {
    u64::try_from(ms).unwrap_or(0).saturating_mul(NANOS_PER_MS)
}

fn attribute(key: impl Into<String>, value: &str) -> KeyValue {
    KeyValue {
        key: key.into(),
        value: Some(AnyValue {
            value: Some(any_value::Value::StringValue(value.to_owned())),
        }),
        ..KeyValue::default()
    }
}

/// A label by the name that the semantic conventions have for it, else below `pando.`.
fn key(label: &'static str, metric: &str) -> Cow<'static, str> {
    match label {
        "method" => "http.request.method".into(),
        "route" => "http.route".into(),
        "site" => "server.address".into(),
        "kind" if metric.contains(".gc.") => "v8js.gc.type".into(),
        _ => format!("pando.{label}").into(),
    }
}

fn attributes(labels: &Labels<'_>, metric: &str) -> Vec<KeyValue> {
    let known = labels.iter().filter(|(_, value)| !value.is_empty());
    known
        .map(|(label, value)| attribute(key(label, metric), value))
        .collect()
}

fn wire(family: &Family<'_>, times: &Times) -> Metric {
    let head = family.head;
    let points = || {
        let rows = family.rows().filter_map(|(labels, row)| match row.value {
            Value::Number(number) => Some(NumberDataPoint {
                attributes: attributes(labels, head.otel),
                start_time_unix_nano: if head.kind == Kind::Counter {
                    times.start(row)
                } else {
                    0
                },
                time_unix_nano: times.now,
                value: Some(number_data_point::Value::AsDouble(number)),
                ..NumberDataPoint::default()
            }),
            Value::Histogram(_) => None,
        });
        rows.collect()
    };
    let data = match head.kind {
        Kind::Counter => metric::Data::Sum(Sum {
            data_points: points(),
            aggregation_temporality: AggregationTemporality::Cumulative.into(),
            is_monotonic: true,
        }),
        Kind::Gauge => metric::Data::Gauge(Gauge {
            data_points: points(),
        }),
        Kind::Histogram => metric::Data::ExponentialHistogram(ExponentialHistogram {
            data_points: family
                .rows()
                .filter_map(|(labels, row)| match row.value {
                    Value::Histogram(histogram) => {
                        let times = (times.start(row), times.now);
                        Some(point(histogram, attributes(labels, head.otel), times))
                    }
                    Value::Number(_) => None,
                })
                .collect(),
            aggregation_temporality: AggregationTemporality::Cumulative.into(),
        }),
    };
    Metric {
        name: head.otel.into(),
        description: head.help.into(),
        unit: head.unit.into(),
        data: Some(data),
        ..Metric::default()
    }
}

fn point(
    histogram: &Histogram,
    attributes: Vec<KeyValue>,
    (start, now): (u64, u64),
) -> ExponentialHistogramDataPoint {
    let zero_count = histogram.buckets().find(|(bucket, _)| *bucket == 0);
    let (scale, positive) = exponential(histogram);
    ExponentialHistogramDataPoint {
        attributes,
        start_time_unix_nano: start,
        time_unix_nano: now,
        count: histogram.count(),
        sum: Some(histogram.sum() as f64 / 1e6),
        scale,
        zero_count: zero_count.map_or(0, |(_, times)| times),
        positive: Some(positive),
        max: (!histogram.is_empty()).then(|| histogram.max() as f64 / 1e6),
        ..ExponentialHistogramDataPoint::default()
    }
}

/// The bucket of a value in seconds: of those `(base^i, base^(i+1)]` with base 2^(2^-scale)
/// (OpenTelemetry's data model, Exponential Buckets).
fn index(seconds: f64, scale: i32) -> i32 {
    ((seconds.log2() * f64::from(scale).exp2()).ceil() as i32).saturating_sub(1)
}

/// Each of our buckets counts where its middle is.
fn exponential(histogram: &Histogram) -> (i32, Buckets) {
    let middles: Vec<(f64, u64)> = histogram
        .buckets()
        .filter(|(bucket, _)| *bucket > 0)
        .map(|(bucket, times)| {
            let (low, high) = bounds(bucket);
            ((low as f64 + (high - 1) as f64) / 2e6, times)
        })
        .collect();
    let (Some((lowest, _)), Some((highest, _))) = (middles.first(), middles.last()) else {
        return (FINEST_SCALE, Buckets::default());
    };
    let width = |scale| index(*highest, scale) - index(*lowest, scale) + 1;
    let mut scale = FINEST_SCALE;
    while width(scale) > MAX_BUCKETS && scale > COARSEST_SCALE {
        scale -= 1;
    }
    let offset = index(*lowest, scale);
    let mut counts = vec![0u64; usize::try_from(width(scale)).unwrap_or(0)];
    for (middle, times) in middles {
        let at = usize::try_from(index(middle, scale) - offset).unwrap_or(0);
        if let Some(count) = counts.get_mut(at) {
            *count = count.saturating_add(times);
        }
    }
    let buckets = Buckets {
        offset,
        bucket_counts: counts,
    };
    (scale, buckets)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_value_is_in_a_bucket_that_is_near(
            values in proptest::collection::vec(1u64..100_000_000_000, 1..100)
        ) {
            let mut histogram = Histogram::new();
            values.iter().for_each(|value| histogram.record(*value));
            let (scale, buckets) = exponential(&histogram);
            prop_assert!(buckets.bucket_counts.len() <= MAX_BUCKETS as usize);
            prop_assert_eq!(buckets.bucket_counts.iter().sum::<u64>(), values.len() as u64);
            let base = (-f64::from(scale)).exp2().exp2();
            for value in values {
                let seconds = value as f64 / 1e6;
                let near = buckets.bucket_counts.iter().enumerate().any(|(at, count)| {
                    let low = base.powi(buckets.offset + at as i32);
                    *count > 0 && seconds > low * 0.96 && seconds < low * base * 1.04
                });
                prop_assert!(near, "{seconds} at scale {scale}");
            }
        }
    }

    #[test]
    fn bounds_are_the_specifications() {
        // Scale 0: (1, 2] is bucket 0, and 1 itself belongs to the one below.
        for (value, scale, wanted) in [
            (1.5, 0, 0),
            (2.0, 0, 0),
            (1.0, 0, -1),
            (4.1, 0, 2),
            (1.2, 1, 0),
            (1.5, 1, 1),
        ] {
            assert_eq!(index(value, scale), wanted, "{value} {scale}");
        }
    }
}
