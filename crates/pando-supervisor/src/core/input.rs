//! What can happen to the core: a closed set.

use std::net::{IpAddr, SocketAddr};

use app_spec::{AppSpec, Instances};
use node_cluster::{ConnId, HandleKey, WorkerId};

use super::operation::OpId;

#[derive(Debug)]
pub enum Input {
    /// A person or a file wants something of one app.
    Order {
        op: OpId,
        app: String,
        order: Box<Order>,
    },
    /// The answer to [`super::Effect::Open`]: the port that was bound (0 for a unix path).
    Opened {
        app: String,
        key: HandleKey,
        result: Result<u16, OpenFailure>,
    },
    /// A connection was accepted by the supervisor, in hand-over mode or in a rescue.
    Accepted {
        app: String,
        key: HandleKey,
        conn: ConnId,
        client: Option<IpAddr>,
        /// It came to the private address of this seat.
        private: Option<usize>,
    },
    /// The answer to [`super::Effect::OpenPrivate`]: where.
    OpenedPrivate {
        app: String,
        key: HandleKey,
        seat: usize,
        result: Result<SocketAddr, OpenFailure>,
    },
    /// Connections that wait in a seat's accept queue, sampled.
    Queued {
        app: String,
        key: HandleKey,
        seat: usize,
        waiting: u32,
    },
    /// Watched files changed and have been quiet since.
    Changed {
        app: String,
    },
    Worker {
        worker: WorkerId,
        event: Target,
    },
}

/// What happened to one worker.
#[derive(Debug)]
pub enum Target {
    Spawned {
        pid: u32,
    },
    SpawnFailed {
        why: String,
    },
    /// One line on its channel, and whether a file descriptor came with it.
    Line {
        line: Vec<u8>,
        fd: bool,
    },
    /// A line too long to hold was passed over.
    Oversized {
        bytes: u64,
    },
    /// Its channel was read to the end.
    ChannelClosed,
    /// It never reads its channel and the bounded queue is full.
    ChannelStuck,
    Exited {
        exit: Exit,
    },
    ProbeResult {
        conn: Option<ConnId>,
        result: Result<Vec<String>, String>,
    },
    /// Resident memory, bytes; rough count of open connections. `timed`: one of the looks that
    /// come once a second, which the memory limit counts.
    Usage {
        memory_bytes: u64,
        connections: u32,
        timed: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Code(i32),
    Signal(i32),
}

impl Exit {
    /// As a shell reports it: a process that a signal ended has 128 and the signal's number.
    pub fn code(self) -> i32 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => 128 + signal,
        }
    }
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => match app_spec::signal::name(*signal) {
                Some(name) => f.write_str(&name),
                None => write!(f, "signal {signal}"),
            },
        }
    }
}

#[derive(Clone, Debug)]
pub struct OpenFailure {
    /// Positive errno.
    pub errno: i32,
    /// A sentence for a person, with the holder of the port.
    pub why: String,
}

#[derive(Debug)]
pub enum Order {
    /// A new app, or a stopped one to this spec.
    Start {
        spec: AppSpec,
    },
    /// A stopped app as it was.
    StartKnown,
    Stop,
    /// All workers at once.
    Restart {
        spec: Option<AppSpec>,
    },
    /// Rolling, canary first.
    Reload {
        spec: Option<AppSpec>,
    },
    /// Take the parts of the spec that touch no worker.
    Configure {
        spec: AppSpec,
    },
    Delete,
    Scale {
        instances: Instances,
    },
    /// The daemon ends: stop, but stay journaled as running.
    Close {
        signal: Option<i32>,
    },
}
