//! The flags of `start` and `run`, as typed; pando-config checks what they say.

use app_spec::{Balance, RestartPolicy};
use clap::Args;
use pando_config::{ModeFlag, StartFlags};

const APP: &str = "App";
const LIFE: &str = "Life and death";
const LOGS: &str = "Logs";

#[derive(Debug, Args)]
pub struct AppFlags {
    /// A script, a command ("python3 -m http.server $PORT"), or a directory with a package.json
    pub target: Option<String>,
    /// The app's own arguments; those that begin with `-` after `--`
    pub args: Vec<String>,
    /// Its name [default: from the script, the package or the directory]
    #[arg(short, long, help_heading = APP)]
    pub name: Option<String>,
    /// Workers: a number, `max` or 0 (all cores), -1 (all but one)
    #[arg(short, long, allow_hyphen_values = true, value_name = "N", help_heading = APP)]
    pub instances: Option<String>,
    /// How new connections are spread
    #[arg(long, value_parser = BALANCES, value_name = "HOW", help_heading = APP)]
    pub balance: Option<String>,
    /// Whether workers speak Node's cluster protocol [default: node scripts do]
    #[arg(long, value_parser = ["cluster", "fork"], value_name = "MODE", help_heading = APP)]
    pub mode: Option<String>,
    /// Working directory of the app
    #[arg(long, value_name = "DIR", help_heading = APP)]
    pub cwd: Option<String>,
    /// NAME=VALUE, or NAME for the value it has here; may be repeated
    #[arg(short, long, value_name = "NAME=VALUE", help_heading = APP)]
    pub env: Vec<String>,
    /// A file of NAME=VALUE lines; may be repeated
    #[arg(long, value_name = "FILE", help_heading = APP)]
    pub env_file: Vec<String>,
    /// First PORT of an app that gets one for each instance
    #[arg(short, long, help_heading = APP)]
    pub port: Option<u16>,
    /// What runs the script [default: by its extension]
    #[arg(long, value_name = "PROGRAM", help_heading = APP)]
    pub interpreter: Option<String>,
    /// Arguments of node itself; may be repeated
    #[arg(long, allow_hyphen_values = true, value_name = "ARGS", help_heading = APP)]
    pub node_args: Vec<String>,
    /// Run as this user (needs root)
    #[arg(long, help_heading = APP)]
    pub user: Option<String>,
    /// Start after this app is ready; may be repeated
    #[arg(long, value_name = "APP", help_heading = APP)]
    pub depends_on: Vec<String>,
    /// Without the preload: requests, event loop and heap are not measured, keep-alive connections end later
    #[arg(long, help_heading = APP)]
    pub no_agent: bool,
    /// Health check: a path (/healthz) or a URL
    #[arg(long, value_name = "PATH|URL", help_heading = LIFE)]
    pub health: Option<String>,
    /// Ready is process.send('ready'), not the first listen
    #[arg(long, help_heading = LIFE)]
    pub wait_ready: bool,
    /// Time to get ready
    #[arg(long, value_name = "TIME", help_heading = LIFE)]
    pub ready_timeout: Option<String>,
    /// Time for open connections to end before a worker is told to stop
    #[arg(long, value_name = "TIME", help_heading = LIFE)]
    pub drain_timeout: Option<String>,
    /// Time from the stop signal to SIGKILL
    #[arg(long, value_name = "TIME", help_heading = LIFE)]
    pub stop_timeout: Option<String>,
    /// What tells a worker to stop [default: SIGTERM]
    #[arg(long, value_name = "SIGNAL", help_heading = LIFE)]
    pub stop_signal: Option<String>,
    /// Send the message 'shutdown' in place of a signal
    #[arg(long, help_heading = LIFE)]
    pub stop_message: bool,
    /// Reload a worker that has more memory than this (512M)
    #[arg(long, value_name = "SIZE", help_heading = LIFE)]
    pub memory: Option<String>,
    /// When a worker that ends is started again
    #[arg(long, value_parser = POLICIES, value_name = "WHEN", help_heading = LIFE)]
    pub restart: Option<String>,
    /// Reload when a file changes; in the working directory, or at PATH (repeatable)
    #[arg(
        long, value_name = "PATH", num_args = 0..=1, require_equals = true,
        default_missing_value = "", help_heading = LIFE
    )]
    pub watch: Vec<String>,
    /// Rotate a log file at this size [default: 50M]
    #[arg(long, value_name = "SIZE", help_heading = LOGS)]
    pub log_max_size: Option<String>,
    /// Rotated log files to keep [default: 10]
    #[arg(long, value_name = "N", help_heading = LOGS)]
    pub log_keep: Option<u32>,
    /// Leave rotated log files as they are
    #[arg(long, help_heading = LOGS)]
    pub log_no_compress: bool,
    /// Directory of the log files
    #[arg(long, value_name = "DIR", help_heading = LOGS)]
    pub log_dir: Option<String>,
}

const BALANCES: [&str; 6] = [
    "steered",
    "round-robin",
    "least-connections",
    "ip-hash",
    "random",
    "shared",
];
const POLICIES: [&str; 3] = ["always", "on-failure", "never"];

impl AppFlags {
    /// What pando-config takes. Without a target it is empty.
    pub fn into_start_flags(self) -> StartFlags {
        StartFlags {
            target: self.target.unwrap_or_default(),
            args: self.args,
            name: self.name,
            instances: self.instances,
            balance: self.balance.as_deref().and_then(balance),
            mode: self.mode.as_deref().map(|mode| match mode {
                "cluster" => ModeFlag::Cluster,
                _ => ModeFlag::Fork,
            }),
            cwd: self.cwd,
            env: self.env,
            env_file: self.env_file,
            port: self.port,
            health: self.health,
            wait_ready: self.wait_ready,
            memory: self.memory,
            interpreter: self.interpreter,
            node_args: self.node_args,
            stop_signal: self.stop_signal,
            stop_message: self.stop_message,
            stop_timeout: self.stop_timeout,
            ready_timeout: self.ready_timeout,
            drain_timeout: self.drain_timeout,
            no_agent: self.no_agent,
            watch: !self.watch.is_empty(),
            watch_paths: self
                .watch
                .into_iter()
                .filter(|path| !path.is_empty())
                .collect(),
            user: self.user,
            restart: self.restart.as_deref().and_then(policy),
            depends_on: self.depends_on,
            log_max_size: self.log_max_size,
            log_keep: self.log_keep,
            log_no_compress: self.log_no_compress,
            log_dir: self.log_dir,
        }
    }
}

/// One of [`BALANCES`]; clap lets no other through.
fn balance(word: &str) -> Option<Balance> {
    match word {
        "steered" => Some(Balance::Steered),
        "round-robin" => Some(Balance::RoundRobin),
        "least-connections" => Some(Balance::LeastConnections),
        "ip-hash" => Some(Balance::IpHash),
        "random" => Some(Balance::Random),
        "shared" => Some(Balance::Shared),
        _ => None,
    }
}

/// One of [`POLICIES`].
fn policy(word: &str) -> Option<RestartPolicy> {
    match word {
        "always" => Some(RestartPolicy::Always),
        "on-failure" => Some(RestartPolicy::OnFailure),
        "never" => Some(RestartPolicy::Never),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_that_clap_takes_is_understood() {
        assert!(BALANCES.iter().all(|word| balance(word).is_some()));
        assert!(POLICIES.iter().all(|word| policy(word).is_some()));
    }
}
