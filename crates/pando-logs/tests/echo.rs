//! `pando run`: lines to stdout as well, all of them however slowly it is read.

#![expect(
    clippy::unwrap_used,
    reason = "a test's plain functions may fail by panicking too"
)]

mod support;

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use pando_logs::{Echo, Notice, Pump, PumpOptions, SourceId};
use support::attach_new;

const LINES: usize = 200_000;

#[test]
#[ignore = "the other process of the test below"]
fn echo_inside() {
    let Ok(dir) = std::env::var("PANDO_LOGS_ECHO_TEST") else {
        return;
    };
    let (done, finished) = std::sync::mpsc::channel();
    let pump = Pump::start(PumpOptions {
        dir: dir.into(),
        intents: None,
        echo: Some(Echo::Text),
        notices: Box::new(move |notice| {
            if notice == Notice::Finished(SourceId(1)) {
                done.send(()).unwrap();
            }
        }),
    })
    .unwrap();
    let mut worker = attach_new(&pump, 1, "a");
    for n in 0..LINES {
        worker
            .write_all(format!("number {n} {}\n", "x".repeat(80)).as_bytes())
            .unwrap();
    }
    drop(worker);
    finished.recv().unwrap();
    pump.stop();
}

#[test]
fn a_slow_stdout_gets_every_line() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "echo_inside", "--ignored", "--nocapture"])
        .env("PANDO_LOGS_ECHO_TEST", dir.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    // More than the queue holds is written meanwhile.
    std::thread::sleep(Duration::from_millis(200));
    let mut expect = 0;
    for line in stdout.lines() {
        let line = line.unwrap();
        if let Some(at) = line.find("a 0 | number ") {
            let number = line[at..].split(' ').nth(4).unwrap();
            assert_eq!(number.parse::<usize>().unwrap(), expect);
            expect += 1;
        }
    }
    assert_eq!(expect, LINES);
    assert!(child.wait().unwrap().success());
}
