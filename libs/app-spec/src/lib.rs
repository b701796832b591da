//! What an app is to Pando: the one description that pando.toml, the command line, the journal
//! and the supervisor share. Plain data with defaults; no behaviour but small derivations.
//!
//! Durations are milliseconds (`_ms`), sizes are bytes (`_bytes`).

pub mod signal;

use std::collections::BTreeMap;
use std::path::PathBuf;

use gateway_spec::GatewaySpec;
use serde::{Deserialize, Serialize};

/// The most workers that one app may have. Above it `-i` is a typing error, not a wish: each
/// worker is a process of 50 MB.
pub const MAX_INSTANCES: u32 = 512;

/// The name of the app that is the gateway; no other app may have it.
pub const GATEWAY: &str = "gateway";

/// One app, complete and validated: all that is needed to start it again after a reboot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AppSpec {
    pub name: String,
    pub command: Command,
    /// Absolute.
    pub cwd: PathBuf,
    #[serde(default)]
    pub instances: Instances,
    #[serde(default)]
    pub mode: ExecMode,
    #[serde(default)]
    pub balance: Balance,
    /// What the user wrote for this app (`env`, `env_file`, `--env`), the last word.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// The environment of the shell that gave the command, under `env`. Not compared by `plan`.
    #[serde(default)]
    pub base_env: BTreeMap<String, String>,
    /// The port for apps that get a PORT each (fork mode), instance 0's; further ones count up.
    #[serde(default)]
    pub port: Option<u16>,
    #[serde(default)]
    pub health: Option<Health>,
    /// Ready means `process.send('ready')`, not the first `listening`.
    #[serde(default)]
    pub wait_ready: bool,
    #[serde(default)]
    pub timeouts: Timeouts,
    #[serde(default)]
    pub stop: Stop,
    /// Resident memory of one worker above which it is reloaded.
    #[serde(default)]
    pub memory_bytes: Option<u64>,
    #[serde(default)]
    pub restart: Restart,
    #[serde(default)]
    pub logs: Logs,
    /// User name or number to run as; needs root.
    #[serde(default)]
    pub user: Option<String>,
    /// Apps that must be ready before this one starts.
    #[serde(default)]
    pub depends_on: Vec<String>,
    #[serde(default)]
    pub watch: Option<Watch>,
    /// The preload that answers `Connection: close` while a worker drains.
    #[serde(default = "yes")]
    pub agent: bool,
    /// The pando.toml that manages this app, absolute; `None` for one started by flags. Not
    /// compared by `plan`: it says who may change or remove the app, not how it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<PathBuf>,
    /// What the gateway is, for the app [`GATEWAY`]: Pando itself, run as a cluster worker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<Box<GatewaySpec>>,
}

/// How the app's process is made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// A script run by an interpreter (`node`, `bun`, `deno`, `python3`, …).
    Script {
        /// Absolute.
        script: PathBuf,
        interpreter: String,
        #[serde(default)]
        interpreter_args: Vec<String>,
        #[serde(default)]
        args: Vec<String>,
    },
    /// A line for `sh -c`; `$PORT` and the like are expanded by the shell.
    Shell { line: String },
    /// A program with its arguments, no shell.
    Exec { program: PathBuf, args: Vec<String> },
}

/// How many workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Instances {
    Count(u32),
    /// One per core that this process may use.
    Max,
    /// Cores less this many, at least one (PM2's negative numbers).
    MaxLess(u32),
}

impl Instances {
    /// The number of workers on a machine of `cores` cores.
    pub fn resolve(self, cores: u32) -> u32 {
        match self {
            Self::Count(n) => n,
            Self::Max => cores.max(1),
            Self::MaxLess(n) => cores.saturating_sub(n).max(1),
        }
    }
}

