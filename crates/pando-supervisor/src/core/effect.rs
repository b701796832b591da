//! What the core wants done: a closed set, carried out in order.

use std::path::PathBuf;
use std::sync::Arc;

use app_spec::AppSpec;
use gateway_spec::link::{Answer, ToGateway};
use node_cluster::{Attach, ConnId, HandleKey, ListenAddress, WorkerId};

use super::operation::{OpId, Outcome};

#[derive(Debug)]
pub enum Effect {
    Spawn(SpawnOrder),
    /// A signal to a worker's process, or to it and all that descends from it.
    Signal {
        worker: WorkerId,
        signal: i32,
        tree: bool,
    },
    /// The worker has ended and all about it was handled: root may forget it.
    Forget {
        worker: WorkerId,
    },
    /// One line on the worker's channel.
    Send {
        worker: WorkerId,
        line: Vec<u8>,
        attach: Attach,
    },
    /// Listen. `seats` sockets for [`ListenMode::Seats`], else one.
    Open {
        app: String,
        key: HandleKey,
        address: ListenAddress,
        mode: ListenMode,
        seats: usize,
    },
    /// More seats on an open listener, before any later effect that names them.
    Grow {
        app: String,
        key: HandleKey,
        seats: usize,
    },
    CloseListener {
        app: String,
        key: HandleKey,
    },
    /// Listen at a loopback address of this seat's own, at `port` (0: any). Accept there while the
    /// app's gate is open. Answered by [`super::Input::OpenedPrivate`].
    OpenPrivate {
        app: String,
        key: HandleKey,
        seat: usize,
        port: u16,
    },
    ClosePrivate {
        app: String,
        key: HandleKey,
        seat: usize,
    },
    /// New connections go to these seats only.
    Steer {
        app: String,
        key: HandleKey,
        seats: Vec<usize>,
    },
    /// Accept in the supervisor what waits at these seats (seat 0 is a single listener's).
    Accept {
        app: String,
        key: HandleKey,
        seats: Vec<usize>,
    },
    /// Nothing more can be taken for this app for now; or again.
    Gate {
        app: String,
        open: bool,
    },
    /// A word to a gateway, on its worker's channel.
    Tell {
        worker: WorkerId,
        say: Box<ToGateway>,
    },
    /// A gateway asks for the descriptor of a path, if one of its descriptions names it.
    OpenFor {
        worker: WorkerId,
        request: u64,
        path: PathBuf,
    },
    /// A gateway's answer to what the driver asked it.
    Answered {
        question: u64,
        result: Result<Box<Answer>, String>,
    },
    /// What a gateway measured.
    Measured(Box<monitor_spec::edge::Report>),
    /// The supervisor's copy of this connection is not needed any more.
    DropConn {
        conn: ConnId,
    },
    /// Look whether the worker is ready or well; answered by `ProbeResult`.
    Probe {
        worker: WorkerId,
        probe: Probe,
        timeout_ms: u64,
    },
    /// Journal and fsync before any later effect is carried out.
    Persist(AppRecord),
    Unpersist {
        app: String,
    },
    Notice(Notice),
    Progress {
        op: OpId,
        app: String,
        ready: u32,
        wanted: u32,
        text: String,
    },
    Finished {
        op: OpId,
        outcome: Outcome,
    },
}

/// How a worker is to be started.
#[derive(Clone, Debug)]
pub struct SpawnOrder {
    pub worker: WorkerId,
    pub app: String,
    pub instance: u32,
    pub spec: Arc<AppSpec>,
    /// A channel with Node's protocol.
    pub channel: bool,
    /// `NODE_UNIQUE_ID`: a cluster worker.
    pub cluster: bool,
    pub port: Option<u16>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum ListenMode {
    /// One SO_REUSEPORT socket a seat, given to the workers.
    Seats,
    /// One socket that all workers get.
    Shared,
    /// One socket in the supervisor, connections are handed over.
    HandOver,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// GET on a connection of its own to this worker: the other end was delivered as `conn`.
    Path { conn: ConnId, path: String },
    /// GET of an absolute http URL, or of a path at the worker's own port.
    Url { url: String },
    /// Whether something accepts at this local port.
    Port { port: u16 },
    /// What the worker's process tree listens on.
    Listening { pid: u32 },
}

/// One app as the journal keeps it.
#[derive(Clone, Debug)]
pub struct AppRecord {
    pub spec: Arc<AppSpec>,
    pub running: bool,
}

/// A transition worth telling.
#[derive(Clone, Debug)]
pub struct Notice {
    pub app: String,
    pub worker: Option<WorkerId>,
    pub instance: Option<u32>,
    pub kind: &'static str,
    pub text: String,
}
