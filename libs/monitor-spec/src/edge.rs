//! What a gateway reports once a second; every count is of the time since the report before.

use histogram::Histogram;
use serde::{Deserialize, Serialize};

/// Rows of one report; further routes are counted as [`crate::OTHER`].
pub const MAX_ROWS: usize = 500;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    pub took_ms: f64,
    pub routes: Vec<Route>,
    pub upstreams: Vec<Upstream>,
    /// Open client connections now.
    pub connections: u64,
    /// Requests that are being answered now.
    pub in_flight: u64,
    /// Open upgraded connections now.
    pub tunnels: u64,
    pub cache_hits: u64,
    pub cache_misses: u64,
    pub cache_bytes: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// Requests that a rate or concurrency limit refused.
    pub limited: u64,
    /// Requests that were tried again at another upstream.
    pub retries: u64,
    /// Handshakes that failed.
    pub tls_failures: u64,
    pub certificates: Vec<Certificate>,
}

/// One endpoint of a site, as the gateway sees it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Route {
    pub site: String,
    /// The route of the file: `/api/*`.
    pub route: String,
    pub method: String,
    /// The path folded (`/api/users/:id`), by [`crate::MAX_ENDPOINTS`] for each route.
    pub endpoint: String,
    /// The app that the route names, if it names one.
    pub app: Option<String>,
    /// Requests by the class of their answer: 1xx to 5xx.
    pub classes: [u64; 5],
    /// Clients that went away before the answer.
    pub aborted: u64,
    pub bytes_out: u64,
    /// Microseconds from the request's head to the answer's last byte; its count is that of the requests.
    pub latency: Histogram,
    /// The part of it until the upstream's head; empty where there is none.
    pub upstream: Histogram,
}

/// One address that requests go to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Upstream {
    /// The app, or the upstreams as the file names them.
    pub group: String,
    pub address: String,
    /// Instance number of an app's worker.
    pub instance: Option<u32>,
    pub available: bool,
    pub requests: u64,
    pub failures: u64,
    pub in_flight: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Certificate {
    pub host: String,
    /// Seconds since 1970; absent while a stand-in is served.
    pub not_after_s: Option<u64>,
    pub problem: Option<String>,
}
