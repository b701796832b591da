//! Where the parts are joined into processes: root, the supervisor, and both in the foreground.

use std::path::PathBuf;

use app_spec::AppSpec;

use crate::daemon::Readiness;

/// How `pando root` begins.
#[derive(Debug)]
pub struct RootOptions {
    pub home: PathBuf,
    /// The command that started this daemon waits for word on it; `None` if there is none.
    pub readiness: Option<Readiness>,
    /// Whatever else the command line of `pando root` has (for a root that re-executes itself).
    pub args: Vec<std::ffi::OsString>,
}

/// How `pando supervisor` begins; root starts it.
#[derive(Debug)]
pub struct SupervisorOptions {
    pub home: PathBuf,
    pub args: Vec<std::ffi::OsString>,
}

/// How workers' lines are written to stdout by `pando run`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Echo {
    Text,
    Json,
}

/// What `pando run` does.
#[derive(Debug)]
pub struct ForegroundOptions {
    pub home: PathBuf,
    /// At least one.
    pub specs: Vec<AppSpec>,
    pub echo: Echo,
}

/// Runs root until it is told to end. Returns the exit code.
pub fn root(options: RootOptions) -> anyhow::Result<u8> {
    let problem = "root is not joined yet";
    if let Some(readiness) = options.readiness {
        readiness.failed(problem);
    }
    anyhow::bail!(
        "{problem} (home {}, args {:?})",
        options.home.display(),
        options.args
    )
}

/// Runs the supervisor until it is told to end. Returns the exit code.
pub fn supervisor(options: SupervisorOptions) -> anyhow::Result<u8> {
    let SupervisorOptions { home, args } = options;
    anyhow::bail!(
        "the supervisor is not joined yet (home {}, args {args:?})",
        home.display()
    )
}

/// Runs apps in the foreground. Returns the app's own exit code.
pub fn run_foreground(options: ForegroundOptions) -> anyhow::Result<u8> {
    let ForegroundOptions { home, specs, echo } = options;
    let home = home.display();
    anyhow::bail!(
        "run is not joined yet (home {home}, {} apps, {echo:?})",
        specs.len()
    )
}
