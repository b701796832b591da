use monitor_spec::edge::Certificate;
use monitor_spec::now::{App, Gateway, Latency, Worker};
use monitor_spec::settings::AlertRule;
use proptest::prelude::*;

use super::*;

/// A world, a second at a time.
struct Run {
    engine: Engine,
    now: Now,
    spec: MonitorSpec,
    told: Vec<String>,
}

fn app(name: &str) -> App {
    App {
        name: name.into(),
        status: "ready".into(),
        wanted: 2,
        ready: 2,
        uptime_ms: 3_600_000,
        workers: vec![Worker {
            pid: Some(1),
            ..Worker::default()
        }],
        ..App::default()
    }
}

impl Run {
    fn with(rules: &[(&str, Condition, u64)]) -> Self {
        let alerts = rules.iter().map(|(name, condition, for_s)| AlertRule {
            name: (*name).into(),
            apps: Vec::new(),
            condition: condition.clone(),
            for_ms: for_s * 1000,
            notify: Vec::new(),
        });
        let spec = MonitorSpec {
            default_alerts: rules.is_empty(),
            alerts: alerts.collect(),
            ..MonitorSpec::default()
        };
        let now = Now {
            time_ms: 1_700_000_000_000,
            apps: vec![app("api")],
            ..Now::default()
        };
        let mut run = Self {
            engine: Engine::default(),
            now,
            spec,
            told: Vec::new(),
        };
        run.seconds(12);
        run
    }

    fn seconds(&mut self, count: u32) -> &mut Self {
        for _ in 0..count {
            self.now.time_ms += 1000;
            let told = self.engine.step(self.now.time_ms, &self.now, &self.spec);
            self.told.extend(told.iter().map(|one| {
                let state = format!("{:?}", one.alert.state).to_lowercase();
                format!(
                    "{} {} {state}: {}",
                    one.alert.name, one.alert.app, one.alert.text
                )
            }));
        }
        self
    }

    fn app(&mut self) -> &mut App {
        &mut self.now.apps[0]
    }

    #[track_caller]
    fn tells(&mut self, wanted: &[&str]) -> &mut Self {
        assert_eq!(self.told, wanted);
        self.told.clear();
        self
    }
}

fn p95(us: f64) -> Option<Latency> {
    Some(Latency {
        p95_us: us,
        ..Latency::default()
    })
}

const SLOW: Condition = Condition::Latency {
    percentile: 95,
    above_us: 500_000,
};

#[test]
fn what_holds_long_enough_fires_and_is_resolved_after_as_long() {
    let mut run = Run::with(&[("slow", SLOW, 120)]);
    run.app().traffic.latency = p95(812_000.0);
    run.seconds(120).tells(&[]);
    assert_eq!(run.engine.alerts()[0].state, AlertState::Pending);
    run.seconds(2)
        .tells(&["slow api firing: p95 is 812 ms, over 500 ms for 2 min"]);
    run.seconds(600).tells(&[]);
    // At the limit it is neither better nor told again.
    run.app().traffic.latency = p95(470_000.0);
    run.seconds(300).tells(&[]);
    run.app().traffic.latency = p95(300_000.0);
    run.seconds(119).tells(&[]);
    run.seconds(1)
        .tells(&["slow api resolved: p95 is 300 ms, below 500 ms"]);
    assert_eq!(run.engine.alerts().len(), 1);
    run.seconds(601).tells(&[]);
    assert!(run.engine.alerts().is_empty());
}

#[test]
fn a_short_peak_is_nothing_and_a_short_dip_resolves_nothing() {
    let mut run = Run::with(&[("slow", SLOW, 60)]);
    for _ in 0..10 {
        run.app().traffic.latency = p95(900_000.0);
        run.seconds(50);
        run.app().traffic.latency = p95(100_000.0);
        run.seconds(3);
    }
    run.tells(&[]);
    run.app().traffic.latency = p95(900_000.0);
    run.seconds(62);
    assert_eq!(run.told.len(), 1);
    for _ in 0..10 {
        run.app().traffic.latency = p95(100_000.0);
        run.seconds(50);
        run.app().traffic.latency = p95(900_000.0);
        run.seconds(3);
    }
    assert_eq!(run.told.len(), 1, "{:?}", run.told);
}

