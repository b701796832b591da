//! Listening sockets: opening, keeping copies at root, steering, accepting.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use node_cluster::{HandleKey, ListenAddress, WorkerId};
use rustix::io::Errno;
use rustix::net::SocketFlags;
use steer::{Beside, Bind, Group, Single};

use super::Hub;
use super::events::Token;
use crate::core::{Input, ListenMode, ListenerSnapshot, OpenFailure};
use pando_root::proto::ToRoot;

/// Connections taken at one readiness before other events get their turn.
const ACCEPTS_AT_ONCE: usize = 64;
const EINVAL: i32 = 22;
const EOPNOTSUPP: i32 = 95;

/// An open listener of an app.
pub(super) enum Open {
    Seats(Group),
    Single(Single),
    Unix { socket: Arc<OwnedFd>, path: String },
}

#[derive(Default)]
pub(super) struct Listeners {
    open: BTreeMap<(String, HandleKey), Open>,
    /// Seats that the hub accepts from, by token number.
    accepting: HashMap<u64, Accepting>,
    next_token: u64,
}

struct Accepting {
    app: String,
    key: HandleKey,
    seat: usize,
    door: Door,
    socket: Arc<OwnedFd>,
    /// In the poller: not while the app's gate is shut.
    watched: bool,
}

/// Where connections come in that the hub accepts.
pub(super) enum Door {
    /// A seat of the listener, or the listener itself.
    Seat,
    /// The seat's private address.
    Private(Beside),
}

impl Door {
    fn is_private(&self) -> bool {
        matches!(self, Self::Private(_))
    }
}

impl Open {
    fn socket(&self, seat: usize) -> Option<Arc<OwnedFd>> {
        match self {
            Self::Seats(group) => group.share(seat),
            Self::Single(single) => Some(single.share()),
            Self::Unix { socket, .. } => Some(Arc::clone(socket)),
        }
    }

    fn port(&self) -> u16 {
        match self {
            Self::Seats(group) => group.local_addr().port(),
            Self::Single(single) => single.local_addr().port(),
            Self::Unix { .. } => 0,
        }
    }

    fn seats(&self) -> usize {
        match self {
            Self::Seats(group) => group.seats(),
            Self::Single(_) | Self::Unix { .. } => 1,
        }
    }

    fn accept(&self, seat: usize) -> std::io::Result<Option<(OwnedFd, Option<IpAddr>)>> {
        let tcp = match self {
            Self::Seats(group) => group.accept(seat)?,
            Self::Single(single) => single.accept()?,
            Self::Unix { socket, .. } => return accept_unix(socket),
        };
        Ok(tcp.map(|(fd, addr)| (fd, Some(addr.ip()))))
    }
}

