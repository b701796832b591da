//! What the supervisor knows of its apps, told once a second and whole.

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    pub time_ms: i64,
    pub supervisor_pid: u32,
    pub root_pid: u32,
    pub apps: Vec<App>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct App {
    pub name: String,
    /// As `pando ls` says it: `ready`, `crash-loop`, …
    pub status: String,
    pub mode: String,
    /// What it runs: `server.js`.
    pub command: String,
    pub listen: Vec<String>,
    pub wanted: u32,
    pub ready: u32,
    /// Unplanned restarts since it was started.
    pub restarts: u64,
    pub uptime_ms: u64,
    pub reloading: bool,
    /// Why it is not what was asked for, if so.
    pub problem: Option<String>,
    pub memory_limit_bytes: Option<u64>,
    /// Its workers get the preload.
    pub agent: bool,
    pub workers: Vec<Worker>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Worker {
    /// Unique for the life of the daemon; 0 while the place is empty.
    pub id: u32,
    pub instance: u32,
    pub pid: Option<u32>,
    pub state: String,
    pub uptime_ms: u64,
    pub restarts: u64,
    pub last_exit: Option<String>,
    /// Resident memory and CPU as the supervisor saw them; of the whole tree in fork mode.
    pub memory_bytes: u64,
    pub cpu_percent: f64,
    /// Round trip of the supervisor's pings, where it pings.
    pub ping_us: Option<u64>,
    /// Measure the whole tree of processes, not the one alone.
    pub tree: bool,
}

/// A transition worth telling.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Event {
    pub time_ms: i64,
    /// Empty for what is of the machine or of Pando itself.
    pub app: String,
    /// Instance number.
    pub worker: Option<u32>,
    /// `ready`, `exited`, `stalled`, `reload`, `alert-firing`, …
    pub kind: String,
    pub text: String,
}
