//! What no single key can say: whether the settings of an app fit together, and the apps each
//! other.

use std::collections::BTreeMap;

use app_spec::{AppSpec, Balance, Command, ExecMode, Instances, MAX_INSTANCES, Runtime};

use crate::command::Surroundings;
use crate::fs::FileSystem;
use crate::package;
use crate::problem::{Place, Refusal, Report, did_you_mean};
use crate::units;

/// A worker of 16 MB is smaller than any runtime.
const MIN_MEMORY_BYTES: u64 = 16 << 20;
/// What one worker takes at least, to explain a refusal.
const WORKER_MB: u32 = 50;

/// Where each setting of an app was written.
pub(crate) struct Places {
    app: Place,
    keys: BTreeMap<&'static str, Place>,
}

impl Places {
    pub fn new(app: Place) -> Self {
        Self {
            app,
            keys: BTreeMap::new(),
        }
    }

    pub fn set(&mut self, key: &'static str, place: &Place) {
        self.keys.insert(key, place.clone());
    }

    pub fn has(&self, key: &str) -> bool {
        self.keys.contains_key(key)
    }

    /// The setting's place, or the app's.
    pub fn of(&self, key: &str) -> &Place {
        self.keys.get(key).unwrap_or(&self.app)
    }
}

/// `4`, `0` and `max` (all cores), `-1` (all but one).
pub(crate) fn instances(number: i64) -> Result<Instances, Refusal> {
    let limit = i64::from(MAX_INSTANCES);
    match number {
        0 => Ok(Instances::Max),
        n if n > limit => {
            let memory_gb = (n.saturating_mul(i64::from(WORKER_MB)) / 1024).max(1);
            Err(Refusal::new(
                format!("{n} instances are too many"),
                format!(
                    "each is a process of about {WORKER_MB} MB: {memory_gb} GB in all; \
                     the most is {MAX_INSTANCES}"
                ),
                "use \"max\" for one per core",
            ))
        }
        n if n < -limit => Err(Refusal::new(
            format!("{n} instances make no sense"),
            "a negative number means all cores less that many",
            "use \"max\" or a number above 0",
        )),
        n if n > 0 => Ok(Instances::Count(n as u32)),
        n => Ok(Instances::MaxLess(n.unsigned_abs() as u32)),
    }
}

pub(crate) fn instances_text(text: &str) -> Result<Instances, Refusal> {
    match text.trim() {
        "max" => Ok(Instances::Max),
        text => match text.parse() {
            Ok(number) => instances(number),
            Err(_) => Err(Refusal::new(
                format!("`{text}` is not a number of instances"),
                "it is a number, \"max\" for one per core, or -1 for all cores but one",
                "use \"max\" or a number",
            )),
        },
    }
}

pub(crate) fn memory(bytes: u64) -> Result<u64, Refusal> {
    if bytes < MIN_MEMORY_BYTES {
        return Err(Refusal::new(
            format!(
                "a memory limit of {} is surely a typing error",
                units::show_size(bytes)
            ),
            "a worker that has just started is larger and would be reloaded for ever",
            "use at least \"16M\"; \"512M\" and \"1G\" are usual",
        ));
    }
    Ok(bytes)
}

/// A path that begins with `/`, or an absolute http URL.
pub(crate) fn health_target(text: &str) -> Result<String, Refusal> {
    let what = |rest: &str| format!("health \"{text}\" {rest}");
    if text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '#') {
        let why = "spaces, control characters and # cannot be sent in a request";
        return Err(Refusal::new(
            what("is not a path"),
            why,
            "percent-encode them",
        ));
    }
    if text.starts_with('/') {
        return Ok(text.to_owned());
    }
    if text.starts_with("https://") {
        return Err(Refusal::new(
            what("is https"),
            "the check asks the app itself on this machine, where there is no TLS",
            "use \"http://…\", or the path alone",
        ));
    }
    let Some(rest) = text.strip_prefix("http://") else {
        let why = "it is a path, asked of each worker, or an absolute http:// URL";
        let path = text.split_once("://").map_or(text, |(_, rest)| rest);
        return Err(Refusal::new(
            what("is neither path nor URL"),
            why,
            format!("write \"/{path}\""),
        ));
    };
    let authority = rest.split(['/', '?']).next().unwrap_or("");
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => {
            (host, port.parse::<u16>().is_ok_and(|p| p > 0))
        }
        Some(_) | None => (authority, true),
    };
    if host.is_empty() || host.contains('@') || !port {
        let why = "a URL is http://host:port/path, without user and password";
        return Err(Refusal::new(
            what("has no valid host"),
            why,
            "write \"http://127.0.0.1:3000/healthz\"",
        ));
    }
    Ok(text.to_owned())
}

