//! The thread that writes.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use gateway_spec::AccessLogFormat;

use super::format;

/// Lines that wait for the writer, all threads together.
const MAX_WAITING_BYTES: usize = 8 * 1024 * 1024;
/// The writer gathers lines for so long after the first, unless so many have come.
const LINGER: Duration = Duration::from_millis(20);
const WRITE_AT_BYTES: usize = 256 * 1024;
/// Between two tries to open a file that could not be opened.
const OPEN_AGAIN: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(super) enum Target {
    Stdout,
    File(PathBuf),
}

#[derive(Debug, Default)]
struct Waiting {
    lines: Vec<u8>,
    /// Lines that found no room since the last time it was said.
    dropped: u64,
    /// The writer sleeps with nothing to do: the next line wakes it.
    asleep: bool,
    reopen: bool,
    closed: bool,
    /// Batches taken and batches done with; equal when the writer has nothing in its hands.
    taken: u64,
    done: u64,
}

#[derive(Debug)]
pub(super) struct Shared {
    waiting: Mutex<Waiting>,
    /// For the writer: there are lines, or many, or an order.
    work: Condvar,
    /// For `flush`: a batch is done.
    written: Condvar,
    dropped: AtomicU64,
}

impl Shared {
    pub(super) fn start(target: Target, format: AccessLogFormat) -> Arc<Self> {
        let shared = Arc::new(Self {
            waiting: Mutex::default(),
            work: Condvar::new(),
            written: Condvar::new(),
            dropped: AtomicU64::new(0),
        });
        let mut writer = Writer {
            shared: Arc::clone(&shared),
            format,
            output: None,
            target,
            failed: None,
            complained: false,
        };
        let started = std::thread::Builder::new()
            .name("access-log".into())
            .spawn(move || writer.run());
        if let Err(error) = started {
            tracing::error!(%error, "no thread for the access log: nothing is written to it");
        }
        shared
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn push(&self, line: &[u8]) {
        let mut waiting = self.lock();
        if waiting.lines.len() + line.len() > MAX_WAITING_BYTES {
            waiting.dropped += 1;
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let before = waiting.lines.len();
        waiting.lines.extend_from_slice(line);
        let many = before < WRITE_AT_BYTES && waiting.lines.len() >= WRITE_AT_BYTES;
        if std::mem::take(&mut waiting.asleep) || many {
            drop(waiting);
            self.work.notify_one();
        }
    }

    pub(super) fn reopen(&self) {
        self.lock().reopen = true;
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.work.notify_one();
    }

    pub(super) fn flush(&self, limit: Duration) -> bool {
        let end = Instant::now() + limit;
        let mut waiting = self.lock();
        while !waiting.lines.is_empty() || waiting.taken != waiting.done {
            let now = Instant::now();
            if now >= end {
                return false;
            }
            waiting = self
                .written
                .wait_timeout(waiting, end - now)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        true
    }
}

struct Writer {
    shared: Arc<Shared>,
    format: AccessLogFormat,
    target: Target,
    output: Option<File>,
    /// When opening failed last.
    failed: Option<Instant>,
    complained: bool,
}

impl Writer {
    fn run(&mut self) {
        let mut batch = Vec::new();
        loop {
            batch.clear();
            let Some(dropped) = self.take(&mut batch) else {
                return;
            };
            if dropped > 0 {
                tracing::warn!(
                    lines = dropped,
                    "the access log is too slow: lines are lost"
                );
                let mut said = Vec::new();
                format::dropped(self.format, SystemTime::now(), dropped, &mut said);
                said.append(&mut batch);
                batch = said;
            }
            self.write(&batch);
            self.shared.lock().done += 1;
            self.shared.written.notify_all();
        }
    }

    /// Waits for lines and takes them all. `None`: the log is closed and all is written.
    fn take(&mut self, batch: &mut Vec<u8>) -> Option<u64> {
        let mut waiting = self.shared.lock();
        while waiting.lines.is_empty() && !waiting.closed {
            waiting.asleep = true;
            waiting = self
                .shared
                .work
                .wait(waiting)
                .unwrap_or_else(PoisonError::into_inner);
        }
        waiting.asleep = false;
        if waiting.lines.is_empty() {
            return None;
        }
        if waiting.lines.len() < WRITE_AT_BYTES && !waiting.closed {
            waiting = self
                .shared
                .work
                .wait_timeout(waiting, LINGER)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        std::mem::swap(&mut waiting.lines, batch);
        waiting.taken += 1;
        if std::mem::take(&mut waiting.reopen) {
            self.output = None;
            self.failed = None;
        }
        Some(std::mem::take(&mut waiting.dropped))
    }

    fn write(&mut self, batch: &[u8]) {
        if self.output.is_none() {
            self.open();
        }
        let Some(output) = &mut self.output else {
            return self.lost(batch);
        };
        match output.write_all(batch) {
            Ok(()) => self.complained = false,
            Err(error) => {
                if !std::mem::replace(&mut self.complained, true) {
                    tracing::error!(%error, "the access log cannot be written");
                }
                self.lost(batch);
            }
        }
    }

    fn lost(&self, batch: &[u8]) {
        let lines = memchr::memchr_iter(b'\n', batch).count() as u64;
        self.shared.dropped.fetch_add(lines, Ordering::Relaxed);
        self.shared.lock().dropped += lines;
    }

    fn open(&mut self) {
        if self.failed.is_some_and(|at| at.elapsed() < OPEN_AGAIN) {
            return;
        }
        match open(&self.target) {
            Ok(file) => {
                self.output = Some(file);
                self.failed = None;
            }
            Err(error) => {
                if self.failed.is_none() {
                    tracing::error!(target = ?self.target, %error,
                        "the access log cannot be opened; it is tried again");
                }
                self.failed = Some(Instant::now());
            }
        }
    }
}

fn open(target: &Target) -> io::Result<File> {
    match target {
        Target::Stdout => Ok(File::from(io::stdout().as_fd().try_clone_to_owned()?)),
        Target::File(path) => File::options()
            .append(true)
            .create(true)
            .mode(0o640)
            .open(path),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::access_log::{AccessLog, Entry, format::example};

    use super::*;

    const SOON: Duration = Duration::from_secs(30);

    fn log(path: &Path, sample: f64) -> AccessLog {
        AccessLog::new(&gateway_spec::AccessLog {
            path: Some(path.to_owned()),
            sample,
            ..gateway_spec::AccessLog::default()
        })
    }

    fn lines(path: &Path) -> usize {
        std::fs::read_to_string(path).unwrap().lines().count()
    }

    #[test]
    fn lines_of_many_threads_are_all_there_and_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("access.log");
        let log = log(&path, 1.0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..2500).for_each(|_| log.record(&example())));
            }
        });
        assert!(log.flush(SOON));
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 10_000);
        for line in text.lines() {
            serde_json::from_str::<serde_json::Value>(line).unwrap();
        }
    }

    #[test]
    fn sampling_keeps_every_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("access.log");
        let log = log(&path, 0.0);
        for status in [200, 304, 404, 502, 200] {
            if log.wants(status) {
                log.record(&Entry {
                    status,
                    ..example()
                });
            }
        }
        assert!(log.flush(SOON));
        assert_eq!(lines(&path), 2);
    }

    #[test]
    fn a_rotated_file_is_left_at_reopen() {
        let dir = tempfile::tempdir().unwrap();
        let (path, old) = (dir.path().join("access.log"), dir.path().join("old"));
        let log = log(&path, 1.0);
        log.record(&example());
        assert!(log.flush(SOON));
        std::fs::rename(&path, &old).unwrap();
        log.record(&example());
        assert!(log.flush(SOON));
        log.reopen();
        log.record(&example());
        assert!(log.flush(SOON));
        assert_eq!((lines(&old), lines(&path)), (2, 1));
    }

    #[test]
    fn what_finds_no_room_is_counted_and_said() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("fifo");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &path,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
            0,
        )
        .unwrap();
        let log = log(&path, 1.0);
        let agent = [b'a'; 4096];
        let entry = Entry {
            user_agent: &agent,
            ..example()
        };
        // Nobody reads, so the writer waits in open.
        for _ in 0..4000 {
            log.record(&entry);
        }
        let dropped = log.dropped();
        assert!(dropped > 1000, "{dropped}");
        let reader = std::thread::spawn({
            let path = path.clone();
            move || {
                let mut text = String::new();
                io::Read::read_to_string(&mut File::open(path).unwrap(), &mut text).unwrap();
                text
            }
        });
        while !log.flush(SOON) {}
        log.record(&example());
        assert!(log.flush(SOON));
        drop(log);
        let text = reader.join().unwrap();
        assert!(
            text.contains(&format!("\"dropped\":{dropped}}}")),
            "{dropped}"
        );
        assert_eq!(text.lines().count() as u64, 4000 - dropped + 2);
    }

    #[test]
    fn a_directory_that_is_not_there_is_no_reason_to_stop() {
        let log = log(Path::new("/nonexistent/pando/access.log"), 1.0);
        log.record(&example());
        assert!(log.flush(SOON));
        assert_eq!(log.dropped(), 1);
    }

    #[test]
    fn off_is_off() {
        let log = AccessLog::new(&gateway_spec::AccessLog {
            on: false,
            ..gateway_spec::AccessLog::default()
        });
        assert!(!log.wants(500));
        log.record(&example());
        assert!(log.flush(SOON));
    }
}
