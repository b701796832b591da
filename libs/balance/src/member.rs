//! What a balancer asks about those that it picks among.

/// A [`Member::warmth`] that is complete.
pub const WARM: u32 = 1000;

/// One place that a request can go to. Asked only for what the policy reads, so an implementation
/// may look at its counters when asked instead of copying them for every pick.
///
/// Pass **all** members to every pick, those that cannot be picked as not available, in a stable
/// order.
pub trait Member {
    /// Stable over restarts and unique in one list; [`text_key`](crate::text_key) of a name or
    /// address will do.
    fn id(&self) -> u64;
    /// May be picked now: resolved, healthy, not ejected, not draining, with room.
    fn available(&self) -> bool;
    /// Share of the requests in relation to the others'; 0 takes none.
    fn weight(&self) -> u32 {
        1
    }
    /// How much of its weight counts yet, in thousandths, 1 to [`WARM`]: see
    /// [`warmth`](crate::warmth). Hashing policies do not read it.
    fn warmth(&self) -> u32 {
        WARM
    }
    /// Requests on their way.
    fn in_flight(&self) -> u32 {
        0
    }
    /// What an answer takes by experience, 0 if unknown: [`PeakEwma::latency_us`].
    ///
    /// [`PeakEwma::latency_us`]: crate::PeakEwma::latency_us
    fn latency_us(&self, _now_us: u64) -> u64 {
        0
    }
    /// How long a request sent now would at least wait before it is looked at: the delay of the
    /// worker's event loop, or the age of a request that should have been answered
    /// ([`PeakEwma::unanswered_us`]), whichever is longer.
    ///
    /// [`PeakEwma::unanswered_us`]: crate::PeakEwma::unanswered_us
    fn wait_us(&self, _now_us: u64) -> u64 {
        0
    }
}

/// A [`Member`] as plain numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub id: u64,
    pub available: bool,
    pub weight: u32,
    pub warmth: u32,
    pub in_flight: u32,
    pub latency_us: u64,
    pub wait_us: u64,
}

impl Candidate {
    /// Available, idle and warm, of weight 1.
    #[must_use]
    pub const fn new(id: u64) -> Self {
        Self {
            id,
            available: true,
            weight: 1,
            warmth: WARM,
            in_flight: 0,
            latency_us: 0,
            wait_us: 0,
        }
    }
}

impl Member for Candidate {
    fn id(&self) -> u64 {
        self.id
    }
    fn available(&self) -> bool {
        self.available
    }
    fn weight(&self) -> u32 {
        self.weight
    }
    fn warmth(&self) -> u32 {
        self.warmth
    }
    fn in_flight(&self) -> u32 {
        self.in_flight
    }
    fn latency_us(&self, _now_us: u64) -> u64 {
        self.latency_us
    }
    fn wait_us(&self, _now_us: u64) -> u64 {
        self.wait_us
    }
}

impl<M: Member + ?Sized> Member for &M {
    fn id(&self) -> u64 {
        (**self).id()
    }
    fn available(&self) -> bool {
        (**self).available()
    }
    fn weight(&self) -> u32 {
        (**self).weight()
    }
    fn warmth(&self) -> u32 {
        (**self).warmth()
    }
    fn in_flight(&self) -> u32 {
        (**self).in_flight()
    }
    fn latency_us(&self, now_us: u64) -> u64 {
        (**self).latency_us(now_us)
    }
    fn wait_us(&self, now_us: u64) -> u64 {
        (**self).wait_us(now_us)
    }
}

/// Weight that counts now, in thousandths; 0 for one that cannot be picked.
pub(crate) fn share<M: Member>(member: &M) -> u64 {
    if member.weight() == 0 || !member.available() {
        return 0;
    }
    u64::from(member.weight()) * u64::from(member.warmth().clamp(1, WARM))
}

/// A list of members, each made when it is looked at.
pub(crate) trait List {
    type Item: Member;
    fn len(&self) -> usize;
    fn at(&self, index: usize) -> Self::Item;
    fn iter(&self) -> impl Iterator<Item = Self::Item>;
}

/// Items, seen as members.
pub(crate) struct Seen<'a, T, F> {
    pub(crate) items: &'a [T],
    pub(crate) see: F,
}

impl<'a, T, M: Member, F: Fn(&'a T) -> M> List for Seen<'a, T, F> {
    type Item = M;

    fn len(&self) -> usize {
        self.items.len()
    }

    fn at(&self, index: usize) -> M {
        (self.see)(&self.items[index])
    }

    fn iter(&self) -> impl Iterator<Item = M> {
        self.items.iter().map(&self.see)
    }
}
