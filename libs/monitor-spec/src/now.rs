//! The picture of this second: what the dashboards draw. Rates and percentiles are of the last
//! [`WINDOW_S`] seconds, endpoints of the last [`ENDPOINT_WINDOW_S`].

use serde::{Deserialize, Serialize};

use crate::state::Event;

pub const WINDOW_S: u64 = 10;
pub const ENDPOINT_WINDOW_S: u64 = 60;
/// Of the sparklines.
pub const HISTORY_S: usize = 120;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Now {
    pub time_ms: i64,
    pub version: String,
    pub host: Host,
    /// Root and supervisor. The gateway is an app, with a row of its own in `apps`.
    pub daemon: Vec<Process>,
    pub apps: Vec<App>,
    /// `None` while no gateway serves.
    pub gateway: Option<Gateway>,
    /// Pending and firing ones, and those that were resolved in the last minutes.
    pub alerts: Vec<Alert>,
    /// Events of this second.
    pub events: Vec<Event>,
    /// What is wrong with the measuring itself: `the store was damaged; a new one was begun`.
    pub problems: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Host {
    pub name: String,
    pub cores: u32,
    /// Of all cores, 0 to 100.
    pub cpu_percent: f64,
    pub load_1m: f64,
    pub memory_total_bytes: u64,
    pub memory_available_bytes: u64,
    /// Of the file system of Pando's home; 0 where that is not known.
    pub disk_total_bytes: u64,
    pub disk_available_bytes: u64,
    /// Share of time in which some process waited for a CPU, percent (PSI); `None` without it.
    pub cpu_pressure_percent: Option<f64>,
    /// The cgroup's limits where we are in one that has some.
    pub cgroup_memory_limit_bytes: Option<u64>,
    pub cgroup_cpu_limit: Option<f64>,
    /// Share of time in which the cgroup was throttled, percent.
    pub cgroup_throttled_percent: Option<f64>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Process {
    /// `root` or `supervisor`.
    pub name: String,
    pub pid: u32,
    pub cpu_percent: f64,
    pub memory_bytes: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct App {
    pub name: String,
    pub status: String,
    pub mode: String,
    pub command: String,
    pub listen: Vec<String>,
    pub wanted: u32,
    pub ready: u32,
    pub restarts: u64,
    pub uptime_ms: u64,
    pub reloading: bool,
    pub problem: Option<String>,
    pub traffic: Traffic,
    /// The worst worker's event loop over the window; `None` where nothing is known.
    pub lag_p99_us: Option<u64>,
    pub lag_max_us: Option<u64>,
    /// Mean over the workers, corrected for CPU that they had to wait for, 0 to 1.
    pub utilization: Option<f64>,
    /// Sums over the workers. 100 is one core.
    pub cpu_percent: f64,
    pub memory_bytes: u64,
    /// Of one worker.
    pub memory_limit_bytes: Option<u64>,
    /// What the heaps' floors gain an hour, if they do steadily; bytes.
    pub leak_bytes_per_hour: Option<f64>,
    pub workers: Vec<Worker>,
    /// Over [`ENDPOINT_WINDOW_S`], busiest first, at most [`crate::MAX_ENDPOINTS`].
    pub endpoints: Vec<Endpoint>,
    pub outgoing: Vec<Outgoing>,
    pub history: History,
}

/// Requests of an app, an endpoint or a worker.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Traffic {
    pub source: Source,
    /// Requests a second.
    pub rate: f64,
    /// Answers with 5xx, and with 4xx, a second.
    pub errors_5xx: f64,
    pub errors_4xx: f64,
    pub in_flight: u64,
    /// `None` where there was no request.
    pub latency: Option<Latency>,
}

/// Where latencies were taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// Nobody sees the requests: no preload and no gateway.
    #[default]
    None,
    /// Inside the worker, by the preload.
    Agent,
    /// At the gateway, queueing and network to the client included.
    Gateway,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Latency {
    pub mean_us: f64,
    pub p50_us: f64,
    pub p95_us: f64,
    pub p99_us: f64,
    pub max_us: f64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Worker {
    pub id: u32,
    pub instance: u32,
    pub pid: Option<u32>,
    pub state: String,
    pub uptime_ms: u64,
    pub restarts: u64,
    pub last_exit: Option<String>,
    pub node: Option<String>,
    /// Reports of its preload come.
    pub agent: bool,
    pub traffic: Traffic,
    pub lag_mean_us: Option<u64>,
    pub lag_p99_us: Option<u64>,
    pub lag_max_us: Option<u64>,
    pub utilization: Option<f64>,
    pub cpu_percent: f64,
    /// Share of time in which its threads were ready to run and had no CPU, percent of one core.
    pub cpu_wait_percent: f64,
    pub memory_bytes: u64,
    pub pss_bytes: Option<u64>,
    pub heap_used_bytes: Option<u64>,
    pub heap_total_bytes: Option<u64>,
    pub heap_limit_bytes: Option<u64>,
    pub heap_floor_bytes: Option<u64>,
    pub external_bytes: Option<u64>,
    /// Milliseconds of garbage collection a second.
    pub gc_ms_per_s: Option<f64>,
    pub fds: u64,
    pub threads: u64,
    /// A second.
    pub context_switches: f64,
    pub handles: Option<u32>,
    pub leak_bytes_per_hour: Option<f64>,
    pub history: History,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Endpoint {
    pub method: String,
    pub route: String,
    pub requests: u64,
    pub traffic: Traffic,
    /// Share of the app's time that its requests took, 0 to 1.
    pub time_share: f64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Outgoing {
    pub kind: String,
    pub peer: String,
    pub rate: f64,
    pub errors: f64,
    pub latency: Option<Latency>,
}

/// The last [`HISTORY_S`] seconds, oldest first; `None` where nothing is known.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct History {
    pub rate: Vec<Option<f32>>,
    pub p95_us: Vec<Option<f32>>,
    pub errors: Vec<Option<f32>>,
    pub lag_us: Vec<Option<f32>>,
    pub utilization: Vec<Option<f32>>,
    pub cpu_percent: Vec<Option<f32>>,
    pub memory_bytes: Vec<Option<f32>>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Gateway {
    pub connections: u64,
    pub tunnels: u64,
    pub traffic: Traffic,
    pub bytes_in_per_s: f64,
    pub bytes_out_per_s: f64,
    pub cache_hit_ratio: Option<f64>,
    pub limited: f64,
    pub retries: f64,
    /// A row for each site and route, busiest first.
    pub routes: Vec<EdgeRoute>,
    pub upstreams: Vec<crate::edge::Upstream>,
    pub certificates: Vec<crate::edge::Certificate>,
    pub history: History,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EdgeRoute {
    pub site: String,
    pub route: String,
    pub app: Option<String>,
    pub requests: u64,
    pub traffic: Traffic,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Alert {
    /// The rule's name.
    pub name: String,
    /// Empty for what is of the machine.
    pub app: String,
    pub state: AlertState,
    pub since_ms: i64,
    /// `p95 is 812 ms, over 500 ms for 2 min`.
    pub text: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertState {
    /// True, but not for long enough.
    #[default]
    Pending,
    Firing,
    Resolved,
}
