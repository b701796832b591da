//! The control API's words, version 1. Wire types: they live here and are converted by hand.
//!
//! Every call is one [`Request`]; the answer is a stream of [`Frame`]s, one JSON object a line,
//! that ends with `done` or `failed`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use app_spec::{AppSpec, Instances};
use gateway_spec::link::{self, Ask};
use monitor_spec::ask as monitor;
/// A transition worth telling, turned once into log line, metric and dashboard row.
pub use monitor_spec::state::Event;
use serde::{Deserialize, Serialize};

/// Bumped when a client of the old version would misread an answer.
pub const API_VERSION: u32 = 1;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "call", rename_all = "snake_case")]
pub enum Request {
    Version,
    /// Apps and workers. Answers [`Answer::Apps`].
    List {
        select: Select,
    },
    /// Start new apps, or stopped ones again. Ends when every worker is ready.
    Start {
        specs: Vec<AppSpec>,
        wait: bool,
    },
    /// Start apps that are known but stopped.
    StartKnown {
        select: Select,
    },
    Stop {
        select: Select,
    },
    /// Stop and start, all workers at once.
    Restart {
        select: Select,
        spec: Option<Box<AppSpec>>,
    },
    /// Rolling, canary first. With a spec: to that new spec.
    Reload {
        select: Select,
        spec: Option<Box<AppSpec>>,
    },
    /// Take over what of a spec needs no new worker (restart policy, memory limit, stop signal,
    /// log rotation); workers stay.
    Configure {
        spec: Box<AppSpec>,
    },
    Delete {
        select: Select,
    },
    Scale {
        select: Select,
        change: ScaleChange,
    },
    Signal {
        select: Select,
        signal: String,
    },
    /// The environment a worker of the app gets. Answers [`Answer::Env`].
    Env {
        app: String,
    },
    /// The specs as journaled. Answers [`Answer::Specs`].
    Specs {
        select: Select,
    },
    /// A question to the gateway that serves. Answers [`Answer::Gateway`].
    Gateway {
        ask: Ask,
    },
    /// A question to the metrics. Answers [`Answer::Monitor`]; pictures of a
    /// [`monitor::Ask::Watch`] come as [`Frame::Monitor`].
    Monitor {
        ask: monitor::Ask,
    },
    /// Lines as [`Frame::Log`].
    Logs {
        query: LogQuery,
    },
    /// Transitions as [`Frame::Event`], until the client goes.
    Events,
    /// Replace the running binary; the daemon's own path if `None`.
    Upgrade {
        path: Option<PathBuf>,
    },
    /// Stop every app and the daemon. The journal keeps the apps.
    Kill,
}

/// Which apps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Select {
    All,
    /// Names of apps, or worker ids as digits where a call takes workers. Unknown ones are an error.
    Names(Vec<String>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScaleChange {
    To(u32),
    Up(u32),
    Down(u32),
    /// As a file says it: `max` stays `max` in the journal.
    As(Instances),
}

/// One line of an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Frame {
    Progress(Progress),
    Log(LogLine),
    Event(Event),
    Monitor(Box<monitor::Answer>),
    /// The last frame of a call that worked.
    Done(Answer),
    /// The last frame of a call that did not.
    Failed(Problem),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    pub app: String,
    pub ready: u32,
    pub wanted: u32,
    /// What happens now, for a person: `starting worker 2 of 4`.
    pub text: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// What was done, one sentence each, for a person; and the apps as they are now.
    Changed {
        text: Vec<String>,
        apps: Vec<AppView>,
    },
    Version {
        api: u32,
        version: String,
        root_pid: u32,
        supervisor_pid: u32,
        home: PathBuf,
    },
    Apps(Vec<AppView>),
    Env(BTreeMap<String, String>),
    Specs(Vec<AppSpec>),
    Gateway(link::Answer),
    Monitor(Box<monitor::Answer>),
    /// The end of a stream (logs without follow).
    End,
}

/// What a person is told when something is wrong: what, where, why, what to do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Problem {
    /// `app api`, `pando.toml:12:9`.
    pub place: String,
    pub what: String,
    pub why: String,
    pub fix: String,
    /// Last lines of the new worker's stderr, where that explains it.
    pub stderr: Vec<String>,
    /// 1: it was tried and failed; 2: the call itself was wrong.
    pub exit_code: u8,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AppView {
    pub name: String,
    pub status: AppStatus,
    /// `cluster` or `fork`.
    pub mode: String,
    pub balance: String,
    /// What is run, short: `server.js`, `npm start`.
    pub command: String,
    pub cwd: PathBuf,
    pub wanted: u32,
    pub ready: u32,
    /// `:3000`, `127.0.0.1:8080`, `/run/x.sock`; what the workers listen on.
    pub listen: Vec<String>,
    /// Unplanned restarts since the app was started.
    pub restarts: u64,
    /// Since when the app's first worker has been ready without a gap, milliseconds.
    pub uptime_ms: u64,
    pub reloading: bool,
    pub workers: Vec<WorkerView>,
    /// Why it is not what was asked for, if so.
    pub problem: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AppStatus {
    /// As many workers ready as wanted.
    Ready,
    Starting,
    /// Some ready, fewer than wanted.
    Degraded,
    Unhealthy,
    CrashLoop,
    /// Waits for an app it depends on.
    Waiting,
    Stopping,
    Stopped,
    /// Every worker ended by itself and its policy keeps it down.
    Exited,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkerView {
    /// Unique for the life of the daemon; `NODE_UNIQUE_ID` of a cluster worker.
    pub id: u32,
    /// 0..wanted; `NODE_APP_INSTANCE`. A successor has its predecessor's.
    pub instance: u32,
    pub pid: Option<u32>,
    pub state: WorkerState,
    pub uptime_ms: u64,
    pub restarts: u64,
    pub memory_bytes: u64,
    /// Percent of one core over the last seconds.
    pub cpu_percent: f64,
    /// `exit code 1`, `SIGKILL`: how the predecessor ended, if it did by itself.
    pub last_exit: Option<String>,
    pub port: Option<u16>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WorkerState {
    Starting,
    Ready,
    Unhealthy,
    /// Event loop does not turn; connections go elsewhere.
    Stalled,
    Draining,
    Stopping,
    Backoff,
    CrashLoop,
    Stopped,
}

/// Which log lines.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LogQuery {
    /// Empty: every app.
    pub apps: Vec<String>,
    pub worker: Option<u32>,
    /// `out`, `err`, or both.
    pub stream: Option<LogStream>,
    /// The last this many before following.
    pub lines: usize,
    pub follow: bool,
    /// Milliseconds since the epoch.
    pub since_ms: Option<i64>,
    pub until_ms: Option<i64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogStream {
    Out,
    Err,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    pub app: String,
    /// The worker's instance number.
    pub worker: u32,
    pub stream: LogStream,
    /// Milliseconds since the epoch.
    pub time_ms: i64,
    /// Without its newline; invalid UTF-8 replaced.
    pub text: String,
}
