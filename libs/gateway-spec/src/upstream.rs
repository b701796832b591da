//! Where a route sends requests, and how it chooses, watches and retries.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A group of addresses that one route balances over. Groups that are equal share their state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Upstreams {
    pub target: Target,
    #[serde(default)]
    pub balance: Balance,
    /// A cookie of this name keeps a client at one upstream, with any balance.
    #[serde(default)]
    pub sticky_cookie: Option<String>,
    #[serde(default)]
    pub retry: Retry,
    /// Active checks; apps are watched by the supervisor anyway.
    #[serde(default)]
    pub health: Option<Health>,
    #[serde(default)]
    pub outlier: Outlier,
    #[serde(default)]
    pub breaker: Breaker,
    #[serde(default)]
    pub pool: Pool,
    /// After it became available an upstream's share grows from a tenth to all of it in this time.
    #[serde(default)]
    pub slow_start_ms: u64,
    #[serde(default)]
    pub tls: UpstreamTls,
    /// Send a PROXY protocol header first.
    #[serde(default)]
    pub proxy_protocol: Option<ProxyVersion>,
    /// Between two DNS look-ups of a name.
    #[serde(default = "resolve_ms")]
    pub resolve_ms: u64,
    /// Send the client's Host (the default), or the upstream's own name.
    #[serde(default = "yes")]
    pub preserve_host: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// Workers of an app of this home; addresses and states come from the supervisor.
    App(String),
    Addresses(Vec<Upstream>),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Upstream {
    /// `host:port`, or `unix:/path`. A host that is a name is resolved to all its addresses.
    pub address: String,
    #[serde(default = "one")]
    pub weight: u32,
    #[serde(default)]
    pub protocol: Protocol,
    /// Used only while no other is available (nginx's `backup`).
    #[serde(default)]
    pub backup: bool,
}

/// `http://`, `https://`, `h2c://`, `h2://` before the address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    #[default]
    Http1,
    /// HTTP/1.1 or HTTP/2 over TLS, as ALPN agrees.
    Https,
    /// HTTP/2 with prior knowledge, without TLS.
    H2c,
    /// HTTP/2 over TLS only.
    H2,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Balance {
    /// Least expected latency by a peak-sensitive moving average, of two at random.
    #[default]
    PeakEwma,
    /// By weight, smooth.
    RoundRobin,
    LeastConnections,
    Random,
    /// The less busy of two at random.
    TwoChoices,
    /// Rendezvous hashing of the client's address.
    IpHash,
    /// Consistent ring hash of a key.
    RingHash(HashKey),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HashKey {
    Ip,
    Path,
    Uri,
    Header(String),
    Cookie(String),
}

/// Safe methods, requests with `Idempotency-Key`, and whatever provably never reached a handler.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retry {
    /// Tries after the first.
    pub attempts: u32,
    /// Retries for each request, as a share of all requests; beyond it errors go to the client.
    pub budget: f64,
    /// Statuses of answers that count as failed: 502, 503, 504.
    pub statuses: Vec<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Health {
    pub path: String,
    pub interval_ms: u64,
    pub timeout_ms: u64,
    /// Failures in a row that take it out, successes in a row that bring it back.
    pub fall: u32,
    pub rise: u32,
    /// First and last status that is healthy.
    pub statuses: (u16, u16),
    pub host: Option<String>,
}

/// Ejection of an upstream that fails where others do not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Outlier {
    pub on: bool,
    /// Failures in a row (no connection, no answer, 502, 503, 504) that eject.
    pub consecutive: u32,
    /// First ejection; each further one is longer by as much, up to `max_eject_ms`.
    pub eject_ms: u64,
    pub max_eject_ms: u64,
    /// Never more than this share of a group.
    pub max_share: f64,
}

/// Bounds beyond which requests are refused at once with 503.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Breaker {
    /// Requests on their way to one upstream.
    pub max_requests: Option<u32>,
    /// Requests that wait for a free upstream.
    pub max_pending: u32,
    /// How long one waits at most.
    pub pending_ms: u64,
    /// Share of failures within `window_ms` that opens the circuit; `None` never does.
    pub error_share: Option<f64>,
    pub window_ms: u64,
    /// Least number of requests in the window for a judgement.
    pub min_requests: u32,
    /// How long it stays open before one request may try.
    pub open_ms: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Pool {
    pub connect_ms: u64,
    /// Idle connections kept to one upstream by one thread.
    pub idle: u32,
    /// An idle one is closed after this, or a second before the upstream's `Keep-Alive: timeout`.
    /// Node closes at 5 s without saying so when its answer has no such header.
    pub idle_ms: u64,
    /// Between two reads of an answer.
    pub read_ms: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UpstreamTls {
    /// Name to check and to send as SNI; the address's host if absent.
    pub server_name: Option<String>,
    /// PEM file of the authorities to trust; the web's if absent.
    pub ca: Option<PathBuf>,
    /// Do not check the certificate.
    pub insecure: bool,
    /// Our certificate and key, PEM, where the upstream asks for one.
    pub client: Option<(PathBuf, PathBuf)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProxyVersion {
    V1,
    V2,
}

impl Upstreams {
    pub fn new(target: Target) -> Self {
        Self {
            target,
            balance: Balance::default(),
            sticky_cookie: None,
            retry: Retry::default(),
            health: None,
            outlier: Outlier::default(),
            breaker: Breaker::default(),
            pool: Pool::default(),
            slow_start_ms: 0,
            tls: UpstreamTls::default(),
            proxy_protocol: None,
            resolve_ms: resolve_ms(),
            preserve_host: true,
        }
    }

    /// The workers of an app, with a slow start that lets a JIT warm up.
    pub fn app(name: impl Into<String>) -> Self {
        Self {
            slow_start_ms: 3_000,
            ..Self::new(Target::App(name.into()))
        }
    }

    /// Static addresses: `host:port` or `unix:/path`.
    pub fn addresses(addresses: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self::new(Target::Addresses(
            addresses.into_iter().map(Upstream::new).collect(),
        ))
    }
}

impl Upstream {
    pub fn new(address: impl Into<String>) -> Self {
        Self {
            address: address.into(),
            weight: 1,
            protocol: Protocol::Http1,
            backup: false,
        }
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: 2,
            budget: 0.2,
            statuses: Vec::new(),
        }
    }
}

impl Default for Health {
    fn default() -> Self {
        Self {
            path: "/".into(),
            interval_ms: 5_000,
            timeout_ms: 2_000,
            fall: 3,
            rise: 2,
            statuses: (200, 399),
            host: None,
        }
    }
}

impl Default for Outlier {
    fn default() -> Self {
        Self {
            on: true,
            consecutive: 5,
            eject_ms: 10_000,
            max_eject_ms: 300_000,
            max_share: 0.5,
        }
    }
}

impl Default for Breaker {
    fn default() -> Self {
        Self {
            max_requests: None,
            max_pending: 1024,
            pending_ms: 10_000,
            error_share: None,
            window_ms: 10_000,
            min_requests: 20,
            open_ms: 5_000,
        }
    }
}

impl Default for Pool {
    fn default() -> Self {
        Self {
            connect_ms: 5_000,
            idle: 256,
            idle_ms: 4_000,
            read_ms: 60_000,
        }
    }
}

fn one() -> u32 {
    1
}
fn resolve_ms() -> u64 {
    5_000
}
fn yes() -> bool {
    true
}
