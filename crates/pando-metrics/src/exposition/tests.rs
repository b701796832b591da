use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::process::{Command, Stdio};

use monitor_spec::now::{Alert, AlertState, App, Gateway, Now, Process, Worker};
use proptest::prelude::*;

use super::*;
use crate::totals::{self, EdgeKey, EndpointKey, OutgoingKey, Totals, WorkerKey};

fn histogram(values: &[u64]) -> Histogram {
    let mut histogram = Histogram::new();
    values.iter().for_each(|v| histogram.record(*v));
    histogram
}

/// A row of everything.
pub(crate) fn full(name: &str) -> (Now, Totals, BTreeMap<String, u64>) {
    let worker = |id, instance| Worker {
        id,
        instance,
        pid: Some(7),
        state: "ready".into(),
        lag_mean_us: Some(900),
        lag_p99_us: Some(2_000),
        lag_max_us: Some(9_000),
        utilization: Some(0.25),
        pss_bytes: Some(5),
        heap_used_bytes: Some(1),
        heap_total_bytes: Some(2),
        heap_limit_bytes: Some(3),
        heap_floor_bytes: Some(1),
        external_bytes: Some(1),
        handles: Some(4),
        ..Worker::default()
    };
    let app = App {
        name: name.into(),
        status: "ready".into(),
        wanted: 2,
        ready: 2,
        memory_limit_bytes: Some(1 << 29),
        leak_bytes_per_hour: Some(3600.0),
        workers: vec![worker(1, 0), worker(2, 1), worker(3, 1)],
        ..App::default()
    };
    let mut now = Now {
        version: "1.2.3".into(),
        apps: vec![app],
        daemon: vec![Process {
            name: "root".into(),
            ..Process::default()
        }],
        gateway: Some(Gateway::default()),
        alerts: vec![Alert {
            name: "lag".into(),
            app: name.into(),
            state: AlertState::Firing,
            ..Alert::default()
        }],
        ..Now::default()
    };
    now.host.memory_total_bytes = 1 << 33;
    now.host.memory_available_bytes = 1 << 32;
    now.host.disk_total_bytes = 1 << 40;
    now.host.cores = 2;
    now.host.cpu_pressure_percent = Some(3.0);
    if let Some(gateway) = &mut now.gateway {
        gateway.upstreams.push(monitor_spec::edge::Upstream {
            group: name.into(),
            address: "127.1.2.3:80".into(),
            instance: Some(1),
            ..Default::default()
        });
        gateway.certificates.push(monitor_spec::edge::Certificate {
            host: name.into(),
            not_after_s: Some(1_800_000_000),
            problem: None,
        });
    }
    (
        now,
        all_totals(name),
        BTreeMap::from([(name.to_owned(), 3)]),
    )
}

fn counted<T>(counts: T) -> totals::Counted<T> {
    totals::Counted {
        since_ms: 1_700_000_009_000,
        counts,
    }
}

fn all_totals(name: &str) -> Totals {
    let mut totals = Totals {
        since_ms: 1_700_000_000_500,
        ..Totals::default()
    };
    let key = EndpointKey {
        app: name.into(),
        method: "GET".into(),
        route: "/users/:id".into(),
    };
    let latency = histogram(&[900, 1_000, 1_001, 30_000, 20_000_000]);
    let endpoint = totals::Endpoint {
        streams: 3,
        errors_4xx: 1,
        errors_5xx: 2,
        aborted: 1,
        latency: latency.clone(),
    };
    totals.endpoints.insert(key, counted(endpoint));
    let key = OutgoingKey {
        app: name.into(),
        kind: "http".into(),
        peer: "x:1".into(),
    };
    let outgoing = totals::Outgoing {
        errors: 1,
        latency: latency.clone(),
    };
    totals.outgoing.insert(key, counted(outgoing));
    let key = WorkerKey {
        app: name.into(),
        instance: 0,
    };
    let worker = totals::Worker {
        cpu_us: 1_500_000,
        ..Default::default()
    };
    totals.workers.insert(key, counted(worker));
    let key = EdgeKey {
        site: name.into(),
        route: "/api/*".into(),
    };
    let route = totals::EdgeRoute {
        classes: [0, 2, 1, 1, 1],
        latency: latency.clone(),
        upstream: latency,
        ..Default::default()
    };
    totals.edge.insert(key, counted(route));
    totals.gateway.classes = [0, 2, 1, 1, 1];
    let all = totals::App {
        requests: 12,
        errors_4xx: 1,
        errors_5xx: 2,
        outgoing: 5,
        outgoing_errors: 1,
    };
    totals.apps.insert(name.into(), counted(all));
    totals.events.insert((name.into(), "exited".into()), 3);
    totals
}

fn written(name: &str, format: Format) -> String {
    let (now, totals, restarts) = full(name);
    let picture = Picture {
        now: &now,
        totals: &totals,
        restarts: &restarts,
    };
    text(&picture, format)
}

fn has(text: &str, line: &str) {
    assert!(text.lines().any(|l| l == line), "no {line} in\n{text}");
}

