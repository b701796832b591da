//! What the tests of real pipes and files share.
#![allow(dead_code, reason = "each test file uses its part")]

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use pando_logs::{
    Cursor, FileOptions, Label, Line, Notice, Pump, PumpOptions, Query, SourceId, Stream, tail,
};

pub const DEADLINE: Duration = Duration::from_secs(30);

pub type Notices = Arc<Mutex<Vec<Notice>>>;

pub fn start(dir: &Path) -> (Pump, Notices) {
    let notices = Notices::default();
    let heard = notices.clone();
    let pump = Pump::start(PumpOptions {
        dir: dir.to_owned(),
        intents: None,
        echo: None,
        notices: Box::new(move |notice| heard.lock().unwrap().push(notice)),
    })
    .unwrap();
    (pump, notices)
}

pub fn label(app: &str, worker: u32, stream: Stream) -> Label {
    Label {
        app: app.into(),
        worker,
        stream,
    }
}

pub fn files(max_bytes: u64, keep: u32, compress: bool) -> FileOptions {
    FileOptions {
        dir: None,
        max_bytes,
        keep,
        compress,
    }
}

pub fn attach_new(pump: &Pump, id: u64, app: &str) -> std::fs::File {
    // Closed on exec, or another test's child keeps the write end open.
    let (read, write): (OwnedFd, OwnedFd) =
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    pump.attach(SourceId(id), label(app, 0, Stream::Out), read);
    write.into()
}

pub fn query(app: &str, dir: &Path, lines: usize) -> Query {
    Query {
        apps: vec![(app.into(), dir.into())],
        lines,
        ..Query::default()
    }
}

pub fn all(app: &str, dir: &Path) -> Vec<Line> {
    tail(&query(app, dir, usize::MAX)).unwrap().0
}

pub fn cursor(app: &str, dir: &Path) -> Cursor {
    tail(&query(app, dir, 0)).unwrap().1
}

pub fn texts(lines: &[Line]) -> Vec<String> {
    lines
        .iter()
        .map(|line| String::from_utf8_lossy(&line.text).into_owned())
        .collect()
}

/// Polls until it holds.
pub fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < DEADLINE, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

pub fn wait_finished(notices: &Notices, id: u64) {
    let finished = Notice::Finished(SourceId(id));
    wait_for("finished", || notices.lock().unwrap().contains(&finished));
}
