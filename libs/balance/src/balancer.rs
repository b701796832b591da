//! One pick for one request.

use std::sync::{Mutex, PoisonError};

use crate::member::{List, Seen};
use crate::ring::Ring;
use crate::smooth::Smooth;
use crate::{Member, Policy, rendezvous, sample};

/// A policy and what it must remember between picks, for one group. Threads may share it: only
/// [`Policy::RoundRobin`], [`Policy::LeastConnections`] and [`Policy::RingHash`] remember
/// something and take a lock, for the time of the pick.
///
/// ```
/// use balance::{Balancer, Candidate, Policy};
///
/// let balancer = Balancer::new(Policy::RoundRobin);
/// let mut members = [Candidate::new(7), Candidate::new(8)];
/// members[1].weight = 2;
/// let (random, now_us) = (0x9e37_79b9_7f4a_7c15, 0); // from the caller
/// let pick = || balancer.pick(&members, None, random, now_us);
/// assert_eq!([pick(), pick(), pick()], [Some(1), Some(0), Some(1)]);
/// ```
#[derive(Debug)]
pub struct Balancer {
    policy: Policy,
    memory: Mutex<Memory>,
}

#[derive(Debug, Default)]
struct Memory {
    smooth: Smooth,
    ring: Ring,
}

impl Balancer {
    /// A balancer that has picked nothing yet.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        Self {
            policy,
            memory: Mutex::default(),
        }
    }

    /// The policy given to [`Balancer::new`].
    #[must_use]
    pub fn policy(&self) -> Policy {
        self.policy
    }

    /// The position in `members` of the one to use next; `None` exactly when none with a weight
    /// is available.
    ///
    /// `key` places the request for the hashing policies ([`address_key`](crate::address_key),
    /// [`text_key`](crate::text_key)); without one they place at random. `random` is 64 evenly
    /// distributed bits. `now_us` is handed to the members, for [`Policy::PeakEwma`] only.
    ///
    /// Linear in the number of members; allocates only when ids (or, on a ring, weights) differ
    /// from those of the previous pick.
    pub fn pick<M: Member>(
        &self,
        members: &[M],
        key: Option<u64>,
        random: u64,
        now_us: u64,
    ) -> Option<usize> {
        self.pick_seen(members, |member| member, key, random, now_us)
    }

    /// As [`Balancer::pick`], for items that are members only in the light of this request:
    /// `see` is called for each that is looked at, up to four times a pick.
    pub fn pick_seen<'a, T, M: Member>(
        &self,
        items: &'a [T],
        see: impl Fn(&'a T) -> M,
        key: Option<u64>,
        random: u64,
        now_us: u64,
    ) -> Option<usize> {
        let members = &Seen { items, see };
        if members.len() == 1 {
            let only = members.at(0);
            return (only.weight() > 0 && only.available()).then_some(0);
        }
        let memory = || self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        match (self.policy, key) {
            (Policy::PeakEwma, _) => sample::quickest(members, random, now_us),
            (Policy::RoundRobin, _) => memory().smooth.next(members),
            (Policy::LeastConnections, _) => memory().smooth.least(members),
            (Policy::TwoChoices, _) => sample::less_loaded(members, random),
            (Policy::IpHash, Some(key)) => rendezvous::place(members, key),
            (Policy::RingHash, Some(key)) => memory().ring.place(members, key),
            (Policy::Random, _) | (Policy::IpHash | Policy::RingHash, None) => {
                sample::one(members, random)
            }
        }
    }
}
