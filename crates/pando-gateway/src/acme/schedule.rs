//! When to try, and when to try again. Pure.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::failure::Kind;

/// Renewals of certificates that were issued together are spread over this share of a lifetime.
const SPREAD: f64 = 1.0 / 30.0;
/// Waits differ by up to this share either way, so that a fleet does not come at once.
const JITTER: f64 = 0.2;
/// A `Retry-After` beyond this is cut: an authority that says "in a year" errs.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(7 * 24 * 3600);
/// Doubling (or tripling) stops here; the waits are at their greatest long before.
const MAX_STEPS: u32 = 16;

/// How long waits are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Between two looks at the storage, for what another process put there.
    pub look: Duration,
    /// While another process orders.
    pub locked: Duration,
    /// After an order that the authority refused: the first wait, three times that, and so on. With
    /// two minutes an hour sees four failures (the best known authority forbids more than five).
    pub refused: (Duration, Duration),
    /// When the authority cannot be reached or fails itself: the first wait, twice that, and so on.
    pub unreachable: (Duration, Duration),
    /// When the authority says "too many" without saying until when.
    pub limited: Duration,
    /// Between a success and the next order for the same site, whatever the clock says.
    pub issued: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        Self {
            look: Duration::from_secs(30),
            locked: Duration::from_secs(5),
            refused: (minutes(2), minutes(360)),
            unreachable: (Duration::from_secs(30), minutes(15)),
            limited: minutes(60),
            issued: minutes(10),
        }
    }
}

/// What came of the tries for a site; kept on disk. Seconds since 1970.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tries {
    pub last: u64,
    /// It began and its end was never written down.
    pub open: bool,
    /// In a row.
    pub failures: u32,
    pub kind: Kind,
    pub why: String,
    pub retry_after: Option<u64>,
}

impl Tries {
    pub fn begun(&mut self, now: SystemTime) {
        self.last = seconds(now);
        self.open = true;
    }

    pub fn failed(
        &mut self,
        now: SystemTime,
        kind: Kind,
        why: String,
        retry_after: Option<SystemTime>,
    ) {
        self.last = seconds(now);
        self.open = false;
        self.failures = self.failures.saturating_add(1);
        self.kind = kind;
        self.why = why;
        self.retry_after = retry_after.map(|until| seconds(until.min(now + MAX_RETRY_AFTER)));
    }

    pub fn succeeded(&mut self, now: SystemTime) {
        *self = Self {
            last: seconds(now),
            ..Self::default()
        };
    }

    /// When the next try may be. `random` is in 0..1. `fresh` is a process that has not tried itself:
    /// somebody may have mended the cause, so it waits only as after a first failure.
    pub fn next(&self, pace: &Pace, random: f64, fresh: bool) -> SystemTime {
        if self.last == 0 {
            return UNIX_EPOCH;
        }
        let wait = if self.open {
            pace.refused.0
        } else if self.failures == 0 {
            pace.issued
        } else {
            let steps = if fresh { 0 } else { self.failures - 1 };
            let wait = backoff(self.kind, steps, pace);
            wait.mul_f64(1.0 + JITTER * (2.0 * random - 1.0))
        };
        let next = at(self.last) + wait;
        self.retry_after.map_or(next, |until| next.max(at(until)))
    }
}

fn backoff(kind: Kind, steps: u32, pace: &Pace) -> Duration {
    let steps = steps.min(MAX_STEPS);
    match kind {
        Kind::Refused => pace
            .refused
            .0
            .saturating_mul(3u32.saturating_pow(steps))
            .min(pace.refused.1),
        Kind::Unreachable => {
            let wait = pace.unreachable.0.saturating_mul(1 << steps);
            wait.min(pace.unreachable.1)
        }
        Kind::Limited => pace.limited,
    }
}

/// When to renew: at a third of the lifetime before the end, and up to a thirtieth earlier. `spread`
/// in 0..1 is the certificate's own, so that a restart changes nothing.
pub fn renew_at(not_before: SystemTime, not_after: SystemTime, spread: f64) -> SystemTime {
    let lifetime = not_after.duration_since(not_before).unwrap_or_default();
    not_after - lifetime / 3 - lifetime.mul_f64(SPREAD * spread.clamp(0.0, 1.0))
}

pub fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(tries: &Tries, random: f64, fresh: bool) -> u64 {
        seconds(tries.next(&Pace::default(), random, fresh)) - tries.last
    }

    #[test]
    fn renewal_is_at_a_third_before_the_end() {
        let day = |day: u64| at(day * 24 * 3600);
        assert_eq!(renew_at(day(10), day(100), 0.0), day(70));
        assert_eq!(renew_at(day(10), day(100), 1.0), day(67));
        assert_eq!(renew_at(day(10), day(16), 0.0), day(14));
        assert_eq!(renew_at(day(10), day(9), 0.5), day(9));
    }

    #[test]
    fn failures_wait_longer_each_time_and_never_an_eternity() {
        let mut tries = Tries::default();
        assert_eq!(tries.next(&Pace::default(), 0.5, true), UNIX_EPOCH);
        let mut waits = Vec::new();
        for _ in 0..100 {
            tries.failed(at(1000), Kind::Refused, String::new(), None);
            waits.push(after(&tries, 0.5, false));
        }
        assert_eq!(waits[..6], [120, 360, 1080, 3240, 9720, 21600]);
        assert_eq!(waits[99], 21600);
        assert!(after(&tries, 0.0, false) < 21600 && after(&tries, 0.99, false) > 21600);
        assert_eq!(after(&tries, 0.5, true), 120, "somebody restarted it");
        tries.kind = Kind::Unreachable;
        assert_eq!(after(&tries, 0.5, false), 900);
        tries.kind = Kind::Limited;
        assert_eq!(after(&tries, 0.5, true), 3600);
        tries.succeeded(at(1000));
        assert_eq!(after(&tries, 0.5, true), 600);
        tries.begun(at(1000));
        assert_eq!(after(&tries, 0.5, true), 120, "it died in the middle");
    }

    #[test]
    fn the_authority_says_when_it_will_hear_us() {
        let mut tries = Tries::default();
        let until = |seconds: u64| Some(at(1000 + seconds));
        tries.failed(at(1000), Kind::Limited, String::new(), until(50_000));
        assert_eq!(after(&tries, 0.5, false), 50_000);
        assert_eq!(
            after(&tries, 0.5, true),
            50_000,
            "a restart changes nothing"
        );
        tries.failed(at(1000), Kind::Refused, String::new(), until(1));
        assert_eq!(after(&tries, 0.5, false), 360);
        tries.failed(
            at(1000),
            Kind::Limited,
            String::new(),
            until(365 * 24 * 3600),
        );
        assert_eq!(after(&tries, 0.5, false), 7 * 24 * 3600);
    }
}
