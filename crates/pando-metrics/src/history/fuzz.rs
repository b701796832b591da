//! For the fuzzer: bytes as a damaged store hands them back, in any order, between seconds of any
//! time.

use monitor_spec::ask::Query;
use monitor_spec::metric::Metric;

use super::batch::Batch;
use super::block::{Block, SAMPLES_MAX};
use super::points::{Plan, Points, wants};
use super::{History, Write};
use crate::row::{Row, Scope, Second};

const BASE_S: i64 = 1_800_000_000;
const STEPS_MAX: usize = 64;

pub fn fuzz(mut data: &[u8]) {
    block(data);
    let mut history = History::default();
    let mut now_s = BASE_S;
    for _ in 0..STEPS_MAX {
        let [what, a, b, rest @ ..] = data else { break };
        let number = i64::from(i16::from_le_bytes([*a, *b]));
        data = rest;
        match what % 5 {
            0 => {
                let (piece, rest) = data.split_at(data.len().min(number.unsigned_abs() as usize));
                data = rest;
                check(history.restore_batch(&Batch::decode(piece)));
            }
            1 => {
                let (piece, rest) = data.split_at(data.len().min(number.unsigned_abs() as usize));
                data = rest;
                let start_s = (now_s / 600 - i64::from(*a % 8)) * 600;
                history.restore_block(app(), start_s, piece.into());
            }
            2 => {
                now_s += number;
                history
                    .add(&second(now_s))
                    .into_iter()
                    .for_each(|w| check(Some(w)));
            }
            3 => {
                for _ in 0..number.unsigned_abs() % 700 {
                    now_s += 1;
                    history
                        .add(&second(now_s))
                        .into_iter()
                        .for_each(|w| check(Some(w)));
                }
            }
            _ => ask(&history, now_s, number),
        }
    }
    ask(&history, now_s, 600);
    check(history.turn_batch());
    check(history.close());
}

/// What is read back is bounded, and is read again as it is written.
fn block(data: &[u8]) {
    let Some(block) = Block::decode(data, |_| true, true) else {
        return;
    };
    assert!(
        block
            .values
            .values()
            .all(|column| column.len() <= SAMPLES_MAX)
    );
    let bytes = block.encode();
    let again = Block::decode(&bytes, |_| true, true);
    assert!(again.is_some_and(|again| again.encode() == bytes));
    let mut other = block.fold(10);
    other.overlay(SAMPLES_MAX / 2, &block);
    assert!(
        other
            .values
            .values()
            .all(|column| column.len() <= SAMPLES_MAX)
    );
    assert!(Block::decode(&other.encode(), |_| true, true).is_some());
}

/// Nothing is written that cannot be read.
fn check(write: Option<Write>) {
    match write {
        Some(Write::Batch { start_s, bytes }) => {
            assert_eq!(Batch::decode(&bytes).start_s(), start_s);
        }
        Some(Write::Chapter { blocks, .. }) => {
            for stored in blocks {
                assert!(Block::decode(&stored.bytes, |_| true, true).is_some());
                assert!(stored.place < SAMPLES_MAX);
            }
        }
        None => {}
    }
}

fn app() -> Scope {
    Scope::App("a".into())
}

fn second(time_s: i64) -> Second {
    let mut row = Row::new(app());
    row.set(Metric::Rate, time_s as f64);
    Second {
        time_s,
        rows: vec![row],
        slot: None,
    }
}

fn ask(history: &History, now_s: i64, span_s: i64) {
    for metric in [Metric::Rate, Metric::LatencyP95] {
        let query = Query {
            metric,
            app: "a".into(),
            worker: None,
            endpoint: None,
            by_worker: false,
            from_ms: (now_s - span_s.abs()).saturating_mul(1_000),
            to_ms: now_s.saturating_mul(1_000),
            points: 50,
        };
        let plan = Plan::new(&query, now_s, false);
        let mut points = Points::new(plan, metric);
        for (tier, start_s, bytes) in history.hot(&app()) {
            if let Some(block) = Block::decode(&bytes, wants(metric), true) {
                points.add(tier, start_s, &block, i64::MIN..i64::MAX);
            }
        }
        assert!(points.finish().len() <= 60);
    }
}
