//! The command line of `pando start` to an [`AppSpec`], with the checks that a file has.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use app_spec::{AppSpec, Balance, ExecMode, RestartPolicy, Watch};

use crate::app::surroundings::{WATCH_DELAY_MS, check_watched, log_size};
use crate::app::{Context, env, lifecycle};
use crate::checks::{self, Places};
use crate::command::{self, Surroundings};
use crate::fs::FileSystem;
use crate::problem::{Place, Problem, Refusal, Report};
use crate::target::{self, Target};
use crate::{environment, name, signal, units, words};

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

/// What is started, in messages: it has no flag's name before it.
pub(crate) const TARGET: Place = Place::Flag("");

/// The app that the flags describe, with warnings; or every problem.
///
/// `cwd` is the caller's directory, absolute; relative paths of the flags start there. Without
/// `--name` the app is called as its script without extension, and as its package where a
/// directory or a package manager is started. An instance count is checked as in a file, and
/// names of `depends_on` are left to the supervisor, which knows all apps.
pub fn from_flags(
    flags: &StartFlags,
    base_env: &BTreeMap<String, String>,
    cwd: &Path,
    fs: &dyn FileSystem,
) -> Result<(AppSpec, Vec<Problem>), Vec<Problem>> {
    let mut report = Report::new(None);
    let context = Context {
        dir: cwd,
        base_env,
        fs,
    };
    let work = flags.cwd.as_ref().map(|dir| command::absolute(cwd, dir));
    let mut env = environment(flags, &context, &mut report);
    let at = Surroundings {
        fs,
        base: cwd,
        cwd: work.as_deref().unwrap_or(cwd),
        path_var: command::path_var(&env, base_env),
    };
    if let Some(written) = &flags.cwd {
        report.take(&Place::Flag("--cwd"), checks::cwd(&at, written));
    }
    if let Some(name) = &flags.name {
        report.take(&Place::Flag("--name"), name::check(name));
    }
    let target = target::resolve(flags, &at, &mut report);
    let target = match target {
        Some(target) if !report.has_errors() => target,
        target => {
            // Whatever else is wrong is told in the same go.
            let stand_in = target.unwrap_or_else(|| Target::none(cwd));
            let mut spec = AppSpec::new("app", stand_in.command, stand_in.cwd);
            settings(flags, &mut spec, &context, &mut report);
            return Err(report.into_problems());
        }
    };
    let name = flags
        .name
        .clone()
        .unwrap_or_else(|| name::make_valid(&target.name));
    for (key, value) in target.env {
        env.entry(key).or_insert(value);
    }
    let spec_cwd = work.unwrap_or(target.cwd);
    let mut spec = AppSpec::new(name, target.command, spec_cwd);
    spec.base_env = environment::clean(base_env, &spec.cwd);
    spec.env = env;
    settings(flags, &mut spec, &context, &mut report);
    checks::app(&mut spec, &places(flags), fs, &mut report);
    if report.has_errors() {
        Err(report.into_problems())
    } else {
        Ok((spec, report.into_problems()))
    }
}

fn places(flags: &StartFlags) -> Places {
    let mut places = Places::new(TARGET);
    let mode = match flags.mode {
        Some(ModeFlag::Fork) => "--fork",
        Some(ModeFlag::Cluster) | None => "--cluster",
    };
    for (key, flag) in [
        ("instances", "--instances"),
        ("exec_mode", mode),
        ("port", "--port"),
        ("wait_ready", "--wait-ready"),
        ("stop_message", "--stop-message"),
        ("user", "--user"),
        ("restart", "--restart"),
    ] {
        places.set(key, &Place::Flag(flag));
    }
    if flags.balance.is_some() {
        places.set("balance", &Place::Flag("--balance"));
    }
    places
}

fn environment(
    flags: &StartFlags,
    context: &Context<'_>,
    report: &mut Report,
) -> BTreeMap<String, String> {
    let mut vars = BTreeMap::new();
    for file in &flags.env_file {
        vars.extend(env::env_file(
            context,
            file,
            &Place::Flag("--env-file"),
            report,
        ));
    }
    let place = Place::Flag("--env");
    for text in &flags.env {
        let (key, value) = match text.split_once('=') {
            Some(pair) => pair,
            None => match context.base_env.get(text) {
                Some(value) => (text.as_str(), value.as_str()),
                None => {
                    let what = format!("`{text}` has no value");
                    let why = "without `=` it is taken from your environment, which has none";
                    report.error(
                        &place,
                        Refusal::new(what, why, format!("write {text}=value")),
                    );
                    continue;
                }
            },
        };
        if report
            .take(&place, environment::check(key, value))
            .is_some()
        {
            vars.insert(key.to_owned(), value.to_owned());
        }
    }
    vars
}

