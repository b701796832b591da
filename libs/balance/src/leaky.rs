//! A leaky bucket that decides as nginx's `limit_req` does.
//!
//! A request pours `period_ms` units into its bucket, `rate` units leak out in a millisecond; a
//! request that would make the bucket hold more than `burst + 1` requests is refused and pours
//! nothing. (The generic cell rate algorithm of ITU-T I.371 with the same parameters is another
//! way to write this.) All is in whole units, so nothing is ever rounded away; nginx counts
//! thousandths of a request, which is the same for rates in seconds, and rounds its rates in
//! minutes down to a thousandth of a request a second, which is not imitated.
//!
//! ```
//! use balance::{Bucket, Leaky};
//!
//! let limit = Leaky { rate: 10, period_ms: 1000, burst: 20, nodelay: true };
//! let mut bucket = Bucket::default();
//! let mut passed = |now_ms| (0..50).filter(|_| limit.check(&mut bucket, now_ms).passes()).count();
//! assert_eq!([passed(0), passed(1000), passed(4000)], [21, 10, 21]);
//! ```

/// One limit: what `limit_req_zone rate=` and `limit_req burst= nodelay` say together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaky {
    /// Requests in `period_ms`. 0 counts as 1, for both.
    pub rate: u32,
    pub period_ms: u64,
    /// Requests beyond the first that may come at once.
    pub burst: u32,
    /// Requests of a burst are served at once; otherwise each waits until its turn.
    pub nodelay: bool,
}

/// What one key has used up. The default is a key that was never seen; buckets with the same
/// rate and period may be checked against different bursts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bucket {
    /// Units in it at `last_ms`: [`Leaky::period_ms`] for a request.
    pub level: u64,
    /// When a request last passed.
    pub last_ms: u64,
}

/// What becomes of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    Pass,
    /// Passes after this time, in milliseconds.
    Delay(u64),
    Reject {
        /// After this time one would pass, if no other did before.
        retry_after_ms: u64,
    },
}

impl Verdict {
    /// Not rejected.
    #[must_use]
    pub fn passes(self) -> bool {
        match self {
            Self::Pass | Self::Delay(_) => true,
            Self::Reject { .. } => false,
        }
    }
}

impl Leaky {
    /// Decides on a request that comes now, and counts it if it passes. A clock that went back
    /// counts as one that stood still.
    pub fn check(&self, bucket: &mut Bucket, now_ms: u64) -> Verdict {
        let verdict = self.peek(bucket, now_ms);
        if verdict.passes() {
            *bucket = self.poured(bucket, now_ms);
        }
        verdict
    }

    /// What [`Leaky::check`] would say, without counting.
    pub fn peek(&self, bucket: &Bucket, now_ms: u64) -> Verdict {
        let level = self.poured(bucket, now_ms).level;
        let capacity = self.capacity();
        if level > capacity {
            return Verdict::Reject {
                retry_after_ms: (level - capacity).div_ceil(self.leak()),
            };
        }
        // What was in the bucket before this request is served first.
        match (level - self.drop()) / self.leak() {
            delay_ms if delay_ms > 0 && !self.nodelay => Verdict::Delay(delay_ms),
            _ => Verdict::Pass,
        }
    }

    /// Takes back one request that passed [`Leaky::check`]: with several limits at once, what one
    /// of them rejects is counted by none.
    pub fn refund(&self, bucket: &mut Bucket) {
        bucket.level = bucket.level.saturating_sub(self.drop());
    }

    /// Requests that would pass now, one right after the other.
    #[must_use]
    pub fn remaining(&self, bucket: &Bucket, now_ms: u64) -> u32 {
        let free = self.capacity().saturating_sub(self.level(bucket, now_ms));
        // At most burst + 1.
        u32::try_from(free / self.drop()).unwrap_or(u32::MAX)
    }

    /// Time until the bucket is as one that was never seen, in milliseconds.
    #[must_use]
    pub fn reset_ms(&self, bucket: &Bucket, now_ms: u64) -> u64 {
        self.level(bucket, now_ms).div_ceil(self.leak())
    }

    /// Requests that pass at once when the bucket is empty: `burst + 1`.
    #[must_use]
    pub fn quota(&self) -> u64 {
        u64::from(self.burst) + 1
    }

    /// Units in the bucket now.
    fn level(&self, bucket: &Bucket, now_ms: u64) -> u64 {
        let age_ms = now_ms.saturating_sub(bucket.last_ms);
        bucket
            .level
            .saturating_sub(self.leak().saturating_mul(age_ms))
    }

    fn poured(&self, bucket: &Bucket, now_ms: u64) -> Bucket {
        Bucket {
            level: self.level(bucket, now_ms).saturating_add(self.drop()),
            last_ms: now_ms.max(bucket.last_ms),
        }
    }

    fn capacity(&self) -> u64 {
        self.drop().saturating_mul(self.quota())
    }

    /// Units of one request.
    fn drop(&self) -> u64 {
        self.period_ms.max(1)
    }

    /// Units that leak in a millisecond.
    fn leak(&self) -> u64 {
        u64::from(self.rate.max(1))
    }
}