impl Default for Instances {
    fn default() -> Self {
        Self::Count(1)
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExecMode {
    /// Cluster for scripts run by node (and deno), fork for everything else.
    #[default]
    Auto,
    Cluster,
    Fork,
}

/// How new connections are spread over the workers of a cluster-mode app.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Balance {
    /// Kernel delivery to SO_REUSEPORT seats, steered, with rescue.
    #[default]
    Steered,
    RoundRobin,
    LeastConnections,
    IpHash,
    Random,
    /// One listening socket that all workers accept from.
    Shared,
}

/// A health check by HTTP GET; 2xx is healthy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Health {
    /// A path (`/healthz`, asked of each worker on its own connection) or an absolute http URL.
    pub target: String,
    #[serde(default = "health_interval_ms")]
    pub interval_ms: u64,
    #[serde(default = "health_timeout_ms")]
    pub timeout_ms: u64,
    /// Failures in a row that make a ready worker unhealthy.
    #[serde(default = "health_failures")]
    pub failures: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Timeouts {
    /// From spawn to ready.
    pub ready_ms: u64,
    /// From steering away to asking the worker to close what is still open.
    pub drain_ms: u64,
    /// From the stop signal to SIGKILL of the tree.
    pub stop_ms: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Stop {
    /// A name with SIG, as in signal(7).
    pub signal: String,
    /// Send the message 'shutdown' over IPC in place of the signal.
    pub message: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Restart {
    pub policy: RestartPolicy,
    /// An exit before this uptime is a fast one.
    pub min_uptime_ms: u64,
    /// Fast exits within `window_ms` that make a crash loop.
    pub max_fast_exits: u32,
    pub window_ms: u64,
    pub backoff_min_ms: u64,
    pub backoff_max_ms: u64,
    /// Exit codes after which the worker stays down.
    pub stop_exit_codes: Vec<i32>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestartPolicy {
    #[default]
    Always,
    OnFailure,
    Never,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Logs {
    /// A file is rotated at this size.
    pub max_bytes: u64,
    /// Rotated files kept.
    pub keep: u32,
    pub compress: bool,
    /// Directory for this app's files; default is `$PANDO_HOME/logs`.
    pub dir: Option<PathBuf>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Watch {
    /// Absolute; files or directories.
    pub paths: Vec<PathBuf>,
    /// Glob-free path segments to pass over; dotfiles and node_modules always are.
    #[serde(default)]
    pub ignore: Vec<String>,
    #[serde(default = "watch_delay_ms")]
    pub delay_ms: u64,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            ready_ms: 30_000,
            drain_ms: 5_000,
            stop_ms: 30_000,
        }
    }
}

impl Default for Stop {
    fn default() -> Self {
        Self {
            signal: "SIGTERM".into(),
            message: false,
        }
    }
}

impl Default for Restart {
    fn default() -> Self {
        Self {
            policy: RestartPolicy::Always,
            min_uptime_ms: 1_000,
            max_fast_exits: 16,
            window_ms: 60_000,
            backoff_min_ms: 100,
            backoff_max_ms: 30_000,
            stop_exit_codes: Vec::new(),
        }
    }
}

impl Default for Logs {
    fn default() -> Self {
        Self {
            max_bytes: 50 * 1024 * 1024,
            keep: 10,
            compress: true,
            dir: None,
        }
    }
}

impl AppSpec {
    /// A spec with every default, for `name` run as `command` in `cwd`.
    pub fn new(name: impl Into<String>, command: Command, cwd: PathBuf) -> Self {
        Self {
            name: name.into(),
            command,
            cwd,
            instances: Instances::default(),
            mode: ExecMode::default(),
            balance: Balance::default(),
            env: BTreeMap::new(),
            base_env: BTreeMap::new(),
            port: None,
            health: None,
            wait_ready: false,
            timeouts: Timeouts::default(),
            stop: Stop::default(),
            memory_bytes: None,
            restart: Restart::default(),
            logs: Logs::default(),
            user: None,
            depends_on: Vec::new(),
            watch: None,
            agent: true,
            origin: None,
            gateway: None,
        }
    }

    /// The app that is this gateway. Its command is a placeholder: the supervisor runs the program
    /// that root runs, whatever that is by then.
    pub fn of_gateway(gateway: GatewaySpec) -> Self {
        let command = Command::Exec {
            program: "pando".into(),
            args: vec!["gateway".into(), "--worker".into()],
        };
        Self {
            mode: ExecMode::Cluster,
            agent: false,
            timeouts: Timeouts {
                drain_ms: gateway.timeouts.drain_ms,
                ..Timeouts::default()
            },
            gateway: Some(Box::new(gateway)),
            // Readable by every user.
            ..Self::new(GATEWAY, command, "/".into())
        }
    }

    /// Every app that this one sends requests to.
    pub fn routes_to(&self) -> Vec<&str> {
        self.gateway.as_ref().map_or_else(Vec::new, |g| g.apps())
    }

    /// Whether the workers speak Node's cluster protocol.
    pub fn is_cluster(&self) -> bool {
        match self.mode {
            ExecMode::Cluster => true,
            ExecMode::Fork => false,
            ExecMode::Auto => self.runtime().is_some_and(|r| r != Runtime::Other),
        }
    }

    /// The JavaScript runtime of a script, by its interpreter's base name.
    pub fn runtime(&self) -> Option<Runtime> {
        match &self.command {
            Command::Script { interpreter, .. } => Some(Runtime::of(interpreter)),
            Command::Shell { .. } | Command::Exec { .. } => None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runtime {
    Node,
    Bun,
    Deno,
    Other,
}

impl Runtime {
    pub fn of(interpreter: &str) -> Self {
        let base = interpreter.rsplit('/').next().unwrap_or(interpreter);
        match base {
            "node" | "nodejs" => Self::Node,
            "bun" => Self::Bun,
            "deno" => Self::Deno,
            _ => Self::Other,
        }
    }
}

fn yes() -> bool {
    true
}
fn health_interval_ms() -> u64 {
    10_000
}
fn health_timeout_ms() -> u64 {
    5_000
}
fn health_failures() -> u32 {
    3
}
fn watch_delay_ms() -> u64 {
    200
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_resolve_to_at_least_one() {
        assert_eq!(Instances::Max.resolve(8), 8);
        assert_eq!(Instances::MaxLess(1).resolve(8), 7);
        assert_eq!(Instances::MaxLess(9).resolve(8), 1);
        assert_eq!(Instances::Count(3).resolve(8), 3);
    }

    #[test]
    fn a_spec_survives_json_and_defaults_fill_what_is_absent() {
        let spec = AppSpec::new("api", Command::Shell { line: "x".into() }, "/srv".into());
        let text = serde_json::to_string(&spec).unwrap();
        assert_eq!(serde_json::from_str::<AppSpec>(&text).unwrap(), spec);
        let short = r#"{"name":"api","command":{"shell":{"line":"x"}},"cwd":"/srv"}"#;
        assert_eq!(serde_json::from_str::<AppSpec>(short).unwrap(), spec);
    }

    #[test]
    fn a_gateway_is_a_cluster_app_of_one_worker() {
        let spec = AppSpec::of_gateway(GatewaySpec::default());
        assert!(spec.is_cluster() && !spec.agent && spec.routes_to().is_empty());
        assert_eq!(spec.instances.resolve(8), 1);
        assert_eq!(spec.timeouts.drain_ms, 30_000);
        let text = serde_json::to_string(&spec).unwrap();
        assert_eq!(serde_json::from_str::<AppSpec>(&text).unwrap(), spec);
    }

    #[test]
    fn only_javascript_scripts_are_clustered_by_default() {
        let script = |i: &str| Command::Script {
            script: "/srv/a".into(),
            interpreter: i.into(),
            interpreter_args: vec![],
            args: vec![],
        };
        for (interpreter, cluster) in [
            ("node", true),
            ("/usr/bin/node", true),
            ("deno", true),
            ("bun", true),
            ("python3", false),
        ] {
            let spec = AppSpec::new("a", script(interpreter), "/srv".into());
            assert_eq!(spec.is_cluster(), cluster, "{interpreter}");
        }
    }
}
