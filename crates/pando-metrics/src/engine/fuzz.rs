//! For the fuzzer: texts of a worker that lies, a line a report, through the engine to the
//! exposition.

use std::collections::BTreeMap;

use monitor_spec::agent;
use monitor_spec::state::{self, State};

use super::samples::Samples;
use super::{Engine, Moment, Reporter};
use crate::exposition::{self, Format};
use crate::family::Picture;

const LINES_MAX: usize = 200;

pub fn fuzz(data: &[u8]) {
    let at = Moment {
        time_ms: 1_800_000_000_000,
        us: 0,
        seconds: 1.0,
    };
    let mut engine = Engine::new(at, "1");
    engine.state(state());
    let from = Reporter {
        app: "api".into(),
        worker: 1,
        instance: 0,
    };
    let mut us = 0;
    let mut counted = BTreeMap::new();
    for (n, line) in data
        .split(|byte| *byte == b'\n')
        .take(LINES_MAX)
        .enumerate()
    {
        if let Ok(report) = agent::parse(line) {
            engine.report(us, &from, Some(report));
        }
        // Some lines share a second; a long pause lets rows make room.
        us += if line.len().is_multiple_of(3) {
            0
        } else {
            1_000_000
        };
        us += if line.is_empty() {
            super::room::IDLE_US
        } else {
            0
        };
        let time_ms = at.time_ms + i64::try_from(n).unwrap_or(0) * 1_000;
        let second = engine.tick(time_ms, us, Samples::default());
        for row in second.rows {
            assert!(row.values.iter().all(|(_, value)| value.is_finite()));
        }
        counted = grows(&engine, &counted);
    }
    let now = engine.picture(true);
    let picture = Picture {
        now: &now,
        totals: engine.totals(),
        restarts: &BTreeMap::new(),
    };
    let text = exposition::text(&picture, Format::OpenMetrics);
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let value = line
            .rsplit_once(' ')
            .and_then(|(_, value)| value.parse().ok());
        assert!(value.is_some_and(f64::is_finite), "{line}");
    }
}

fn state() -> State {
    State {
        apps: vec![state::App {
            name: "api".into(),
            workers: vec![state::Worker {
                id: 1,
                pid: Some(1),
                ..state::Worker::default()
            }],
            ..state::App::default()
        }],
        ..State::default()
    }
}

type Counted = BTreeMap<(String, String, i64), u64>;

/// A row that is the same one has at least what it had.
fn grows(engine: &Engine, before: &Counted) -> Counted {
    let rows = engine.totals().endpoints.iter();
    let now: Counted = rows
        .map(|(key, row)| {
            let name = (key.method.clone(), key.route.clone(), row.since_ms);
            (name, row.counts.requests())
        })
        .collect();
    for (name, count) in &now {
        assert!(before.get(name).is_none_or(|known| known <= count));
    }
    now
}
