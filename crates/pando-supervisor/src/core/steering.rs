//! Who gets new connections. Three ways: the kernel steers to seats, all workers share one
//! listener, or the supervisor accepts and hands over. Whatever waits where nobody takes it is
//! accepted here and handed to a worker that can (a rescue).

use std::net::IpAddr;

use app_spec::Balance;
use balance::{Endpoint, Picker, Policy};
use node_cluster::{ConnId, HandleKey, ListenAddress, QueryId, WorkerId};

use super::Context;
use super::app::App;
use super::effect::{Effect, ListenMode};
use super::worker::Worker;

/// Connections accepted and not yet given to a worker, per app. Beyond it they wait in the kernel.
pub(super) const PENDING_MAX: usize = 256;
/// A connection that came back this often is closed: every worker is at its `maxConnections`.
const RETURNS_MAX: u32 = 32;

/// One address that the app listens on.
pub(super) struct Listener {
    pub address: ListenAddress,
    pub mode: ListenMode,
    pub seats: usize,
    /// Lower for those opened before.
    pub number: usize,
    /// The bound port; `None` for a unix path or before it is open.
    pub port: Option<u16>,
    /// Who waits for it to be open.
    pub opening: Option<Opening>,
    steered: Vec<usize>,
    accepted_here: Vec<usize>,
}

pub(super) struct Opening {
    pub asked: Vec<(WorkerId, QueryId)>,
}

/// A connection that the supervisor holds for a worker to come.
pub(super) struct Pending {
    pub conn: ConnId,
    pub key: HandleKey,
    pub client: Option<IpAddr>,
    /// The seat whose private address it came to.
    pub private: Option<usize>,
}

/// A connection on its way to a worker.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Handed {
    client: Option<IpAddr>,
    private: Option<usize>,
    /// How often a worker gave it back.
    returns: u32,
}

impl Listener {
    pub fn new(
        address: ListenAddress,
        mode: ListenMode,
        seats: usize,
        number: usize,
        first: (WorkerId, QueryId),
    ) -> Self {
        Self {
            address,
            number,
            mode,
            seats,
            port: None,
            opening: Some(Opening { asked: vec![first] }),
            steered: Vec::new(),
            accepted_here: Vec::new(),
        }
    }

    /// One that was open before this supervisor started.
    pub fn restored(address: ListenAddress, mode: ListenMode, seats: usize, port: u16) -> Self {
        Self {
            address,
            number: 0,
            mode,
            seats,
            port: Some(port),
            opening: None,
            steered: Vec::new(),
            accepted_here: Vec::new(),
        }
    }

    /// What the worker's `server.address()` shows in hand-over mode.
    pub fn sockname(&self) -> Option<(String, u16)> {
        match &self.address {
            ListenAddress::Tcp { host, port, .. } => {
                let host = host.clone().unwrap_or_else(|| "::".to_owned());
                Some((host, self.port.unwrap_or(*port)))
            }
            ListenAddress::Unix { .. } | ListenAddress::Fd(_) | ListenAddress::Udp { .. } => None,
        }
    }

    /// For a person: `:3000`, `127.0.0.1:3000`, a path.
    pub fn display(&self) -> String {
        match &self.address {
            ListenAddress::Tcp { host, port, .. } => {
                let port = self.port.unwrap_or(*port);
                match host.as_deref() {
                    None | Some("::" | "0.0.0.0") => format!(":{port}"),
                    Some(host) if host.contains(':') => format!("[{host}]:{port}"),
                    Some(host) => format!("{host}:{port}"),
                }
            }
            ListenAddress::Unix { path } => path.clone(),
            ListenAddress::Fd(fd) => format!("fd {fd}"),
            ListenAddress::Udp { .. } => "udp".to_owned(),
        }
    }
}

pub(super) fn picker(balance: Balance) -> Picker {
    Picker::new(match balance {
        Balance::LeastConnections => Policy::LeastConnections,
        Balance::IpHash => Policy::IpHash,
        Balance::Random => Policy::Random,
        // Rescued connections go round.
        Balance::Steered | Balance::Shared | Balance::RoundRobin => Policy::RoundRobin,
    })
}

