//! `kill -9` of the pump's process at random moments: every line is in the files exactly once, and
//! a follower reads each exactly once.
//!
//! The pump runs in this same test binary, started again with an environment variable. It opens
//! the pipes and the intents' memory by their numbers in its parent's /proc entry, where root
//! would hand them over.

#![expect(
    clippy::unwrap_used,
    reason = "a test's plain functions may fail by panicking too"
)]

mod support;

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use pando_logs::{Cursor, Line, Pump, PumpOptions, SourceId, Stream};
use support::{all, cursor, files, label};

const SOURCES: usize = 3;

#[test]
#[ignore = "the other process of the test below"]
fn pump_until_killed() {
    let Ok(plan) = std::env::var("PANDO_LOGS_KILL_TEST") else {
        return;
    };
    let mut words = plan.split(' ');
    let dir = words.next().unwrap();
    let open = |fd: &str, write: bool| -> OwnedFd {
        let path = format!("/proc/{}/fd/{fd}", std::os::unix::process::parent_id());
        File::options()
            .read(true)
            .write(write)
            .open(path)
            .unwrap()
            .into()
    };
    let intents = open(words.next().unwrap(), true);
    let pump = Pump::start(PumpOptions {
        dir: dir.into(),
        intents: Some(intents),
        echo: None,
        notices: Box::new(|_| {}),
    })
    .unwrap();
    pump.configure("a", files(300_000, 1_000, false));
    for (id, fd) in words.enumerate() {
        let stream = if id == 0 { Stream::Out } else { Stream::Err };
        pump.attach(
            SourceId(id as u64),
            label("a", id as u32, stream),
            open(fd, false),
        );
    }
    println!("attached");
    let mut line = String::new();
    let _ = std::io::stdin().read_line(&mut line);
    pump.stop();
    println!("stopped");
}

fn spawn(plan: &str) -> (Child, BufReader<std::process::ChildStdout>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "pump_until_killed", "--ignored", "--nocapture"])
        .env("PANDO_LOGS_KILL_TEST", plan)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    (child, stdout)
}

fn wait_for_line(stdout: &mut impl BufRead, word: &str) {
    let mut line = String::new();
    while !line.contains(word) {
        line.clear();
        assert!(stdout.read_line(&mut line).unwrap() > 0, "no {word:?}");
    }
}

/// Most kills find the pump at rest between small batches.
#[test]
fn every_line_exactly_once_over_fifty_kills() {
    kill_at_random(50, 20, 0, Duration::from_micros(300));
}

/// Most kills find the pump in the midst of a large batch.
#[test]
fn every_line_exactly_once_over_kills_in_a_flood() {
    kill_at_random(40, 100, 3_000, Duration::ZERO);
}

fn kill_at_random(kills: u32, burst: u64, padding: usize, pause: Duration) {
    let dir = tempfile::tempdir().unwrap();
    let memory = rustix::fs::memfd_create("intents", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
    let pipes: Vec<(OwnedFd, OwnedFd)> = (0..SOURCES)
        .map(|_| rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap())
        .collect();
    let fds: Vec<String> = pipes
        .iter()
        .map(|(read, _)| read.as_raw_fd().to_string())
        .collect();
    let plan = format!(
        "{} {} {}",
        dir.path().display(),
        memory.as_raw_fd(),
        fds.join(" ")
    );

    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = pipes
        .iter()
        .enumerate()
        .map(|(id, (_, write))| {
            let (stop, pipe) = (stop.clone(), File::from(write.try_clone().unwrap()));
            std::thread::spawn(move || {
                write_numbers(pipe, id == 2, burst, &"x".repeat(padding), pause, &stop)
            })
        })
        .collect();

    let followed = Arc::new(AtomicBool::new(false));
    let follower = follow(cursor("a", dir.path()), followed.clone());
    let mut seed = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_nanos() as u64;
    println!("seed {seed}");
    for _ in 0..kills {
        let (mut child, mut stdout) = spawn(&plan);
        wait_for_line(&mut stdout, "attached");
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        std::thread::sleep(Duration::from_micros(seed >> 33 & 0x7fff));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let (mut child, mut stdout) = spawn(&plan);
    wait_for_line(&mut stdout, "attached");
    stop.store(true, Ordering::Relaxed);
    let counts: Vec<u64> = writers
        .into_iter()
        .map(|writer| writer.join().unwrap())
        .collect();
    child.stdin.take().unwrap().write_all(b"stop\n").unwrap();
    wait_for_line(&mut stdout, "stopped");
    child.wait().unwrap();
    println!("{kills} kills");
    followed.store(true, Ordering::Release);
    println!("follower:");
    check(follower.join().unwrap(), &counts);
    println!("files:");
    check(in_files(dir.path()), &counts);
}

fn write_numbers(
    mut pipe: File,
    torn: bool,
    burst_lines: u64,
    padding: &str,
    pause: Duration,
    stop: &AtomicBool,
) -> u64 {
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        let mut burst = String::new();
        for _ in 0..burst_lines {
            burst.push_str(&format!("number {number} {padding}\n"));
            number += 1;
        }
        if torn {
            // Pieces of lines in separate writes.
            let (head, tail) = burst.split_at(burst.len() - 5);
            pipe.write_all(head.as_bytes()).unwrap();
            std::thread::yield_now();
            pipe.write_all(tail.as_bytes()).unwrap();
        } else {
            pipe.write_all(burst.as_bytes()).unwrap();
        }
        if !pause.is_zero() {
            std::thread::sleep(pause);
        }
    }
    number
}

/// Reads until `end` is set and there is no more.
fn follow(mut cursor: Cursor, end: Arc<AtomicBool>) -> JoinHandle<Vec<Numbered>> {
    std::thread::spawn(move || {
        let mut lines = Vec::new();
        loop {
            let last = end.load(Ordering::Acquire);
            let fresh = cursor.read(1 << 20).unwrap();
            lines.extend(fresh.iter().map(number));
            if last && fresh.is_empty() && !cursor.is_behind() {
                return lines;
            }
            std::thread::sleep(Duration::from_micros(200));
        }
    })
}

/// Whose and which.
type Numbered = (usize, usize);

fn number(line: &Line) -> Numbered {
    let text = String::from_utf8_lossy(&line.text);
    let number = text.split(' ').nth(1).and_then(|word| word.parse().ok());
    (
        line.worker as usize,
        number.unwrap_or_else(|| panic!("a torn line: {text:?}")),
    )
}

/// File by file: the tail's bound is lower than what was written.
fn in_files(dir: &std::path::Path) -> Vec<Numbered> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let one = tempfile::tempdir().unwrap();
        std::fs::copy(entry.unwrap().path(), one.path().join("a.log")).unwrap();
        found.extend(all("a", one.path()).iter().map(number));
    }
    found
}

fn check(found: Vec<Numbered>, counts: &[u64]) {
    let mut seen: Vec<Vec<u32>> = counts.iter().map(|n| vec![0; *n as usize]).collect();
    for &(worker, number) in &found {
        seen[worker][number] += 1;
    }
    let (mut lost, mut repeated) = (0, 0);
    for count in seen.iter().flatten() {
        match count {
            0 => lost += 1,
            1 => {}
            _ => repeated += 1,
        }
    }
    let lines = found.len();
    println!("{lines} lines, {lost} lost, {repeated} repeated");
    assert_eq!(
        (lost, repeated),
        (0, 0),
        "lost and repeated of {lines} lines"
    );
}
