//! What is kept of one second (or slot) of one thing.

use histogram::Histogram;
use monitor_spec::metric::Metric;

use crate::totals::Endpoint as Requests;

/// A rate over so many seconds, never of next to none.
pub fn per_second(count: u64, seconds: f64) -> f64 {
    count as f64 / seconds.max(LEAST_SECONDS)
}

/// What a row is of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// The machine, and Pando's own processes.
    Host,
    Gateway,
    App(String),
    /// By instance number.
    Worker(String, u32),
    /// `GET /users/:id` of an app.
    Endpoint(String, String),
}

/// A shorter time makes no rate.
const LEAST_SECONDS: f64 = 0.1;
/// Between the parts of a key; no name has it.
const SEPARATOR: char = '\u{1f}';

impl Scope {
    /// As the store names it.
    pub fn key(&self) -> String {
        match self {
            Self::Host => "host".into(),
            Self::Gateway => "gateway".into(),
            Self::App(app) => format!("app{SEPARATOR}{app}"),
            Self::Worker(app, instance) => format!("{}{instance}", Self::worker_keys(app)),
            Self::Endpoint(app, endpoint) => format!("{}{endpoint}", Self::endpoint_keys(app)),
        }
    }

    /// What the keys of an app's workers, and of its endpoints, begin with.
    pub fn worker_keys(app: &str) -> String {
        format!("worker{SEPARATOR}{app}{SEPARATOR}")
    }

    pub fn endpoint_keys(app: &str) -> String {
        format!("endpoint{SEPARATOR}{app}{SEPARATOR}")
    }

    pub fn from_key(key: &str) -> Option<Self> {
        let mut parts = key.splitn(3, SEPARATOR);
        let kind = parts.next()?;
        let (app, rest) = (parts.next().map(str::to_owned), parts.next());
        match (kind, app, rest) {
            ("host", None, None) => Some(Self::Host),
            ("gateway", None, None) => Some(Self::Gateway),
            ("app", Some(app), None) => Some(Self::App(app)),
            ("worker", Some(app), Some(rest)) => Some(Self::Worker(app, rest.parse().ok()?)),
            ("endpoint", Some(app), Some(rest)) => Some(Self::Endpoint(app, rest.to_owned())),
            _ => None,
        }
    }

    /// Kept by slots of ten seconds at the finest.
    pub fn is_coarse(&self) -> bool {
        matches!(self, Self::Endpoint(..))
    }
}

/// How several values become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fold {
    Mean,
    Max,
}

pub fn fold(metric: Metric) -> Fold {
    let max = [
        Metric::LatencyMax,
        Metric::LagMax,
        // A percentile cannot be averaged: what is said is that it was never worse.
        Metric::LagP99,
        Metric::Restarts,
    ];
    if max.contains(&metric) {
        Fold::Max
    } else {
        Fold::Mean
    }
}

/// Comes from the histogram of latencies, never from kept values.
pub fn is_latency(metric: Metric) -> bool {
    [
        Metric::LatencyMean,
        Metric::LatencyP50,
        Metric::LatencyP95,
        Metric::LatencyP99,
        Metric::LatencyMax,
    ]
    .contains(&metric)
}

#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub scope: Scope,
    pub values: Vec<(Metric, f32)>,
    /// Of this second; of workers and endpoints of the slot that began at `latency_s`.
    pub latency: Option<Histogram>,
}

impl Row {
    pub fn new(scope: Scope) -> Self {
        Self {
            scope,
            values: Vec::new(),
            latency: None,
        }
    }

    pub fn set(&mut self, metric: Metric, value: impl Into<Option<f64>>) -> &mut Self {
        if let Some(value) = value.into().filter(|value| value.is_finite()) {
            self.values.push((metric, value as f32));
        }
        self
    }
}

impl Row {
    /// How many requests there were, and how many failed, in so many seconds.
    pub fn set_requests(&mut self, requests: &Requests, seconds: f64) -> &mut Self {
        self.set(Metric::Rate, per_second(requests.requests(), seconds))
            .set(Metric::Errors5xx, per_second(requests.errors_5xx, seconds))
            .set(Metric::Errors4xx, per_second(requests.errors_4xx, seconds))
    }
}

/// All that is kept of one second.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Second {
    /// Since 1970.
    pub time_s: i64,
    pub rows: Vec<Row>,
    /// Of the slot of [`crate::engine::SLOT_S`] seconds that began at the first: rows of
    /// endpoints, and latencies of workers.
    pub slot: Option<(i64, Vec<Row>)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_back() {
        for scope in [
            Scope::Host,
            Scope::Gateway,
            Scope::App("api".into()),
            Scope::Worker("api".into(), 12),
            Scope::Endpoint("api".into(), "GET /a/:b\u{1f}c".into()),
        ] {
            assert_eq!(Scope::from_key(&scope.key()), Some(scope));
        }
        for key in ["", "x", "app", "host\u{1f}a", "worker\u{1f}a\u{1f}b"] {
            assert_eq!(Scope::from_key(key), None);
        }
    }
}
