use histogram::Histogram;
use monitor_spec::ask::Query;
use monitor_spec::metric::Metric;
use proptest::prelude::*;

use super::points::{Plan, Points, wants};
use super::*;
use crate::row::Row;

const START_S: i64 = 1_700_000_400;

fn app() -> Scope {
    Scope::App("api".into())
}

fn second(time_s: i64, cpu: f64, latencies: &[u64]) -> Second {
    let mut row = Row::new(app());
    row.set(Metric::Cpu, cpu).set(Metric::LagMax, cpu);
    let mut latency = Histogram::new();
    latencies.iter().for_each(|value| latency.record(*value));
    row.latency = Some(latency);
    Second {
        time_s,
        rows: vec![row],
        slot: None,
    }
}

fn ask(history: &History, metric: Metric, from_s: i64, to_s: i64, points: u32) -> Vec<Option<f64>> {
    let query = Query {
        metric,
        app: "api".into(),
        worker: None,
        endpoint: None,
        by_worker: false,
        from_ms: from_s * 1_000,
        to_ms: to_s * 1_000,
        points,
    };
    let plan = Plan::new(&query, to_s, false);
    let mut points = Points::new(plan, metric);
    for (tier, start_s, bytes) in history.hot(&app()) {
        let block = Block::decode(&bytes, wants(metric), true).unwrap();
        points.add(tier, start_s, &block, i64::MIN..i64::MAX);
    }
    points.finish()
}

#[test]
fn the_last_hour_is_in_memory() {
    let mut history = History::default();
    let mut batches = 0;
    let mut chapters = 0;
    for n in 0..5_000 {
        for write in history.add(&second(START_S + n, n as f64, &[n as u64])) {
            match write {
                Write::Batch { .. } => batches += 1,
                Write::Chapter { blocks, .. } => {
                    chapters += 1;
                    let tiers: Vec<Tier> = blocks.iter().map(|b| b.tier).collect();
                    assert_eq!(tiers, Tier::ALL);
                }
            }
        }
    }
    assert_eq!((batches, chapters), (500, 8));
    let end = START_S + 5_000;
    let all = ask(&history, Metric::Cpu, end - 3_600, end, 0);
    assert_eq!(all.len(), 3_600);
    assert_eq!((all[0], all[3_599]), (Some(1_400.0), Some(4_999.0)));
    assert!(all.iter().all(Option::is_some));
    // A clock that stands still, or goes back a little, brings nothing new.
    assert!(history.add(&second(START_S + 4_990, 0.0, &[])).is_empty());
    assert_eq!(ask(&history, Metric::Cpu, end - 1, end, 0), [Some(4_999.0)]);
}

#[test]
fn a_restart_goes_on_where_the_journal_ends() {
    let mut before = History::default();
    let mut journal = Vec::new();
    let mut stored = Vec::new();
    for n in 0..1_505 {
        for write in before.add(&second(START_S + n, n as f64, &[5])) {
            match write {
                Write::Batch { bytes, .. } => journal.push(bytes),
                Write::Chapter { blocks, start_s } => {
                    journal.retain(|bytes| Batch::decode(bytes).start_s() >= start_s + CHAPTER_S);
                    stored.extend(blocks);
                }
            }
        }
    }
    let mut after = History::default();
    for block in stored.iter().filter(|block| block.tier == Tier::Seconds) {
        let scope = Scope::from_key(&block.scope).unwrap();
        after.restore_block(scope, block.start_s, Arc::clone(&block.bytes));
    }
    for bytes in &journal {
        assert!(after.restore_batch(&Batch::decode(bytes)).is_none());
    }
    after.add(&second(START_S + 1_520, 1.0, &[5]));
    let all = ask(&after, Metric::Cpu, START_S, START_S + 1_521, 0);
    // Five seconds had not been written, and fifteen passed.
    assert_eq!(all.iter().filter(|value| value.is_some()).count(), 1_501);
    assert_eq!((all[1_499], all[1_500]), (Some(1_499.0), None));
    // A journal of a chapter that is long over becomes its blocks.
    let mut later = History::default();
    for bytes in &journal {
        later.restore_batch(&Batch::decode(bytes));
    }
    let writes = later.add(&second(START_S + 50_000, 1.0, &[]));
    assert!(
        matches!(writes.as_slice(), [Write::Chapter { .. }]),
        "{writes:?}"
    );
}