#[test]
fn nothing_known_is_no_reason_to_resolve() {
    let mut run = Run::with(&[("slow", SLOW, 10)]);
    run.app().traffic.latency = p95(900_000.0);
    run.seconds(12);
    assert_eq!(run.told.len(), 1);
    run.app().traffic.latency = None;
    run.seconds(3000);
    assert_eq!(run.told.len(), 1);
    run.told.clear();
    run.seconds(700)
        .tells(&["slow api resolved: nothing has been known of it for an hour"]);
    // What is only pending is forgotten sooner.
    run.app().traffic.latency = p95(900_000.0);
    run.seconds(5);
    run.app().traffic.latency = None;
    run.seconds(20);
    run.app().traffic.latency = p95(900_000.0);
    run.seconds(9).tells(&[]);
}

#[test]
fn starts_reloads_and_stops_are_no_alerts() {
    let lag = Condition::Lag { above_us: 200_000 };
    let mut run = Run::with(&[("lag", lag, 5), ("few", Condition::Degraded, 5)]);
    run.app().lag_p99_us = Some(900_000);
    run.app().ready = 1;
    run.app().uptime_ms = 5_000;
    run.app().reloading = true;
    run.seconds(60).tells(&[]);
    run.app().status = "stopped".into();
    run.app().ready = 0;
    run.app().reloading = false;
    run.app().uptime_ms = 3_600_000;
    run.seconds(60).tells(&[]);
    run.app().status = "degraded".into();
    run.seconds(7).tells(&[
        "lag api firing: event-loop lag is 900 ms, over 200 ms for 5 s",
        "few api firing: 0 of 2 workers are ready for 5 s",
    ]);
    // Stopped by a person: what fired is over at once.
    run.app().status = "stopping".into();
    run.seconds(1).tells(&[
        "lag api resolved: the app was stopped",
        "few api resolved: the app was stopped",
    ]);
}

#[test]
fn nothing_is_decided_of_the_first_pictures() {
    let mut run = Run::with(&[("few", Condition::Degraded, 0)]);
    run.engine = Engine::default();
    run.app().ready = 0;
    run.seconds(10).tells(&[]);
    run.seconds(2)
        .tells(&["few api firing: 0 of 2 workers are ready"]);
}

#[test]
fn a_crash_loop_is_one_alert_through_all_its_tries() {
    let mut run = Run::with(&[]);
    for _ in 0..10 {
        run.app().status = "crash-loop".into();
        run.app().ready = 0;
        run.app().problem = Some("exited with code 1".into());
        run.seconds(30);
        run.app().status = "starting".into();
        run.seconds(3);
        run.app().status = "ready".into();
        run.app().ready = 2;
        run.seconds(2);
    }
    run.tells(&["crash-loop api firing: crash loop: exited with code 1"]);
    run.seconds(30)
        .tells(&["crash-loop api resolved: all workers are ready"]);
}

#[test]
fn memory_that_will_be_full_and_memory_that_is() {
    let mut run = Run::with(&[]);
    run.app().memory_limit_bytes = Some(1 << 30);
    run.app().leak_bytes_per_hour = Some(32.0 * 1048576.0);
    let worker = &mut run.app().workers[0];
    worker.memory_bytes = 500 << 20;
    worker.heap_used_bytes = Some(1);
    worker.leak_bytes_per_hour = Some(32.0 * 1048576.0);
    run.seconds(602).tells(&[
        "memory-leak api firing: memory grows by 32 MB an hour and reaches its limit in 16 h for 10 min",
    ]);
    run.app().workers[0].memory_bytes = 1000 << 20;
    run.seconds(122)
        .tells(&["memory api firing: memory of its limit is 98%, over 90% for 2 min"]);
    run.app().workers[0].memory_bytes = 100 << 20;
    run.app().workers[0].leak_bytes_per_hour = None;
    run.app().leak_bytes_per_hour = None;
    run.seconds(600).tells(&[
        "memory api resolved: memory of its limit is 9.8%, below 90%",
        "memory-leak api resolved: memory does not grow steadily",
    ]);
}

#[test]
fn the_machine_and_its_certificates() {
    let mut run = Run::with(&[]);
    let end_s = (run.now.time_ms / 1000 + 3 * 86_400) as u64;
    let one = |host: &str, not_after_s, problem: Option<&str>| Certificate {
        host: host.into(),
        not_after_s,
        problem: problem.map(str::to_owned),
    };
    run.now.gateway = Some(Gateway {
        certificates: vec![
            one("a.example", Some(end_s), Some("no answer")),
            one("b.example", Some(end_s + 8_640_000), None),
            one("c.example", Some(end_s + 8_640_000), Some("refused")),
        ],
        ..Gateway::default()
    });
    run.now.host.disk_total_bytes = 100 << 30;
    run.now.host.disk_available_bytes = 4 << 30;
    run.seconds(700).tells(&[
        "disk  firing: 4 GB (4%) are free on the disk, below 5% for 1 min",
        "certificate  firing: the certificate of a.example ends in 2 d: no answer (and 1 more) for 10 min",
    ]);
}

