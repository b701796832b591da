//! One app's side of the pump: its file, and what happens when that cannot be written.
//!
//! ```text
//! writing ──error──> make room (oldest rotated files go) ──still──> failing
//!    ↑                                                               │ lines stay in the pipes;
//!    └──────────── a try, every 250 ms, that succeeds ───────────────┘ from nearly full ones the
//!                  (first of all: how many were lost)                  oldest are dropped
//! ```

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use crate::compress::Compressor;
use crate::file::AppFile;
use crate::intent::Intents;
use crate::label::Label;
use crate::line::Prefix;
use crate::options::{MAX_KEEP, Notice};
use crate::source::Source;
use crate::stamp::now_ms;

pub const RETRY: Duration = Duration::from_millis(250);
const TELL_AGAIN: Duration = Duration::from_secs(30);
const TELL_DROPPED: Duration = Duration::from_secs(1);

struct Failing {
    why: String,
    retry_at: Instant,
}

struct Lost {
    lines: u64,
    /// Whose they were, the last of them.
    label: Label,
    why: String,
}

pub struct App {
    pub file: AppFile,
    /// Set while the file's growth is told and nobody asked for more.
    pub told: Arc<AtomicBool>,
    failing: Option<Failing>,
    lost: Option<Lost>,
    error_told_at: Option<Instant>,
    undisclosed: u64,
    disclosed_at: Option<Instant>,
}

impl App {
    pub fn new(file: AppFile, told: Arc<AtomicBool>) -> Self {
        Self {
            file,
            told,
            failing: None,
            lost: None,
            error_told_at: None,
            undisclosed: 0,
            disclosed_at: None,
        }
    }

    /// When to try again, if the file could not be written.
    pub fn retry_at(&self) -> Option<Instant> {
        self.failing.as_ref().map(|failing| failing.retry_at)
    }

    pub fn retry_now(&mut self, now: Instant) {
        if let Some(failing) = &mut self.failing {
            failing.retry_at = now;
        }
    }

    /// Puts `lines` into the file and takes the `taken` bytes they were made of out of the pipe.
    pub fn write(
        &mut self,
        source: &Source,
        lines: &[u8],
        taken: usize,
        intents: &mut Intents,
        compressor: &Compressor,
    ) -> io::Result<()> {
        for _ in 0..=MAX_KEEP {
            match self.try_write(source, lines, taken, intents, compressor) {
                Ok(()) => {
                    self.failing = None;
                    break;
                }
                Err(error) if is_no_room(&error) && self.file.delete_oldest()? => {}
                Err(error) => return Err(error),
            }
        }
        intents.take(source.id, taken as u64, source.pipe.as_fd())
    }

    fn try_write(
        &mut self,
        source: &Source,
        lines: &[u8],
        taken: usize,
        intents: &mut Intents,
        compressor: &Compressor,
    ) -> io::Result<()> {
        let mut rotated = false;
        if let Some(lost) = &self.lost {
            let confession = lost.to_line();
            let place = self.file.prepare(confession.len(), &mut rotated)?;
            self.file.append(&place, &confession)?;
            self.lost = None;
        }
        let place = self.file.prepare(lines.len(), &mut rotated)?;
        if rotated && self.file.compress {
            compressor.compress(&self.file);
        }
        intents.begin(source.id, taken, &place)?;
        let written = self.file.append(&place, lines);
        if written.is_err() {
            intents.abandon()?;
        }
        written
    }

    /// The file cannot be written.
    pub fn fail(&mut self, error: &io::Error, now: Instant, notices: &dyn Fn(Notice)) {
        let why = reason(error);
        if self.error_told_at.is_none_or(|at| now >= at + TELL_AGAIN) {
            self.error_told_at = Some(now);
            notices(Notice::WriteError {
                app: self.file.app.clone(),
                why: why.clone(),
            });
        }
        self.failing = Some(Failing {
            why,
            retry_at: now + RETRY,
        });
    }

    /// Lines were dropped.
    pub fn lose(&mut self, lines: u64, label: &Label) {
        let why = self
            .failing
            .as_ref()
            .map_or_else(String::new, |f| f.why.clone());
        let before = self.lost.as_ref().map_or(0, |lost| lost.lines);
        self.lost = Some(Lost {
            lines: before + lines,
            label: label.clone(),
            why,
        });
        self.undisclosed += lines;
    }

    pub fn has_undisclosed(&self) -> bool {
        self.undisclosed > 0
    }

    /// Tells of dropped lines when it is time to.
    pub fn disclose(&mut self, now: Instant, notices: &dyn Fn(Notice)) {
        if self.undisclosed > 0 && self.disclosed_at.is_none_or(|at| now >= at + TELL_DROPPED) {
            self.disclosed_at = Some(now);
            let lines = std::mem::take(&mut self.undisclosed);
            notices(Notice::Dropped {
                app: self.file.app.clone(),
                lines,
            });
        }
    }
}

impl Lost {
    fn to_line(&self) -> Vec<u8> {
        let text = format!("[pando] {} lines lost: {}\n", self.lines, self.why);
        let label = Label {
            stream: crate::label::Stream::Err,
            ..self.label.clone()
        };
        let mut line = Vec::with_capacity(text.len() + crate::line::MAX_PREFIX_BYTES);
        let prefix = Prefix::new(&label, now_ms());
        crate::line::format(text.as_bytes(), crate::line::Rest::Last, &prefix, &mut line);
        line
    }
}

fn is_no_room(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// `No space left on device`, without std's `(os error 28)`.
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}
