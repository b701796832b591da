//! The kernel's part: accept queues by seat, and where new connections are steered to.

use std::collections::{BTreeMap, VecDeque};

use node_cluster::HandleKey;
use pando_supervisor::core::{Effect, ListenMode, Random};

use crate::world::APP;

/// One connection of a client, followed to its end.
pub type Client = u64;

/// The sockets of one listener.
#[derive(Debug)]
pub struct Sockets {
    pub mode: ListenMode,
    pub queues: Vec<VecDeque<Client>>,
    /// The filter: seats that get new connections. Empty before the first.
    pub steered: Vec<usize>,
    /// Seats that the supervisor accepts from.
    pub accepted_here: Vec<usize>,
}

#[derive(Debug, Default)]
pub struct Kernel {
    pub listeners: BTreeMap<HandleKey, Sockets>,
    /// Accept queues of seats' private addresses.
    pub private: BTreeMap<(HandleKey, usize), VecDeque<Client>>,
    /// The app's gate: shut, the supervisor accepts nothing.
    pub gate_open: bool,
}

impl Kernel {
    pub fn open(&mut self, key: HandleKey, mode: ListenMode, seats: usize) {
        let queues = vec![VecDeque::new(); seats];
        let sockets = Sockets {
            mode,
            queues,
            steered: Vec::new(),
            accepted_here: Vec::new(),
        };
        self.listeners.insert(key, sockets);
    }

    /// What the supervisor does to its sockets.
    pub fn apply(&mut self, effect: Effect) {
        match effect {
            Effect::Grow { key, seats, .. } => {
                if let Some(sockets) = self.listeners.get_mut(&key) {
                    sockets
                        .queues
                        .resize_with(seats.max(sockets.queues.len()), VecDeque::new);
                }
            }
            Effect::CloseListener { key, .. } => {
                let waiting = self.listeners.remove(&key);
                let lost = waiting.map_or(0, |s| s.queues.iter().map(VecDeque::len).sum());
                assert_eq!(lost, 0, "a listener was closed with connections waiting");
            }
            Effect::Steer { key, seats, .. } => {
                if let Some(sockets) = self.listeners.get_mut(&key) {
                    sockets.steered = seats;
                }
            }
            Effect::Accept { key, seats, .. } => {
                if let Some(sockets) = self.listeners.get_mut(&key) {
                    sockets.accepted_here = seats;
                }
            }
            Effect::Gate { app, open } => {
                if app == APP {
                    self.gate_open = open;
                }
            }
            Effect::ClosePrivate { key, seat, .. } => {
                let waiting = self.private.remove(&(key, seat));
                let lost = waiting.map_or(0, |queue| queue.len());
                assert_eq!(
                    lost, 0,
                    "a private address was closed with connections waiting"
                );
            }
            other @ (Effect::Spawn(_)
            | Effect::Signal { .. }
            | Effect::Forget { .. }
            | Effect::Send { .. }
            | Effect::Open { .. }
            | Effect::OpenPrivate { .. }
            | Effect::Tell { .. }
            | Effect::OpenFor { .. }
            | Effect::Answered { .. }
            | Effect::Measured(_)
            | Effect::DropConn { .. }
            | Effect::Probe { .. }
            | Effect::Persist(_)
            | Effect::Unpersist { .. }
            | Effect::Notice(_)
            | Effect::Progress { .. }
            | Effect::Finished { .. }) => panic!("not the kernel's: {other:?}"),
        }
    }

    /// A SYN: to a seat of the filter at random, to any seat where there is none.
    pub fn arrive(&mut self, client: Client, random: &mut Random) -> bool {
        let Some(sockets) = self.listeners.values_mut().next() else {
            return false;
        };
        let seats: Vec<usize> = match (sockets.mode, sockets.steered.is_empty()) {
            (ListenMode::Seats, false) => sockets.steered.clone(),
            (ListenMode::Seats, true) => (0..sockets.queues.len()).collect(),
            (ListenMode::Shared | ListenMode::HandOver, _) => vec![0],
        };
        let at = seats[usize::try_from(random.draw() >> 1).unwrap_or(0) % seats.len()];
        sockets.queues[at].push_back(client);
        true
    }

    /// One connection that the supervisor may take now.
    pub fn take_for_supervisor(&mut self) -> Option<(HandleKey, Client)> {
        if !self.gate_open {
            return None;
        }
        self.listeners.iter_mut().find_map(|(key, sockets)| {
            let seats = sockets.accepted_here.clone();
            seats.into_iter().find_map(|seat| {
                let client = sockets.queues.get_mut(seat)?.pop_front()?;
                Some((key.clone(), client))
            })
        })
    }

    /// A SYN of the gateway to a private address; false if nobody listens there.
    pub fn arrive_at(&mut self, seat: usize, client: Client) -> bool {
        let queue = self.private.iter_mut().find(|((_, s), _)| *s == seat);
        queue.map(|(_, queue)| queue.push_back(client)).is_some()
    }

    /// The same from a private address, with its seat.
    pub fn take_private(&mut self) -> Option<(HandleKey, usize, Client)> {
        if !self.gate_open {
            return None;
        }
        self.private.iter_mut().find_map(|((key, seat), queue)| {
            let client = queue.pop_front()?;
            Some((key.clone(), *seat, client))
        })
    }

    pub fn waiting(&self) -> usize {
        let seats = self.listeners.values().flat_map(|s| &s.queues);
        seats.chain(self.private.values()).map(VecDeque::len).sum()
    }
}
