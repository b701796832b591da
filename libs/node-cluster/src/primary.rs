//! The primary as a state machine: lines and decisions in, [`Effect`]s out.
//!
//! ```text
//! worker says            core says                       caller does
//! online                 Online
//! queryServer            Query                           binds, answer()
//! listening              Listening
//!                                                        accepts a connection, deliver()
//! ack accepted:true      Accepted                        drops its duplicate
//! ack accepted:false     Returned                        delivers elsewhere
//! (dies)                 Returned, Unused                drains the channel, leave()
//! ```
//!
//! Invariants: a connection that was delivered comes back in exactly one `Accepted` or `Returned`;
//! no worker has more than [`Options::window`] connections unacked; every line has a descriptor
//! exactly when it is a NODE_HANDLE; a key is `Unused` only when no worker holds it or asks for
//! it. Absent: clocks, descriptors, choice of a worker. Those are the caller's.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use serde_json::value::RawValue;

use crate::address::HandleKey;
use crate::codec::MAX_LINE_BYTES;
use crate::effect::{Attach, Effect, ListenReply};
use crate::flight::{Flight, Pending};
use crate::ids::{ConnId, PingId, QueryId, WorkerId};
use crate::outgoing::{self, Reply};
use crate::probe::{is_internal, probe};
use crate::worker::{Asked, Held, Snapshot, SnapshotKey, Worker};

/// Listening sockets of one worker, granted and asked for. Above it `listen()` fails: a worker
/// that loops over port 0 shall not take all descriptors of the machine.
pub const MAX_KEYS_PER_WORKER: usize = 1024;

/// Unanswered pings of one worker; further ones are not sent.
pub const MAX_PINGS_IN_FLIGHT: usize = 16;

/// A key that no worker holds.
const PING_KEY: &str = "ping";

/// What may differ between users of a [`Primary`].
#[derive(Clone, Debug)]
pub struct Options {
    /// Connections handed to a worker and not yet acked, at most. A default channel holds about
    /// 270 messages with a descriptor; what waits in a worker's channel behind a long computation
    /// waits for nobody else, so keep it at 8-16.
    pub window: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { window: 12 }
    }
}

/// The primary's side of the cluster protocol for any number of workers. See the module.
#[derive(Debug, Default)]
pub struct Primary {
    options: Options,
    next_seq: u64,
    pub(crate) next_query: u64,
    next_ping: u64,
    pub(crate) workers: BTreeMap<WorkerId, Worker>,
    /// By the worker that asked.
    pub(crate) queries: BTreeMap<QueryId, WorkerId>,
    pub(crate) keys: BTreeMap<HandleKey, Shared>,
}

/// What the workers with one key have in common.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// Holders, and workers whose query is open.
    pub(crate) users: BTreeSet<WorkerId>,
    /// The first worker's `data`, given to all (`handle.data ||= message.data`).
    pub(crate) data: Option<Box<RawValue>>,
}

impl Primary {
    /// Without workers.
    pub fn new(options: Options) -> Self {
        Self {
            options,
            ..Self::default()
        }
    }

    /// Numbers messages from `seq` on. A successor that adopts workers must begin above all that
    /// its predecessor may have reached, or late acks would be taken for its own; a clock in
    /// microseconds does. At most 2^52: workers count in doubles.
    pub fn numbered_from(mut self, seq: u64) -> Self {
        self.next_seq = seq;
        self
    }

    /// A worker was spawned with `NODE_UNIQUE_ID` = `worker`.
    pub fn join(&mut self, worker: WorkerId) {
        self.workers.entry(worker).or_default();
    }

    /// A worker that a predecessor has spawned joins as it was.
    pub fn adopt(&mut self, worker: WorkerId, snapshot: Snapshot) {
        let mut state = Worker {
            online: snapshot.online,
            listened: snapshot.listened,
            disconnecting: snapshot.disconnecting,
            bun: snapshot.bun,
            adopted: true,
            flight: Flight::adopted(),
            ..Worker::default()
        };
        for held in snapshot.keys {
            let shared = self.keys.entry(held.key.clone()).or_default();
            shared.users.insert(worker);
            if shared.data.is_none() {
                shared.data = held.data.and_then(|json| RawValue::from_string(json).ok());
            }
            let SnapshotKey {
                key,
                address,
                port,
                listening,
                ..
            } = held;
            state.held.insert(
                key,
                Held {
                    address,
                    port,
                    listening,
                },
            );
        }
        self.workers.insert(worker, state);
    }

    /// What a successor must be told of this worker, `None` if it is unknown. Connections in
    /// flight and open queries are not part of it: the former are the worker's once it has read
    /// its channel, the latter are lost with a primary that dies before it answers.
    pub fn snapshot(&self, worker: WorkerId) -> Option<Snapshot> {
        let state = self.workers.get(&worker)?;
        let keys = state.held.iter().map(|(key, held)| SnapshotKey {
            key: key.clone(),
            address: held.address.clone(),
            port: held.port,
            listening: held.listening,
            data: self.data(key).map(|data| data.get().to_owned()),
        });
        Some(Snapshot {
            online: state.online,
            listened: state.listened,
            disconnecting: state.disconnecting,
            bun: state.bun,
            keys: keys.collect(),
        })
    }

