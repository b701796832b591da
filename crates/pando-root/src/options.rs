//! What root is told when it starts, and how it ends.

use std::ffi::OsString;
use std::os::fd::{OwnedFd, RawFd};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Stands for the fd's number in [`Options::resume_args`].
pub const FD_PLACE: &str = "{fd}";

#[derive(Debug)]
pub struct Options {
    /// Made if it is absent, mode 0700.
    pub home: PathBuf,
    pub mode: Mode,
    /// argv[1..] of the supervisor, which is this same binary.
    pub supervisor_args: Vec<OsString>,
    /// Gets `ok\n` when the first supervisor is in charge, or one line that says why not.
    pub ready_fd: Option<OwnedFd>,
    /// After a re-exec: the memfd with the state. All else but the tuning comes from there.
    pub resume: Option<RawFd>,
    /// argv[1..] that make a new binary call [`crate::run`] with [`Options::resume`]; `{fd}` is
    /// replaced by the number.
    pub resume_args: Vec<String>,
    pub tuning: Tuning,
}

impl Options {
    pub fn new(home: PathBuf, mode: Mode, supervisor_args: Vec<OsString>) -> Self {
        Self {
            home,
            mode,
            supervisor_args,
            ready_fd: None,
            resume: None,
            resume_args: vec!["root".into(), "--resume".into(), FD_PLACE.into()],
            tuning: Tuning::default(),
        }
    }

    /// For `pando root --resume FD`.
    pub fn resume(state: RawFd) -> Self {
        let mut options = Self::new(PathBuf::new(), Mode::Daemon, Vec::new());
        options.resume = Some(state);
        options
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Leads its own session and works in its home.
    Daemon,
    /// Stays in the session and directory it was started in; also as PID 1.
    Foreground,
}

/// Times, in milliseconds, and counts. The defaults are meant for use, others for tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tuning {
    /// From an upgraded supervisor's start to its `Hello`.
    pub hello_ms: u64,
    /// Deaths of an upgraded supervisor before its `Hello` that end the trial.
    pub trial_deaths: u32,
    /// For `--pando-selfcheck`.
    pub selfcheck_ms: u64,
    /// From the end of its link to SIGKILL of a supervisor.
    pub farewell_ms: u64,
    /// From `Shutdown` to giving up on children that even SIGKILL does not end.
    pub shutdown_ms: u64,
    /// That many deaths of supervisors within the window start the back-off.
    pub quick_deaths: u32,
    pub quick_window_ms: u64,
    pub backoff_min_ms: u64,
    pub backoff_max_ms: u64,
    /// From a SIGTERM, SIGINT or SIGQUIT that no supervisor was there to take to root's own end.
    pub unheard_stop_ms: u64,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            hello_ms: 10_000,
            trial_deaths: 3,
            selfcheck_ms: 5_000,
            farewell_ms: 5_000,
            shutdown_ms: 10_000,
            quick_deaths: 5,
            quick_window_ms: 10_000,
            backoff_min_ms: 100,
            backoff_max_ms: 5_000,
            unheard_stop_ms: 5_000,
        }
    }
}

/// How root ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// As a supervisor asked, or by a signal that no supervisor took (128 + its number).
    Shutdown { code: i32 },
    /// Another root holds this home.
    Locked {
        /// As it wrote itself down.
        pid: Option<u32>,
    },
    /// Root could not start, or its first supervisor ended before it was in charge.
    Failed(String),
}
