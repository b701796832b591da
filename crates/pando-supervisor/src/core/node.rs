//! Node's cluster protocol, joined to the app: what workers say and ask on their channels.

use app_spec::{Balance, Runtime};
use node_cluster::{HandleKey, ListenAddress, ListenReply, QueryId, WorkerId};

use super::app::App;
use super::effect::{Effect, ListenMode};
use super::input::OpenFailure;
use super::steering::{Listener, Opening};
use super::worker::{Phase, RetireStyle, StopStep, Worker};
use super::{Context, Ms};

/// A worker that has disconnected ends by itself within this, or gets its stop signal.
const LINGER_MS: Ms = 250;
/// Bad messages of one worker that are told; a program may write them by the million.
const COMPLAINTS_MAX: u32 = 20;

impl App {
    pub(super) fn line(&mut self, cx: &mut Context, id: WorkerId, line: &[u8], fd: bool) {
        if !self.workers.contains_key(&id) {
            return;
        }
        let effects = self.primary.receive(id, line, fd);
        self.carry_out(cx, effects);
    }

    pub(super) fn channel_closed(&mut self, cx: &mut Context, id: WorkerId) {
        let Some(worker) = self.workers.get_mut(&id) else {
            return;
        };
        if !worker.channel {
            return;
        }
        worker.channel = false;
        worker.pings.outstanding = None;
        let disconnected = matches!(
            worker.phase,
            Phase::Stopping {
                step: StopStep::Disconnected,
                ..
            }
        );
        if disconnected {
            // Its servers and connections are closed. What still holds its loop, a timer or a
            // database connection, is no reason to wait.
            worker.phase = Phase::Stopping {
                until: cx.now + LINGER_MS,
                step: StopStep::Disconnected,
            };
        }
        let effects = self.primary.leave(id);
        self.carry_out(cx, effects);
    }

    /// It does not read its channel: nothing can be handed to it, and it is not well.
    pub(super) fn channel_stuck(&mut self, cx: &mut Context, id: WorkerId) {
        if let Some(worker) = self.workers.get_mut(&id)
            && worker.pings.stalled_since.is_none()
        {
            worker.pings.stalled_since = Some(cx.now);
            self.notice(cx, Some(id), "stalled", "does not read its IPC channel");
        }
    }

    /// Translates what the protocol wants into what the app wants.
    pub(super) fn carry_out(&mut self, cx: &mut Context, effects: Vec<node_cluster::Effect>) {
        use node_cluster::Effect as Node;
        for effect in effects {
            match effect {
                Node::Send {
                    worker,
                    line,
                    attach,
                } => {
                    cx.emit(Effect::Send {
                        worker,
                        line,
                        attach,
                    });
                }
                Node::Query {
                    worker,
                    query,
                    key,
                    address,
                } => {
                    self.asked_to_listen(cx, worker, query, key, address);
                }
                Node::Online { worker } => self.configure_worker(cx, worker),
                Node::Listening {
                    worker,
                    key,
                    port,
                    address: _,
                } => {
                    self.is_listening(worker, &key, port);
                    self.check_readiness(cx, worker);
                }
                Node::Closed { worker, key } => self.closed(cx, worker, &key),
                Node::Unused { key: _ } => {}
                Node::Accepted { worker: _, conn } => {
                    self.handed.remove(&conn);
                    cx.emit(Effect::DropConn { conn });
                }
                Node::Returned { worker, conn, key } => self.returned(cx, worker, conn, key),
                Node::Pong { worker, ping } => self.pong(cx, worker, ping),
                Node::Disconnecting { worker } => self.leaves_by_itself(cx, worker),
                Node::App { worker, message } => self.app_message(cx, worker, &message),
                Node::Agent { worker, message } => self.agent_message(cx, worker, message),
                Node::RuntimeIsBun { worker } => self.is_bun(worker),
                Node::Unsupported { worker, what } => {
                    if let Some(w) = self.workers.get_mut(&worker).filter(|w| w.is_starting()) {
                        w.refused = Some(what.clone());
                    }
                    self.complain(cx, worker, "unsupported", what);
                }
                Node::Garbage { worker, why } => {
                    self.complain(cx, worker, "garbage-message", why);
                }
            }
        }
    }

