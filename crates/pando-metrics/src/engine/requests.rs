//! Requests of the last seconds, with their latencies.

use std::collections::VecDeque;

use histogram::Histogram;
use monitor_spec::agent;
use monitor_spec::edge;
use monitor_spec::now::{Latency, Source, Traffic, WINDOW_S};

use crate::totals::Endpoint as Requests;

impl Requests {
    pub(crate) fn add(&mut self, other: &Self) {
        self.errors_4xx = self.errors_4xx.saturating_add(other.errors_4xx);
        self.errors_5xx = self.errors_5xx.saturating_add(other.errors_5xx);
        self.aborted = self.aborted.saturating_add(other.aborted);
        self.streams = self.streams.saturating_add(other.streams);
        self.latency.merge(&other.latency);
    }

    /// Of so many seconds.
    pub(crate) fn traffic(&self, source: Source, in_flight: u64, seconds: f64) -> Traffic {
        let per_second = |count: u64| {
            if seconds > 0.0 {
                count as f64 / seconds
            } else {
                0.0
            }
        };
        Traffic {
            source,
            rate: per_second(self.requests()),
            errors_5xx: per_second(self.errors_5xx),
            errors_4xx: per_second(self.errors_4xx),
            in_flight,
            latency: latency(&self.latency),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.requests() == 0 && self.aborted == 0
    }
}

impl From<&agent::Route> for Requests {
    fn from(route: &agent::Route) -> Self {
        Self {
            errors_4xx: route.errors_4xx,
            errors_5xx: route.errors_5xx,
            aborted: route.aborted,
            streams: route.streams,
            latency: route.latency.clone(),
        }
    }
}

impl From<&edge::Route> for Requests {
    fn from(route: &edge::Route) -> Self {
        Self {
            errors_4xx: route.classes[3],
            errors_5xx: route.classes[4],
            aborted: route.aborted,
            streams: 0,
            latency: route.latency.clone(),
        }
    }
}

/// `None` where there was no request.
pub(crate) fn latency(histogram: &Histogram) -> Option<Latency> {
    Some(Latency {
        mean_us: histogram.mean()?,
        p50_us: histogram.quantile(0.5)?,
        p95_us: histogram.quantile(0.95)?,
        p99_us: histogram.quantile(0.99)?,
        max_us: histogram.max() as f64,
    })
}

/// The last [`WINDOW_S`] seconds, one by one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recent {
    /// With how long each was.
    seconds: VecDeque<(f64, Requests)>,
}

impl Recent {
    pub fn push(&mut self, seconds: f64, requests: Requests) {
        if self.seconds.len() as u64 >= WINDOW_S {
            self.seconds.pop_front();
        }
        self.seconds.push_back((seconds, requests));
    }

    pub fn traffic(&self, source: Source, in_flight: u64) -> Traffic {
        let mut all = Requests::default();
        let mut seconds = 0.0;
        for (length, requests) in &self.seconds {
            all.add(requests);
            seconds += length;
        }
        all.traffic(source, in_flight, seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_over_what_was_really_passed() {
        let mut recent = Recent::default();
        assert_eq!(recent.traffic(Source::Agent, 0).rate, 0.0);
        for n in 0..20 {
            let mut requests = Requests {
                errors_5xx: 1,
                ..Requests::default()
            };
            // What is older than the window is slow.
            requests
                .latency
                .record_many(if n < 10 { 9_000 } else { 50 }, 30);
            recent.push(2.0, requests);
        }
        let traffic = recent.traffic(Source::Agent, 3);
        assert_eq!((traffic.rate, traffic.errors_5xx), (15.0, 0.5));
        assert_eq!(traffic.latency.unwrap().max_us, 50.0);
        assert_eq!(traffic.in_flight, 3);
    }
}
