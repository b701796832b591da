//! Private addresses: where the gateway reaches one worker and no other. For each seat of an app
//! that a gateway routes to the supervisor listens on a loopback address of its own and hands what
//! comes there to the worker in that seat. If that one has left or does not answer, another worker
//! of the app takes it: better than a reset.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use node_cluster::{HandleKey, ListenAddress, WorkerId};

use super::Context;
use super::app::App;
use super::effect::Effect;
use super::input::OpenFailure;
use super::snapshot::PrivateSnapshot;
use super::worker::Worker;

/// Hosts that are tried for one seat, of the addresses from 127.64.0.0 to 127.127.255.255.
pub const PRIVATE_HOSTS_TRIED: u32 = 16;

/// The private addresses of one app.
#[derive(Debug, Default)]
pub(super) struct Private {
    /// A gateway routes to the app.
    pub wanted: bool,
    /// The listener that requests belong to: an app may have others.
    pub key: Option<HandleKey>,
    pub seats: BTreeMap<usize, Door>,
}

/// The address of one seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Door {
    Opening,
    Open(SocketAddr),
    /// It could not be opened: the app's own address stands for it.
    Failed,
}

impl Private {
    pub fn snapshot(&self) -> Option<PrivateSnapshot> {
        let key = self.key.as_ref()?;
        let open = self.seats.iter().filter_map(|(seat, door)| match door {
            Door::Open(addr) => Some((*seat, *addr)),
            Door::Opening | Door::Failed => None,
        });
        Some(PrivateSnapshot {
            key: key.0.clone(),
            seats: open.collect(),
        })
    }

    /// As a former supervisor left them; the driver has these sockets.
    pub fn restored(kept: &PrivateSnapshot) -> Self {
        let doors = kept.seats.iter();
        Self {
            wanted: true,
            key: Some(HandleKey(kept.key.clone())),
            seats: doors
                .map(|(seat, addr)| (*seat, Door::Open(*addr)))
                .collect(),
        }
    }
}

impl App {
    /// Opens what is missing for workers that listen, closes all when no gateway routes here.
    pub(super) fn update_private(&mut self, cx: &mut Context) {
        if !self.private.wanted {
            self.close_private(cx);
            return;
        }
        let ready_on = |key: &HandleKey| {
            self.workers()
                .any(|w| w.is_ready() && w.listening.contains(key))
        };
        let left = self.private.key.as_ref().is_some_and(|key| !ready_on(key));
        if self.private.key.is_none() || left {
            // After a reload to a version that listens elsewhere.
            if let Some(key) = self.main_listener() {
                self.close_private(cx);
                self.private.key = Some(key);
            }
        }
        let Some(key) = self.private.key.clone() else {
            return;
        };
        let missing: Vec<usize> = self
            .workers()
            .filter(|w| w.listening.contains(&key))
            .map(|w| w.seat)
            .filter(|seat| !self.private.seats.contains_key(seat))
            .collect();
        let port = self.listeners.get(&key).and_then(|l| l.port).unwrap_or(0);
        for seat in missing {
            self.private.seats.insert(seat, Door::Opening);
            cx.emit(Effect::OpenPrivate {
                app: self.name().to_owned(),
                key: key.clone(),
                seat,
                port,
            });
        }
    }

    /// The listener for requests: the one at the app's PORT, else the one opened first, TCP before
    /// a unix path.
    fn main_listener(&self) -> Option<HandleKey> {
        let named = self.spec.port.or_else(|| {
            let port = self.spec.env.get("PORT");
            port.or_else(|| self.spec.base_env.get("PORT"))?
                .parse()
                .ok()
        });
        let listening = |key: &HandleKey| {
            self.workers()
                .any(|w| w.is_ready() && w.listening.contains(key))
        };
        self.listeners
            .iter()
            .filter(|(key, l)| l.opening.is_none() && listening(key))
            .min_by_key(|(_, l)| {
                let tcp = matches!(l.address, ListenAddress::Tcp { .. });
                (l.port != named || named.is_none(), !tcp, l.number)
            })
            .map(|(key, _)| key.clone())
    }

    pub(super) fn opened_private(
        &mut self,
        cx: &mut Context,
        key: &HandleKey,
        seat: usize,
        result: Result<SocketAddr, OpenFailure>,
    ) {
        let wanted = self.private.key.as_ref() == Some(key);
        let Some(door) = self.private.seats.get_mut(&seat).filter(|_| wanted) else {
            return;
        };
        match result {
            Ok(addr) => *door = Door::Open(addr),
            Err(failure) => {
                *door = Door::Failed;
                let text = format!(
                    "the gateway cannot reach each worker by itself: {}",
                    failure.why
                );
                self.notice(cx, None, "no-private-address", text);
            }
        }
    }

    /// The seats' private sockets, with their listener or because nobody needs them.
    pub(super) fn close_private(&mut self, cx: &mut Context) {
        let Some(key) = self.private.key.take() else {
            return;
        };
        for (seat, door) in std::mem::take(&mut self.private.seats) {
            if door != Door::Failed {
                cx.emit(Effect::ClosePrivate {
                    app: self.name().to_owned(),
                    key: key.clone(),
                    seat,
                });
            }
        }
    }

    /// The worker that a private connection is for, if it can take connections at all.
    pub(super) fn private_taker(&self, seat: usize, key: &HandleKey) -> Option<WorkerId> {
        self.workers()
            .find(|w| w.seat == seat && w.is_available() && w.listening.contains(key))
            .map(|w| w.id)
    }

    /// Where the gateway reaches this worker: an address of TCP, or `unix:/path`.
    pub(super) fn private_address(&self, worker: &Worker) -> Option<String> {
        if let Some(key) = &self.private.key
            && worker.listening.contains(key)
        {
            return match self.private.seats.get(&worker.seat) {
                Some(Door::Open(addr)) => Some(addr.to_string()),
                Some(Door::Opening) | None => None,
                Some(Door::Failed) => self.shared_address(key),
            };
        }
        let port = worker.port.filter(|_| worker.answered_probe);
        port.map(|port| format!("127.0.0.1:{port}"))
            .or_else(|| worker.listens.first().map(|seen| reachable(seen)))
    }

    /// Where any worker of the app is reached.
    fn shared_address(&self, key: &HandleKey) -> Option<String> {
        let listener = self.listeners.get(key)?;
        Some(match &listener.address {
            ListenAddress::Unix { path } => format!("unix:{path}"),
            ListenAddress::Tcp { .. } | ListenAddress::Fd(_) | ListenAddress::Udp { .. } => {
                reachable(&listener.display())
            }
        })
    }
}

/// `:3000` for a person is `127.0.0.1:3000` for a client.
fn reachable(shown: &str) -> String {
    if shown.starts_with(':') {
        format!("127.0.0.1{shown}")
    } else {
        shown.to_owned()
    }
}
