//! Days in the life of an app, by the default rules: what must wake nobody, and what must.

use monitor_spec::now::{EdgeRoute, Gateway, Traffic};

use super::*;

impl Run {
    fn errors(&mut self, rate: f64, errors: f64) -> &mut Self {
        let traffic = &mut self.app().traffic;
        (traffic.rate, traffic.errors_5xx) = (rate, errors);
        self
    }

    /// So many requests, one each `every_s`, as pictures show them: each is in ten of them.
    fn rare(&mut self, count: u32, every_s: u32, failing: impl Fn(u32) -> bool) -> &mut Self {
        for n in 0..count {
            let error = if failing(n) { 0.1 } else { 0.0 };
            self.errors(0.1, error).seconds(10);
            self.errors(0.0, 0.0).seconds(every_s - 10);
        }
        self
    }

    fn dies(&mut self, wanted: u32) -> &mut Self {
        let app = self.app();
        app.status = "degraded".into();
        app.ready = wanted;
        app.restarts += 1;
        self
    }

    fn lives(&mut self) -> &mut Self {
        let app = self.app();
        app.status = "ready".into();
        app.ready = app.wanted;
        self
    }
}

fn defaults() -> Run {
    Run::with(&[])
}

#[test]
fn error_rates_want_enough_requests() {
    let condition = Condition::ErrorRate {
        above: 0.05,
        min_rate: 1.0,
    };
    let mut run = Run::with(&[("errors", condition, 10)]);
    run.errors(0.5, 0.1).seconds(60).tells(&[]);
    run.errors(20.0, 2.0).seconds(40);
    run.tells(&["errors api firing: error rate is 10%, over 5% for 10 s"]);
    run.errors(0.0, 0.0).seconds(60).tells(&[]);
    run.errors(20.0, 0.2).seconds(50);
    run.tells(&["errors api resolved: error rate is 1%, below 5%"]);
}

#[test]
fn one_failure_among_rare_requests_wakes_nobody() {
    let mut run = defaults();
    // One a minute, each twentieth fails; then the only one of an hour.
    run.rare(60, 60, |n| n % 20 == 0).tells(&[]);
    run.seconds(3_600);
    run.rare(1, 60, |_| true).seconds(600).tells(&[]);
    // Three in a row.
    run.rare(40, 60, |n| (10..13).contains(&n)).tells(&[]);
}

#[test]
fn rare_requests_that_all_fail_do() {
    let mut run = defaults();
    run.rare(10, 60, |_| false).tells(&[]);
    run.rare(25, 30, |_| true);
    assert_eq!(run.told.len(), 1, "{:?}", run.told);
    assert!(
        run.told[0].starts_with("error-rate api firing: "),
        "{:?}",
        run.told
    );
    run.told.clear();
    run.rare(60, 30, |_| false);
    assert!(run.told[0].starts_with("error-rate api resolved: error rate is "));
}

#[test]
fn errors_that_come_and_go_by_chance_are_seen_all_the_same() {
    let mut run = defaults();
    // Two a second, a tenth fails: some windows of ten seconds have none at all.
    let mut n = 0u32;
    for _ in 0..600 {
        n = n.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let failures = f64::from((n >> 16) % 5);
        run.errors(2.0, failures / 10.0).seconds(1);
    }
    assert_eq!(run.told.len(), 1, "{:?}", run.told);
    assert!(run.told[0].starts_with("error-rate api firing"));
    // One percent of a busy app is none of it.
    let mut run = defaults();
    run.errors(200.0, 2.0).seconds(3_600).tells(&[]);
}

#[test]
fn a_deploy_wakes_nobody() {
    let mut run = defaults();
    run.errors(50.0, 0.0).seconds(60);
    for _ in 0..3 {
        run.app().reloading = true;
        run.app().ready = 1;
        run.app().lag_p99_us = Some(900_000);
        run.errors(50.0, 40.0).seconds(100);
        run.app().reloading = false;
        run.app().ready = 2;
        run.errors(50.0, 0.0).seconds(30);
        run.app().lag_p99_us = Some(2_000);
        run.seconds(60);
    }
    run.tells(&[]);
}

#[test]
fn an_app_that_starts_slowly_is_not_down() {
    let mut run = defaults();
    run.engine = Engine::default();
    run.now.time_ms += 1;
    let app = run.app();
    (app.status, app.ready, app.uptime_ms) = ("starting".into(), 0, 0);
    for second in 0..110u64 {
        run.app().uptime_ms = second * 1_000;
        run.seconds(1);
    }
    run.lives().seconds(600).tells(&[]);
}

#[test]
fn workers_that_just_began_do_not_lag() {
    let mut run = defaults();
    let worker = |uptime_ms, lag| Worker {
        pid: Some(1),
        uptime_ms,
        lag_p99_us: Some(lag),
        ..Worker::default()
    };
    // One is replaced every eight seconds and loads its code.
    for n in 0..20u64 {
        run.app().workers = vec![worker(500_000, 3_000), worker(n % 8 * 1_000, 2_000_000)];
        run.app().lag_p99_us = Some(2_000_000);
        run.seconds(8);
    }
    run.tells(&[]);
    run.app().workers = vec![worker(500_000, 3_000), worker(60_000, 300_000)];
    run.seconds(62);
    run.tells(&["event-loop-lag api firing: event-loop lag is 300 ms, over 200 ms for 1 min"]);
}

