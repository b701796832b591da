use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use prost::Message as _;

use super::*;
use crate::exposition::tests::full;
use crate::post::receiver::{receiver, until};

const ORIGIN: Origin<'_> = Origin {
    host: "web-1",
    home: "/srv/pando",
    version: "1",
};

fn spec(endpoint: String) -> Otlp {
    Otlp {
        endpoint,
        headers: [("authorization".to_owned(), "Bearer word".to_owned())].into(),
        service: "shop".into(),
        ..Otlp::default()
    }
}

fn tick(exporter: &mut Exporter, now_ms: i64) {
    let (now, totals, restarts) = full("api");
    let picture = Picture {
        now: &now,
        totals: &totals,
        restarts: &restarts,
    };
    exporter.tick(now_ms, &picture, &ORIGIN);
}

#[test]
fn a_collector_gets_what_is_measured_and_is_asked_again() {
    let (url, thread) = receiver(&["503 Busy\r\nretry-after: 0", "200 OK"]);
    let mut exporter = Exporter::start(&spec(url)).unwrap();
    tick(&mut exporter, 1_700_000_010_000);
    // Not yet time for another.
    tick(&mut exporter, 1_700_000_011_000);
    let seen = thread.join().unwrap();
    let (head, body) = &seen[1];
    assert_eq!(seen[0].1, *body);
    assert!(head.starts_with("post /v1/metrics "), "{head}");
    assert!(
        head.contains("content-type: application/x-protobuf"),
        "{head}"
    );
    assert!(head.contains("authorization: bearer word"), "{head}");
    let request = ExportMetricsServiceRequest::decode(body.as_slice()).unwrap();
    let all = &request.resource_metrics[0];
    let resource = format!("{:?}", all.resource);
    for word in [
        "service.name",
        "shop",
        "host.name",
        "web-1",
        "web-1:/srv/pando",
    ] {
        assert!(resource.contains(word), "{resource}");
    }
    let find = |name: &str| {
        let mut metrics = all.scope_metrics[0].metrics.iter();
        metrics
            .find(|metric| metric.name == name)
            .unwrap_or_else(|| panic!("{name}"))
    };
    let duration = find("http.server.request.duration");
    assert_eq!(duration.unit, "s");
    let Some(Data::ExponentialHistogram(histogram)) = &duration.data else {
        panic!("{duration:?}");
    };
    let point = &histogram.data_points[0];
    assert_eq!((point.count, histogram.aggregation_temporality), (5, 2));
    assert_eq!(point.start_time_unix_nano, 1_700_000_009_000_000_000);
    assert!((point.sum.unwrap() - 20.032_901).abs() < 1e-9);
    let names: Vec<&str> = point.attributes.iter().map(|a| a.key.as_str()).collect();
    assert_eq!(names, ["pando.app", "http.request.method", "http.route"]);
    let Some(Data::Sum(sum)) = &find("pando.app.restarts").data else {
        panic!("no sum");
    };
    assert!(sum.is_monotonic);
    assert!(matches!(
        find("nodejs.eventloop.delay.p99").data,
        Some(Data::Gauge(_))
    ));
    assert!(format!("{:?}", find("pando.worker.gc.time")).contains("v8js.gc.type"));
    until("it arrived", || exporter.problem().is_none());
}

#[test]
fn no_collector_is_a_problem_until_there_is_one() {
    let (url, thread) = receiver(&["400 Bad", "200 OK"]);
    let mut exporter = Exporter::start(&spec(url)).unwrap();
    tick(&mut exporter, 0);
    until("it is told", || exporter.problem().is_some());
    let problem = exporter.problem().unwrap();
    assert!(
        problem.contains("it answers 400 (1 exports lost)"),
        "{problem}"
    );
    assert!(!problem.contains("word"), "{problem}");
    tick(&mut exporter, 10_000);
    until("it is over", || exporter.problem().is_none());
    thread.join().unwrap();
}

#[test]
fn tries_are_few() {
    let mut count = 0;
    let later = || Sent::Later {
        after: Some(Duration::from_secs(3600)),
        why: "busy".into(),
    };
    let mut slept = Vec::new();
    let send = || {
        count += 1;
        later()
    };
    assert_eq!(deliver(send, |pause| slept.push(pause)), Err("busy".into()));
    assert_eq!((count, slept), (TRIES, vec![LONGEST_PAUSE; 3]));
}
