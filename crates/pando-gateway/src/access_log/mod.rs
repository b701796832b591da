//! One line an answered request, as JSON or text.
//!
//! The serving thread formats the line and appends it to one buffer; a writer thread takes all of
//! the buffer and writes it with one call. While the file or the pipe stands still the buffer
//! fills up to its bound; further lines are counted, and the count is written as soon as there is
//! room. Nothing here ever waits for the disk on a serving thread.

mod format;
mod writer;

use std::cell::RefCell;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use gateway_spec::AccessLogFormat;
use http::{Method, Version};

use writer::{Shared, Target};

/// Scratch of one line that is kept by a thread; a longer one is given back.
const KEEP_SCRATCH_BYTES: usize = 16 * 1024;

thread_local! {
    static LINE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// What is known of an answered request. `None` and empty texts are left out of the line.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// When the answer ended.
    pub time: SystemTime,
    pub client: IpAddr,
    pub method: &'a Method,
    pub host: &'a str,
    /// Path and query as the client sent them.
    pub path: &'a str,
    pub version: Version,
    /// 499 where the client went before there was an answer, as nginx has it.
    pub status: u16,
    /// The client went before it had all of the answer.
    pub aborted: bool,
    /// Bytes of the bodies, as sent.
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// First host of the site, and the route's name or pattern.
    pub site: &'a str,
    pub route: &'a str,
    /// Address that answered, and the worker's name if it is one.
    pub upstream: &'a str,
    pub worker: &'a str,
    /// From the request's head to an upstream connection; from there to the head of the answer;
    /// from the request's head to the end of the answer.
    pub queue: Duration,
    pub upstream_time: Duration,
    pub total: Duration,
    pub retries: u32,
    /// `hit`, `miss`, `stale`, …
    pub cache: &'a str,
    pub request_id: &'a str,
    pub trace_id: &'a str,
    /// Whom authentication found.
    pub user: &'a str,
    pub user_agent: &'a [u8],
    pub referer: &'a [u8],
    /// `TLSv1.3`.
    pub tls: &'a str,
}

/// The log of one gateway. Cheap to share; the writer ends with the last owner.
#[derive(Debug)]
pub struct AccessLog {
    shared: Option<Arc<Shared>>,
    format: AccessLogFormat,
    sample: f64,
}

impl AccessLog {
    /// Starts the writer. A file that cannot be opened is said in the log and tried again.
    pub fn new(spec: &gateway_spec::AccessLog) -> Self {
        let shared = spec.on.then(|| {
            let target = match &spec.path {
                Some(path) => Target::File(path.clone()),
                None => Target::Stdout,
            };
            Shared::start(target, spec.format)
        });
        Self {
            shared,
            format: spec.format,
            sample: spec.sample,
        }
    }

    /// Whether `record` would do anything: callers may save themselves the entry.
    pub fn is_on(&self) -> bool {
        self.shared.is_some()
    }

    /// Whether an answer of this status is to be written: sampling, but errors always are.
    pub fn wants(&self, status: u16) -> bool {
        self.is_on() && (self.sample >= 1.0 || status >= 400 || fastrand::f64() < self.sample)
    }

    /// Writes one line. Whether there is to be one was asked before, once: see `wants`.
    pub fn record(&self, entry: &Entry<'_>) {
        let Some(shared) = &self.shared else { return };
        LINE.with_borrow_mut(|line| {
            line.clear();
            format::line(self.format, entry, line);
            shared.push(line);
            if line.capacity() > KEEP_SCRATCH_BYTES {
                *line = Vec::new();
            }
        });
    }

    /// Opens the file anew before the next write: whoever rotates it calls this.
    pub fn reopen(&self) {
        if let Some(shared) = &self.shared {
            shared.reopen();
        }
    }

    /// Lines that found no room since the start.
    pub fn dropped(&self) -> u64 {
        self.shared.as_ref().map_or(0, |shared| shared.dropped())
    }

    /// Waits until all lines up to now are written, at most for `limit`. False: they are not.
    pub fn flush(&self, limit: Duration) -> bool {
        self.shared
            .as_ref()
            .is_none_or(|shared| shared.flush(limit))
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        if let Some(shared) = &self.shared {
            shared.close();
        }
    }
}

/// For the fuzzer: any bytes as every text of an entry. Lines must stay lines, and JSON JSON.
#[doc(hidden)]
pub fn fuzz_line(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let entry = Entry {
        path: &text,
        host: &text,
        user: &text,
        route: &text,
        user_agent: data,
        referer: data,
        ..format::example()
    };
    let mut line = Vec::new();
    format::line(AccessLogFormat::Json, &entry, &mut line);
    assert_eq!(memchr::memchr(b'\n', &line), Some(line.len() - 1));
    let parsed = serde_json::from_slice::<serde_json::Value>(&line);
    assert!(parsed.is_ok_and(|value| text.is_empty() || value["path"] == *text));
    line.clear();
    format::line(AccessLogFormat::Text, &entry, &mut line);
    assert_eq!(memchr::memchr(b'\n', &line), Some(line.len() - 1));
    assert!(line[..line.len() - 1].iter().all(|&byte| byte >= b' '));
}
