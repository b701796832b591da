use std::sync::mpsc::channel;

use monitor_spec::ask::{Query, Series};
use monitor_spec::metric::Metric;

use super::*;
use crate::answers::{EndpointsRead, SeriesRead};
use crate::row::{Row, Scope};

const DISK_BYTES: u64 = 200 << 20;
/// The start of a chapter.
const BEGIN_S: i64 = 1_800_000_000;

fn second(time_s: i64) -> Second {
    let mut app = Row::new(Scope::App("api".into()));
    app.set(Metric::Rate, (time_s % 100) as f64);
    let mut latency = histogram::Histogram::new();
    latency.record(u64::try_from(time_s % 50).unwrap() * 100);
    app.latency = Some(latency.clone());
    let slot = (time_s % 10 == 9).then(|| {
        let mut endpoint = Row::new(Scope::Endpoint("api".into(), "GET /a".into()));
        latency.record_many(1_000, 9);
        endpoint.set(Metric::Rate, 1.0).set(Metric::Errors5xx, 0.2);
        endpoint.latency = Some(latency);
        (time_s - 9, vec![endpoint])
    });
    Second {
        time_s,
        rows: vec![app],
        slot,
    }
}

fn ask<T: Send + 'static>(
    keeper: &Keeper,
    read: impl FnOnce(Option<&Store>) -> T + Send + 'static,
) -> T {
    let (sender, receiver) = channel();
    keeper.read(move |store| sender.send(read(store.unwrap())).unwrap());
    receiver.recv().unwrap()
}

fn series(keeper: &Keeper, metric: Metric, from_s: i64, now_s: i64, points: u32) -> Series {
    let query = Query {
        metric,
        app: "api".into(),
        worker: None,
        endpoint: None,
        by_worker: false,
        from_ms: from_s * 1_000,
        to_ms: now_s * 1_000,
        points,
    };
    let read = SeriesRead::new(&query, &keeper.history, now_s);
    let mut all = ask(keeper, move |store| read.answer(store)).unwrap();
    all.pop().unwrap()
}

fn fill(keeper: &mut Keeper, span: std::ops::Range<i64>) {
    for time_s in span {
        keeper.add(&second(time_s), DISK_BYTES);
        if time_s % 100 == 0 {
            // The queue is bounded and this is faster than a second a second.
            ask(keeper, |_| ());
        }
    }
}

#[test]
fn a_restart_forgets_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let now_s = BEGIN_S + 1_450;
    let mut keeper = Keeper::open(dir.path(), BEGIN_S);
    fill(&mut keeper, BEGIN_S..now_s);
    let before = series(&keeper, Metric::Rate, BEGIN_S, now_s, 0);
    assert_eq!(before.values.len(), 1_450);
    assert!(before.values.iter().all(Option::is_some));
    let latency = series(&keeper, Metric::LatencyP95, BEGIN_S, now_s, 10);
    // Killed: what is younger than the last batch is lost, here nothing.
    drop(keeper);
    let keeper = Keeper::open(dir.path(), now_s);
    assert_eq!(series(&keeper, Metric::Rate, BEGIN_S, now_s, 0), before);
    let again = series(&keeper, Metric::LatencyP95, BEGIN_S, now_s, 10);
    assert_eq!(again, latency);
    assert_eq!(keeper.problems(), Vec::<String>::new());
}

#[test]
fn a_store_that_was_deleted_is_begun_anew_and_said() {
    let dir = tempfile::tempdir().unwrap();
    let mut keeper = Keeper::open(dir.path(), BEGIN_S);
    fill(&mut keeper, BEGIN_S..BEGIN_S + 700);
    ask(&keeper, |_| ());
    let path = crate::store::path(dir.path());
    std::fs::remove_file(&path).unwrap();
    let now_s = BEGIN_S + 1_300;
    fill(&mut keeper, BEGIN_S + 700..now_s);
    let kinds: Vec<String> = keeper.take_news().into_iter().map(|e| e.kind).collect();
    assert_eq!(kinds, ["store-gone"]);
    assert_eq!(keeper.problems(), Vec::<String>::new());
    keeper.end();
    // The chapter that was open then has what was in memory of it.
    let keeper = Keeper::open(dir.path(), now_s);
    let rate = series(&keeper, Metric::Rate, BEGIN_S, now_s, 0);
    assert_eq!(rate.values.len(), 1_300);
    assert!(rate.values[600..].iter().all(Option::is_some), "{rate:?}");
}

#[test]
fn what_is_old_comes_from_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let now_s = BEGIN_S + 3 * 3_600;
    let mut keeper = Keeper::open(dir.path(), BEGIN_S);
    fill(&mut keeper, BEGIN_S..now_s);
    assert!(keeper.history.hot_from_s().unwrap() > BEGIN_S);
    let rate = series(&keeper, Metric::Rate, BEGIN_S, now_s, 180);
    assert_eq!(rate.values.len(), 180);
    for value in &rate.values {
        let value = value.unwrap();
        assert!((value - 49.5).abs() < 21.0, "{value}");
    }
    let read = EndpointsRead::new(
        "api".into(),
        (BEGIN_S * 1_000, i64::MAX),
        monitor_spec::now::Source::Agent,
        &keeper.history,
        now_s,
    );
    let rows = ask(&keeper, move |store| read.answer(store)).unwrap();
    assert_eq!(rows.len(), 1);
    let (row, slots) = (&rows[0], 3 * 360);
    assert_eq!((row.method.as_str(), row.route.as_str()), ("GET", "/a"));
    assert_eq!(row.requests, slots * 10);
    let seconds = row.requests as f64 / row.traffic.rate;
    assert_eq!((row.traffic.errors_5xx * seconds).round() as u64, slots * 2);
}

