//! Counts since this supervisor began, as Prometheus and OpenTelemetry want them: they only grow.
//! Rows are bounded as [`monitor_spec::MAX_ENDPOINTS`] says. A row that nobody used for long makes
//! room for another; what it counted stays in the total of its app, or of the gateway.

use std::collections::BTreeMap;

use histogram::Histogram;
use monitor_spec::agent::Gc;

#[derive(Clone, Debug, Default)]
pub struct Totals {
    pub since_ms: i64,
    pub apps: BTreeMap<String, Counted<App>>,
    pub endpoints: BTreeMap<EndpointKey, Counted<Endpoint>>,
    pub outgoing: BTreeMap<OutgoingKey, Counted<Outgoing>>,
    pub workers: BTreeMap<WorkerKey, Counted<Worker>>,
    pub edge: BTreeMap<EdgeKey, Counted<EdgeRoute>>,
    pub gateway: Gateway,
    /// Events by app and kind.
    pub events: BTreeMap<(String, String), u64>,
}

/// What began to count at a moment, in milliseconds since 1970: a row that made room and comes
/// back counts from 0 again.
#[derive(Clone, Debug, Default)]
pub struct Counted<T> {
    pub since_ms: i64,
    pub counts: T,
}

/// All of an app, whatever row it is in, or was.
#[derive(Clone, Debug, Default)]
pub struct App {
    pub requests: u64,
    pub errors_4xx: u64,
    pub errors_5xx: u64,
    pub outgoing: u64,
    pub outgoing_errors: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct EndpointKey {
    pub app: String,
    pub method: String,
    pub route: String,
}

/// Microseconds inside the app.
#[derive(Clone, Debug, Default)]
pub struct Endpoint {
    /// Long event streams; they have no latency.
    pub streams: u64,
    pub errors_4xx: u64,
    pub errors_5xx: u64,
    pub aborted: u64,
    pub latency: Histogram,
}

impl Endpoint {
    pub fn requests(&self) -> u64 {
        self.latency.count().saturating_add(self.streams)
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct OutgoingKey {
    pub app: String,
    pub kind: String,
    pub peer: String,
}

#[derive(Clone, Debug, Default)]
pub struct Outgoing {
    pub errors: u64,
    pub latency: Histogram,
}

/// By instance number, so that reloads add no rows.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct WorkerKey {
    pub app: String,
    pub instance: u32,
}

#[derive(Clone, Debug, Default)]
pub struct Worker {
    pub cpu_us: u64,
    pub cpu_wait_us: u64,
    pub context_switches: u64,
    pub gc: Gc,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct EdgeKey {
    pub site: String,
    pub route: String,
}

#[derive(Clone, Debug, Default)]
pub struct EdgeRoute {
    pub app: Option<String>,
    /// By class, 1xx to 5xx.
    pub classes: [u64; 5],
    pub aborted: u64,
    pub bytes_out: u64,
    pub latency: Histogram,
    pub upstream: Histogram,
}

#[derive(Clone, Debug, Default)]
pub struct Gateway {
    /// By class, 1xx to 5xx.
    pub classes: [u64; 5],
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub cache_hits: u64,
    pub cache_misses: u64,
    pub limited: u64,
    pub retries: u64,
    pub tls_failures: u64,
}