#[test]
fn a_clock_that_is_set_back_hides_nothing() {
    let mut history = History::default();
    // 1200 seconds, then an hour ahead for a quarter, then back by what the clock was wrong.
    let mut add = |from: i64, count: i64| {
        for n in from..from + count {
            history.add(&second(START_S + n, n as f64, &[]));
        }
        history.hot_from_s()
    };
    assert_eq!(add(0, 1_200), Some(START_S));
    add(4_800, 900);
    assert_eq!(add(1_200, 900), Some(START_S));
    // Back by more than is waited for, into a chapter that is over.
    assert_eq!(add(1_500, 700), Some(START_S));
    let all = ask(&history, Metric::Cpu, START_S, START_S + 2_200, 0);
    let gaps = all.iter().filter(|value| value.is_none()).count();
    assert_eq!((all.len(), gaps), (2_200, 0));
}

#[test]
fn memory_is_bounded_for_500_series() {
    let mut history = History::default();
    for n in 0..4_200i64 {
        let rows = (0..25u32).map(|worker| {
            let mut row = Row::new(Scope::Worker("api".into(), worker));
            for (m, metric) in Metric::ALL.iter().take(20).enumerate() {
                let value = ((n * 7 + i64::from(worker)) * (m as i64 + 3)) % 1_009;
                row.set(*metric, value as f64);
            }
            row
        });
        let rows = rows.collect();
        history.add(&Second {
            time_s: START_S + n,
            rows,
            slot: None,
        });
    }
    let closed: usize = history.closed.iter().map(|chapter| chapter.bytes).sum();
    let open = history
        .open
        .values()
        .flat_map(|block| block.values.values());
    let open: usize = open.map(|column| column.capacity() * 4).sum();
    let bytes = closed + open;
    // 500 series of an hour at four bytes a sample are 7.2 MB; the open chapter is more.
    assert!(bytes < 11_000_000, "{bytes}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn percentiles_over_any_span_are_of_all_its_requests(
        latencies in proptest::collection::vec(
            proptest::collection::vec(1u64..3_000_000, 0..20), 700..900),
        from in 0i64..300, length in 1i64..600,
    ) {
        let mut history = History::default();
        for (n, values) in latencies.iter().enumerate() {
            history.add(&second(START_S + n as i64, 1.0, values));
        }
        let to = from + length;
        let got = ask(&history, Metric::LatencyP95, START_S + from, START_S + to, 1);
        // The one point begins at a whole step.
        let step = i64::try_from(got.len()).unwrap();
        prop_assert!(step <= 2);
        let plan_from = |step: i64| (START_S + from).div_euclid(step) * step - START_S;
        let tier = if length >= 60 { 60 } else if length >= 10 { 10 } else { 1 };
        let step = (length + tier - 1) / tier * tier;
        let first = plan_from(step);
        let mut exact: Vec<u64> = (first.max(0)..(first + step).min(to))
            .flat_map(|n| latencies[n as usize].clone())
            .collect();
        exact.sort_unstable();
        match got[0] {
            None => prop_assert!(exact.is_empty()),
            Some(got) => {
                let rank = ((0.95 * exact.len() as f64).ceil() as usize).clamp(1, exact.len());
                let exact = exact[rank - 1] as f64;
                prop_assert!((got - exact).abs() <= exact * 0.016, "{got} for {exact}");
            }
        }
    }
}
