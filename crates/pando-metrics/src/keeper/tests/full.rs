//! Disks without room, and clocks that jump.

use super::super::lost::Lost;
use super::*;

fn limit(keeper: &Keeper, pages: Option<u32>) {
    ask(keeper, move |store| {
        store.unwrap().limit_pages(pages).unwrap();
    });
}

fn event(time_s: i64) -> Event {
    Event {
        time_ms: time_s * 1_000,
        app: "api".into(),
        worker: None,
        kind: "ready".into(),
        text: "it is".repeat(20),
    }
}

fn kept_events(keeper: &Keeper, to_s: i64) -> usize {
    let events = ask(keeper, move |store| {
        let store = store.unwrap();
        store.events("api", 0, to_s * 1_000).unwrap()
    });
    events.len()
}

/// What was ordered is done; what is only in memory is lost.
fn kill(keeper: Keeper) {
    ask(&keeper, |_| ());
}

/// Rates of the whole time, as one that begins anew finds them on disk.
fn found(dir: &std::path::Path, now_s: i64) -> usize {
    let keeper = Keeper::open(dir, now_s);
    let rate = series(&keeper, Metric::Rate, BEGIN_S, now_s, 0);
    rate.values.iter().flatten().count()
}

#[test]
fn a_full_disk_is_said_until_it_has_room_and_costs_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut keeper = Keeper::open(dir.path(), BEGIN_S);
    fill(&mut keeper, BEGIN_S..BEGIN_S + 30);
    limit(&keeper, Some(1));
    let mut first = Vec::new();
    for n in 1..150 {
        let time_s = BEGIN_S + 20 + n * 10;
        fill(&mut keeper, time_s..time_s + 10);
        keeper.event(&event(time_s));
        ask(&keeper, |_| ());
        let problems = keeper.problems();
        if first.is_empty() {
            first.clone_from(&problems);
        }
        // Once said it stays.
        assert_eq!(problems, first, "after {n} batches");
    }
    let path = dir.path().join("history.db").display().to_string();
    for word in ["since 2", &path, "disk is full", "memory only", "Make room"] {
        assert!(first[0].contains(word), "{word}: {first:?}");
    }
    limit(&keeper, None);
    let now_s = BEGIN_S + 1_600;
    fill(&mut keeper, BEGIN_S + 1_520..now_s);
    ask(&keeper, |_| ());
    assert_eq!(keeper.problems(), Vec::<String>::new());
    let news = keeper.take_news();
    let kinds: Vec<&str> = news.iter().map(|e| e.kind.as_str()).collect();
    assert_eq!(kinds, ["store-failing", "store-well"]);
    assert!(news[1].text.contains("nothing was lost"), "{news:?}");
    assert_eq!(kept_events(&keeper, now_s), 149);
    kill(keeper);
    assert_eq!(found(dir.path(), now_s), 1_600);
}

#[test]
fn what_a_full_disk_costs_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let mut keeper = Keeper::open(dir.path(), BEGIN_S);
    fill(&mut keeper, BEGIN_S..BEGIN_S + 30);
    limit(&keeper, Some(1));
    // Sixteen chapters wait; the first three of nineteen go, and events above a thousand.
    let now_s = BEGIN_S + 19 * 600 + 10;
    fill(&mut keeper, BEGIN_S + 30..now_s);
    for n in 0..1_007 {
        keeper.event(&event(now_s));
        if n % 100 == 0 {
            ask(&keeper, |_| ());
        }
    }
    ask(&keeper, |_| ());
    let problems = keeper.problems();
    assert!(
        problems[0].contains("so far lost: histories between"),
        "{problems:?}"
    );
    limit(&keeper, None);
    fill(&mut keeper, now_s..now_s + 60);
    ask(&keeper, |_| ());
    assert_eq!(keeper.problems(), Vec::<String>::new());
    let news = keeper.take_news();
    let text = &news.last().unwrap().text;
    let span = Lost::between(BEGIN_S, BEGIN_S + 1_800);
    assert!(text.contains(&span) && text.contains("7 events"), "{text}");
}

