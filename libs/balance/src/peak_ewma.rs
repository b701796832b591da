//! What an upstream's answers take, from the side of whoever waits for them.
//!
//! The average is peak-sensitive: a slower answer counts at once and whole, then loses weight
//! with time; a quicker one moves it only as time passes (as Finagle's `PeakEwma` does). Unlike
//! there, answers that are quicker by far end a peak early: a pause of five seconds, once it is
//! over, would otherwise be remembered for more than a minute. And a
//! request that is still unanswered counts while it waits: an upstream that stopped answering is
//! seen as slow before its answer comes.
//!
//! ```text
//! started   in flight + 1; begins to wait, unless another waits already
//! answered  observes; nothing waits now: the next request that starts begins to wait
//! failed    observes a second at least; nothing waits now
//! ended     in flight - 1
//! ```
//! The wait is that of the first request since the last answer. So a slow endpoint beside quick
//! ones does not look like a stall, and it costs one number instead of a list of starts.
//!
//! Threads may share one; what they say at the very same moment may be lost to the average and
//! the wait, never to the count in flight.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// Time after which an observation weighs 1/e, if not told otherwise.
pub const DECAY_MS: u32 = 10_000;
/// What a failure counts as, at least: a refused connection is quick, but not good.
const FAILURE_US: u64 = 1_000_000;

/// Answers that are quicker than the average by more than this factor each take this share of
/// what is beyond the factor.
const PEAK_FACTOR: f32 = 4.0;
const PEAK_SHARE: f32 = 1.0 / 8.0;

/// Latency and load of one upstream.
#[derive(Debug)]
pub struct PeakEwma {
    decay_ms: f32,
    /// The upper half: milliseconds of the last change, wrapping; the lower half: the average in
    /// microseconds, as the bits of an `f32`. 0 before the first observation.
    average: AtomicU64,
    /// When the first request since the last answer started, in microseconds; 0 if there is none.
    waiting_since: AtomicU64,
    in_flight: AtomicU32,
}

impl Default for PeakEwma {
    fn default() -> Self {
        Self::new(DECAY_MS)
    }
}

impl PeakEwma {
    /// An average that knows nothing yet.
    #[must_use]
    pub const fn new(decay_ms: u32) -> Self {
        Self {
            decay_ms: if decay_ms == 0 { 1.0 } else { decay_ms as f32 },
            average: AtomicU64::new(0),
            waiting_since: AtomicU64::new(0),
            in_flight: AtomicU32::new(0),
        }
    }

    /// A request is on its way.
    pub fn started(&self, now_us: u64) {
        self.in_flight.fetch_add(1, Relaxed);
        if self.waiting_since.load(Relaxed) == 0 {
            self.waiting_since.store(now_us.max(1), Relaxed);
        }
    }

    /// The head of an answer came `rtt_us` after its request was sent.
    pub fn answered(&self, rtt_us: u64, now_us: u64) {
        self.waiting_since.store(0, Relaxed);
        self.observe(rtt_us, now_us);
    }

    /// A request failed `rtt_us` after it was sent: no connection, a reset, a deadline.
    pub fn failed(&self, rtt_us: u64, now_us: u64) {
        self.answered(rtt_us.max(FAILURE_US), now_us);
    }

    /// The request is over: its answer is complete, it failed, or its client went away. Once
    /// for each [`PeakEwma::started`].
    pub fn ended(&self) {
        let before = self.in_flight.fetch_sub(1, Relaxed);
        debug_assert!(before > 0, "more ends than starts");
        if before == 1 {
            // Whoever waited is gone, perhaps without an answer.
            self.waiting_since.store(0, Relaxed);
        }
    }

    /// Requests on their way.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Relaxed)
    }

    /// Takes one latency into the average; [`PeakEwma::answered`] does so by itself.
    pub fn observe(&self, rtt_us: u64, now_us: u64) {
        let now_ms = stamp(now_us);
        // An f32 is exact to 16 s and to 1 in 16 million beyond.
        let rtt_us = (rtt_us as f32).max(1.0);
        let taken = |packed| {
            let (at_ms, average) = unpack(packed);
            let rest = self.rest(at_ms, now_ms);
            let average = if average < rtt_us {
                rtt_us
            } else {
                let average = average * rest + rtt_us * (1.0 - rest);
                average - (average - rtt_us * PEAK_FACTOR).max(0.0) * PEAK_SHARE
            };
            // Clocks of threads differ a little; the stamp never goes back.
            let at_ms = if rest < 1.0 || packed == 0 {
                now_ms
            } else {
                at_ms
            };
            Some(pack(at_ms, average))
        };
        // Never fails: `taken` always has a value.
        let _ = self.average.fetch_update(Relaxed, Relaxed, taken);
    }

    /// What an answer takes by experience; 0 before the first. Without new observations it
    /// sinks with time, so that an upstream that was slow is tried again.
    #[must_use]
    pub fn latency_us(&self, now_us: u64) -> u64 {
        let packed = self.average.load(Relaxed);
        if packed == 0 {
            return 0;
        }
        let (at_ms, average) = unpack(packed);
        // Not negative, and below 2^63 for every latency of less than 290,000 years.
        ((average * self.rest(at_ms, stamp(now_us))) as u64).max(1)
    }

    /// How long the first request since the last answer waits by now; 0 if there is none.
    #[must_use]
    pub fn unanswered_us(&self, now_us: u64) -> u64 {
        match self.waiting_since.load(Relaxed) {
            0 => 0,
            since => now_us.saturating_sub(since),
        }
    }

    /// `(latency + lag) * (in flight + 1)`, where latency is the longer of the average and the
    /// unanswered request's age, and `lag_us` the delay of the worker's event loop. For a log or
    /// a display; [`Balancer`](crate::Balancer) compares the parts.
    #[must_use]
    pub fn cost(&self, lag_us: u64, now_us: u64) -> u64 {
        let latency_us = self.latency_us(now_us).max(self.unanswered_us(now_us));
        latency_us
            .saturating_add(lag_us)
            .saturating_mul(u64::from(self.in_flight()) + 1)
    }

    /// The share that is left of what was known at `at_ms`, 0 to 1.
    fn rest(&self, at_ms: u32, now_ms: u32) -> f32 {
        // Wrapping, so below 0 is a clock that is a little behind (or 25 days of silence).
        let age_ms = now_ms.wrapping_sub(at_ms) as i32;
        if age_ms <= 0 {
            return 1.0;
        }
        (-(age_ms as f32) / self.decay_ms).exp()
    }
}

/// Milliseconds, wrapping after 49 days: truncation is meant.
fn stamp(now_us: u64) -> u32 {
    (now_us / 1000) as u32
}

fn pack(at_ms: u32, average: f32) -> u64 {
    u64::from(at_ms) << 32 | u64::from(average.to_bits())
}

fn unpack(packed: u64) -> (u32, f32) {
    // Truncation is meant: the two halves.
    ((packed >> 32) as u32, f32::from_bits(packed as u32))
}
