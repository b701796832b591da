//! What the core wants done or known, and what a caller answers.

use serde_json::Value;

use crate::address::{HandleKey, ListenAddress};
use crate::ids::{ConnId, PingId, QueryId, WorkerId};

/// The descriptor that goes with a line. Exactly one, or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attach {
    /// A plain line.
    None,
    /// The listening (or bound) socket that this worker shall have for this key. It must be
    /// O_NONBLOCK (Node 18 and Deno do not set it), bound to the port that was asked for.
    Listener(HandleKey, WorkerId),
    /// The accepted connection. Keep a duplicate until `Accepted` or `Returned`.
    Conn(ConnId),
    /// Any socket that nobody uses: [`dummy`](crate::dummy).
    Dummy(PingId),
}

/// The answer to [`Effect::Query`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenReply {
    /// A real descriptor, attached as [`Attach::Listener`]. The worker accepts from it, and takes
    /// handed-over connections too.
    Handle,
    /// None: the worker gets its connections handed over, and only so.
    Faux {
        /// What `server.address()` shall say: an IP address and the port. `None` for unix sockets.
        sockname: Option<(String, u16)>,
    },
    /// `listen()` fails.
    Error {
        /// Positive, as in errno(3); sent negated.
        errno: i32,
    },
}

/// What came of an event, in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Queue this line, with its newline, on the worker's channel.
    Send {
        /// To whom.
        worker: WorkerId,
        /// Complete, with its newline.
        line: Vec<u8>,
        /// What goes with it.
        attach: Attach,
    },
    /// The worker wants to listen: bind, then [`answer`](crate::Primary::answer). It waits.
    Query {
        /// Who asks.
        worker: WorkerId,
        /// What to answer to.
        query: QueryId,
        /// The same for all workers that ask for the same address, but for port 0.
        key: HandleKey,
        /// Never `Udp`.
        address: ListenAddress,
    },
    /// The worker's runtime is up; the app's code is about to run.
    Online {
        /// Who.
        worker: WorkerId,
    },
    /// The worker's server listens.
    Listening {
        /// Who.
        worker: WorkerId,
        /// On what.
        key: HandleKey,
        /// The real port, `None` for unix sockets.
        port: Option<u16>,
        /// As the worker asked.
        address: ListenAddress,
    },
    /// The worker closed its server.
    Closed {
        /// Who.
        worker: WorkerId,
        /// Which.
        key: HandleKey,
    },
    /// No worker holds this key or asks for it any more. May be said of a key that the caller
    /// refused.
    Unused {
        /// Which.
        key: HandleKey,
    },
    /// The connection is the worker's now: drop the duplicate.
    Accepted {
        /// Whose it is.
        worker: WorkerId,
        /// Which.
        conn: ConnId,
    },
    /// The worker did not take the connection and has not read from it: deliver it elsewhere.
    Returned {
        /// Who did not take it.
        worker: WorkerId,
        /// Which.
        conn: ConnId,
        /// What it was delivered for.
        key: HandleKey,
    },
    /// The worker's event loop turned since the ping.
    Pong {
        /// Who.
        worker: WorkerId,
        /// Which ping.
        ping: PingId,
    },
    /// The worker ends by its own will (`cluster.worker.disconnect()` or `kill()`); not a crash.
    Disconnecting {
        /// Who.
        worker: WorkerId,
    },
    /// The app's `process.send()`.
    App {
        /// Who.
        worker: WorkerId,
        /// One JSON value, as it came.
        message: Vec<u8>,
    },
    /// An internal message with [`AGENT_CMD`](crate::AGENT_CMD).
    Agent {
        /// Who.
        worker: WorkerId,
        /// The whole object.
        message: Value,
    },
    /// The worker runs in Bun: it opens its own SO_REUSEPORT sockets and never asks.
    RuntimeIsBun {
        /// Who.
        worker: WorkerId,
    },
    /// The worker asked for something, or the caller for something of the worker, that this
    /// primary does not do. `what` is a sentence for a person.
    Unsupported {
        /// Who.
        worker: WorkerId,
        /// What, and what was done instead.
        what: String,
    },
    /// The line was no message. It was ignored.
    Garbage {
        /// Who.
        worker: WorkerId,
        /// Why it could not be read.
        why: String,
    },
}
