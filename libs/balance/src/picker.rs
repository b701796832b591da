//! One pick for one connection, among endpoints without weights.

use std::net::IpAddr;

use crate::hash::{mix, scale};
use crate::turns::Turns;
use crate::{Policy, rendezvous};

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
    /// A connection has no latency and no key but its client, so here [`Policy::PeakEwma`] is
    /// [`Policy::TwoChoices`] and [`Policy::RingHash`] is [`Policy::IpHash`].
    ///
    /// `client` is read by [`Policy::IpHash`] only; `random`, 64 evenly distributed bits, by
    /// the policies that draw and by [`Policy::IpHash`] without a client. Linear in the number of
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
            Policy::IpHash | Policy::RingHash => match client {
                Some(client) => rendezvous::pick(endpoints, client),
                None => at_random(endpoints, random),
            },
            Policy::Random => at_random(endpoints, random),
            Policy::TwoChoices | Policy::PeakEwma => less_loaded_of_two(endpoints, random),
        }
    }
}

/// One available endpoint, each with the same probability.
fn at_random(endpoints: &[Endpoint], random: u64) -> Option<u32> {
    let count = available(endpoints).count();
    nth(endpoints, draw(random, count)).map(|endpoint| endpoint.id)
}

/// Of two different available endpoints at random the one with less load; the first on a tie.
fn less_loaded_of_two(endpoints: &[Endpoint], random: u64) -> Option<u32> {
    let count = available(endpoints).count();
    let first_at = draw(random, count);
    let first = nth(endpoints, first_at)?;
    if count < 2 {
        return Some(first.id);
    }
    let skipped = draw(mix(random), count - 1);
    let second = nth(endpoints, skipped + usize::from(skipped >= first_at))?;
    let picked = if second.load < first.load {
        second
    } else {
        first
    };
    Some(picked.id)
}

fn available(endpoints: &[Endpoint]) -> impl Iterator<Item = &Endpoint> {
    endpoints.iter().filter(|endpoint| endpoint.available)
}

fn nth(endpoints: &[Endpoint], index: usize) -> Option<&Endpoint> {
    available(endpoints).nth(index)
}

/// `random` scaled down to `0..count`; 0 for an empty range, in which nothing is found.
fn draw(random: u64, count: usize) -> usize {
    scale(random, count as u64) as usize
}