/// Settings of one app against each other. `PORT` in the environment of an app that listens by
/// itself becomes its `port`, so that several instances count up from it; in cluster mode `port` becomes
/// PORT, which the app may read.
pub(crate) fn app(spec: &mut AppSpec, places: &Places, fs: &dyn FileSystem, report: &mut Report) {
    mode(spec, places, report);
    messages(spec, places, report);
    port(spec, places, report);
    if spec.user.is_some() && !fs.is_root() {
        let what = "`user` has no effect, as this is not root";
        let why = "only root can start a process as another user";
        report.warning(
            places.of("user"),
            Refusal::new(what, why, "run pando as root, or remove it"),
        );
    }
    let limits = (spec.restart.backoff_min_ms, spec.restart.backoff_max_ms);
    if limits.0 > limits.1 {
        let what = format!(
            "backoff_min ({}) is longer than backoff_max ({})",
            units::show_duration(limits.0),
            units::show_duration(limits.1)
        );
        let why = "the wait between restarts grows from the first to the second";
        report.error(
            places.of("restart"),
            Refusal::new(what, why, "exchange them"),
        );
    }
}

fn runtime(spec: &AppSpec) -> Runtime {
    spec.runtime().unwrap_or(Runtime::Other)
}

fn mode(spec: &AppSpec, places: &Places, report: &mut Report) {
    let script_fix = match &spec.command {
        Command::Shell { line } => package::node_line(line)
            .map(|node| format!("use `script = \"{}\"` in place of the command", node.script)),
        Command::Script { .. } | Command::Exec { .. } => None,
    };
    if spec.mode == ExecMode::Cluster && runtime(spec) == Runtime::Other {
        let what = "exec_mode \"cluster\" needs a script that node, bun or deno runs";
        let why = "only their processes can share a port with the help of Pando";
        let fix = script_fix.unwrap_or_else(|| "remove it: each process gets its own PORT".into());
        report.error(places.of("exec_mode"), Refusal::new(what, why, fix));
        return;
    }
    if spec.is_cluster() {
        return;
    }
    if spec.balance == Balance::Shared {
        let what = "balance \"shared\" needs cluster mode";
        let why = "the processes of this app listen each for itself, there is no socket to share";
        report.error(places.of("balance"), Refusal::new(what, why, "remove it"));
    } else if places.has("balance") {
        let what = "`balance` has no effect in fork mode";
        let why = "the processes of this app listen each for itself";
        report.warning(places.of("balance"), Refusal::new(what, why, "remove it"));
    }
    if let Some(fix) = script_fix
        && spec.instances != Instances::Count(1)
    {
        let what = "the instances of a shell line cannot share a port";
        let why = "a shell stands between Pando and node, so each process gets its own PORT";
        report.warning(places.of("instances"), Refusal::new(what, why, fix));
    }
}

/// Messages over IPC need a JavaScript runtime at the other end.
fn messages(spec: &AppSpec, places: &Places, report: &mut Report) {
    if runtime(spec) != Runtime::Other {
        return;
    }
    for (key, wanted, fix) in [
        (
            "wait_ready",
            spec.wait_ready,
            "use `health` to say when it is ready",
        ),
        ("stop_message", spec.stop.message, "use `stop_signal`"),
    ] {
        if wanted {
            let what = format!("`{key}` needs a script that node, bun or deno runs");
            let why = "other programs have no channel for messages";
            report.error(places.of(key), Refusal::new(what, why, fix));
        }
    }
}

fn port(spec: &mut AppSpec, places: &Places, report: &mut Report) {
    let in_env = spec
        .env
        .get("PORT")
        .and_then(|port| port.trim().parse::<u16>().ok());
    match (spec.port, in_env) {
        (Some(port), Some(other)) if port != other => {
            let what = format!("`port` is {port}, and PORT in the environment is {other}");
            report.error(
                places.of("port"),
                Refusal::new(what, "the app can see one only", "remove one"),
            );
        }
        (None, Some(port)) if port > 0 && !spec.is_cluster() => spec.port = Some(port),
        // The supervisor counts ports up in fork mode only; in cluster mode all share this one.
        (Some(port), None) if spec.is_cluster() => {
            spec.env.insert("PORT".to_owned(), port.to_string());
        }
        (Some(_) | None, _) => {}
    }
    if spec.port.is_some() && last_port(spec).is_none() {
        let what = "the ports of the last instances would be above 65535";
        let why = "each instance in fork mode has the port after that of the one before";
        report.error(
            places.of("port"),
            Refusal::new(what, why, "use a lower port"),
        );
    }
}

