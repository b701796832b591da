//! Ejection of a member that fails where others do not, seen from the requests themselves.
//!
//! ```text
//! in service --failures in a row--> ejected --time is over--> on trial --success--> in service
//!                                      ^------------failure------|
//! ```
//! Each ejection of a series lasts longer than the one before; the series is forgotten as fast as
//! it grew, one step for each first ejection time in service.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// When to eject.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outlier {
    /// Failures in a row; 0 never ejects.
    pub consecutive: u32,
    /// First ejection; each further one is longer by as much.
    pub eject_ms: u64,
    pub max_eject_ms: u64,
    /// Never more than this share of a group, rounded down: 0.5 is one of three.
    pub max_share: f64,
}

/// What is remembered of one member. Threads may share it.
#[derive(Debug, Default)]
pub struct Ejection {
    /// Failures since the last success.
    failures: AtomicU32,
    /// Ejected while now is before it.
    until_ms: AtomicU64,
    /// Length of the series.
    series: AtomicU32,
}

impl Ejection {
    /// Not to be picked now.
    #[must_use]
    pub fn is_ejected(&self, now_ms: u64) -> bool {
        now_ms < self.until_ms.load(Relaxed)
    }

    /// When it comes back, if it is ejected now.
    #[must_use]
    pub fn until_ms(&self, now_ms: u64) -> Option<u64> {
        Some(self.until_ms.load(Relaxed)).filter(|until_ms| now_ms < *until_ms)
    }

    /// A request was answered. On the path of every request: one read, if all is well.
    pub fn succeeded(&self) {
        if self.failures.load(Relaxed) != 0 {
            self.failures.store(0, Relaxed);
        }
    }
}

impl Outlier {
    /// A request to `member` failed. `group` is all members of the group, this one among them;
    /// call this for one group from one thread at a time, or the share may be exceeded.
    ///
    /// Returns the end of the ejection if this failure began one. Where the share is used up
    /// nothing is ejected, and the next failure asks again.
    pub fn failed<'a>(
        &self,
        member: &Ejection,
        group: impl IntoIterator<Item = &'a Ejection>,
        now_ms: u64,
    ) -> Option<u64> {
        let failures = member.failures.load(Relaxed).saturating_add(1);
        member.failures.store(failures, Relaxed);
        if self.consecutive == 0 || failures < self.consecutive || member.is_ejected(now_ms) {
            return None;
        }
        let (mut members, mut ejected) = (0_u64, 0_u64);
        for other in group {
            members += 1;
            ejected += u64::from(other.is_ejected(now_ms));
        }
        if (ejected + 1) as f64 > members as f64 * self.max_share {
            return None;
        }
        let in_service_ms = now_ms.saturating_sub(member.until_ms.load(Relaxed));
        let forgotten = in_service_ms / self.eject_ms.max(1);
        let series = u64::from(member.series.load(Relaxed)).saturating_sub(forgotten) + 1;
        let length_ms = self.eject_ms.saturating_mul(series).min(self.max_eject_ms);
        let until_ms = now_ms.saturating_add(length_ms);
        member
            .series
            .store(u32::try_from(series).unwrap_or(u32::MAX), Relaxed);
        member.until_ms.store(until_ms, Relaxed);
        // On trial after its return: one more failure ejects.
        member.failures.store(self.consecutive - 1, Relaxed);
        Some(until_ms)
    }
}