#[test]
fn a_machine_that_slept_wakes_nobody() {
    let mut run = defaults();
    run.errors(20.0, 0.0).seconds(60);
    for hours in 1..5 {
        // The first pictures after it: everything is late, some requests are lost.
        run.now.time_ms += hours * 3_600_000;
        run.app().lag_p99_us = Some(5_000_000);
        run.errors(5.0, 2.0).seconds(12);
        run.app().lag_p99_us = Some(2_000);
        run.errors(20.0, 0.0).seconds(300);
    }
    run.tells(&[]);
}

#[test]
fn one_crash_wakes_nobody_and_many_do() {
    let mut run = defaults();
    // One each three minutes.
    for _ in 0..20 {
        run.dies(1).seconds(2).lives().seconds(178);
    }
    run.tells(&[]);
    // Each worker lives for half a minute, so it is no crash loop, and one is always ready.
    for _ in 0..14 {
        run.dies(1).seconds(1).lives().seconds(29);
    }
    assert_eq!(run.told.len(), 1, "{:?}", run.told);
    let said = "restarts api firing: 8 restarts in ten minutes that nobody asked for, over 5";
    assert!(run.told[0].starts_with(said), "{:?}", run.told);
    run.told.clear();
    run.seconds(1_200);
    run.tells(&["restarts api resolved: 4 restarts in ten minutes"]);
}

#[test]
fn all_workers_dead_is_one_alert_and_soon() {
    let mut run = defaults();
    run.errors(20.0, 0.0).seconds(60);
    run.app().problem = Some("exited with code 1".into());
    run.dies(0).errors(0.0, 0.0).seconds(32);
    run.tells(&["down api firing: none of its 2 workers is ready: exited with code 1 for 30 s"]);
    run.seconds(600).tells(&[]);
    run.lives().seconds(31);
    run.tells(&["down api resolved: 2 of 2 workers are ready"]);
}

#[test]
fn a_crash_loop_is_told_by_its_rule_alone() {
    let mut run = defaults();
    // Ten fast exits take most of a minute.
    for wait in [1, 1, 1, 1, 2, 3, 6, 13, 20] {
        run.dies(0);
        run.app().status = "starting".into();
        run.seconds(wait);
    }
    for _ in 0..20 {
        run.dies(0);
        run.app().status = "crash-loop".into();
        run.seconds(29);
        run.app().status = "starting".into();
        run.seconds(1);
    }
    let told: Vec<&str> = run.told.iter().map(String::as_str).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    // For half a minute it was only dead.
    assert!(told[0].starts_with("down api firing"), "{told:?}");
    assert!(told[1].starts_with("crash-loop api firing"), "{told:?}");
}

#[test]
fn a_certificate_that_has_ended_is_said() {
    let mut run = defaults();
    let ended_s = (run.now.time_ms / 1_000 - 86_400) as u64;
    run.now.gateway = Some(Gateway {
        certificates: vec![Certificate {
            host: "a.example".into(),
            not_after_s: Some(ended_s),
            problem: None,
        }],
        ..Gateway::default()
    });
    run.seconds(602);
    run.tells(&["certificate  firing: the certificate of a.example has ended for 10 min"]);
}

#[test]
fn the_gateway_answers_for_what_is_no_apps() {
    let mut run = defaults();
    run.now.apps.push(app(app_spec::GATEWAY));
    let route = |app: Option<&str>, errors| EdgeRoute {
        app: app.map(str::to_owned),
        traffic: Traffic {
            rate: 20.0,
            errors_5xx: errors,
            ..Traffic::default()
        },
        ..EdgeRoute::default()
    };
    let gateway = |routes| {
        Some(Gateway {
            routes,
            ..Gateway::default()
        })
    };
    // An app's failures are told as the app's.
    run.now.apps[1].traffic.rate = 40.0;
    run.now.apps[1].traffic.errors_5xx = 20.0;
    run.now.gateway = gateway(vec![route(Some("api"), 20.0), route(None, 0.0)]);
    run.errors(20.0, 20.0).seconds(200);
    run.tells(&["error-rate api firing: error rate is 100%, over 5% for 2 min"]);
    run.now.gateway = gateway(vec![route(None, 20.0)]);
    run.seconds(200);
    run.tells(&["error-rate gateway firing: error rate is 100%, over 5% for 2 min"]);
    // Slow clients are no slow gateway, unless somebody asks for it.
    let mut run = Run::with(&[("slow", SLOW, 60)]);
    run.now.apps.push(app(app_spec::GATEWAY));
    run.now.apps[1].traffic.latency = p95(9_000_000.0);
    run.seconds(100).tells(&[]);
    run.spec.alerts[0].apps = vec![app_spec::GATEWAY.into()];
    run.seconds(62);
    run.tells(&["slow gateway firing: p95 is 9 s, over 500 ms for 1 min"]);
}
