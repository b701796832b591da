//! How a home is watched: `[metrics]`, `[otlp]` and `[alert.NAME]` of pando.toml.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MonitorSpec {
    /// The pando.toml that said so; `None` for the settings of a home that nobody has changed.
    pub origin: Option<PathBuf>,
    /// Where `/metrics`, `/livez`, `/readyz` and `/health/APP` are answered; nowhere if empty.
    pub listen: Vec<SocketAddr>,
    /// What the store may take on disk.
    pub disk_bytes: u64,
    pub otlp: Option<Otlp>,
    /// The set that is there without being asked for.
    pub default_alerts: bool,
    pub alerts: Vec<AlertRule>,
    /// Where every alert goes that names no place of its own.
    pub notify: Vec<Notify>,
}

impl Default for MonitorSpec {
    fn default() -> Self {
        Self {
            origin: None,
            listen: Vec::new(),
            disk_bytes: 200 * 1024 * 1024,
            otlp: None,
            default_alerts: true,
            alerts: Vec::new(),
            notify: Vec::new(),
        }
    }
}

/// OTLP over HTTP with protobuf.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Otlp {
    /// `http://127.0.0.1:4318`; `/v1/metrics` and `/v1/traces` are added.
    pub endpoint: String,
    /// Secret: keys of vendors.
    pub headers: BTreeMap<String, String>,
    pub metrics: bool,
    pub traces: bool,
    /// Share of requests that begin a trace here, 0 to 1; one that came with `traceparent` goes by
    /// its flag.
    pub sample: f64,
    pub interval_ms: u64,
    pub service: String,
}

impl Default for Otlp {
    fn default() -> Self {
        Self {
            endpoint: String::new(),
            headers: BTreeMap::new(),
            metrics: true,
            traces: true,
            sample: 0.01,
            interval_ms: 10_000,
            service: "pando".into(),
        }
    }
}

impl std::fmt::Debug for Otlp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Otlp")
            .field("endpoint", &self.endpoint)
            .field("headers", &self.headers.keys())
            .field("metrics", &self.metrics)
            .field("traces", &self.traces)
            .field("sample", &self.sample)
            .finish_non_exhaustive()
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlertRule {
    pub name: String,
    /// Empty: every app.
    #[serde(default)]
    pub apps: Vec<String>,
    pub condition: Condition,
    /// It must hold this long to fire, and be over this long to be resolved.
    #[serde(default)]
    pub for_ms: u64,
    #[serde(default)]
    pub notify: Vec<Notify>,
}

/// What an alert is about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Condition {
    /// A latency percentile (50, 95, 99) above this.
    Latency {
        percentile: u8,
        above_us: u64,
    },
    /// Share of answers with 5xx above this, 0 to 1, with at least so many requests a second, or
    /// where there are fewer, if half of them fail.
    ErrorRate {
        above: f64,
        min_rate: f64,
    },
    /// Event-loop delay (p99) above this.
    Lag {
        above_us: u64,
    },
    /// CPU of the app, percent of one core a worker.
    Cpu {
        above_percent: f64,
    },
    /// A worker's memory, of its limit (0 to 1) if it has one.
    Memory {
        above_share: f64,
    },
    /// The heaps' floors grow by more than this an hour.
    MemorySlope {
        above_bytes_per_hour: u64,
    },
    /// They grow so that the limit, or half of the machine without one, is reached within this.
    MemoryFull {
        within_ms: u64,
    },
    CrashLoop,
    /// More restarts in the last ten minutes that nobody asked for.
    Restarts {
        above: u32,
    },
    /// No worker is ready.
    Down,
    /// Fewer workers ready than wanted.
    Degraded,
    /// A certificate ends within this, or is missing.
    Certificate {
        within_ms: u64,
    },
    /// Free room on the file system of the home.
    Disk {
        below_share: f64,
    },
}

/// Where an alert goes.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Notify {
    /// POST of JSON to an http or https URL. Secret: whoever knows the path may post there.
    Webhook {
        url: String,
    },
    /// A shell line; the alert is in its environment (`PANDO_ALERT_…`) and, as JSON, on its stdin.
    Command {
        line: String,
    },
    Log,
}

impl Notify {
    /// Which one it is, without what is secret of it: `webhook https://hooks.example/…`.
    pub fn place(&self) -> String {
        match self {
            Self::Webhook { url } => {
                let (scheme, rest) = url.split_once("://").unwrap_or(("https", url));
                let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
                let host = authority.rsplit('@').next().unwrap_or_default();
                format!("webhook {scheme}://{host}/…")
            }
            Self::Command { line } => {
                let name = line.split_whitespace().next().unwrap_or_default();
                format!("command {name}")
            }
            Self::Log => "log".into(),
        }
    }
}

impl std::fmt::Debug for Notify {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.place())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_webhook_is_named_without_its_secrets() {
        let url = "https://user:word@hooks.example:8443/T0/secret?key=1".to_owned();
        let hook = Notify::Webhook { url };
        assert_eq!(format!("{hook:?}"), "webhook https://hooks.example:8443/…");
        let line = "mail -s key ops".to_owned();
        assert_eq!(Notify::Command { line }.place(), "command mail");
    }
}