#[test]
fn a_disk_that_comes_late_keeps_what_was_there() {
    let dir = tempfile::tempdir().unwrap();
    let (metrics, away) = (dir.path().join("metrics"), dir.path().join("away"));
    let mut keeper = Keeper::open(&metrics, BEGIN_S);
    fill(&mut keeper, BEGIN_S..BEGIN_S + 340);
    kill(keeper);
    // Its place cannot be used when the next one begins: nobody, root included, writes below a file.
    std::fs::rename(&metrics, &away).unwrap();
    std::fs::write(&metrics, "").unwrap();
    let mut keeper = Keeper::open(&metrics, BEGIN_S + 350);
    fill(&mut keeper, BEGIN_S + 350..BEGIN_S + 500);
    ask(&keeper, |_| ());
    assert!(keeper.problems()[0].contains("memory only"));
    std::fs::remove_file(&metrics).unwrap();
    std::fs::rename(&away, &metrics).unwrap();
    fill(&mut keeper, BEGIN_S + 500..BEGIN_S + 700);
    ask(&keeper, |_| ());
    assert_eq!(keeper.problems(), Vec::<String>::new());
    kill(keeper);
    assert_eq!(found(&metrics, BEGIN_S + 700), 690);
}

#[test]
fn a_wrong_clock_throws_nothing_away() {
    let dir = tempfile::tempdir().unwrap();
    let now_s = BEGIN_S + 3 * 3_600;
    let mut keeper = Keeper::open(dir.path(), BEGIN_S);
    fill(&mut keeper, BEGIN_S..now_s);
    // Ten years on for a while, and back.
    let wrong_s = now_s + 10 * 365 * 86_400;
    keeper.clock_jumped();
    fill(&mut keeper, wrong_s..wrong_s + 1_300);
    keeper.clock_jumped();
    let back_s = now_s + 1_300;
    fill(&mut keeper, back_s..back_s + 700);
    let end_s = back_s + 700;
    let known = |keeper: &Keeper, from_s, points| {
        let rate = series(keeper, Metric::Rate, from_s, end_s, points);
        (rate.values.iter().flatten().count(), rate.step_ms / 1_000)
    };
    let (count, step_s) = known(&keeper, BEGIN_S, 180);
    let all = (end_s - BEGIN_S - 1_300) / step_s;
    assert!(count as i64 >= all - 2, "{count} points of {step_s} s");
    // What was measured since is there at once, from memory.
    assert_eq!(known(&keeper, back_s, 0), (700, 1));
    kill(keeper);
    let keeper = Keeper::open(dir.path(), end_s);
    assert_eq!(known(&keeper, back_s, 0), (700, 1));
}

#[test]
fn a_clock_that_is_wrong_at_the_start_costs_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let now_s = BEGIN_S + 940;
    let mut keeper = Keeper::open(dir.path(), BEGIN_S);
    fill(&mut keeper, BEGIN_S..now_s);
    kill(keeper);
    // The machine begins at the start of a year, until it has asked what time it is.
    let wrong_s = BEGIN_S - 100 * 86_400;
    let mut keeper = Keeper::open(dir.path(), wrong_s);
    fill(&mut keeper, wrong_s..wrong_s + 40);
    keeper.clock_jumped();
    fill(&mut keeper, now_s + 60..now_s + 700);
    kill(keeper);
    let keeper = Keeper::open(dir.path(), now_s + 700);
    let rate = series(&keeper, Metric::Rate, BEGIN_S, now_s + 700, 0);
    let gaps: Vec<usize> = (0..rate.values.len())
        .filter(|n| rate.values[*n].is_none())
        .collect();
    assert_eq!(gaps, Vec::from_iter(940..1_000));
}
