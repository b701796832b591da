use histogram::Histogram;
use monitor_spec::state;

use super::samples::{Reading, Sample};
use super::*;

const START_MS: i64 = 1_700_000_000_000;

struct World {
    engine: Engine,
    us: u64,
    second: i64,
}

impl World {
    fn new(workers: u32) -> Self {
        let at = Moment {
            time_ms: START_MS,
            us: 0,
            seconds: 1.0,
        };
        let mut engine = Engine::new(at, "1");
        engine.state(state_of(workers));
        Self {
            engine,
            us: 0,
            second: 0,
        }
    }

    fn tick_with(&mut self, samples: Samples) -> Second {
        self.second += 1;
        self.us += 1_000_000;
        self.engine
            .tick(START_MS + self.second * 1_000, self.us, samples)
    }

    fn tick(&mut self) -> Second {
        self.tick_with(Samples::default())
    }

    fn report(&mut self, instance: u32, report: agent::Report) -> bool {
        let from = Reporter {
            app: "api".into(),
            worker: instance + 10,
            instance,
        };
        self.engine.report(self.us + 1, &from, Some(report)) == Taken::Yes
    }

    /// Of the first endpoint, since the start.
    fn first_counts(&self) -> &crate::totals::Endpoint {
        let mut rows = self.engine.totals().endpoints.values();
        &rows.next().unwrap().counts
    }

    fn app(&self) -> now::App {
        self.engine.picture(true).apps.remove(0)
    }
}

fn state_of(workers: u32) -> State {
    let workers = (0..workers).map(|instance| state::Worker {
        id: instance + 10,
        instance,
        pid: Some(1_000 + instance),
        ..state::Worker::default()
    });
    State {
        apps: vec![state::App {
            name: "api".into(),
            workers: workers.collect(),
            ..state::App::default()
        }],
        ..State::default()
    }
}

fn latencies(values: impl IntoIterator<Item = u64>) -> Histogram {
    let mut histogram = Histogram::new();
    values.into_iter().for_each(|value| histogram.record(value));
    histogram
}

fn report(route: &str, latency: Histogram, errors_5xx: u64) -> agent::Report {
    agent::Report {
        v: 1,
        took_ms: 1_000.0,
        active_ms: 500.0,
        idle_ms: 500.0,
        routes: vec![agent::Route {
            method: "GET".into(),
            route: route.into(),
            errors_5xx,
            latency,
            ..agent::Route::default()
        }],
        ..agent::Report::default()
    }
}

#[test]
fn percentiles_are_of_all_workers_requests() {
    let mut world = World::new(2);
    let mut all = Vec::new();
    for second in 0..10u64 {
        for instance in 0..2u64 {
            let values: Vec<u64> = (0..50)
                .map(|n| 1_000 * (1 + n * (1 + instance)) + second)
                .collect();
            all.extend(values.clone());
            assert!(world.report(instance as u32, report("/a", latencies(values), 5)));
        }
        world.tick();
    }
    all.sort_unstable();
    let app = world.app();
    let latency = app.traffic.latency.unwrap();
    for (share, got) in [
        (0.5, latency.p50_us),
        (0.95, latency.p95_us),
        (0.99, latency.p99_us),
    ] {
        let exact = all[((share * all.len() as f64).ceil() as usize) - 1] as f64;
        assert!(
            (got / exact - 1.0).abs() < 0.016,
            "{share}: {got} for {exact}"
        );
    }
    assert_eq!(app.traffic.source, now::Source::Agent);
    assert_eq!((app.traffic.rate, app.traffic.errors_5xx), (100.0, 10.0));
    assert_eq!(app.endpoints[0].requests, 1_000);
    assert!((app.endpoints[0].traffic.rate - 100.0).abs() < 1.0);
    assert_eq!(app.utilization, Some(0.5));
    let row = world.engine.totals().endpoints.values().next().unwrap();
    let row = &row.counts;
    assert_eq!((row.latency.count(), row.errors_5xx), (1_000, 100));
}

#[test]
fn a_liar_distorts_nothing() {
    let mut world = World::new(2);
    for _ in 0..10 {
        for _ in 0..100 {
            let mut lie = report("/a", latencies([50; 10]), 0);
            lie.took_ms = 1e300;
            lie.active_ms = 1e308;
            lie.delay = Some(agent::Delay {
                max_us: u64::MAX,
                p99_us: u64::MAX,
                ..agent::Delay::default()
            });
            world.report(0, lie);
        }
        world.report(1, report("/b", latencies([50; 10]), 0));
        world.tick();
    }
    let app = world.app();
    // Four reports a second are taken at most.
    assert!(
        app.workers[0].traffic.rate <= 40.0,
        "{:?}",
        app.workers[0].traffic
    );
    assert_eq!(app.workers[1].traffic.rate, 10.0);
    assert!(app.workers[1].lag_max_us.is_none());
    assert!(app.utilization.unwrap() <= 1.0);
    let mut huge = Histogram::new();
    huge.record_many(1, REQUESTS_MAX + 1);
    assert!(!world.report(1, report("/b", huge, 0)));
}

