//! Lossless logs of workers: a pump from their stdout and stderr pipes to rotated files, and
//! readers (the last lines, a time window, following) over those files.
//!
//! ```text
//!  worker ──pipe──> pump (one thread) ──> <dir>/<app>.log ──> .log.1 ──> .log.2.gz …
//!                     │                         │
//!                     └ notices                 └ tail(), Cursor: files only, no lock with the pump
//! ```
//!
//! # Invariants
//! 1. A line leaves its pipe only after it is in the file. Whoever holds a duplicate of the
//!    pipe's read end and of [`Pump::intents_fd`] may `kill -9` this process at any moment: the
//!    successor finishes or undoes what was under way, exactly once (see `intent.rs`).
//! 2. A reader never holds up the pump, and the pump never holds up a worker while there is room
//!    on the disk. Without room the pipe is the buffer; when that is nearly full the oldest lines
//!    are dropped, counted and confessed in the file.
//! 3. Every line of a file is `2026-11-21T03:44:00.123Z 0 out text`; see `line.rs`.
//!
//! Absent on purpose: fsync per batch (a power cut may cost the last seconds, as with any logger),
//! and the workers' write ends (only the workers have those, so end of file means they are gone).

mod app;
mod compress;
mod cursor;
mod echo;
mod file;
mod intent;
pub mod json;
mod label;
mod line;
mod options;
mod pipe;
mod pump;
mod query;
mod recent;
mod run;
mod segment;
mod source;
mod stamp;
mod tail;

pub use cursor::Cursor;
pub use label::{InvalidName, Label, SourceId, Stream, check_app_name};
pub use line::{Line, MAX_LINE_BYTES, join};
pub use options::{Echo, FileOptions, MAX_KEEP, Notice, PumpOptions};
pub use pump::Pump;
pub use query::{MAX_TAIL_BYTES, MAX_TAIL_LINES, Query};
pub use tail::tail;