impl App {
    /// What the app listens on, for a person.
    pub fn listens(&self) -> Vec<String> {
        let mut all: Vec<String> = self
            .listeners
            .values()
            .filter(|l| l.opening.is_none())
            .map(Listener::display)
            .chain(self.workers().flat_map(|w| w.listens.iter().cloned()))
            .collect();
        all.sort();
        all.dedup();
        all
    }

    /// Seats whose accept queues are worth a look: those that connections are steered to.
    pub fn steered_seats(&self) -> impl Iterator<Item = (&HandleKey, usize)> {
        self.listeners
            .iter()
            .filter(|(_, l)| l.steered.len() > 1)
            .flat_map(|(key, l)| l.steered.iter().map(move |seat| (key, *seat)))
    }

    pub(super) fn update_steering(&mut self, cx: &mut Context) {
        let name = self.name().to_owned();
        let mut listeners = std::mem::take(&mut self.listeners);
        for (key, listener) in &mut listeners {
            if listener.opening.is_some() {
                continue;
            }
            let here = match listener.mode {
                ListenMode::Seats => self.steer(cx, key, listener),
                ListenMode::Shared => Vec::new(),
                ListenMode::HandOver => vec![0],
            };
            if here != listener.accepted_here {
                listener.accepted_here.clone_from(&here);
                cx.emit(Effect::Accept {
                    app: name.clone(),
                    key: key.clone(),
                    seats: here,
                });
            }
        }
        self.listeners = listeners;
    }

    /// Steers to the seats of available workers; returns the seats to rescue from.
    fn steer(&self, cx: &mut Context, key: &HandleKey, listener: &mut Listener) -> Vec<usize> {
        let seats_of = |which: &dyn Fn(&Worker) -> bool| {
            let mut seats: Vec<usize> = self
                .workers()
                .filter(|w| which(w) && w.listening.contains(key))
                .map(|w| w.seat)
                .collect();
            seats.sort_unstable();
            seats
        };
        let mut seats = seats_of(&Worker::is_available);
        if seats.is_empty() {
            // Nobody is well: whoever is there is better than a closed door.
            seats = seats_of(&|w| w.is_ready());
        }
        if seats.is_empty() {
            return Vec::new();
        }
        if seats != listener.steered {
            listener.steered.clone_from(&seats);
            let (app, key) = (self.name().to_owned(), key.clone());
            cx.emit(Effect::Steer {
                app,
                key,
                seats: seats.clone(),
            });
        }
        (0..listener.seats).filter(|s| !seats.contains(s)).collect()
    }

    pub(super) fn accepted(
        &mut self,
        cx: &mut Context,
        key: HandleKey,
        conn: ConnId,
        client: Option<IpAddr>,
        private: Option<usize>,
    ) {
        if self.listeners.contains_key(&key) {
            self.pending.push_back(Pending {
                conn,
                key,
                client,
                private,
            });
        } else {
            cx.emit(Effect::DropConn { conn });
        }
    }

    /// A connection comes back unread: its worker refused it or is gone.
    pub(super) fn returned(
        &mut self,
        cx: &mut Context,
        worker: WorkerId,
        conn: ConnId,
        key: HandleKey,
    ) {
        let returns = self.handed.get(&conn).map_or(0, |h| h.returns) + 1;
        let lost = returns > RETURNS_MAX || !self.listeners.contains_key(&key);
        if lost || self.is_probe(worker, conn) {
            self.handed.remove(&conn);
            cx.emit(Effect::DropConn { conn });
            return;
        }
        let before = self.handed.get(&conn).copied().unwrap_or_default();
        let handed = Handed { returns, ..before };
        self.handed.insert(conn, handed);
        self.pending.push_front(Pending {
            conn,
            key,
            client: handed.client,
            private: handed.private,
        });
    }