/// The last port that the app's instances get; `None` if there is none or it does not exist.
fn last_port(spec: &AppSpec) -> Option<u16> {
    let more = match spec.instances {
        Instances::Count(n) if !spec.is_cluster() => n.saturating_sub(1),
        // The number of cores is the machine's: not known here.
        Instances::Count(_) | Instances::Max | Instances::MaxLess(_) => 0,
    };
    spec.port?.checked_add(u16::try_from(more).ok()?)
}

/// The apps of one file against each other.
pub(crate) fn apps(apps: &[(AppSpec, Places)], names: &[&str], report: &mut Report) {
    ports(apps, report);
    dependencies(apps, names, report);
    if let Some(cycle) = cycle(apps) {
        let (_, places) = &apps[cycle[0]];
        let path: Vec<_> = cycle
            .iter()
            .chain([&cycle[0]])
            .map(|i| apps[*i].0.name.as_str())
            .collect();
        let what = format!("depends_on goes in a circle: {}", path.join(" -> "));
        let why = "each waits for the other to be ready, so none would start";
        report.error(
            places.of("depends_on"),
            Refusal::new(what, why, "remove one of the dependencies"),
        );
    }
}

fn ports(apps: &[(AppSpec, Places)], report: &mut Report) {
    let range = |spec: &AppSpec| Some((spec.port?, last_port(spec)?));
    for (later, (spec, places)) in apps.iter().enumerate() {
        let Some((first, last)) = range(spec) else {
            continue;
        };
        let clash = apps[..later].iter().find_map(|(other, _)| {
            let (start, end) = range(other)?;
            (first <= end && start <= last).then(|| (other.name.as_str(), first.max(start)))
        });
        if let Some((other, port)) = clash {
            let what = format!("port {port} is used by [app.{other}] too");
            let why = format!("{} and {other} cannot both listen on it", spec.name);
            report.error(
                places.of("port"),
                Refusal::new(what, why, "give one of them another port"),
            );
        }
    }
}

/// `names` are those of all apps, of the broken ones too.
fn dependencies(apps: &[(AppSpec, Places)], names: &[&str], report: &mut Report) {
    for (spec, places) in apps {
        for wanted in &spec.depends_on {
            if names.contains(&wanted.as_str()) {
                continue;
            }
            let fix = match did_you_mean(wanted, names.iter().copied().filter(|n| *n != spec.name))
            {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => format!("the apps are {}", names.join(", ")),
            };
            let what = format!(
                "{} depends on `{wanted}`, and there is no such app",
                spec.name
            );
            let why = "depends_on names other apps of this file";
            report.error(places.of("depends_on"), Refusal::new(what, why, fix));
        }
    }
}

/// The indices of one circle of dependencies, in order.
fn cycle(apps: &[(AppSpec, Places)]) -> Option<Vec<usize>> {
    let index: BTreeMap<&str, usize> = apps
        .iter()
        .enumerate()
        .map(|(i, (spec, _))| (spec.name.as_str(), i))
        .collect();
    let mut done = vec![false; apps.len()];
    for start in 0..apps.len() {
        // Each frame is an app and the next of its dependencies to look at.
        let mut path: Vec<(usize, usize)> = vec![(start, 0)];
        while let Some((app, next)) = path.last_mut() {
            let app = *app;
            let wanted = apps[app].0.depends_on.get(*next);
            *next += 1;
            let Some(wanted) = wanted.filter(|_| !done[app]) else {
                done[app] = true;
                path.pop();
                continue;
            };
            let Some(&wanted) = index.get(wanted.as_str()) else {
                continue;
            };
            if let Some(from) = path.iter().position(|(on_path, _)| *on_path == wanted) {
                return Some(path[from..].iter().map(|(app, _)| *app).collect());
            }
            if !done[wanted] {
                path.push((wanted, 0));
            }
        }
    }
    None
}

/// The directory an app works in; the refusal if it is none.
pub(crate) fn cwd(at: &Surroundings<'_>, written: &str) -> Result<(), Refusal> {
    if at.fs.is_dir(at.cwd) {
        return Ok(());
    }
    let what = format!("no such directory: {written}");
    let why = format!("{} is not a directory", at.cwd.display());
    Err(Refusal::new(what, why, "create it, or check the path"))
}