#[test]
fn rules_and_apps_that_go_take_their_alerts_with_them() {
    let mut run = Run::with(&[("few", Condition::Degraded, 0), ("slow", SLOW, 60)]);
    run.app().ready = 1;
    run.app().traffic.latency = p95(900_000.0);
    run.seconds(1)
        .tells(&["few api firing: 1 of 2 workers are ready"]);
    run.spec.alerts.clear();
    run.seconds(1)
        .tells(&["few api resolved: the rule is gone"]);
    assert_eq!(run.engine.alerts().len(), 1);
    let mut run = Run::with(&[("few", Condition::Degraded, 0)]);
    run.app().ready = 1;
    run.seconds(1);
    run.now.apps.clear();
    run.seconds(1);
    run.tells(&[
        "few api firing: 1 of 2 workers are ready",
        "few api resolved: the app is gone",
    ]);
}

#[test]
fn a_supervisor_that_begins_anew_tells_nothing_twice() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("alerts.json");
    let mut run = Run::with(&[("few", Condition::Degraded, 0), ("slow", SLOW, 100)]);
    run.app().ready = 1;
    run.app().traffic.latency = p95(900_000.0);
    run.seconds(50);
    assert!(run.engine.take_changed() && !run.engine.take_changed());
    save(&run.engine, &path).unwrap();
    run.engine = load(&path);
    run.told.clear();
    // The first pictures know no app.
    let apps = std::mem::take(&mut run.now.apps);
    run.seconds(5).tells(&[]);
    run.now.apps = apps;
    run.seconds(30).tells(&[]);
    assert_eq!(run.engine.alerts()[0].state, AlertState::Firing);
    run.seconds(40)
        .tells(&["slow api firing: p95 is 900 ms, over 500 ms for 100 s"]);
    for garbage in ["", "{", "{\"v\":9,\"alerts\":[]}", "[1]"] {
        std::fs::write(&path, garbage).unwrap();
        assert!(load(&path).alerts().is_empty());
    }
    assert!(load(&dir.path().join("none")).alerts().is_empty());
}

#[test]
fn a_clock_that_jumps_fires_nothing() {
    let mut run = Run::with(&[("slow", SLOW, 120)]);
    run.app().traffic.latency = p95(900_000.0);
    run.seconds(2);
    run.now.time_ms += 86_400_000;
    run.seconds(3).tells(&[]);
    run.now.time_ms -= 2 * 86_400_000;
    run.seconds(3).tells(&[]);
}

#[test]
fn a_rule_of_the_file_replaces_the_default_one_of_its_name() {
    let spec = MonitorSpec {
        alerts: vec![AlertRule {
            name: "disk".into(),
            apps: Vec::new(),
            condition: Condition::Disk { below_share: 0.2 },
            for_ms: 0,
            notify: Vec::new(),
        }],
        notify: vec![Notify::Command { line: "x".into() }],
        ..MonitorSpec::default()
    };
    let rules = rules(&spec);
    assert_eq!(rules.iter().filter(|rule| rule.name == "disk").count(), 1);
    assert_eq!(rules[0].condition, Condition::Disk { below_share: 0.2 });
    assert_eq!(rules.len(), 10);
    assert!(rules.iter().all(|rule| rule.notify == spec.notify));
}

mod scenes;

proptest! {
    /// Whatever is measured: firing and resolved alternate.
    #[test]
    fn an_alert_is_resolved_once_for_each_time_it_fires(
        values in proptest::collection::vec(proptest::option::of(0u32..1_000_000), 1..400),
        for_s in 0u64..20, jumps in proptest::collection::vec(-100_000i64..100_000, 0..5)
    ) {
        let mut run = Run::with(&[("slow", SLOW, for_s)]);
        for (at, value) in values.iter().enumerate() {
            run.app().traffic.latency = value.and_then(|us| p95(us.into()));
            run.now.time_ms += jumps.get(at).copied().unwrap_or(0);
            run.seconds(1);
        }
        for (at, told) in run.told.iter().enumerate() {
            let wanted = if at % 2 == 0 { "slow api firing" } else { "slow api resolved" };
            prop_assert!(told.starts_with(wanted), "{:?}", run.told);
        }
    }
}