#[test]
fn last_words_count() {
    let mut world = World::new(2);
    for _ in 0..3 {
        for instance in 0..2 {
            assert!(world.report(instance, report("/a", latencies([50; 10]), 0)));
        }
        world.tick();
    }
    for instance in 0..2 {
        // One that came as usual, and one at the very end.
        assert!(world.report(instance, report("/a", latencies([50; 10]), 0)));
        assert!(world.report(instance, report("/a", latencies([50; 7]), 1)));
    }
    // The second of them is gone, of the first only the socket.
    world.engine.state(state_of(1));
    world.engine.agent_ended(&Reporter {
        app: "api".into(),
        worker: 10,
        instance: 0,
    });
    world.tick();
    let row = world.first_counts();
    assert_eq!((row.latency.count(), row.errors_5xx), (94, 2));
    assert_eq!(world.app().endpoints[0].requests, 94);
}

/// A supervisor without a CPU for a minute and a half, or stopped; workers went on reporting.
#[test]
fn whoever_was_away_loses_no_request_and_invents_no_rate() {
    let mut world = World::new(1);
    for _ in 0..3 {
        assert!(world.report(0, report("/a", latencies([50; 100]), 0)));
        world.tick();
    }
    world.us += 89_000_000;
    for _ in 0..90 {
        assert!(world.report(0, report("/a", latencies([50; 100]), 0)));
    }
    world.tick();
    assert!(world.report(0, report("/a", latencies([50; 100]), 0)));
    world.tick();
    // The last of them waits for its second.
    world.tick();
    let row = world.first_counts();
    assert_eq!(row.latency.count(), 9_400);
    let rate = world.app().traffic.rate;
    assert!((rate - 100.0).abs() < 2.0, "{rate}");
    assert!(world.app().utilization.unwrap() <= 1.0);
    let flood = (0..100).filter(|_| world.report(0, report("/a", latencies([50; 1]), 0)));
    assert!(flood.count() <= WAITING_MAX, "a flood is none");
}

#[test]
fn numbers_without_measure_stay_numbers() {
    let mut world = World::new(1);
    for thread in 0..3 {
        let mut wild = report("/a", latencies([u64::MAX; 3]), u64::MAX);
        wild.thread = thread;
        wild.handles = u32::MAX;
        wild.in_flight = u32::MAX;
        let heap = agent::Heap {
            used_bytes: u64::MAX,
            total_bytes: u64::MAX,
            limit_bytes: 1,
            floor_bytes: Some(u64::MAX),
            external_bytes: u64::MAX,
            array_buffers_bytes: u64::MAX,
        };
        wild.heap = Some(heap);
        // The same route twice is one.
        wild.routes.push(wild.routes[0].clone());
        assert!(world.report(0, wild));
    }
    for row in world.tick().rows {
        assert!(row.values.iter().all(|(_, value)| value.is_finite()));
    }
    let worker = &world.app().workers[0];
    assert_eq!(worker.handles, Some(u32::MAX));
    assert_eq!(world.app().endpoints[0].requests, 18);
    let mut many = report("/b", Histogram::new(), 0);
    let mut latency = Histogram::new();
    latency.record_many(1, REQUESTS_MAX + 1);
    many.outgoing.push(agent::Outgoing {
        latency,
        ..agent::Outgoing::default()
    });
    assert!(!world.report(0, many), "what it asks of others counts too");
}