fn accept_unix(socket: &OwnedFd) -> std::io::Result<Option<(OwnedFd, Option<IpAddr>)>> {
    match rustix::net::accept_with(socket, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
        Ok(fd) => Ok(Some((fd, None))),
        Err(Errno::AGAIN | Errno::CONNABORTED | Errno::INTR) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// The name at root of a listener's socket: keys may be long paths, so a hash stands for them.
pub(super) fn store_name(app: &str, key: &HandleKey, seat: usize) -> String {
    let hash = crc32fast::hash(key.to_string().as_bytes());
    format!("listen/{app}/{hash:08x}/{seat}")
}

/// The same of a seat's private address.
pub(super) fn private_name(app: &str, key: &HandleKey, seat: usize) -> String {
    let hash = crc32fast::hash(key.to_string().as_bytes());
    format!("private/{app}/{hash:08x}/{seat}")
}

fn bind_of(address: &ListenAddress) -> Result<Bind, OpenFailure> {
    match address {
        ListenAddress::Tcp {
            host,
            port,
            ipv6_only,
        } => {
            let host = match host.as_deref() {
                None => None,
                Some(text) => Some(text.parse::<IpAddr>().map_err(|_| OpenFailure {
                    errno: EINVAL,
                    why: format!("{text:?} is not an IP address"),
                })?),
            };
            Ok(Bind::Tcp {
                host,
                port: *port,
                ipv6_only: *ipv6_only,
            })
        }
        ListenAddress::Unix { .. } | ListenAddress::Fd(_) | ListenAddress::Udp { .. } => {
            Err(OpenFailure {
                errno: EOPNOTSUPP,
                why: "only TCP and unix paths are supported".into(),
            })
        }
    }
}

pub(super) fn open_failure(error: &steer::OpenError) -> OpenFailure {
    OpenFailure {
        errno: error.errno(),
        why: error.to_string(),
    }
}

impl Listeners {
    /// The sockets of one listener.
    pub fn sockets(&self, app: &str, key: &HandleKey) -> Vec<Arc<OwnedFd>> {
        let open = self.open.get(&(app.to_owned(), key.clone()));
        let seats = open
            .into_iter()
            .flat_map(|o| (0..o.seats()).filter_map(|s| o.socket(s)));
        seats.collect()
    }

    /// Root holds a copy of every socket of ours, so the kernel names root as the holder of a
    /// port; a person wants the app.
    fn name_own(&self, mut failure: OpenFailure, address: &ListenAddress) -> OpenFailure {
        if let ListenAddress::Tcp { port, .. } = address
            && let Some(((app, _), _)) = self
                .open
                .iter()
                .find(|(_, open)| open.port() == *port && *port != 0)
        {
            failure.why = format!("port {port} is already in use by the app {app} of this Pando");
        }
        failure
    }
}

impl Hub {
    pub(super) fn open(
        &mut self,
        app: &str,
        key: &HandleKey,
        address: &ListenAddress,
        mode: ListenMode,
        seats: usize,
    ) -> Result<u16, OpenFailure> {
        let open = match (address, mode) {
            (ListenAddress::Unix { path }, _) => {
                let socket =
                    steer::open_unix(Path::new(path)).map_err(|error| open_failure(&error))?;
                Open::Unix {
                    socket: Arc::new(socket),
                    path: path.clone(),
                }
            }
            (_, ListenMode::Seats) => {
                let group = Group::open(&bind_of(address)?, seats);
                let named = |e| self.listeners.name_own(open_failure(&e), address);
                Open::Seats(group.map_err(named)?)
            }
            (_, ListenMode::Shared | ListenMode::HandOver) => {
                let single = Single::open(&bind_of(address)?);
                let named = |e| self.listeners.name_own(open_failure(&e), address);
                Open::Single(single.map_err(named)?)
            }
        };
        let port = open.port();
        self.keep_listener(app, key, &open, 0);
        self.listeners
            .open
            .insert((app.to_owned(), key.clone()), open);
        Ok(port)
    }

    fn keep_listener(&mut self, app: &str, key: &HandleKey, open: &Open, from: usize) {
        for seat in from..open.seats() {
            if let Some(socket) = open.socket(seat) {
                self.store_fd(store_name(app, key, seat), socket.as_fd());
            }
        }
    }

    pub(super) fn grow(&mut self, app: &str, key: &HandleKey, seats: usize) {
        let id = (app.to_owned(), key.clone());
        let Some(mut open) = self.listeners.open.remove(&id) else {
            return;
        };
        let from = open.seats();
        if let Open::Seats(group) = &mut open
            && let Err(error) = group.grow(seats)
        {
            tracing::error!(%error, app, "no more seats");
        }
        self.keep_listener(app, key, &open, from);
        self.listeners.open.insert(id, open);
    }

    pub(super) fn steer(&mut self, app: &str, key: &HandleKey, seats: &[usize]) {
        let id = (app.to_owned(), key.clone());
        if let Some(Open::Seats(group)) = self.listeners.open.get_mut(&id)
            && let Err(error) = group.steer(seats)
        {
            tracing::error!(%error, app, ?seats, "cannot steer");
        }
    }

    pub(super) fn close_listener(&mut self, app: &str, key: &HandleKey) {
        self.accept_at(app, key, Vec::new());
        let Some(open) = self.listeners.open.remove(&(app.to_owned(), key.clone())) else {
            return;
        };
        for seat in 0..open.seats() {
            self.tell_root(&ToRoot::Drop {
                name: store_name(app, key, seat),
            });
        }
        if let Open::Unix { path, .. } = &open
            && let Err(error) = std::fs::remove_file(path)
        {
            tracing::debug!(%error, path, "removing a unix socket's path");
        }
    }

    pub(super) fn listener_for(&self, worker: WorkerId, key: &HandleKey) -> Option<Arc<OwnedFd>> {
        let app = self.core.app_of(worker)?;
        let seat = app.worker(worker)?.seat;
        self.listeners
            .open
            .get(&(app.name().to_owned(), key.clone()))?
            .socket(seat)
    }

    /// The seats of one listener that the hub accepts from, and no others.
    pub(super) fn accept_at(&mut self, app: &str, key: &HandleKey, seats: Vec<usize>) {
        let mut wanted = seats;
        let mut ended = Vec::new();
        for (token, a) in &self.listeners.accepting {
            if a.app == app && a.key == *key && !a.door.is_private() {
                match wanted.iter().position(|seat| *seat == a.seat) {
                    Some(at) => drop(wanted.swap_remove(at)),
                    None => ended.push(*token),
                }
            }
        }
        for token in ended {
            self.unwatch(token);
            self.listeners.accepting.remove(&token);
        }
        for seat in wanted {
            let id = (app.to_owned(), key.clone());
            let Some(socket) = self.listeners.open.get(&id).and_then(|o| o.socket(seat)) else {
                continue;
            };
            self.watch_door(id, seat, Door::Seat, socket);
        }
    }

    fn watch_door(
        &mut self,
        (app, key): (String, HandleKey),
        seat: usize,
        door: Door,
        socket: Arc<OwnedFd>,
    ) {
        let token = self.listeners.next_token;
        self.listeners.next_token += 1;
        let accepting = Accepting {
            app,
            key,
            seat,
            door,
            socket,
            watched: false,
        };
        self.listeners.accepting.insert(token, accepting);
        self.watch_accepting(token);
    }

    pub(super) fn add_door(&mut self, app: &str, key: &HandleKey, seat: usize, door: Beside) {
        let socket = door.share();
        let id = (app.to_owned(), key.clone());
        self.watch_door(id, seat, Door::Private(door), socket);
    }

    pub(super) fn remove_door(&mut self, app: &str, key: &HandleKey, seat: usize) {
        let is_it =
            |a: &Accepting| a.app == app && a.key == *key && a.seat == seat && a.door.is_private();
        let found = self.listeners.accepting.iter().find(|(_, a)| is_it(a));
        if let Some(token) = found.map(|(token, _)| *token) {
            self.unwatch(token);
            self.listeners.accepting.remove(&token);
        }
    }

    fn watch_accepting(&mut self, token: u64) {
        let open = |hub: &Self, app: &str| hub.core.app(app).is_none_or(|a| a.gate_is_open());
        let Some(a) = self.listeners.accepting.get(&token) else {
            return;
        };
        if a.watched || !open(self, &a.app) {
            return;
        }
        match self
            .poller
            .add(&*a.socket, Token::Accept(token).encode(), false)
        {
            Ok(()) => {
                if let Some(a) = self.listeners.accepting.get_mut(&token) {
                    a.watched = true;
                }
            }
            Err(error) => tracing::error!(%error, "cannot watch a listener"),
        }
    }

    fn unwatch(&mut self, token: u64) {
        let Some(a) = self.listeners.accepting.get_mut(&token) else {
            return;
        };
        if std::mem::take(&mut a.watched)
            && let Err(error) = self.poller.remove(&*a.socket)
        {
            tracing::error!(%error, "cannot unwatch a listener");
        }
    }

    pub(super) fn gate(&mut self, app: &str, open: bool) {
        let tokens: Vec<u64> = self
            .listeners
            .accepting
            .iter()
            .filter(|(_, a)| a.app == app)
            .map(|(token, _)| *token)
            .collect();
        for token in tokens {
            if open {
                self.watch_accepting(token);
            } else {
                self.unwatch(token);
            }
        }
    }

    /// Takes what waits, as long as the app can take it.
    pub(super) fn accept(&mut self, token: u64) {
        for _ in 0..ACCEPTS_AT_ONCE {
            let Some(a) = self.listeners.accepting.get(&token).filter(|a| a.watched) else {
                return;
            };
            let (id, seat) = ((a.app.clone(), a.key.clone()), a.seat);
            let (accepted, private) = match (&a.door, self.listeners.open.get(&id)) {
                // The client is our own gateway: its address is no one's.
                (Door::Private(door), _) => (
                    door.accept().map(|c| c.map(|(fd, _)| (fd, None))),
                    Some(seat),
                ),
                (Door::Seat, Some(open)) => (open.accept(seat), None),
                (Door::Seat, None) => return,
            };
            match accepted {
                Ok(Some((fd, client))) => {
                    let conn = self.core.new_conn();
                    self.conns.insert(conn, Arc::new(fd));
                    let (app, key) = id;
                    self.inputs.push_back(Input::Accepted {
                        app,
                        key,
                        conn,
                        client,
                        private,
                    });
                    self.settle();
                }
                Ok(None) => return,
                Err(error) => {
                    tracing::warn!(%error, app = %id.0, "accept");
                    return;
                }
            }
        }
    }

    /// Puts listeners back that a former supervisor opened.
    pub(super) fn adopt_listener(
        &mut self,
        app: &str,
        kept: &ListenerSnapshot,
        sockets: Vec<OwnedFd>,
    ) {
        let adopted = adopt(kept, sockets);
        match adopted {
            Ok(open) => {
                let id = (app.to_owned(), HandleKey(kept.key.clone()));
                self.listeners.open.insert(id, open);
            }
            Err(why) => tracing::error!(app, key = %kept.key, why, "a listener was lost"),
        }
    }
}

fn adopt(kept: &ListenerSnapshot, mut sockets: Vec<OwnedFd>) -> Result<Open, String> {
    let address = kept.address.listen_address();
    if let ListenAddress::Unix { path } = address {
        let socket = sockets.pop().ok_or("root has no socket for it")?;
        return Ok(Open::Unix {
            socket: Arc::new(socket),
            path,
        });
    }
    let bind = bind_of(&address).map_err(|failure| failure.why)?;
    match kept.mode {
        ListenMode::Seats => Group::adopt(bind, sockets)
            .map(Open::Seats)
            .map_err(|e| e.to_string()),
        ListenMode::Shared | ListenMode::HandOver => {
            let socket = sockets.pop().ok_or("root has no socket for it")?;
            Single::adopt(bind, socket)
                .map(Open::Single)
                .map_err(|e| e.to_string())
        }
    }
}

impl Hub {
    /// Connections that wait at seats that workers serve, told to the core.
    pub(super) fn sample_queues(&mut self) {
        let seats: Vec<(String, HandleKey, usize)> = self
            .core
            .apps()
            .flat_map(|app| {
                let name = app.name();
                app.steered_seats()
                    .map(move |(key, seat)| (name.to_owned(), key.clone(), seat))
            })
            .collect();
        for (app, key, seat) in seats {
            let id = (app, key);
            let Some(Open::Seats(group)) = self.listeners.open.get(&id) else {
                continue;
            };
            match group.queued(seat) {
                Ok(waiting) => {
                    let (app, key) = id;
                    let known = self.usage.queue_was(&app, seat);
                    if waiting > 0 || known > 0 {
                        self.usage.note_queue(&app, seat, waiting);
                        self.inputs.push_back(Input::Queued {
                            app,
                            key,
                            seat,
                            waiting,
                        });
                    }
                }
                Err(error) => tracing::error!(%error, "cannot read a queue's length"),
            }
        }
        self.settle();
    }
}