    /// The worker's channel was drained to its end, or the worker died and what it had written
    /// was read: every connection that it did not ack is `Returned`, its keys are released.
    pub fn leave(&mut self, worker: WorkerId) -> Vec<Effect> {
        let Some(mut state) = self.workers.remove(&worker) else {
            return Vec::new();
        };
        let mut effects = Vec::new();
        for pending in state.flight.drain() {
            match pending {
                Pending::Conn { conn, key } => effects.push(Effect::Returned { worker, conn, key }),
                Pending::Ping(_) => {}
            }
        }
        for (query, asked) in state.asked {
            self.queries.remove(&query);
            self.release(worker, asked.key, &mut effects);
        }
        for key in state.held.into_keys() {
            self.release(worker, key, &mut effects);
        }
        effects
    }

    /// Answers a [`Effect::Query`]. Nothing, if the worker has left in between.
    pub fn answer(&mut self, query: QueryId, reply: ListenReply) -> Vec<Effect> {
        let mut effects = Vec::new();
        let Some(worker) = self.queries.remove(&query) else {
            return effects;
        };
        let seq = self.take_seq();
        let Some(state) = self.workers.get_mut(&worker) else {
            return effects;
        };
        let Some(asked) = state.asked.remove(&query) else {
            return effects;
        };
        let Asked {
            seq: ack,
            key,
            address,
        } = asked;
        let data = self
            .keys
            .get(&key)
            .and_then(|shared| shared.data.as_deref());
        let base = Reply {
            seq,
            ack,
            key: &key,
            errno: None,
            data,
            sockname: None,
        };
        let (line, attach) = match &reply {
            ListenReply::Handle => {
                state.flight.listener_sent(seq, key.clone(), ack);
                let line = Reply {
                    errno: Some(0),
                    ..base
                }
                .with_handle();
                (line, Attach::Listener(key.clone(), worker))
            }
            ListenReply::Faux { sockname } => {
                let sockname = sockname.as_ref();
                (Reply { sockname, ..base }.plain(), Attach::None)
            }
            ListenReply::Error { errno } => {
                // 0 would mean success without a handle, which crashes the worker.
                let errno = Some(-errno.abs().max(1));
                (Reply { errno, ..base }.plain(), Attach::None)
            }
        };
        effects.push(Effect::Send {
            worker,
            line,
            attach,
        });
        if matches!(reply, ListenReply::Error { .. }) {
            self.release(worker, key, &mut effects);
        } else {
            state.held.insert(
                key,
                Held {
                    address,
                    port: None,
                    listening: false,
                },
            );
        }
        effects
    }

    /// Whether `deliver` would send: the worker holds the key, is not disconnecting, its window
    /// is not full, and its runtime takes connections.
    pub fn can_deliver(&self, worker: WorkerId, key: &HandleKey) -> bool {
        self.workers.get(&worker).is_some_and(|state| {
            !state.disconnecting
                && !state.bun
                && state.flight.conns() < self.options.window
                && state.held.contains_key(key)
        })
    }

    /// Connections delivered to the worker and not acked.
    pub fn in_flight(&self, worker: WorkerId) -> usize {
        self.workers
            .get(&worker)
            .map_or(0, |state| state.flight.conns())
    }

    /// Hands an accepted connection to a worker. `Returned` at once if it cannot be delivered.
    ///
    /// A worker whose server is at its `maxConnections` returns what it gets: deliver elsewhere,
    /// and close the connection if no worker takes it.
    pub fn deliver(&mut self, worker: WorkerId, key: &HandleKey, conn: ConnId) -> Vec<Effect> {
        let seq = self.take_seq();
        let sendable = self.can_deliver(worker, key);
        let Some(state) = self.workers.get_mut(&worker).filter(|_| sendable) else {
            return vec![Effect::Returned {
                worker,
                conn,
                key: key.clone(),
            }];
        };
        state.flight.newconn_sent(
            seq,
            Pending::Conn {
                conn,
                key: key.clone(),
            },
        );
        let line = outgoing::newconn(key.as_str(), seq);
        vec![Effect::Send {
            worker,
            line,
            attach: Attach::Conn(conn),
        }]
    }

