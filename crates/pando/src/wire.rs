//! Where the parts are joined into processes: root, the supervisor, and both in the foreground.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use app_spec::AppSpec;
use monitor_spec::settings::MonitorSpec;
use pando_root::{Ended, Mode};
use pando_supervisor::hub;
use pando_supervisor::journal::Journal;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::Level;

use crate::daemon::Readiness;
use crate::error::{ExpectedError, exit};

/// Of the home: the store, and how it is watched.
const METRICS_DIR: &str = "metrics";
const FOREGROUND: &str = "--foreground";
const ECHO_JSON: &str = "--echo-json";
const RESUME: &str = "--resume";

/// How `pando root` begins.
#[derive(Debug)]
pub struct RootOptions {
    pub home: PathBuf,
    /// The command that started this daemon waits for word on it; `None` if there is none.
    pub readiness: Option<Readiness>,
    /// `--resume FD` for a root that has re-executed itself.
    pub args: Vec<OsString>,
}

/// How `pando supervisor` begins; root starts it.
#[derive(Debug)]
pub struct SupervisorOptions {
    pub home: PathBuf,
    pub args: Vec<OsString>,
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
    /// How they are watched.
    pub monitor: MonitorSpec,
    pub echo: Echo,
}

/// Runs root until it is told to end. Returns the exit code.
pub fn root(options: RootOptions) -> anyhow::Result<u8> {
    raise_open_files();
    let mut args = options.args.iter();
    let resume = args.any(|arg| arg == RESUME).then(|| args.next()).flatten();
    let begin = match resume.and_then(|fd| fd.to_str()?.parse().ok()) {
        Some(fd) => pando_root::Options::resume(fd),
        None => {
            let mut begin = root_options(&options.home, Mode::Daemon, &[]);
            begin.ready_fd = options.readiness.map(Readiness::into_fd);
            begin
        }
    };
    crate::lean::drop_program_text();
    ended(pando_root::run(begin), &options.home)
}

fn root_options(home: &Path, mode: Mode, flags: &[&str]) -> pando_root::Options {
    let mut supervisor: Vec<OsString> = vec!["--home".into(), home.into(), "supervisor".into()];
    supervisor.extend(flags.iter().map(OsString::from));
    let mut begin = pando_root::Options::new(home.to_owned(), mode, supervisor);
    let home = home.display().to_string();
    let again = ["--home", &home, "root", RESUME, pando_root::FD_PLACE];
    begin.resume_args = again.map(str::to_owned).to_vec();
    begin
}

fn ended(ended: Ended, home: &Path) -> anyhow::Result<u8> {
    match ended {
        Ended::Shutdown { code } => Ok(u8::try_from(code & 0xff).unwrap_or(exit::FAILED)),
        Ended::Locked { pid } => {
            let holder = pid.map_or("another process".to_owned(), |pid| format!("process {pid}"));
            Err(ExpectedError::failed(
                format!("{} is in use", home.display()),
                format!("{holder} is the daemon of this home"),
                "use that one, or another home with --home",
            )
            .into())
        }
        Ended::Failed(why) => Err(anyhow::anyhow!(why)),
    }
}

/// Runs the supervisor until it is told to end. Returns the exit code.
pub fn supervisor(options: SupervisorOptions) -> anyhow::Result<u8> {
    let has = |flag: &str| options.args.iter().any(|arg| arg == flag);
    let foreground = has(FOREGROUND);
    let level = if foreground { Level::WARN } else { Level::INFO };
    log_to_stderr(level);
    let echo = foreground.then(|| {
        if has(ECHO_JSON) {
            pando_logs::Echo::Json
        } else {
            pando_logs::Echo::Text
        }
    });
    let monitor = pando_metrics::start(pando_metrics::Options {
        dir: options.home.join(METRICS_DIR),
        version: env!("CARGO_PKG_VERSION"),
    })?;
    let hub = hub::Options {
        monitor: monitor.handle.clone(),
        home: options.home,
        echo,
        foreground,
        version: env!("CARGO_PKG_VERSION"),
        settled: crate::lean::drop_program_text,
    };
    let ran = hub::run(hub);
    monitor.end();
    match ran {
        Ok(()) => Ok(exit::OK),
        Err(error) => {
            tracing::error!(%error, "the supervisor cannot go on");
            Err(error.into())
        }
    }
}