#[test]
fn counters_gauges_and_histograms_are_written() {
    let text = written("api", Format::Text);
    let route = "app=\"api\",method=\"GET\",route=\"/users/:id\"";
    has(&text, "# TYPE pando_http_requests_total counter");
    has(
        &text,
        &format!("pando_http_requests_total{{{route},status=\"5xx\"}} 2"),
    );
    has(
        &text,
        &format!("pando_http_requests_total{{{route},status=\"ok\"}} 5"),
    );
    has(
        &text,
        "pando_app_requests_total{app=\"api\",status=\"ok\"} 9",
    );
    has(
        &text,
        "pando_app_outgoing_requests_total{app=\"api\",outcome=\"error\"} 1",
    );
    has(&text, "pando_gateway_answers_total{status=\"2xx\"} 2");
    let bucket =
        |le: &str| format!("pando_http_request_duration_seconds_bucket{{{route},le=\"{le}\"}}");
    has(&text, &format!("{} 3", bucket("0.001")));
    has(&text, &format!("{} 4", bucket("0.05")));
    has(&text, &format!("{} 4", bucket("10.0")));
    has(&text, &format!("{} 5", bucket("+Inf")));
    has(
        &text,
        &format!("pando_http_request_duration_seconds_sum{{{route}}} 20.032901"),
    );
    has(
        &text,
        "pando_worker_cpu_seconds_total{app=\"api\",worker=\"0\"} 1.5",
    );
    has(&text, "pando_app_restarts_total{app=\"api\"} 3");
    has(&text, "pando_app_status{app=\"api\",status=\"ready\"} 1");
    has(&text, "pando_app_status{app=\"api\",status=\"stopped\"} 0");
    has(
        &text,
        "pando_alerts{name=\"lag\",app=\"api\",state=\"firing\"} 1",
    );
    has(&text, "pando_build_info{version=\"1.2.3\"} 1");
    assert!(!text.contains("_created") && !text.contains("# EOF"));
}

#[test]
fn open_metrics_names_families_and_says_when_they_began() {
    let text = written("api", Format::OpenMetrics);
    has(&text, "# TYPE pando_http_requests counter");
    has(&text, "# UNIT pando_worker_cpu_seconds seconds");
    has(&text, "pando_app_restarts_total{app=\"api\"} 3");
    has(
        &text,
        "pando_app_restarts_created{app=\"api\"} 1700000000.5",
    );
    has(
        &text,
        "pando_app_requests_created{app=\"api\",status=\"ok\"} 1700000009",
    );
    assert!(text.ends_with("# EOF\n"));
}

#[test]
fn no_series_comes_twice_and_labels_are_escaped() {
    let text = written("a\"b\\c\nd", Format::Text);
    has(&text, "pando_app_up{app=\"a\\\"b\\\\c\\nd\"} 1");
    let mut seen = BTreeSet::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (series, value) = line.rsplit_once(' ').unwrap();
        assert!(seen.insert(series), "{series} twice");
        value.parse::<f64>().unwrap();
    }
    let numbers = |head: &crate::family::Head| head.name;
    let heads = crate::family::heads();
    let names: BTreeSet<&str> = heads.iter().map(numbers).collect();
    assert_eq!(names.len(), heads.len());
    for name in names {
        assert!(text.contains(name), "{name} has no row in the full picture");
    }
}

#[test]
fn the_client_chooses() {
    use Format::{OpenMetrics, Text};
    let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,\
                      application/openmetrics-text;version=0.0.1;q=0.4,\
                      text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
    for (accept, wanted) in [
        ("", Text),
        ("*/*", Text),
        (prometheus, OpenMetrics),
        (
            "text/plain;version=0.0.4;q=0.6,application/openmetrics-text;q=0.5",
            Text,
        ),
        ("application/openmetrics-text; version=2.0.0", Text),
        ("application/openmetrics-text;q=0", Text),
        ("application/openmetrics-text;q=x, text/html", Text),
    ] {
        assert_eq!(Format::accepted(accept), wanted, "{accept}");
    }
}

/// Debian's package prometheus has the program; `cargo xtask ci` installs it.
#[test]
fn promtool_has_nothing_to_say() {
    let text = written("ap\"i\\", Format::Text);
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is there (apt-get install prometheus)");
    promtool
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&said)
    );
}

proptest! {
    #[test]
    fn the_counts_of_buckets_grow_and_miss_none(
        values in proptest::collection::vec(0u64..30_000_000, 0..200)
    ) {
        let histogram = histogram(&values);
        let counts = cumulative(&histogram);
        prop_assert!(counts.windows(2).all(|pair| pair[0].1 <= pair[1].1));
        prop_assert_eq!(counts.last().unwrap().1, values.len() as u64);
        for ((bound, _), (_, count)) in BOUNDS.iter().zip(&counts) {
            let surely = values.iter().filter(|v| (**v as f64) < *bound as f64 * 0.96).count();
            let perhaps = values.iter().filter(|v| (**v as f64) < *bound as f64 * 1.04).count();
            prop_assert!((surely as u64..=perhaps as u64).contains(count), "{bound}: {count}");
        }
    }

    #[test]
    fn any_label_is_one_line(name in "\\PC{0,20}|.{0,20}") {
        let text = written(&name, Format::Text);
        for line in text.split('\n').filter(|line| !line.is_empty()) {
            prop_assert!(line.starts_with('#') || line.starts_with("pando_"), "{line}");
        }
    }
}

/// The page for people names every metric, and OpenTelemetry's name for it.
#[test]
fn the_page_has_every_metric() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/metrics.md");
    let page = std::fs::read_to_string(page).unwrap();
    for head in crate::family::heads() {
        let total = if head.kind == Kind::Counter {
            "_total"
        } else {
            ""
        };
        let row = format!("| `{}{total}` |", head.name);
        let line = page.lines().find(|line| line.starts_with(&row));
        let line = line.unwrap_or_else(|| panic!("no {row}"));
        assert!(line.contains(&format!("`{}`", head.otel)), "{line}");
    }
}
