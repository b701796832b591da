//! The primary's side of Node.js `cluster`, for a primary that is not Node.
//!
//! An unmodified Node app, spawned with three environment variables and one end of a socket pair,
//! is a real cluster worker: it asks its primary for its listening sockets, takes connections
//! from it, talks to it with `process.send()`. This crate is that primary in two parts:
//!
//! - [`Primary`]: the protocol as a state machine. Lines of JSON go in, [`Effect`]s come out. No
//!   descriptor, no clock, no thread.
//! - [`Channel`]: the socket pair, non-blocking: lines with descriptors (`SCM_RIGHTS`) both ways.
//!   Fits poll, epoll and tokio's `AsyncFd`.
//!
//! What stays with the caller: spawning, binding, accepting, choosing a worker, timeouts.
//!
//! # A worker's environment
//!
//! | variable | value |
//! |---|---|
//! | `NODE_CHANNEL_FD` | number of the worker's end, not close-on-exec in the child |
//! | `NODE_CHANNEL_SERIALIZATION_MODE` | `json` |
//! | `NODE_UNIQUE_ID` | the [`WorkerId`], decimal |
//!
//! # Three ways to bring connections in
//!
//! On [`Effect::Query`] answer with
//!
//! - [`ListenReply::Faux`], accept yourself and [`Primary::deliver`] each connection. Exact
//!   balance, stickiness; an acceptor's cost for each connection.
//! - [`ListenReply::Handle`] and one listening socket for all: the kernel's choice.
//! - [`ListenReply::Handle`] and one `SO_REUSEPORT` socket for each worker. What waits in the
//!   queue of a worker that stalls can be accepted by the caller and delivered to another one: a
//!   worker with a real handle takes deliveries too.
//!
//! A connection is the caller's until [`Effect::Accepted`]: Node acks before it reads, so one
//! that comes back as [`Effect::Returned`] has not been read from and can go to another worker.
//!
//! # Example
//!
//! `examples/primary.rs` is a complete primary with two workers in about 150 lines. The core
//! alone:
//!
//! ```
//! use node_cluster::{ConnId, Effect, ListenReply, Options, Primary, WorkerId};
//!
//! let mut primary = Primary::new(Options::default());
//! let worker = WorkerId(1);
//! primary.join(worker);
//! let query = br#"{"cmd":"NODE_CLUSTER","act":"queryServer","index":0,"data":null,
//!     "address":null,"port":3000,"addressType":4,"backlog":0,"seq":1}"#;
//! let effects = primary.receive(worker, query, false);
//! let [Effect::Query { query, key, .. }] = &effects[..] else { panic!("{effects:?}") };
//!
//! primary.answer(*query, ListenReply::Faux { sockname: Some(("::".into(), 3000)) });
//! assert!(primary.can_deliver(worker, key));
//! let effects = primary.deliver(worker, key, ConnId(7));
//! assert!(matches!(&effects[..], [Effect::Send { .. }]));
//!
//! // The worker died: the connection is to be delivered elsewhere.
//! let effects = primary.leave(worker);
//! assert!(effects.contains(&Effect::Returned { worker, conn: ConnId(7), key: key.clone() }));
//! ```
//!
//! # Runtimes
//!
//! Node 18 to 26 work in every way above. Deno (2.9) takes deliveries and pings as Node does, but
//! must be answered with `Faux`: it says that it listens on a real handle and never accepts from
//! it. Bun (1.4) never asks: it binds `SO_REUSEPORT` sockets of its own, which is told as
//! [`Effect::RuntimeIsBun`], and takes neither deliveries nor pings; messages work. It is ended by
//! a signal.
//!
//! # Absent
//!
//! UDP is refused with ENOTSUP (`exclusive: true` works); the `advanced` serialization mode;
//! sockets sent with `process.send(message, socket)` are closed, their messages delivered.

mod address;
mod channel;
mod codec;
mod effect;
mod flight;
mod ids;
mod message;
mod outgoing;
mod primary;
mod probe;
mod receive;
mod worker;

pub use address::{HandleKey, ListenAddress};
pub use channel::{
    Channel, Flush, Incoming, MAX_QUEUED_BYTES, MAX_QUEUED_MESSAGES, QueueFull, ReadState, dummy,
};
pub use codec::{Framed, Lines, MAX_LINE_BYTES};
pub use effect::{Attach, Effect, ListenReply};
pub use ids::{ConnId, PingId, QueryId, WorkerId};
pub use message::{AGENT_CMD, DecodeError, FromWorker, Listening, QueryServer, decode};
pub use primary::{MAX_KEYS_PER_WORKER, MAX_PINGS_IN_FLIGHT, Options, Primary};
pub use worker::{Snapshot, SnapshotKey};
