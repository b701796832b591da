//! What each message from a worker does to a [`Primary`].

use serde_json::value::RawValue;

use crate::address::{HandleKey, ListenAddress};
use crate::effect::{Attach, Effect};
use crate::flight::{Lost, Pending};
use crate::ids::{QueryId, WorkerId};
use crate::message::{FromWorker, Listening, QueryServer, decode};
use crate::outgoing::{self, Reply};
use crate::primary::{MAX_KEYS_PER_WORKER, Primary, send};
use crate::probe::{is_internal, probe};
use crate::worker::{Asked, Held, Worker};

/// Reasons that quote a worker are cut to this length.
const MAX_QUOTE_BYTES: usize = 200;

const EMFILE: i32 = 24;
const ENOTSUP: i32 = 95;
const EADDRINUSE: i32 = 98;

impl Primary {
    /// One line from the worker, without its newline; `fd` says whether a descriptor came with
    /// it, which the caller closes: sockets that an app sends to its primary have no taker here.
    pub fn receive(&mut self, worker: WorkerId, line: &[u8], fd: bool) -> Vec<Effect> {
        let mut effects = Vec::new();
        if !self.workers.contains_key(&worker) {
            return effects;
        }
        match decode(line) {
            Ok(message) => self.handle(worker, message, fd, &mut effects),
            Err(error) => {
                effects.push(Effect::Garbage {
                    worker,
                    why: quote(&error.to_string()),
                });
            }
        }
        effects
    }

    fn handle(
        &mut self,
        worker: WorkerId,
        message: FromWorker<'_>,
        fd: bool,
        effects: &mut Vec<Effect>,
    ) {
        match message {
            FromWorker::Online => self.online(worker, effects),
            FromWorker::QueryServer(query) => self.query_server(worker, query, effects),
            FromWorker::Listening(listening) => self.listening(worker, listening, effects),
            FromWorker::Close { key } => self.close(worker, key, effects),
            FromWorker::ExitedAfterDisconnect { seq } => self.exiting(worker, seq, effects),
            FromWorker::Ack { ack, accepted } => self.acked(worker, ack, accepted, effects),
            FromWorker::HandleAck => {
                if let Some(state) = self.workers.get_mut(&worker) {
                    state.flight.handle_acked();
                }
            }
            FromWorker::HandleNack => self.handle_nacked(worker, effects),
            FromWorker::Handle { kind, message } => {
                handle_sent(worker, &kind, message, fd, effects);
            }
            FromWorker::SocketCount { key } => {
                let line = outgoing::socket_count(key);
                effects.push(Effect::Send {
                    worker,
                    line,
                    attach: Attach::None,
                });
            }
            FromWorker::SocketsClose { key } => {
                let line = outgoing::sockets_closed(key);
                effects.push(Effect::Send {
                    worker,
                    line,
                    attach: Attach::None,
                });
            }
            FromWorker::App(message) => {
                effects.push(Effect::App {
                    worker,
                    message: message.to_vec(),
                });
            }
            FromWorker::Agent(message) => effects.push(Effect::Agent { worker, message }),
            FromWorker::Other { .. } => {} // as Node's primary does
            FromWorker::Bun(inner) => self.bun(worker, *inner, fd, effects),
        }
    }

    fn online(&mut self, worker: WorkerId, effects: &mut Vec<Effect>) {
        let Some(state) = self.workers.get_mut(&worker) else {
            return;
        };
        state.online = true;
        effects.push(Effect::Online { worker });
    }

    fn query_server(&mut self, worker: WorkerId, query: QueryServer, effects: &mut Vec<Effect>) {
        let QueryServer {
            seq: ack,
            key,
            address,
            data,
        } = query;
        let Some(state) = self.workers.get(&worker) else {
            return;
        };
        if state.disconnecting {
            return; // as Node's primary does
        }
        let refusal = refusal(state, &key, &address);
        if let Some((errno, what)) = refusal {
            let seq = self.take_seq();
            let data = self.data(&key).or(data.as_deref());
            let errno = Some(-errno);
            let line = Reply {
                seq,
                ack,
                key: &key,
                errno,
                data,
                sockname: None,
            }
            .plain();
            effects.push(Effect::Send {
                worker,
                line,
                attach: Attach::None,
            });
            effects.extend(what.map(|what| Effect::Unsupported { worker, what }));
            return;
        }
        let shared = self.keys.entry(key.clone()).or_default();
        shared.users.insert(worker);
        if shared.data.is_none() {
            shared.data = data;
        }
        let query = QueryId(self.next_query);
        self.next_query += 1;
        self.queries.insert(query, worker);
        if let Some(state) = self.workers.get_mut(&worker) {
            let (key, address) = (key.clone(), address.clone());
            state.asked.insert(
                query,
                Asked {
                    seq: ack,
                    key,
                    address,
                },
            );
        }
        effects.push(Effect::Query {
            worker,
            query,
            key,
            address,
        });
    }