    /// Asks whether the worker's event loop turns: a `newconn` with a key that it does not know,
    /// which it refuses without a trace. No effect if the worker is unknown, not yet online, in
    /// Bun, or [`MAX_PINGS_IN_FLIGHT`] are unanswered.
    pub fn ping(&mut self, worker: WorkerId) -> (PingId, Vec<Effect>) {
        let ping = PingId(self.next_ping);
        self.next_ping += 1;
        let seq = self.take_seq();
        let state = self.workers.get_mut(&worker).filter(|state| {
            state.online && !state.bun && state.flight.pings() < MAX_PINGS_IN_FLIGHT
        });
        let Some(state) = state else {
            return (ping, Vec::new());
        };
        state.flight.newconn_sent(seq, Pending::Ping(ping));
        let line = outgoing::newconn(PING_KEY, seq);
        (
            ping,
            vec![Effect::Send {
                worker,
                line,
                attach: Attach::Dummy(ping),
            }],
        )
    }

    /// Tells the worker to close its servers and disconnect once its connections are closed.
    /// Nothing unless [`can_disconnect`](Self::can_disconnect).
    pub fn disconnect(&mut self, worker: WorkerId) -> Vec<Effect> {
        if !self.can_disconnect(worker) {
            return Vec::new();
        }
        let seq = self.take_seq();
        let Some(state) = self.workers.get_mut(&worker) else {
            return Vec::new();
        };
        state.disconnecting = true;
        vec![send(worker, state, outgoing::disconnect(seq))]
    }

    /// Whether a `disconnect` is safe and of use: some server was listening once (before that,
    /// Fastify crashes on it) and the worker is not disconnecting. Never so for a worker that only
    /// listens with `exclusive: true`, on UDP or not at all, and for Bun, which closes its channel
    /// but goes on listening: end them by a signal.
    pub fn can_disconnect(&self, worker: WorkerId) -> bool {
        self.workers
            .get(&worker)
            .is_some_and(|state| state.listened && !state.disconnecting && !state.bun)
    }

    /// Sends one JSON value to the app (`process.on('message')`). What is not JSON, longer than
    /// [`MAX_LINE_BYTES`] or would be taken for an internal message is refused as `Unsupported`:
    /// it would crash the worker.
    pub fn send_app(&mut self, worker: WorkerId, json: &[u8]) -> Vec<Effect> {
        if !self.workers.contains_key(&worker) {
            return Vec::new();
        }
        let refused = |what: String| vec![Effect::Unsupported { worker, what }];
        if json.len() > MAX_LINE_BYTES {
            return refused(format!("a message of {} bytes was not sent", json.len()));
        }
        let cmd = match std::str::from_utf8(json).map(probe) {
            Ok(Ok(cmd)) => cmd,
            Ok(Err(_)) | Err(_) => {
                return refused("a message that is not JSON was not sent".to_owned());
            }
        };
        if cmd.is_some_and(|cmd| is_internal(&cmd)) {
            return refused("a message with an internal cmd was not sent".to_owned());
        }
        vec![Effect::Send {
            worker,
            line: outgoing::app(json),
            attach: Attach::None,
        }]
    }

    /// Sends an internal message: `cmd` (must begin with `NODE_`, and be none of Node's own) and
    /// the members of `body`. It arrives as `process.on('internalMessage')`, unseen by the app.
    pub fn send_internal(&mut self, worker: WorkerId, cmd: &str, body: Value) -> Vec<Effect> {
        let Some(state) = self.workers.get(&worker) else {
            return Vec::new();
        };
        debug_assert!(is_internal(cmd), "{cmd} would reach the app");
        vec![send(worker, state, outgoing::internal(cmd, body))]
    }

    /// Whether the worker's server on this key is listening.
    pub fn is_listening(&self, worker: WorkerId, key: &HandleKey) -> bool {
        self.workers
            .get(&worker)
            .and_then(|state| state.held.get(key))
            .is_some_and(|held| held.listening)
    }

    /// The workers that hold the key, in order of their ids.
    pub fn holders(&self, key: &HandleKey) -> impl Iterator<Item = WorkerId> {
        self.keys
            .get(key)
            .into_iter()
            .flat_map(|shared| shared.users.iter().copied())
            .filter(|worker| {
                self.workers
                    .get(worker)
                    .is_some_and(|w| w.held.contains_key(key))
            })
    }

    /// The worker is no user of the key any more.
    pub(crate) fn release(&mut self, worker: WorkerId, key: HandleKey, effects: &mut Vec<Effect>) {
        let Some(shared) = self.keys.get_mut(&key) else {
            return;
        };
        shared.users.remove(&worker);
        if shared.users.is_empty() {
            self.keys.remove(&key);
            effects.push(Effect::Unused { key });
        }
    }

    pub(crate) fn data(&self, key: &HandleKey) -> Option<&RawValue> {
        self.keys.get(key).and_then(|shared| shared.data.as_deref())
    }

    pub(crate) fn take_seq(&mut self) -> u64 {
        let seq = self.next_seq;
        self.next_seq += 1;
        seq
    }
}

/// An internal line without descriptor, in the worker's dialect.
pub(crate) fn send(worker: WorkerId, state: &Worker, line: Vec<u8>) -> Effect {
    let line = if state.bun {
        outgoing::marked_for_bun(line)
    } else {
        line
    };
    Effect::Send {
        worker,
        line,
        attach: Attach::None,
    }
}
