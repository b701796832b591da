//! One pipe: when it is to be looked into, and what is known to be in it.
//!
//! ```text
//! attached ──writes──> ready ──look──> idle (empty)
//!                        ↑        └──> holding (a partial line stays in the pipe)
//!                        └─ more bytes, a timer, end of file, finish
//! ```
//! The edge-triggered epoll tells of every write (Linux 5.14; before, only of writes to an empty
//! pipe, for which the timer of a holding source makes up), so a partial line does not spin.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use crate::label::{Label, SourceId};
use crate::line::{MAX_LINE_BYTES, Rest};

/// A partial line is looked at again after this at the latest.
const RECHECK: Duration = Duration::from_millis(100);
/// A long partial line is copied again at most this often while it grows.
const LONG_RECHECK: Duration = Duration::from_millis(5);
const LONG_BYTES: usize = 4 * 1024;
/// A partial line that has not grown for this long is written as a piece: a prompt becomes
/// visible, and a pipe whose slots are full of tiny writes cannot block its worker for good.
const MAX_HOLD: Duration = Duration::from_secs(5);
/// How long the last output of a finished worker waits for room on the disk.
const FINISH_WAIT: Duration = Duration::from_secs(10);

pub struct Source {
    pub id: SourceId,
    pub label: Label,
    pub pipe: OwnedFd,
    /// Bytes.
    pub capacity: usize,
    /// There may be something new.
    pub ready: bool,
    /// No writer is left.
    pub ended: bool,
    pub wake_at: Option<Instant>,
    held: usize,
    held_since: Instant,
    /// Bytes still to be taken before it is let go.
    finishing: Option<u64>,
    /// When unwritable output is given up for lost.
    give_up_at: Option<Instant>,
    /// How full the pipe was when its app's file could last not be written.
    pub stuck_at: usize,
}

impl Source {
    pub fn new(id: SourceId, label: Label, pipe: OwnedFd, capacity: usize, now: Instant) -> Self {
        Self {
            id,
            label,
            pipe,
            capacity,
            ready: true,
            ended: false,
            wake_at: None,
            held: 0,
            held_since: now,
            finishing: None,
            give_up_at: None,
            stuck_at: 0,
        }
    }

    pub fn end(&mut self, now: Instant) {
        self.ended = true;
        self.ready = true;
        self.give_up_at.get_or_insert(now + FINISH_WAIT);
    }

    pub fn finish(&mut self, available: usize, now: Instant) {
        self.finishing = Some(available as u64);
        self.ready = true;
        self.wake_at = None;
        self.give_up_at.get_or_insert(now + FINISH_WAIT);
    }

    /// Whether it is to be let go once its pipe shows empty.
    pub fn is_finishing(&self) -> bool {
        self.finishing.is_some()
    }

    /// Whether nothing more is wanted of it.
    pub fn is_done(&self) -> bool {
        self.finishing == Some(0)
    }

    pub fn is_given_up(&self, now: Instant) -> bool {
        self.give_up_at.is_some_and(|at| now >= at)
    }

    /// Whether a look now can bring anything: not if only the known partial line is there.
    pub fn wants_look(&self, available: usize, now: Instant) -> bool {
        self.ended
            || self.is_finishing()
            || available != self.held
            || (available > 0 && now >= self.held_since + MAX_HOLD)
    }

    /// What is to be done with the bytes after the last newline of a look that saw `seen` bytes.
    pub fn rest(&self, seen: usize, available: usize, now: Instant) -> Rest {
        let all = seen >= available;
        let last = (self.ended && all) || self.finishing.is_some_and(|left| seen as u64 >= left);
        if last {
            Rest::Last
        } else if seen == self.held && now >= self.held_since + MAX_HOLD {
            Rest::Piece
        } else {
            Rest::HoldUnder(MAX_LINE_BYTES.min(self.capacity / 2))
        }
    }

    /// `bytes` were taken out of the pipe; `held` were seen and left.
    pub fn took(&mut self, bytes: usize, held: usize, now: Instant) {
        if let Some(left) = &mut self.finishing {
            *left = left.saturating_sub(bytes as u64);
        }
        self.stuck_at = 0;
        self.hold(held, now);
    }

    /// Nothing was taken: `held` bytes are a partial line.
    pub fn hold(&mut self, held: usize, now: Instant) {
        if held != self.held {
            self.held = held;
            self.held_since = now;
        }
        let again = if held >= LONG_BYTES {
            LONG_RECHECK
        } else {
            RECHECK
        };
        self.wake_at = (held > 0).then_some(now + again);
    }

    /// Whether an edge may be acted on now, or only at `wake_at`.
    pub fn may_look(&self, now: Instant) -> bool {
        let waits = self.held >= LONG_BYTES && self.wake_at.is_some_and(|at| now < at);
        self.ready && (!waits || self.ended || self.is_finishing())
    }
}
