//! What a load generator counted.

use std::collections::BTreeMap;
use std::time::Duration;

/// Distinct answers that [`Tally::bodies`] keeps apart.
pub(crate) const MAX_BODIES: usize = 256;
const MAX_ERRORS_KEPT: usize = 10;

/// What happened, request by request.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub sent: u64,
    /// Answered with a status below 400.
    pub ok: u64,
    /// Answered with 400 and above.
    pub bad_status: u64,
    /// No connection was had.
    pub refused: u64,
    /// The connection ended before the whole answer.
    pub broken: u64,
    pub timed_out: u64,
    /// Kept connections that the server ended while no request was on them.
    pub idle_closed: u64,
    pub connections: u64,
    /// Of every answered request, microseconds since it was due; sorted.
    pub latencies_us: Vec<u64>,
    /// How often each body came, up to [`MAX_BODIES`] of them.
    pub bodies: BTreeMap<String, u64>,
    /// The first failures in words.
    pub errors: Vec<String>,
}

impl Tally {
    pub fn failures(&self) -> u64 {
        self.bad_status + self.refused + self.broken + self.timed_out
    }

    /// The latency that a share of `q` (0..=1) of the answers did not exceed.
    pub fn quantile_us(&self, q: f64) -> u64 {
        let last = self.latencies_us.len().saturating_sub(1);
        let at = ((self.latencies_us.len() as f64 * q).ceil() as usize).saturating_sub(1);
        self.latencies_us.get(at.min(last)).copied().unwrap_or(0)
    }

    /// Answers slower than `limit`.
    pub fn slower_than(&self, limit: Duration) -> u64 {
        let limit_us = limit.as_micros() as u64;
        let first = self.latencies_us.partition_point(|us| *us <= limit_us);
        (self.latencies_us.len() - first) as u64
    }

    pub fn summary(&self) -> String {
        format!(
            "sent {} ok {} bad status {} refused {} broken {} timed out {} idle closed {} \
             p50 {} us p99 {} us max {} us {:?}",
            self.sent,
            self.ok,
            self.bad_status,
            self.refused,
            self.broken,
            self.timed_out,
            self.idle_closed,
            self.quantile_us(0.5),
            self.quantile_us(0.99),
            self.quantile_us(1.0),
            self.errors,
        )
    }

    pub(crate) fn failed(&mut self, what: String) {
        if self.errors.len() < MAX_ERRORS_KEPT {
            self.errors.push(what);
        }
    }
}