#[test]
fn without_a_preload_the_gateway_is_asked() {
    let mut world = World::new(1);
    for _ in 0..10 {
        let route = edge::Route {
            site: "s".into(),
            route: "/*".into(),
            method: "GET".into(),
            endpoint: "/x".into(),
            app: Some("api".into()),
            classes: [0, 15, 0, 0, 5],
            latency: latencies([700; 20]),
            ..edge::Route::default()
        };
        let upstream = edge::Upstream {
            group: "api".into(),
            instance: Some(0),
            requests: 20,
            in_flight: 3,
            ..edge::Upstream::default()
        };
        let report = edge::Report {
            routes: vec![route],
            upstreams: vec![upstream],
            cache_hits: 1,
            cache_misses: 3,
            ..edge::Report::default()
        };
        world.engine.edge(world.us, report);
        world.tick();
    }
    let picture = world.engine.picture(false);
    let app = &picture.apps[0];
    assert_eq!(app.traffic.source, now::Source::Gateway);
    assert_eq!((app.traffic.rate, app.traffic.errors_5xx), (20.0, 5.0));
    assert_eq!(app.traffic.in_flight, 3);
    assert_eq!(app.endpoints[0].route, "/x");
    assert_eq!(app.workers[0].traffic.rate, 20.0);
    let gateway = picture.gateway.unwrap();
    assert_eq!(gateway.routes[0].app.as_deref(), Some("api"));
    assert_eq!(gateway.cache_hit_ratio, Some(0.25));
    // With reports of the preload, those count.
    world.report(0, report("/a", latencies([50; 7]), 0));
    world.tick();
    assert_eq!(world.app().traffic.source, now::Source::Agent);
    for _ in 0..20 {
        world.tick();
    }
    assert_eq!(world.engine.picture(false).gateway, None);
}

#[test]
fn utilization_is_corrected_for_waiting() {
    let mut world = World::new(1);
    // The second half is one long request: the preload cannot speak.
    for n in 0..32u64 {
        let reading = |value| Reading {
            at_us: n * 1_000_000,
            value: n * value,
        };
        let sample = Sample {
            cpu_us: reading(250_000),
            main_run_us: Some(reading(250_000)),
            main_wait_us: Some(reading(750_000)),
            memory_bytes: 5,
            ..Sample::default()
        };
        let mut busy = report("/a", latencies([50]), 0);
        busy.active_ms = 1_000.0;
        busy.idle_ms = 0.0;
        if n < 16 {
            world.report(0, busy);
        }
        world.tick_with(Samples {
            workers: [(10, sample)].into(),
            ..Samples::default()
        });
    }
    let app = world.app();
    assert_eq!(app.utilization, Some(0.25));
    assert_eq!(app.cpu_percent, 25.0);
    let totals = world.engine.totals().workers.values().next().unwrap();
    assert_eq!(totals.counts.cpu_us, 31 * 250_000);
}

#[test]
fn a_preload_that_falls_silent_is_behind_a_blocked_loop() {
    let mut world = World::new(1);
    world.report(0, report("/a", latencies([50]), 0));
    for _ in 0..8 {
        world.tick();
    }
    let lag = world.app().lag_max_us.unwrap();
    assert!((6_000_000..=8_000_000).contains(&lag), "{lag}");
}

#[test]
fn without_a_preload_pings_tell_the_lag() {
    let mut world = World::new(1);
    let mut state = state_of(1);
    state.apps[0].workers[0].ping_us = Some(2_500);
    world.engine.state(state);
    world.tick();
    assert_eq!(world.app().lag_max_us, Some(2_500));
}

#[test]
fn rows_for_the_store() {
    let mut world = World::new(2);
    let mut slots = Vec::new();
    for _ in 0..25 {
        world.report(0, report("/a", latencies([50; 4]), 1));
        let second = world.tick();
        let app = second
            .rows
            .iter()
            .find(|row| row.scope == Scope::App("api".into()));
        let app = app.unwrap();
        assert_eq!(app.latency.as_ref().unwrap().count(), 4);
        assert!(app.values.contains(&(Metric::Rate, 4.0)));
        slots.extend(second.slot);
    }
    assert_eq!(slots.len(), 2);
    let (start, rows) = &slots[1];
    assert_eq!(start % 10, 0);
    let endpoint = Scope::Endpoint("api".into(), "GET /a".into());
    let row = rows.iter().find(|row| row.scope == endpoint).unwrap();
    assert_eq!(row.latency.as_ref().unwrap().count(), 40);
    assert!(row.values.contains(&(Metric::Rate, 4.0)));
    let worker = Scope::Worker("api".into(), 0);
    let row = rows.iter().find(|row| row.scope == worker).unwrap();
    assert_eq!(row.latency.as_ref().unwrap().count(), 40);
}

#[test]
fn a_deleted_app_leaves_nothing() {
    let mut world = World::new(1);
    world.report(0, report("/a", latencies([50]), 0));
    world.tick();
    world.engine.state(State::default());
    world.tick();
    assert!(world.engine.picture(true).apps.is_empty());
    assert!(world.engine.totals().endpoints.is_empty());
}

