//! What the embedder hands in and gets back.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use crate::label::SourceId;

pub struct PumpOptions {
    /// Where apps without a directory of their own log; created (0700) when first needed.
    pub dir: PathBuf,
    /// [`crate::Pump::intents_fd`] of the former run, or any empty memfd.
    pub intents: Option<OwnedFd>,
    /// Also write every line to this process's stdout.
    pub echo: Option<Echo>,
    /// Called on the pump's thread: must be quick, and must not call back into the pump.
    pub notices: Box<dyn Fn(Notice) + Send>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Echo {
    /// `api 0 | text`
    Text,
    /// One object a line, see [`crate::json::to_json`].
    Json,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileOptions {
    /// Default: [`PumpOptions::dir`].
    pub dir: Option<PathBuf>,
    /// The file is rotated before it grows over this; one batch (under 1 MiB) always fits.
    pub max_bytes: u64,
    /// Rotated files kept, beside the one being written. At most [`MAX_KEEP`].
    pub keep: u32,
    /// Compress rotated files in the background.
    pub compress: bool,
}

/// More rotated files than this are not kept, whatever was asked.
pub const MAX_KEEP: u32 = 1_000;

impl Default for FileOptions {
    fn default() -> Self {
        Self {
            dir: None,
            max_bytes: 50 * 1024 * 1024,
            keep: 10,
            compress: true,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Everything of this source is in the file and its read end is closed. Exactly once for
    /// each source: at end of file or after [`crate::Pump::finish`], whichever is first.
    Finished(SourceId),
    /// The app's file cannot be written; told when it begins and then every 30 s.
    WriteError { app: String, why: String },
    /// Lines that no file will have, since the last such notice.
    Dropped { app: String, lines: u64 },
    /// The app's file grew. One such notice until [`crate::Pump::rearm`] asks for the next.
    Changed { app: String },
}
