//! One pick for one request.

use crate::ring::Ring;
use crate::sample;
use crate::smooth::Smooth;
use crate::{Member, Policy, rendezvous};

/// A policy and what it must remember between picks: one for each group, or one for each group
/// and thread.
///
/// ```
/// use balance::{Balancer, Candidate, Policy};
///
/// let mut balancer = Balancer::new(Policy::RoundRobin);
/// let mut members = [Candidate::new(7), Candidate::new(8)];
/// members[1].weight = 2;
/// let (random, now_us) = (0x9e37_79b9_7f4a_7c15, 0); // from the caller
/// let mut pick = || balancer.pick(&members, None, random, now_us);
/// assert_eq!([pick(), pick(), pick()], [Some(1), Some(0), Some(1)]);
/// ```
#[derive(Clone, Debug)]
pub struct Balancer {
    policy: Policy,
    smooth: Smooth,
    ring: Ring,
}

impl Balancer {
    /// A balancer that has picked nothing yet.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        Self {
            policy,
            smooth: Smooth::default(),
            ring: Ring::default(),
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
        &mut self,
        members: &[M],
        key: Option<u64>,
        random: u64,
        now_us: u64,
    ) -> Option<usize> {
        if let [only] = members {
            return (only.weight() > 0 && only.available()).then_some(0);
        }
        match (self.policy, key) {
            (Policy::PeakEwma, _) => sample::quickest(members, random, now_us),
            (Policy::RoundRobin, _) => self.smooth.next(members),
            (Policy::LeastConnections, _) => self.smooth.least(members),
            (Policy::TwoChoices, _) => sample::less_loaded(members, random),
            (Policy::IpHash, Some(key)) => rendezvous::place(members, key),
            (Policy::RingHash, Some(key)) => self.ring.place(members, key),
            (Policy::Random, _) | (Policy::IpHash | Policy::RingHash, None) => {
                sample::one(members, random)
            }
        }
    }
}
