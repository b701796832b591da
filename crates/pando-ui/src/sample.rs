//! A picture of a small fleet, for tests.

use monitor_spec::edge::{Certificate, Upstream};
use monitor_spec::now::{
    Alert, AlertState, App, EdgeRoute, Endpoint, Gateway, HISTORY_S, History, Host, Latency, Now,
    Outgoing, Process, Source, Traffic, Worker,
};
use monitor_spec::state::Event;

pub const TIME_MS: i64 = 1_795_617_824_000;
const MB: u64 = 1024 * 1024;

fn wave(base: f32, swing: f32, phase: u16) -> Vec<Option<f32>> {
    let at = |second| base + swing * (f32::from(second + phase) / 9.0).sin();
    (0..u16::try_from(HISTORY_S).unwrap())
        .map(|s| Some(at(s)))
        .collect()
}

pub fn history(rate: f32, lag_us: f32, memory: f32) -> History {
    History {
        rate: wave(rate, rate / 3.0, 0),
        p95_us: wave(12_000.0, 5_000.0, 5),
        errors: wave(0.0, 0.0, 0),
        lag_us: wave(lag_us, lag_us / 4.0, 9),
        utilization: wave(0.4, 0.2, 0),
        cpu_percent: wave(40.0, 9.0, 2),
        memory_bytes: wave(memory, memory / 10.0, 3),
    }
}

pub fn latency(p95_ms: f64) -> Option<Latency> {
    Some(Latency {
        mean_us: p95_ms * 400.0,
        p50_us: p95_ms * 300.0,
        p95_us: p95_ms * 1_000.0,
        p99_us: p95_ms * 2_500.0,
        max_us: p95_ms * 6_000.0,
    })
}

fn traffic(rate: f64, errors: f64, p95_ms: f64) -> Traffic {
    Traffic {
        source: Source::Agent,
        rate,
        errors_5xx: errors,
        errors_4xx: 1.5,
        in_flight: 7,
        latency: latency(p95_ms),
    }
}

fn worker(instance: u32, state: &str) -> Worker {
    Worker {
        id: instance + 11,
        instance,
        pid: Some(4_000 + instance),
        state: state.into(),
        uptime_ms: 7_500_000,
        restarts: u64::from(instance),
        last_exit: (instance == 1).then(|| "exit code 1".into()),
        node: Some("v24.11.0".into()),
        agent: true,
        traffic: traffic(64.0, 0.0, 11.0),
        lag_mean_us: Some(1_100),
        lag_p99_us: Some(if state == "stalled" { 2_400_000 } else { 3_400 }),
        lag_max_us: Some(9_000),
        utilization: Some(0.41),
        cpu_percent: 38.0,
        cpu_wait_percent: 2.0,
        memory_bytes: 96 * MB,
        heap_used_bytes: Some(41 * MB),
        heap_total_bytes: Some(60 * MB),
        heap_limit_bytes: Some(4_144 * MB),
        heap_floor_bytes: Some(33 * MB),
        external_bytes: Some(3 * MB),
        gc_ms_per_s: Some(4.2),
        fds: 31,
        threads: 11,
        context_switches: 812.0,
        handles: Some(9),
        history: history(64.0, 3_000.0, 1.0e8),
        ..Worker::default()
    }
}

fn endpoint(method: &str, route: &str, rate: f64, errors: f64, p95_ms: f64) -> Endpoint {
    Endpoint {
        method: method.into(),
        route: route.into(),
        requests: 60 * crate::units::whole(rate),
        traffic: traffic(rate, errors, p95_ms),
        time_share: rate / 400.0,
    }
}

pub fn app(name: &str, workers: u32) -> App {
    App {
        name: name.into(),
        status: "ready".into(),
        mode: "cluster".into(),
        command: "server.js".into(),
        listen: vec![":3000".into()],
        wanted: workers,
        ready: workers,
        uptime_ms: 7_500_000,
        traffic: traffic(128.0, 0.0, 12.0),
        lag_p99_us: Some(3_400),
        lag_max_us: Some(9_000),
        utilization: Some(0.4),
        cpu_percent: 76.0,
        memory_bytes: 192 * MB,
        memory_limit_bytes: Some(512 * MB),
        workers: (0..workers).map(|n| worker(n, "ready")).collect(),
        endpoints: vec![
            endpoint("GET", "/users/:id", 90.0, 0.0, 9.0),
            endpoint("POST", "/orders", 30.0, 6.0, 41.0),
            endpoint("GET", "/slow", 8.0, 0.0, 640.0),
        ],
        outgoing: vec![Outgoing {
            kind: "http".into(),
            peer: "billing.internal:443".into(),
            rate: 30.0,
            errors: 0.5,
            latency: latency(25.0),
        }],
        history: history(128.0, 3_000.0, 2.0e8),
        ..App::default()
    }
}

fn gateway() -> Gateway {
    Gateway {
        connections: 211,
        tunnels: 3,
        traffic: traffic(160.0, 0.0, 14.0),
        bytes_in_per_s: 90_000.0,
        bytes_out_per_s: 2_400_000.0,
        cache_hit_ratio: Some(0.83),
        routes: vec![EdgeRoute {
            site: "shop.example".into(),
            route: "/api/*".into(),
            app: Some("api".into()),
            requests: 9_600,
            traffic: traffic(160.0, 0.0, 14.0),
        }],
        upstreams: vec![Upstream {
            group: "api".into(),
            address: "127.0.0.2:3000".into(),
            instance: Some(0),
            available: true,
            requests: 80,
            failures: 0,
            in_flight: 4,
        }],
        certificates: vec![
            Certificate {
                host: "shop.example".into(),
                not_after_s: Some(1_795_617_824 + 86_400 * 61),
                problem: None,
            },
            Certificate {
                host: "old.example".into(),
                not_after_s: Some(1_795_617_824 + 86_400 * 2),
                problem: Some("the authority refused it".into()),
            },
        ],
        history: history(160.0, 0.0, 0.0),
        ..Gateway::default()
    }
}

pub fn now() -> Now {
    let mut payments = app("payments", 1);
    payments.status = "crash-loop".into();
    payments.mode = "fork".into();
    payments.ready = 0;
    payments.restarts = 17;
    payments.problem = Some("exited with code 1 after 0.2 s, 17 times in 60 s".into());
    payments.workers = vec![worker(0, "crash-loop")];
    payments.endpoints.clear();
    payments.traffic = Traffic::default();
    payments.history = History::default();
    payments.lag_p99_us = None;
    Now {
        time_ms: TIME_MS,
        version: "0.1.0".into(),
        host: Host {
            name: "web1".into(),
            cores: 8,
            cpu_percent: 34.0,
            load_1m: 2.4,
            memory_total_bytes: 16_000 * MB,
            memory_available_bytes: 9_000 * MB,
            ..Host::default()
        },
        daemon: vec![Process {
            name: "supervisor".into(),
            pid: 900,
            cpu_percent: 1.1,
            memory_bytes: 14 * MB,
        }],
        apps: vec![app("api", 2), payments, app("web", 4)],
        gateway: Some(gateway()),
        alerts: vec![Alert {
            name: "crash-loop".into(),
            app: "payments".into(),
            state: AlertState::Firing,
            since_ms: TIME_MS - 90_000,
            text: "payments does not stay up".into(),
        }],
        events: vec![Event {
            time_ms: TIME_MS,
            app: "payments".into(),
            worker: Some(0),
            kind: "exited".into(),
            text: "exit code 1".into(),
        }],
        problems: Vec::new(),
    }
}
