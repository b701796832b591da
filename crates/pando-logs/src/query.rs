//! Which lines a reader wants.

use std::io;
use std::path::PathBuf;

use crate::label::{Stream, check_app_name};
use crate::line::Line;

/// The most lines that one [`crate::tail`] returns.
pub const MAX_TAIL_LINES: usize = 100_000;
/// The most bytes of text that one [`crate::tail`] holds.
pub const MAX_TAIL_BYTES: usize = 64 << 20;

#[derive(Clone, Debug, Default)]
pub struct Query {
    /// Name and directory of each app.
    pub apps: Vec<(String, PathBuf)>,
    pub worker: Option<u32>,
    pub stream: Option<Stream>,
    /// The last this many. 0: all since `since_ms`, or none without it.
    pub lines: usize,
    /// Milliseconds since the epoch, inclusive.
    pub since_ms: Option<i64>,
    /// Milliseconds since the epoch, inclusive.
    pub until_ms: Option<i64>,
}

/// The part of a query that a single line can answer.
#[derive(Clone, Debug)]
pub struct Filter {
    worker: Option<u32>,
    stream: Option<Stream>,
    pub since_ms: Option<i64>,
    until_ms: Option<i64>,
}

impl Query {
    pub(crate) fn filter(&self) -> Filter {
        Filter {
            worker: self.worker,
            stream: self.stream,
            since_ms: self.since_ms,
            until_ms: self.until_ms,
        }
    }

    /// The most lines wanted of each app.
    pub(crate) fn limit(&self) -> usize {
        match (self.lines, self.since_ms) {
            (0, None) => 0,
            (0, Some(_)) => MAX_TAIL_LINES,
            (n, _) => n.min(MAX_TAIL_LINES),
        }
    }

    pub(crate) fn check(&self) -> io::Result<()> {
        for (app, _) in &self.apps {
            check_app_name(app).map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))?;
        }
        Ok(())
    }
}

impl Filter {
    pub fn accepts(&self, line: &Line) -> bool {
        self.worker.is_none_or(|w| w == line.worker)
            && self.stream.is_none_or(|s| s == line.stream)
            && self.since_ms.is_none_or(|t| line.time_ms >= t)
            && self.until_ms.is_none_or(|t| line.time_ms <= t)
    }
}