    /// Gives what is held to workers that can take it, oldest first.
    pub(super) fn deliver_pending(&mut self, cx: &mut Context) {
        let mut kept = std::collections::VecDeque::new();
        while let Some(pending) = self.pending.pop_front() {
            match self.pick(cx, &pending) {
                Some(worker) => {
                    let handed = Handed {
                        client: pending.client,
                        private: pending.private,
                        returns: 0,
                    };
                    self.handed.entry(pending.conn).or_insert(handed);
                    if let Some(w) = self.workers.get_mut(&worker) {
                        w.connections = w.connections.saturating_add(1);
                    }
                    let effects = self.primary.deliver(worker, &pending.key, pending.conn);
                    self.carry_out(cx, effects);
                }
                None => kept.push_back(pending),
            }
        }
        // What came back meanwhile is older than what was kept.
        self.pending.append(&mut kept);
        let patient = self.spec.balance == Balance::IpHash
            || self.pending.iter().all(|p| p.private.is_some());
        let open = self.pending.is_empty() || self.pending.len() < PENDING_MAX && patient;
        let open = open && self.listeners.keys().any(|key| self.someone_can_take(key));
        if open != self.gate_open {
            self.gate_open = open;
            cx.emit(Effect::Gate {
                app: self.name().to_owned(),
                open,
            });
        }
    }

    fn someone_can_take(&self, key: &HandleKey) -> bool {
        self.workers()
            .any(|w| w.is_available() && self.primary.can_deliver(w.id, key))
    }

    /// The worker for this connection. For all but IP hash a full window makes a worker
    /// unavailable; a client of IP hash waits for its own.
    fn pick(&mut self, cx: &mut Context, pending: &Pending) -> Option<WorkerId> {
        let own = pending
            .private
            .and_then(|seat| self.private_taker(seat, &pending.key));
        if let Some(worker) = own {
            // With a full window it waits: elsewhere the gateway's count of requests would be wrong.
            let free = self.primary.can_deliver(worker, &pending.key);
            return free.then_some(worker);
        }
        let sticky = self.spec.balance == Balance::IpHash;
        let takers: Vec<(u32, WorkerId, u32)> = self
            .workers()
            .filter(|w| w.is_available() && w.listening.contains(&pending.key))
            .filter(|w| sticky || self.primary.can_deliver(w.id, &pending.key))
            .map(|w| (w.instance, w.id, w.connections))
            .collect();
        let endpoints: Vec<Endpoint> = self
            .instances
            .iter()
            .map(|i| {
                let taker = takers.iter().find(|(instance, ..)| *instance == i.number);
                let load = taker.map_or(0, |(_, _, connections)| *connections);
                Endpoint {
                    id: i.number,
                    available: taker.is_some(),
                    load,
                }
            })
            .collect();
        let picked = self
            .picker
            .pick(&endpoints, pending.client, cx.random.draw())?;
        let (_, worker, _) = *takers.iter().find(|(instance, ..)| *instance == picked)?;
        self.primary
            .can_deliver(worker, &pending.key)
            .then_some(worker)
    }

    pub(super) fn close_listeners(&mut self, cx: &mut Context, which: impl Fn(&HandleKey) -> bool) {
        let name = self.name().to_owned();
        let dropped = &mut self.pending;
        self.listeners.retain(|key, _| {
            if !which(key) {
                return true;
            }
            dropped.retain(|p| {
                if p.key == *key {
                    cx.emit(Effect::DropConn { conn: p.conn });
                }
                p.key != *key
            });
            cx.emit(Effect::CloseListener {
                app: name.clone(),
                key: key.clone(),
            });
            false
        });
        let gone = |key: &HandleKey| !self.listeners.contains_key(key);
        if self.private.key.as_ref().is_some_and(gone) {
            self.close_private(cx);
        }
    }

    /// After a settled reload: addresses that the new version does not use any more.
    pub(super) fn close_unused(&mut self, cx: &mut Context) {
        let unused: Vec<HandleKey> = self
            .listeners
            .iter()
            .filter(|(key, l)| {
                l.opening.is_none()
                    && self.primary.holders(key).next().is_none()
                    && !self.pending.iter().any(|p| p.key == **key)
            })
            .map(|(key, _)| key.clone())
            .collect();
        if !unused.is_empty() {
            self.close_listeners(cx, |key| unused.contains(key));
        }
    }
}