    /// Tells what is wrong with a worker's messages, but not a million times.
    pub(super) fn complain(
        &mut self,
        cx: &mut Context,
        id: WorkerId,
        kind: &'static str,
        text: impl Into<String>,
    ) {
        let Some(worker) = self.workers.get_mut(&id) else {
            return;
        };
        worker.complaints = worker.complaints.saturating_add(1);
        match worker.complaints {
            n if n < COMPLAINTS_MAX => self.notice(cx, Some(id), kind, text),
            COMPLAINTS_MAX => {
                let text = format!("{}; no more of this worker's are told", text.into());
                self.notice(cx, Some(id), kind, text);
            }
            _more => {}
        }
    }

    /// A worker asks to listen: on what is open already, is being opened, or is new.
    fn asked_to_listen(
        &mut self,
        cx: &mut Context,
        id: WorkerId,
        query: QueryId,
        key: HandleKey,
        address: ListenAddress,
    ) {
        self.is_server = true;
        let Some(worker) = self.workers.get_mut(&id) else {
            return;
        };
        worker.asked_to_listen = true;
        let mode = listen_mode(worker, &address);
        let seats = worker.seat + 1;
        match self.listeners.get_mut(&key) {
            None => {
                let seats = if mode == ListenMode::Seats {
                    self.seats_wanted(seats)
                } else {
                    1
                };
                let number = self.listeners.len();
                let listener = Listener::new(address.clone(), mode, seats, number, (id, query));
                self.listeners.insert(key.clone(), listener);
                let app = self.name().to_owned();
                cx.emit(Effect::Open {
                    app,
                    key,
                    address,
                    mode,
                    seats,
                });
            }
            Some(listener) => match &mut listener.opening {
                Some(opening) => opening.asked.push((id, query)),
                None => self.answer(cx, id, query, &key),
            },
        }
    }

    /// Room for every instance and one successor, so that an ordinary reload opens nothing.
    fn seats_wanted(&self, at_least: usize) -> usize {
        at_least.max(self.instances.len() + 1)
    }

    pub(super) fn opened(
        &mut self,
        cx: &mut Context,
        key: HandleKey,
        result: Result<u16, OpenFailure>,
    ) {
        let Some(listener) = self.listeners.get_mut(&key) else {
            return;
        };
        let Some(Opening { asked }) = listener.opening.take() else {
            return;
        };
        match result {
            Ok(port) => {
                listener.port = Some(port);
                for (worker, query) in asked {
                    self.answer(cx, worker, query, &key);
                }
            }
            Err(failure) => {
                self.listeners.remove(&key);
                self.problem = Some(failure.why.clone());
                for (worker, query) in asked {
                    if let Some(w) = self.workers.get_mut(&worker) {
                        w.doomed = Some(failure.why.clone());
                    }
                    let reply = ListenReply::Error {
                        errno: failure.errno,
                    };
                    let effects = self.primary.answer(query, reply);
                    self.carry_out(cx, effects);
                }
            }
        }
    }

    fn answer(&mut self, cx: &mut Context, id: WorkerId, query: QueryId, key: &HandleKey) {
        let (Some(worker), Some(listener)) = (self.workers.get(&id), self.listeners.get_mut(key))
        else {
            return;
        };
        let reply = match listener.mode {
            ListenMode::Seats => {
                if worker.seat >= listener.seats {
                    listener.seats = worker.seat + 1;
                    cx.emit(Effect::Grow {
                        app: self.spec.name.clone(),
                        key: key.clone(),
                        seats: listener.seats,
                    });
                }
                ListenReply::Handle
            }
            ListenMode::Shared => ListenReply::Handle,
            ListenMode::HandOver => ListenReply::Faux {
                sockname: listener.sockname(),
            },
        };
        let effects = self.primary.answer(query, reply);
        self.carry_out(cx, effects);
    }

