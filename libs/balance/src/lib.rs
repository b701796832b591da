//! Picking one of several endpoints for the next connection or request.
//!
//! Pure: the caller says which endpoints there are, which of them may be picked, how busy each is,
//! who asks, and brings the random number. No clock, no global random source, no I/O, and no
//! allocation while the list of endpoints stays the same.
//!
//! ```
//! use balance::{Endpoint, Picker, Policy};
//!
//! let mut picker = Picker::new(Policy::RoundRobin);
//! let endpoints = [
//!     Endpoint { id: 0, available: true, load: 3 },
//!     Endpoint { id: 1, available: false, load: 0 },
//!     Endpoint { id: 2, available: true, load: 9 },
//! ];
//! let random = 0x9e37_79b9_7f4a_7c15; // from the caller's generator
//! assert_eq!(picker.pick(&endpoints, None, random), Some(0));
//! assert_eq!(picker.pick(&endpoints, None, random), Some(2));
//! assert_eq!(picker.pick(&endpoints, None, random), Some(0));
//! ```
//!
//! Absent on purpose: weights, health (the caller's `available`), and counting of connections (the
//! caller's `load`, which it knows exactly).

mod rendezvous;
mod turns;

use std::net::IpAddr;

use turns::Turns;

/// One place that a connection can go to.
///
/// Pass **all** endpoints to every pick, those that cannot be picked with `available: false`, in
/// a stable order: one that is left out is forgotten and counts as new when it comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Stable over reloads and unique in one list: a seat's or an instance's number, never a
    /// position in a list of living workers.
    pub id: u32,
    /// May be picked now: ready, healthy, not draining, with room.
    pub available: bool,
    /// Open connections and those on their way. Read by least connections only.
    pub load: u32,
}

/// How to choose among the available endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// The one that waited longest for its turn.
    ///
    /// While two endpoints are available their numbers of picks differ by at most one, whatever
    /// the others do meanwhile. One that comes back gets the next pick and then takes part as
    /// before: nothing is made up for the time that it was away.
    RoundRobin,
    /// The least `load`; among equals the one that waited longest for its turn.
    LeastConnections,
    /// By the client's address, by rendezvous hashing over the ids: the same client goes to the
    /// same endpoint while that is available, over reloads, restarts and versions. A new
    /// endpoint takes about its share of the clients and moves no others; while one is
    /// unavailable only its own clients move, spread over the rest, and they return with it.
    ///
    /// An IPv4 address mapped into IPv6 (`::ffff:a.b.c.d`, as a dual-stack socket names it)
    /// counts as the IPv4 address. A client without an address is placed at random.
    IpHash,
    /// Each available endpoint with the same probability.
    Random,
}

/// A policy and what it must remember between picks.
#[derive(Clone, Debug)]
pub struct Picker {
    policy: Policy,
    turns: Turns,
}

impl Picker {
    /// A picker that has picked nothing yet.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        Self {
            policy,
            turns: Turns::default(),
        }
    }

    /// The policy given to [`Picker::new`].
    #[must_use]
    pub fn policy(&self) -> Policy {
        self.policy
    }

    /// The id of the endpoint to use next; `None` exactly when none is available.
    ///
    /// `client` is read by [`Policy::IpHash`] only; `random`, 64 evenly distributed bits, by
    /// [`Policy::Random`] and by [`Policy::IpHash`] without a client. Linear in the number of
    /// endpoints; allocates only when the ids differ from those of the previous pick.
    pub fn pick(
        &mut self,
        endpoints: &[Endpoint],
        client: Option<IpAddr>,
        random: u64,
    ) -> Option<u32> {
        match self.policy {
            Policy::RoundRobin => self.turns.next(endpoints, |_| 0),
            Policy::LeastConnections => self.turns.next(endpoints, |endpoint| endpoint.load),
            Policy::IpHash => match client {
                Some(client) => rendezvous::pick(endpoints, client),
                None => at_random(endpoints, random),
            },
            Policy::Random => at_random(endpoints, random),
        }
    }
}

/// The n-th available endpoint, n being `random` scaled down to their number (Lemire's
/// multiply-shift: no division, bias below n / 2^64).
fn at_random(endpoints: &[Endpoint], random: u64) -> Option<u32> {
    let available = || endpoints.iter().filter(|endpoint| endpoint.available);
    let count = available().count();
    let scaled = (u128::from(random) * count as u128) >> u64::BITS;
    // With none available the iterator is empty and the answer is None.
    available()
        .nth(usize::try_from(scaled).ok()?)
        .map(|endpoint| endpoint.id)
}
