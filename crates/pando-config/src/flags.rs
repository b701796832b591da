use std::collections::BTreeMap;
use std::path::Path;

use app_spec::{AppSpec, Balance, RestartPolicy};

use crate::fs::FileSystem;
use crate::problem::Problem;

/// What `pando start` was told. Values are as typed; [`from_flags`] checks them all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StartFlags {
    /// `server.js`, `npm`, `python3 -m http.server $PORT`, or a directory with a package.json.
    pub target: String,
    /// The app's own arguments, after `--` or after the target.
    pub args: Vec<String>,
    pub name: Option<String>,
    /// `4`, `max`, `0` (max), `-1` (all cores but one).
    pub instances: Option<String>,
    pub balance: Option<Balance>,
    pub mode: Option<ModeFlag>,
    pub cwd: Option<String>,
    /// `K=V`, or `K` for the caller's own value.
    pub env: Vec<String>,
    pub env_file: Vec<String>,
    pub port: Option<u16>,
    /// `/healthz` or `http://…`.
    pub health: Option<String>,
    pub wait_ready: bool,
    /// `512M`, `1.5G`.
    pub memory: Option<String>,
    pub interpreter: Option<String>,
    /// Each as one word, or several separated by spaces.
    pub node_args: Vec<String>,
    pub stop_signal: Option<String>,
    /// Send the message 'shutdown' in place of a signal.
    pub stop_message: bool,
    /// `30s`.
    pub stop_timeout: Option<String>,
    pub ready_timeout: Option<String>,
    pub drain_timeout: Option<String>,
    pub no_agent: bool,
    /// Watch the working directory.
    pub watch: bool,
    /// Watch these; implies `watch`.
    pub watch_paths: Vec<String>,
    pub user: Option<String>,
    pub restart: Option<RestartPolicy>,
    pub depends_on: Vec<String>,
    pub log_max_size: Option<String>,
    pub log_keep: Option<u32>,
    pub log_no_compress: bool,
    pub log_dir: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModeFlag {
    Fork,
    Cluster,
}

/// The app that the flags describe, with warnings; or every problem.
///
/// `cwd` is the caller's directory, absolute; relative paths of the flags start there.
pub fn from_flags(
    flags: &StartFlags,
    base_env: &BTreeMap<String, String>,
    cwd: &Path,
    fs: &dyn FileSystem,
) -> Result<(AppSpec, Vec<Problem>), Vec<Problem>> {
    let _ = (flags, base_env, cwd, fs);
    Err(vec![])
}
