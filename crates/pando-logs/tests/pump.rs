//! The pump with real pipes: lines, pieces, ends.

#![expect(
    clippy::unwrap_used,
    reason = "a test's plain functions may fail by panicking too"
)]

mod support;

use std::io::Write;
use std::time::Duration;

use pando_logs::{Line, MAX_LINE_BYTES, Notice, SourceId, join};
use proptest::prelude::*;
use support::{all, attach_new, files, start, texts, wait_finished, wait_for};

#[test]
fn whole_lines_come_at_once_and_a_partial_one_when_it_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    let (pump, notices) = start(dir.path());
    let mut worker = attach_new(&pump, 1, "a");
    worker.write_all(b"one\ntwo\nthr").unwrap();
    pump.flush();
    assert_eq!(texts(&all("a", dir.path())), ["one", "two"]);
    worker.write_all(b"ee\n").unwrap();
    wait_for("the third line", || all("a", dir.path()).len() == 3);
    worker.write_all(b"the end").unwrap();
    drop(worker);
    wait_finished(&notices, 1);
    assert_eq!(
        texts(&all("a", dir.path())),
        ["one", "two", "three", "the end"]
    );
    assert_eq!(
        pump.recent_errors(SourceId(1)),
        ["one", "two", "three", "the end"]
    );
    assert!(all("a", dir.path()).iter().all(|line| !line.continues));
    pump.stop();
}

#[test]
fn finish_does_not_wait_for_a_grandchild_that_holds_the_pipe() {
    let dir = tempfile::tempdir().unwrap();
    let (pump, notices) = start(dir.path());
    let mut worker = attach_new(&pump, 7, "a");
    let mut lines: String = (0..20_000).map(|n| format!("line {n}\n")).collect();
    lines.push_str("no newline");
    worker.write_all(lines.as_bytes()).unwrap();
    pump.finish(SourceId(7));
    wait_finished(&notices, 7);
    let found = all("a", dir.path());
    assert_eq!(found.len(), 20_001);
    assert_eq!(texts(&found).last().map(String::as_str), Some("no newline"));
    assert_eq!(pump.recent_errors(SourceId(7)).len(), 40);
    drop(worker);
    pump.flush();
    let finished = notices
        .lock()
        .unwrap()
        .iter()
        .filter(|n| **n == Notice::Finished(SourceId(7)))
        .count();
    assert_eq!(finished, 1);
}

#[test]
fn a_full_pipe_is_read_to_its_end_without_another_write() {
    let dir = tempfile::tempdir().unwrap();
    let (read, write) = rustix::pipe::pipe().unwrap();
    rustix::pipe::fcntl_setpipe_size(&write, 1 << 20).unwrap();
    let lines = 400_000 / 2;
    std::fs::File::from(write.try_clone().unwrap())
        .write_all(&b"x\n".repeat(lines))
        .unwrap();
    let (pump, _) = start(dir.path());
    pump.attach(
        SourceId(1),
        support::label("a", 0, pando_logs::Stream::Out),
        read,
    );
    let began = std::time::Instant::now();
    let path = dir.path().join("a.log");
    let whole = (lines * "2026-11-21T03:44:00.123Z 0 out x\n".len()) as u64;
    wait_for("all lines", || {
        std::fs::metadata(&path).is_ok_and(|meta| meta.len() == whole)
    });
    assert!(
        began.elapsed() < Duration::from_secs(4),
        "not by the timer of partial lines"
    );
    drop(write);
}

#[test]
fn a_partial_line_does_not_spin() {
    let dir = tempfile::tempdir().unwrap();
    let (pump, _) = start(dir.path());
    let mut worker = attach_new(&pump, 1, "a");
    worker.write_all(&[b'x'; 10_000]).unwrap();
    std::thread::sleep(Duration::from_millis(50));
    let before = cpu_ticks();
    std::thread::sleep(Duration::from_millis(500));
    let spent = cpu_ticks() - before;
    assert!(spent <= 15, "{spent} ticks of 10 ms within 500 ms");
    assert!(all("a", dir.path()).is_empty());
}

/// User and system time of the pump's threads; all tests' of this process, so a generous bound.
fn cpu_ticks() -> u64 {
    let stat = std::fs::read_dir("/proc/self/task")
        .unwrap()
        .filter_map(|task| {
            let stat = std::fs::read_to_string(task.ok()?.path().join("stat")).ok()?;
            let (head, tail) = stat.rsplit_once(')')?;
            let fields: Vec<&str> = tail.split_whitespace().collect();
            let ticks = fields[11].parse::<u64>().ok()? + fields[12].parse::<u64>().ok()?;
            head.contains("log-pump").then_some(ticks)
        });
    stat.min().unwrap_or(0)
}

#[test]
fn an_invalid_name_is_refused_aloud() {
    let dir = tempfile::tempdir().unwrap();
    let (pump, notices) = start(dir.path());
    pump.configure("../up", files(1_000, 1, false));
    pump.flush();
    let heard = notices.lock().unwrap();
    assert!(
        matches!(&heard[..], [Notice::WriteError { app, .. }] if app == "../up"),
        "{heard:?}"
    );
}

#[test]
fn growth_is_told_once_until_asked_again() {
    let dir = tempfile::tempdir().unwrap();
    let (pump, notices) = start(dir.path());
    let mut worker = attach_new(&pump, 1, "a");
    let told = || {
        notices
            .lock()
            .unwrap()
            .iter()
            .filter(|n| matches!(n, Notice::Changed { .. }))
            .count()
    };
    for _ in 0..3 {
        worker.write_all(b"x\n").unwrap();
        pump.flush();
    }
    assert_eq!(told(), 1);
    pump.rearm("a");
    worker.write_all(b"x\n").unwrap();
    wait_for("told again", || told() == 2);
}

fn chunk() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![4 => Just(b'a'), 1 => Just(b'\n'), 1 => Just(0xff), 1 => Just(0), 1 => any::<u8>()];
    prop_oneof![
        6 => prop::collection::vec(byte, 0..200),
        1 => (1usize..(300 * 1024)).prop_map(|n| vec![b'L'; n]),
        1 => Just(vec![b'M'; MAX_LINE_BYTES]),
        1 => (0usize..5_000).prop_map(|n| vec![b'\n'; n]),
    ]
}

/// What the pieces join to must be what a plain split gives.
fn naive(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut lines: Vec<Vec<u8>> = bytes.split(|b| *b == b'\n').map(<[u8]>::to_vec).collect();
    if lines.last().is_some_and(Vec::is_empty) {
        lines.pop();
    }
    lines
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn any_chunks_make_the_lines_of_a_plain_split(chunks in prop::collection::vec(chunk(), 0..12), pause in any::<u16>()) {
        let dir = tempfile::tempdir().unwrap();
        let (pump, notices) = start(dir.path());
        let mut worker = attach_new(&pump, 1, "a");
        for (at, chunk) in chunks.iter().enumerate() {
            worker.write_all(chunk).unwrap();
            if pause >> at & 1 == 1 {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        drop(worker);
        wait_finished(&notices, 1);
        let found = all("a", dir.path());
        prop_assert!(found.iter().all(|line| line.text.len() <= MAX_LINE_BYTES));
        let mut joined = join(found);
        // A piece before the end of file is a line whose end came with nothing in it.
        if let Some(last) = joined.last_mut() { last.continues = false; }
        prop_assert!(joined.iter().all(|line: &Line| !line.continues));
        let joined: Vec<Vec<u8>> = joined.into_iter().map(|line| line.text).collect();
        prop_assert_eq!(joined, naive(&chunks.concat()));
    }
}