    fn is_listening(&mut self, id: WorkerId, key: &HandleKey, port: Option<u16>) {
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.listening.insert(key.clone());
        }
        if let (Some(listener), Some(port)) = (self.listeners.get_mut(key), port) {
            listener.port = Some(port);
        }
    }

    /// The app closed a server. The listener goes when nobody has it and nobody is coming.
    fn closed(&mut self, cx: &mut Context, id: WorkerId, key: &HandleKey) {
        let Some(worker) = self.workers.get_mut(&id) else {
            return;
        };
        worker.listening.remove(key);
        let on_its_own = worker.is_ready();
        if on_its_own
            && self.primary.holders(key).next().is_none()
            && !self.workers().any(Worker::is_starting)
        {
            self.close_listeners(cx, |k| k == key);
        }
    }

    /// `cluster.worker.disconnect()` in the worker: its place is free for a successor at once.
    fn leaves_by_itself(&mut self, cx: &mut Context, id: WorkerId) {
        let until = cx.now + self.spec.timeouts.stop_ms;
        let Some(worker) = self.workers.get_mut(&id) else {
            return;
        };
        if worker.is_leaving() {
            return;
        }
        let was_ready = worker.is_ready();
        worker.phase = Phase::Stopping {
            until,
            step: StopStep::Disconnected,
        };
        self.notice(cx, Some(id), "leaving", "the worker disconnected by itself");
        for instance in &mut self.instances {
            if was_ready && instance.current == Some(id) {
                instance.current = instance.successor.take();
            }
        }
    }

    fn app_message(&mut self, cx: &mut Context, id: WorkerId, message: &[u8]) {
        if message.trim_ascii() == b"\"ready\"" {
            if let Some(worker) = self.workers.get_mut(&id) {
                worker.said_ready = true;
            }
            self.check_readiness(cx, id);
        }
    }

    /// What the preload says: `hello`, and while draining `drained`. A gateway says so too, and
    /// more.
    fn agent_message(&mut self, cx: &mut Context, id: WorkerId, message: serde_json::Value) {
        let act = message.get("act").and_then(|a| a.as_str());
        if act == Some(gateway_spec::link::ACT) {
            if self.is_gateway() {
                self.gateway_line(cx, id, message);
            }
            return;
        }
        let Some(worker) = self.workers.get_mut(&id) else {
            return;
        };
        worker.agent = true;
        if act == Some("drained") {
            worker.handles_signal = message
                .get("handlesSignal")
                .and_then(serde_json::Value::as_bool)
                == Some(true);
            self.drained(cx, id);
        }
    }

    /// Bun listens by itself with SO_REUSEPORT and ends only by a signal: it asks for nothing.
    fn is_bun(&mut self, id: WorkerId) {
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.handles_signal = true;
        }
    }

    /// A successor takes the place of the one before it, which then leaves.
    pub(super) fn take_over(&mut self, cx: &mut Context, index: usize) {
        let instance = &mut self.instances[index];
        let Some(successor) = instance.successor.take() else {
            return;
        };
        let Some(old) = instance.current.replace(successor) else {
            return;
        };
        self.count_replacement(index, old);
        self.retire(cx, old, RetireStyle::Gentle);
    }
}

fn listen_mode(worker: &Worker, address: &ListenAddress) -> ListenMode {
    let tcp = matches!(address, ListenAddress::Tcp { .. });
    match worker.spec.balance {
        // Deno takes no real handle.
        Balance::Steered if worker.spec.runtime() == Some(Runtime::Deno) => ListenMode::HandOver,
        Balance::Steered if tcp => ListenMode::Seats,
        Balance::Steered | Balance::Shared => ListenMode::Shared,
        Balance::RoundRobin | Balance::LeastConnections | Balance::IpHash | Balance::Random => {
            ListenMode::HandOver
        }
    }
}