/// Runs a gateway by itself until SIGTERM or SIGINT; SIGHUP reads its file again.
pub fn gateway_alone(
    home: &Path,
    spec: gateway_spec::GatewaySpec,
    reread: pando_gateway::alone::Reread,
) -> anyhow::Result<()> {
    raise_open_files();
    log_to_stderr(Level::INFO);
    pando_gateway::alone::run(spec, home.join("gateway"), reread).map_err(|error| {
        let fix = "free an address, or change `listen` in [gateway]";
        ExpectedError::failed("the gateway cannot serve", error.to_string(), fix).into()
    })
}

/// Runs the gateway that a supervisor has started, until that one ends it.
pub fn gateway_worker() -> anyhow::Result<()> {
    let Some(number) = pando_gateway::link::channel_number() else {
        return Err(ExpectedError::wrong_call(
            "a gateway worker has no channel",
            "NODE_CHANNEL_FD is not set: Pando itself starts it",
            "`pando up` runs the gateway of a pando.toml",
        )
        .into());
    };
    log_to_stderr(Level::INFO);
    let channel = pando_root::adopt(number)?;
    Ok(pando_gateway::managed::run(channel)?)
}

fn log_to_stderr(level: Level) {
    tracing_subscriber::fmt()
        .with_ansi(false)
        .with_target(false)
        .with_max_level(level)
        .with_writer(std::io::stderr)
        // A full disk must not end the process: by default a line that can't be written is
        // reported with eprintln!, which panics.
        .log_internal_errors(false)
        .init();
}

/// Runs apps in the foreground: this process becomes root. Returns the app's own exit code.
///
/// As PID 1 of a container it uses the home itself, so that `pando ls` in the container finds it;
/// else a home of its own beside other daemons'. What ran is not kept: the container's engine, or
/// whoever gave the command, starts it again.
pub fn run_foreground(options: ForegroundOptions) -> anyhow::Result<u8> {
    raise_open_files();
    let alone = std::process::id() == 1;
    let home = if alone {
        options.home.clone()
    } else {
        options.home.join(format!("run-{}", std::process::id()))
    };
    crate::home::prepare(&home)?;
    write_journal(&home, options.specs)?;
    pando_metrics::settings::save(&home.join(METRICS_DIR), &options.monitor)?;
    let flags: &[&str] = match options.echo {
        Echo::Text => &[FOREGROUND],
        Echo::Json => &[FOREGROUND, ECHO_JSON],
    };
    let code = ended(
        pando_root::run(root_options(&home, Mode::Foreground, flags)),
        &home,
    );
    let cleared = if alone {
        std::fs::remove_file(home.join(crate::home::JOURNAL))
    } else {
        std::fs::remove_dir_all(&home)
    };
    if let Err(error) = cleared {
        tracing::warn!(%error, home = %home.display(), "what `pando run` wrote is still there");
    }
    code
}

/// The supervisor begins with what the journal has: these apps and no others.
fn write_journal(home: &Path, specs: Vec<AppSpec>) -> anyhow::Result<()> {
    match std::fs::remove_file(home.join(crate::home::JOURNAL)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        Ok(()) | Err(_) => {}
    }
    let (mut journal, _) = Journal::open(home)?;
    for spec in specs {
        let record = pando_supervisor::core::AppRecord {
            spec: std::sync::Arc::new(spec),
            running: true,
        };
        journal.put(&record)?;
    }
    Ok(())
}

/// Descriptors are connections: as many as the hard limit allows, for us and every worker.
fn raise_open_files() {
    let now = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: now.maximum,
        maximum: now.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
}