#[test]
fn a_broken_part_is_told_once_an_app_and_shown_as_long_as_it_is() {
    let mut world = World::new(2);
    let broken = |why: &str| agent::Report {
        broken: vec![agent::Broken {
            part: "gc".into(),
            why: why.into(),
        }],
        ..report("/a", latencies([1]), 0)
    };
    for second in 0..3 {
        assert!(world.report(0, broken("TypeError: no")));
        assert!(world.report(1, broken("TypeError: no")));
        world.tick();
        let events = world.engine.take_events();
        assert_eq!(events.len(), usize::from(second == 0), "{events:?}");
        if let Some(event) = events.first() {
            assert_eq!(
                (event.kind.as_str(), event.worker),
                ("preload-broken", Some(0))
            );
            assert!(
                event
                    .text
                    .contains("garbage collections here: TypeError: no")
            );
        }
    }
    assert_eq!(
        world.engine.problems(),
        ["the preload of api cannot measure garbage collections in 2 of 2 workers: TypeError: no"]
    );
    for instance in 0..2 {
        world.report(instance, report("/a", latencies([1]), 0));
    }
    world.tick();
    assert!(world.engine.problems().is_empty());
}

#[test]
fn a_preload_that_never_speaks_or_stops_is_no_loop_that_stands_still() {
    let mut world = World::new(1);
    let mut state = state_of(1);
    state.apps[0].agent = true;
    state.apps[0].workers[0].state = "ready".into();
    world.engine.state(state);
    world.report(0, report("/a", latencies([1]), 0));
    world.tick();
    let from = Reporter {
        app: "api".into(),
        worker: 10,
        instance: 0,
    };
    world.engine.agent_ended(&from);
    for _ in 0..29 {
        world.tick();
    }
    assert!(world.engine.problems().is_empty());
    world.tick();
    let problems = world.engine.problems();
    assert!(
        problems[0].contains("the preload of api.0 reports nothing"),
        "{problems:?}"
    );
    let worker = world.app().workers.remove(0);
    assert!(!worker.agent && worker.lag_max_us.is_none(), "{worker:?}");
    world.report(0, report("/a", latencies([1]), 0));
    world.tick();
    assert!(world.engine.problems().is_empty());
}

#[test]
fn the_gateways_own_row_has_what_it_answers() {
    let mut world = World::new(1);
    let mut state = state_of(1);
    let mut own = state.apps[0].clone();
    own.name = GATEWAY.into();
    own.workers[0].id = 99;
    state.apps.push(own);
    world.engine.state(state);
    let mut rows = Vec::new();
    for _ in 0..10 {
        let route = |route: &str, app: Option<&str>| edge::Route {
            site: "s".into(),
            route: route.into(),
            app: app.map(str::to_owned),
            classes: [0, 8, 0, 0, 2],
            latency: latencies([700; 10]),
            ..edge::Route::default()
        };
        let report = edge::Report {
            routes: vec![route("/*", Some("api")), route("/files/*", None)],
            in_flight: 7,
            ..edge::Report::default()
        };
        world.engine.edge(world.us, report);
        rows = world.tick().rows;
    }
    let picture = world.engine.picture(true);
    let app = picture.apps.iter().find(|app| app.name == GATEWAY).unwrap();
    assert_eq!(app.traffic.source, now::Source::Gateway);
    assert_eq!((app.traffic.rate, app.traffic.errors_5xx), (20.0, 4.0));
    assert_eq!(app.traffic.in_flight, 7);
    assert_eq!(app.traffic.latency.unwrap().max_us, 700.0);
    assert_eq!(app.history.rate.last(), Some(&Some(20.0)));
    assert_eq!(app.workers[0].traffic.rate, 20.0);
    let names: Vec<&str> = app.endpoints.iter().map(|e| e.route.as_str()).collect();
    assert_eq!(names, ["/*", "/files/*"]);
    let row = rows
        .iter()
        .find(|row| row.scope == Scope::App(GATEWAY.into()));
    assert!(row.unwrap().values.contains(&(Metric::Rate, 20.0)));
    // What it passes on stays the other app's.
    let api = picture.apps.iter().find(|app| app.name == "api").unwrap();
    assert_eq!(api.traffic.rate, 10.0);
    // Idle is nothing a second; gone is not known.
    world.engine.edge(world.us, edge::Report::default());
    for _ in 0..12 {
        world.engine.edge(world.us, edge::Report::default());
        world.tick();
    }
    let rate = |world: &World| {
        let apps = world.engine.picture(false).apps;
        let own = apps.into_iter().find(|app| app.name == GATEWAY).unwrap();
        (own.traffic.source, own.traffic.rate)
    };
    assert_eq!(rate(&world), (now::Source::Gateway, 0.0));
    for _ in 0..20 {
        world.tick();
    }
    assert_eq!(rate(&world).0, now::Source::None);
}