fn settings(flags: &StartFlags, spec: &mut AppSpec, context: &Context<'_>, report: &mut Report) {
    if let Some(text) = &flags.instances {
        let result = checks::instances_text(text);
        spec.instances = report
            .take(&Place::Flag("--instances"), result)
            .unwrap_or_default();
    }
    spec.mode = match flags.mode {
        Some(ModeFlag::Fork) => ExecMode::Fork,
        Some(ModeFlag::Cluster) => ExecMode::Cluster,
        None => ExecMode::Auto,
    };
    spec.balance = flags.balance.unwrap_or_default();
    spec.port = flags.port;
    if flags.port == Some(0) {
        let why = "the port must be known, so that the instances can count up from it";
        let refusal = Refusal::new("port 0 is no port", why, "name one from 1 to 65535");
        report.error(&Place::Flag("--port"), refusal);
    }
    if let Some(text) = &flags.health {
        let result = checks::health_target(text).map(lifecycle::default_health);
        spec.health = report.take(&Place::Flag("--health"), result);
    }
    spec.wait_ready = flags.wait_ready;
    if let Some(text) = &flags.memory {
        let result = units::size_bytes(text).and_then(checks::memory);
        spec.memory_bytes = report.take(&Place::Flag("--memory"), result);
    }
    stopping(flags, spec, report);
    spec.agent = !flags.no_agent;
    spec.user = flags.user.clone();
    spec.restart.policy = flags.restart.unwrap_or(RestartPolicy::Always);
    for dependency in &flags.depends_on {
        report.take(&Place::Flag("--depends-on"), name::check(dependency));
    }
    spec.depends_on = flags.depends_on.clone();
    spec.watch = watch(flags, spec, context, report);
    logs(flags, spec, context, report);
}

fn stopping(flags: &StartFlags, spec: &mut AppSpec, report: &mut Report) {
    if let Some(text) = &flags.stop_signal {
        let name = report.take(&Place::Flag("--stop-signal"), signal::stop_signal(text));
        spec.stop.signal = name.unwrap_or_default();
    }
    spec.stop.message = flags.stop_message;
    let times = &mut spec.timeouts;
    for (flag, text, target, zero_is_fine) in [
        (
            "--ready-timeout",
            &flags.ready_timeout,
            &mut times.ready_ms,
            false,
        ),
        (
            "--drain-timeout",
            &flags.drain_timeout,
            &mut times.drain_ms,
            true,
        ),
        (
            "--stop-timeout",
            &flags.stop_timeout,
            &mut times.stop_ms,
            false,
        ),
    ] {
        let Some(text) = text else { continue };
        let checked = |ms| {
            if zero_is_fine {
                Ok(ms)
            } else {
                lifecycle::positive(ms)
            }
        };
        let result = units::duration_ms(text).and_then(checked);
        *target = report.take(&Place::Flag(flag), result).unwrap_or(*target);
    }
}

fn watch(
    flags: &StartFlags,
    spec: &AppSpec,
    context: &Context<'_>,
    report: &mut Report,
) -> Option<Watch> {
    let place = Place::Flag("--watch");
    let mut paths: Vec<PathBuf> = Vec::new();
    for written in &flags.watch_paths {
        let path = command::absolute(context.dir, written);
        report.take(&place, check_watched(written, &path, context.fs));
        paths.push(path);
    }
    if paths.is_empty() && flags.watch {
        paths.push(spec.cwd.clone());
    }
    let watch = Watch {
        paths,
        ignore: Vec::new(),
        delay_ms: WATCH_DELAY_MS,
    };
    (!watch.paths.is_empty()).then_some(watch)
}

fn logs(flags: &StartFlags, spec: &mut AppSpec, context: &Context<'_>, report: &mut Report) {
    let logs = &mut spec.logs;
    if let Some(text) = &flags.log_max_size {
        let result = units::size_bytes(text).and_then(log_size);
        logs.max_bytes = report
            .take(&Place::Flag("--log-max-size"), result)
            .unwrap_or_default();
    }
    logs.keep = flags.log_keep.unwrap_or(logs.keep);
    logs.compress = !flags.log_no_compress;
    logs.dir = flags
        .log_dir
        .as_ref()
        .map(|dir| command::absolute(context.dir, dir));
}

/// The words of all `--node-args`.
pub(crate) fn node_args(flags: &StartFlags, report: &mut Report) -> Vec<String> {
    let mut all = Vec::new();
    for text in &flags.node_args {
        match words::split(text) {
            Some(words) => all.extend(words),
            None => {
                let why = "it is split into words as a shell does";
                let what = "a quote is never closed";
                report.error(
                    &Place::Flag("--node-args"),
                    Refusal::new(what, why, "close it"),
                );
            }
        }
    }
    all
}
