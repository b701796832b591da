//! What a test tells the probe's supervisor.

use std::path::PathBuf;

use pando_root::proto::ToRoot;
use serde::{Deserialize, Serialize};

pub const TUNING_ENV: &str = "PROBE_TUNING";
/// A fifo: the ready fd.
pub const READY_ENV: &str = "PROBE_READY";
/// Set: every supervisor dies at once.
pub const DYING_FIRST_ENV: &str = "PROBE_DYING";
/// Exit codes of the probe as root.
pub const LOCKED: u8 = 75;
pub const FAILED: u8 = 76;

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Control {
    /// Send this, with these files opened (and made) as its fds.
    Order {
        order: ToRoot,
        files: Vec<PathBuf>,
    },
    /// Store the file `count` times.
    Store {
        prefix: String,
        count: usize,
        file: PathBuf,
    },
    /// Put a text of that many bytes, every one of which JSON escapes.
    Put {
        name: String,
        bytes: usize,
    },
    /// Write to a stored fd that came with the hand-over.
    Write {
        name: String,
        text: String,
    },
    /// Send these and die of SIGKILL.
    LastWords {
        orders: Vec<ToRoot>,
    },
    Bench {
        count: u64,
    },
    Exit {
        code: i32,
    },
}
