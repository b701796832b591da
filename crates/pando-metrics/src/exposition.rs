//! Families as text: Prometheus' exposition format 0.0.4 and OpenMetrics 1.0.
//!
//! Durations are classic histograms with [`BOUNDS`]: native histograms have no text form, they
//! need the protobuf format (prometheus.io/docs/instrumenting/exposition_formats).

use std::fmt::Write as _;

use histogram::{Histogram, bounds};

use crate::family::{Family, Kind, Labels, Picture, Value, families};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `text/plain; version=0.0.4`.
    Text,
    /// `application/openmetrics-text; version=1.0.0`.
    OpenMetrics,
}

impl Format {
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// What the client likes better by its `Accept` (RFC 9110, section 12.5.1); [`Format::Text`]
    /// where it does not say.
    pub fn accepted(accept: &str) -> Self {
        let mut best = (0.0, Self::Text);
        for range in accept.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let format = match parts.next() {
                Some("application/openmetrics-text") => Self::OpenMetrics,
                Some("text/plain" | "text/*" | "*/*") => Self::Text,
                Some(_) | None => continue,
            };
            let parameters: Vec<&str> = parts.collect();
            let value = |name: &str| {
                let mut all = parameters.iter();
                all.find_map(|p| p.strip_prefix(name)?.strip_prefix('='))
            };
            // A later major version is another format.
            let version = value("version").unwrap_or_default();
            if format == Self::OpenMetrics && !matches!(version, "" | "1.0.0" | "0.0.1") {
                continue;
            }
            let weight = value("q").map_or(1.0, |q| q.parse().unwrap_or(0.0));
            if weight > best.0 {
                best = (weight, format);
            }
        }
        best.1
    }
}

/// Upper ends of a duration's buckets, in microseconds and as `le` says them in seconds.
pub const BOUNDS: [(u64, &str); 13] = [
    (1_000, "0.001"),
    (2_500, "0.0025"),
    (5_000, "0.005"),
    (10_000, "0.01"),
    (25_000, "0.025"),
    (50_000, "0.05"),
    (100_000, "0.1"),
    (250_000, "0.25"),
    (500_000, "0.5"),
    (1_000_000, "1.0"),
    (2_500_000, "2.5"),
    (5_000_000, "5.0"),
    (10_000_000, "10.0"),
];

/// Everything, as text.
pub fn text(picture: &Picture<'_>, format: Format) -> String {
    let mut out = String::with_capacity(64 * 1024);
    for family in families(picture) {
        write_family(&family, format, picture.totals.since_ms, &mut out);
    }
    if format == Format::OpenMetrics {
        out.push_str("# EOF\n");
    }
    out
}

// Writing to a String cannot fail: the results of `write!` are dropped on purpose here.
fn write_family(family: &Family<'_>, format: Format, since_ms: i64, out: &mut String) {
    let head = family.head;
    let name = head.name;
    let open = format == Format::OpenMetrics;
    let total = if head.kind == Kind::Counter {
        "_total"
    } else {
        ""
    };
    // OpenMetrics names the family, 0.0.4 the sample.
    let title = format!("{name}{}", if open { "" } else { total });
    let kind = match head.kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram => "histogram",
    };
    let _ = write!(out, "# HELP {title} ");
    escape(head.help, open, out);
    let _ = writeln!(out, "\n# TYPE {title} {kind}");
    if open && let Some(unit) = ["seconds", "bytes"].into_iter().find(|u| ends_in(name, u)) {
        let _ = writeln!(out, "# UNIT {title} {unit}");
    }
    for (labels, row) in family.rows() {
        let since_s = row.since_ms.unwrap_or(since_ms) as f64 / 1e3;
        match row.value {
            Value::Number(number) => {
                sample(name, total, labels, None, number, out);
                if open && head.kind == Kind::Counter {
                    sample(name, "_created", labels, None, since_s, out);
                }
            }
            Value::Histogram(histogram) => {
                for (le, count) in cumulative(histogram) {
                    sample(name, "_bucket", labels, Some(le), count as f64, out);
                }
                let sum = histogram.sum() as f64 / 1e6;
                sample(name, "_sum", labels, None, sum, out);
                sample(name, "_count", labels, None, histogram.count() as f64, out);
                if open {
                    sample(name, "_created", labels, None, since_s, out);
                }
            }
        }
    }
}

fn ends_in(name: &str, unit: &str) -> bool {
    name.strip_suffix(unit)
        .is_some_and(|rest| rest.ends_with('_'))
}

fn sample(
    name: &str,
    suffix: &str,
    labels: &Labels<'_>,
    le: Option<&str>,
    value: f64,
    out: &mut String,
) {
    let _ = write!(out, "{name}{suffix}");
    let pairs = labels.iter().copied().chain(le.map(|le| ("le", le)));
    let mut open = '{';
    for (key, value) in pairs {
        let _ = write!(out, "{open}{key}=\"");
        escape(value, true, out);
        out.push('"');
        open = ',';
    }
    if open == ',' {
        out.push('}');
    }
    let _ = writeln!(out, " {value}");
}

/// In a label's value, and in OpenMetrics' help, quotes are escaped too.
fn escape(text: &str, quotes: bool, out: &mut String) {
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '"' if quotes => out.push_str("\\\""),
            c => out.push(c),
        }
    }
}

/// Counts up to each bound, `+Inf` last. A bucket of the histogram that lies across a bound counts
/// whole where its middle is, so a count is off by less than that bucket, which is 3 % wide.
fn cumulative(histogram: &Histogram) -> Vec<(&'static str, u64)> {
    let mut counts = [0u64; BOUNDS.len() + 1];
    for (bucket, times) in histogram.buckets() {
        let (low, high) = bounds(bucket);
        let middle = low + (high - 1 - low) / 2;
        let at = BOUNDS.partition_point(|(bound, _)| *bound < middle);
        counts[at] = counts[at].saturating_add(times);
    }
    let mut sum = 0u64;
    let names = BOUNDS.iter().map(|(_, le)| *le).chain(["+Inf"]);
    let pairs = names.zip(counts);
    pairs
        .map(|(le, count)| {
            sum = sum.saturating_add(count);
            (le, sum)
        })
        .collect()
}

#[cfg(test)]
pub(crate) mod tests;