    fn listening(&mut self, worker: WorkerId, message: Listening, effects: &mut Vec<Effect>) {
        let Listening {
            key,
            any_port_key,
            port,
            address,
        } = message;
        let Some(state) = self.workers.get_mut(&worker) else {
            return;
        };
        // Only one of the two can be bound to that port.
        let any_port = !state.held.contains_key(&key) && state.held.contains_key(&any_port_key);
        let key = if any_port { any_port_key } else { key };
        if !state.held.contains_key(&key) {
            if !state.adopted && !state.bun {
                return; // it was closed in between
            }
            // Granted by a predecessor that died before it could say so; or by nobody, in Bun.
            self.keys
                .entry(key.clone())
                .or_default()
                .users
                .insert(worker);
            state.held.insert(
                key.clone(),
                Held {
                    address,
                    port,
                    listening: false,
                },
            );
        }
        let Some(held) = state.held.get_mut(&key) else {
            return;
        };
        if held.listening {
            return; // a server whose first listen() failed says it once for each attempt
        }
        held.listening = true;
        held.port = port;
        state.listened = true;
        effects.push(Effect::Listening {
            worker,
            port,
            address: held.address.clone(),
            key,
        });
    }

    fn close(&mut self, worker: WorkerId, key: HandleKey, effects: &mut Vec<Effect>) {
        let Some(state) = self.workers.get_mut(&worker) else {
            return;
        };
        if state.held.remove(&key).is_some() {
            effects.push(Effect::Closed {
                worker,
                key: key.clone(),
            });
            self.release(worker, key, effects);
        }
    }

    fn exiting(&mut self, worker: WorkerId, ack: u64, effects: &mut Vec<Effect>) {
        let seq = self.take_seq();
        let Some(state) = self.workers.get_mut(&worker) else {
            return;
        };
        state.disconnecting = true;
        effects.push(send(worker, state, outgoing::ack(ack, seq)));
        effects.push(Effect::Disconnecting { worker });
    }

    fn acked(&mut self, worker: WorkerId, ack: u64, accepted: bool, effects: &mut Vec<Effect>) {
        let Some(state) = self.workers.get_mut(&worker) else {
            return;
        };
        match state.flight.acked(ack) {
            Some(Pending::Conn { conn, .. }) if accepted => {
                effects.push(Effect::Accepted { worker, conn });
            }
            Some(pending) => effects.push(unaccepted(worker, pending)),
            None => {}
        }
    }

    fn handle_nacked(&mut self, worker: WorkerId, effects: &mut Vec<Effect>) {
        let Some(state) = self.workers.get_mut(&worker) else {
            return;
        };
        match state.flight.handle_nacked() {
            Some(Lost::Newconn(pending)) => effects.push(unaccepted(worker, pending)),
            Some(Lost::Listener {
                key,
                query_seq: ack,
            }) => {
                state.held.remove(&key);
                let seq = self.take_seq();
                let (data, errno) = (self.data(&key), Some(-EMFILE));
                let line = Reply {
                    seq,
                    ack,
                    key: &key,
                    errno,
                    data,
                    sockname: None,
                }
                .plain();
                effects.push(Effect::Send {
                    worker,
                    line,
                    attach: Attach::None,
                });
                let what = format!("the listening socket {key} did not reach the worker");
                effects.push(Effect::Unsupported { worker, what });
                self.release(worker, key, effects);
            }
            None => {}
        }
    }

    fn bun(&mut self, worker: WorkerId, m: FromWorker<'_>, fd: bool, effects: &mut Vec<Effect>) {
        let Some(state) = self.workers.get_mut(&worker) else {
            return;
        };
        if !state.bun {
            state.bun = true;
            effects.push(Effect::RuntimeIsBun { worker });
        }
        self.handle(worker, m, fd, effects);
    }
}

/// The errno, and what to tell a person, of a query that is not the caller's to decide.
fn refusal(
    state: &Worker,
    key: &HandleKey,
    address: &ListenAddress,
) -> Option<(i32, Option<String>)> {
    if matches!(address, ListenAddress::Udp { .. }) {
        let what = format!(
            "{address}: UDP sockets are not shared in a cluster; bind it with {{ exclusive: true }}"
        );
        return Some((ENOTSUP, Some(quote(&what))));
    }
    if state.has(key) {
        return Some((EADDRINUSE, None));
    }
    if state.keys() >= MAX_KEYS_PER_WORKER {
        let what = format!("the worker listens on {MAX_KEYS_PER_WORKER} addresses; no more");
        return Some((EMFILE, Some(what)));
    }
    None
}

fn unaccepted(worker: WorkerId, pending: Pending) -> Effect {
    match pending {
        Pending::Conn { conn, key } => Effect::Returned { worker, conn, key },
        Pending::Ping(ping) => Effect::Pong { worker, ping },
    }
}

/// `process.send(message, handle)`: acked, or the worker would send nothing more, not even acks.
fn handle_sent(
    worker: WorkerId,
    kind: &str,
    message: &RawValue,
    fd: bool,
    effects: &mut Vec<Effect>,
) {
    let line = outgoing::handle_ack();
    effects.push(Effect::Send {
        worker,
        line,
        attach: Attach::None,
    });
    let fate = if fd { "was closed" } else { "did not arrive" };
    let what = format!("process.send() with a handle: the {} {fate}", quote(kind));
    effects.push(Effect::Unsupported { worker, what });
    let app = probe(message.get()).is_ok_and(|cmd| !cmd.is_some_and(|cmd| is_internal(&cmd)));
    if app {
        effects.push(Effect::App {
            worker,
            message: message.get().as_bytes().to_vec(),
        });
    }
}

/// At most [`MAX_QUOTE_BYTES`] of text that a worker may have had a hand in.
fn quote(text: &str) -> String {
    let mut end = text.len().min(MAX_QUOTE_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let mut cut = text[..end].to_owned();
    if end < text.len() {
        cut.push('…');
    }
    cut
}