#[test]
fn a_damaged_store_is_kept_aside_and_said() {
    for garbage in [
        b"this is no database, whatever its name may be. ".repeat(100),
        Vec::from(*b"SQLite format 3\0 but no more of it"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("history.db"), garbage).unwrap();
        let mut keeper = Keeper::open(dir.path(), BEGIN_S);
        let problems = keeper.problems();
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].contains("damaged"), "{problems:?}");
        assert!(dir.path().join("history.db.damaged-1").exists());
        fill(&mut keeper, BEGIN_S..BEGIN_S + 30);
        let rate = series(&keeper, Metric::Rate, BEGIN_S, BEGIN_S + 30, 0);
        assert_eq!(rate.values.iter().flatten().count(), 30);
    }
}

#[test]
fn damage_in_the_middle_is_noticed_when_it_is_met() {
    let dir = tempfile::tempdir().unwrap();
    let mut keeper = Keeper::open(dir.path(), BEGIN_S);
    fill(&mut keeper, BEGIN_S..BEGIN_S + 4_000);
    keeper.end();
    let path = dir.path().join("history.db");
    let mut bytes = std::fs::read(&path).unwrap();
    for byte in bytes.iter_mut().skip(4_096) {
        *byte = 0x5a;
    }
    std::fs::write(&path, bytes).unwrap();
    let mut keeper = Keeper::open(dir.path(), BEGIN_S + 4_000);
    fill(&mut keeper, BEGIN_S + 4_000..BEGIN_S + 4_700);
    ask(&keeper, |_| ());
    assert!(dir.path().join("history.db.damaged-1").exists());
    let problems = keeper.problems();
    assert!(problems[0].contains("since 2"), "{problems:?}");
    // It stays, whatever is written into the new one, until somebody has seen to the old one.
    fill(&mut keeper, BEGIN_S + 4_700..BEGIN_S + 6_000);
    ask(&keeper, |_| ());
    assert_eq!(keeper.problems(), problems);
    let kinds: Vec<String> = keeper.take_news().into_iter().map(|e| e.kind).collect();
    assert_eq!(kinds, ["store-damaged"]);
    std::fs::remove_file(dir.path().join("history.db.damaged-1")).unwrap();
    fill(&mut keeper, BEGIN_S + 6_000..BEGIN_S + 6_020);
    ask(&keeper, |_| ());
    assert_eq!(keeper.problems(), Vec::<String>::new());
}

#[test]
fn without_a_disk_memory_goes_on_and_it_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let blocked = dir.path().join("metrics");
    // A file where the directory should be: nobody, root included, can write below it.
    std::fs::write(&blocked, "").unwrap();
    let mut keeper = Keeper::open(&blocked, BEGIN_S);
    assert!(keeper.problems()[0].contains("memory only"));
    fill(&mut keeper, BEGIN_S..BEGIN_S + 700);
    let rate = series(&keeper, Metric::Rate, BEGIN_S, BEGIN_S + 700, 0);
    assert_eq!(rate.values.iter().flatten().count(), 700);
}

#[test]
fn the_size_is_bounded_and_the_finest_goes_first() {
    let dir = tempfile::tempdir().unwrap();
    let now_s = BEGIN_S + 6 * 3_600;
    let mut keeper = Keeper::open(dir.path(), BEGIN_S);
    fill(&mut keeper, BEGIN_S..now_s);
    ask(&keeper, move |store| {
        let store = store.unwrap();
        let bound = store.used_bytes().unwrap() * 6 / 10;
        store.trim(now_s, bound).unwrap();
        assert!(store.used_bytes().unwrap() <= bound);
        let scope = Scope::App("api".into());
        let count = |tier| store.blocks(tier, &scope, 0..i64::MAX).unwrap().len();
        use crate::history::tier::Tier;
        assert_eq!(count(Tier::Seconds), 0);
        assert!(count(Tier::Minutes) > 0);
    });
}

#[test]
fn a_question_that_finds_no_room_is_answered_so() {
    let dir = tempfile::tempdir().unwrap();
    let keeper = Keeper::open(dir.path(), BEGIN_S);
    let ((go, wait), (busy, is_busy)) = (channel::<()>(), channel());
    keeper.read(move |_| {
        busy.send(()).unwrap();
        wait.recv().unwrap();
    });
    is_busy.recv().unwrap();
    let (sender, answers) = channel();
    for _ in 0..=QUEUE_MAX {
        let sender = sender.clone();
        keeper.read(move |store| sender.send(store.is_ok()).unwrap());
    }
    drop(sender);
    assert!(!answers.try_recv().unwrap(), "one too many is told at once");
    go.send(()).unwrap();
    let rest: Vec<bool> = answers.iter().collect();
    assert_eq!(rest, vec![true; QUEUE_MAX]);
}

#[test]
fn events_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let mut keeper = Keeper::open(dir.path(), BEGIN_S);
    for (time_ms, app) in [(5, "api"), (7, "web"), (9, "api")] {
        keeper.event(&Event {
            time_ms,
            app: app.into(),
            worker: None,
            kind: "ready".into(),
            text: "it is".into(),
        });
    }
    keeper.end();
    let keeper = Keeper::open(dir.path(), BEGIN_S);
    let times = |app: &'static str, from, to| {
        ask(&keeper, move |store| {
            let events = store.unwrap().events(app, from, to).unwrap();
            events.iter().map(|e| e.time_ms).collect::<Vec<_>>()
        })
    };
    assert_eq!(times("", 0, 100), [5, 7, 9]);
    assert_eq!(times("api", 6, 100), [9]);
}

mod full;
