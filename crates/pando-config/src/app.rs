//! One `[app.NAME]` table to an [`AppSpec`].

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use app_spec::{
    AppSpec, Balance, Command, ExecMode, Health, Instances, Logs, Restart, RestartPolicy, Watch,
};

use crate::checks::{self, Places};
use crate::command::{self, Script, Surroundings, Wrong};
use crate::fs::FileSystem;
use crate::problem::{Place, Refusal, Report};
use crate::table::{Table, Value, nothing_foreign, zero};
use crate::{dotenv, environment, name, signal, words};

const KEYS: [&str; 26] = [
    "script",
    "command",
    "args",
    "cwd",
    "instances",
    "exec_mode",
    "balance",
    "env",
    "env_file",
    "node_args",
    "interpreter",
    "port",
    "health",
    "wait_ready",
    "timeouts",
    "stop_signal",
    "stop_message",
    "memory",
    "restart",
    "logs",
    "user",
    "depends_on",
    "watch",
    "agent",
    // Explained below, so that "did you mean" can find them.
    "scale",
    "cron",
];

const MAX_FAST_EXITS: i64 = 10_000;
const MAX_KEPT_LOGS: i64 = 10_000;
const MIN_LOG_BYTES: u64 = 4096;

/// What is around the app: its file's directory, the caller's environment, the machine.
pub(crate) struct Context<'a> {
    pub dir: &'a Path,
    pub base_env: &'a BTreeMap<String, String>,
    pub fs: &'a dyn FileSystem,
}

/// `None` if the app has no command that could be read; problems are in the report either way.
pub(crate) fn read(
    name: &str,
    table: &Table<'_>,
    context: &Context<'_>,
    report: &mut Report,
) -> Option<(AppSpec, Places)> {
    report.take(&table.place, name::check(name));
    table.only(&KEYS, foreign, report);
    later_versions(table, report);
    let mut places = Places::new(table.place.clone());
    let written_cwd = table
        .get("cwd")
        .and_then(|v| v.string("\"packages/api\"", report));
    let cwd = match written_cwd {
        Some(text) => command::absolute(context.dir, text),
        None => context.dir.to_path_buf(),
    };
    let env = env(table, context, report);
    let at = Surroundings {
        fs: context.fs,
        base: context.dir,
        cwd: &cwd,
        path_var: command::path_var(&env, context.base_env),
    };
    if let (Some(value), Some(text)) = (table.get("cwd"), written_cwd) {
        report.take(&value.place, checks::cwd(&at, text));
    }
    let command = read_command(table, &at, report);
    // An app whose command is broken is still checked for everything else.
    let sound = command.is_some();
    let command = command.unwrap_or_else(|| Command::Shell {
        line: String::new(),
    });
    let mut spec = AppSpec::new(name, command, cwd.clone());
    spec.base_env = environment::clean(context.base_env, &cwd);
    spec.env = env;
    scale(table, &mut spec, &mut places, report);
    lifecycle(table, &mut spec, &mut places, report);
    surroundings(table, &mut spec, &mut places, context, report);
    if sound {
        checks::app(&mut spec, &places, context.fs, report);
    }
    sound.then_some((spec, places))
}

fn later_versions(table: &Table<'_>, report: &mut Report) {
    for (key, fix) in [
        ("scale", "set `instances` to a number or \"max\""),
        ("cron", "use cron or a systemd timer with `pando restart`"),
    ] {
        if let Some(value) = table.get(key) {
            let what = format!("`{key}` is not supported by this version");
            report.error(
                &value.key_place,
                Refusal::new(what, "it belongs to a later one", fix),
            );
        }
    }
}

/// Keys of PM2's ecosystem files, with ours.
fn foreign(key: &str) -> Option<Refusal> {
    let ours = match key {
        "exec" | "cmd" => "script",
        "name" => return Some(named_by_header()),
        "interpreter_args" | "node_arguments" => "node_args",
        "exec_interpreter" => "interpreter",
        "max_memory_restart" => "memory",
        "kill_timeout" => "timeouts.stop",
        "listen_timeout" => "timeouts.ready",
        "autorestart" => "restart",
        "max_restarts" => "restart.max_fast_exits",
        "min_uptime" => "restart.min_uptime",
        "restart_delay" | "exp_backoff_restart_delay" => "restart.backoff_min",
        "stop_exit_codes" => "restart.stop_exit_codes",
        "shutdown_with_message" => "stop_message",
        "kill_signal" => "stop_signal",
        "ignore_watch" => "watch.ignore",
        "watch_delay" => "watch.delay",
        "out_file" | "error_file" | "log_file" => "logs.dir",
        "uid" | "username" => "user",
        "health_check_url" => "health",
        "health_check_interval" => "health.interval",
        "cron_restart" => "cron",
        _ => return None,
    };
    let what = format!("unknown key `{key}`");
    Some(Refusal::new(
        what,
        "that is PM2's name for it",
        format!("did you mean `{ours}`?"),
    ))
}

fn named_by_header() -> Refusal {
    Refusal::new(
        "unknown key `name`",
        "the header names the app: [app.NAME]",
        "remove it and change the header",
    )
}

/// `script` or `command`, with what belongs to each.
fn read_command(table: &Table<'_>, at: &Surroundings<'_>, report: &mut Report) -> Option<Command> {
    let args = table
        .get("args")
        .map_or(Some(Vec::new()), |v| arguments(&v, report));
    let node_args = table
        .get("node_args")
        .map_or(Some(Vec::new()), |v| arguments(&v, report));
    let interpreter = table.get("interpreter");
    let interpreter_text = match &interpreter {
        Some(value) => Some(value.string("\"node\"", report)?),
        None => None,
    };
    match (table.get("script"), table.get("command")) {
        (Some(script), None) => {
            let written = script.string("\"server.js\"", report)?;
            let ask = Script {
                written,
                interpreter: interpreter_text,
                interpreter_args: node_args?,
                args: args?,
            };
            at.resolve_script(ask)
                .map_err(|wrong| match wrong {
                    Wrong::Script(refusal) => report.error(&script.place, refusal),
                    Wrong::Interpreter(refusal) => {
                        let place = interpreter.as_ref().map_or(&script.place, |v| &v.place);
                        report.error(place, refusal);
                    }
                })
                .ok()
        }
        (None, Some(command)) => {
            script_only(table, report);
            program(&command, table, args?, at, report)
        }
        (Some(_), Some(command)) => {
            let what = "both `script` and `command` are given";
            let why = "an app is started in one way";
            report.error(
                &command.key_place,
                Refusal::new(what, why, "remove one of them"),
            );
            None
        }
        (None, None) => {
            let what = format!("[{}] has neither `script` nor `command`", table.title);
            let why = "nothing says what to start";
            let fix = "add `script = \"server.js\"` or `command = \"npm start\"`";
            report.missing(&table.place, Refusal::new(what, why, fix));
            None
        }
    }
}

/// Keys that only a script has.
fn script_only(table: &Table<'_>, report: &mut Report) {
    for key in ["interpreter", "node_args"] {
        if let Some(value) = table.get(key) {
            let what = format!("`{key}` has no meaning with `command`");
            let why = "a command names its own program";
            let fix = "use `script`, or write it into the command";
            report.error(&value.key_place, Refusal::new(what, why, fix));
        }
    }
}

fn program(
    command: &Value<'_>,
    table: &Table<'_>,
    args: Vec<String>,
    at: &Surroundings<'_>,
    report: &mut Report,
) -> Option<Command> {
    if command.is_str() {
        let line = command.string("\"npm start\"", report)?.trim().to_owned();
        if let Some(args) = table.get("args") {
            let why = "a command in one string is a line for the shell";
            let fix = "write them into the line, or make the command a list";
            report.error(
                &args.key_place,
                Refusal::new("`args` beside a shell line", why, fix),
            );
        }
        return Some(Command::Shell { line });
    }
    let mut words = command.strings("[\"npm\", \"start\"]", report)?.into_iter();
    let Some((first, place)) = words.next().filter(|(word, _)| !word.is_empty()) else {
        let why = "its first word is the program";
        let fix = "write it like `command = [\"npm\", \"start\"]`";
        report.error(
            &command.place,
            Refusal::new("`command` names no program", why, fix),
        );
        return None;
    };
    let program = report.take(&place, at.resolve_program(first))?;
    let words = words.map(|(word, _)| word.to_owned());
    Some(Command::Exec {
        program,
        args: words.chain(args).collect(),
    })
}

/// A list of arguments, or one string of words.
fn arguments(value: &Value<'_>, report: &mut Report) -> Option<Vec<String>> {
    let strings = value.strings("[\"--port\", \"3000\"]", report)?;
    if !value.is_str() {
        return Some(
            strings
                .into_iter()
                .map(|(text, _)| text.to_owned())
                .collect(),
        );
    }
    let split = strings.first().and_then(|(text, _)| words::split(text));
    if split.is_none() {
        let what = format!("`{}` has a quote that is never closed", value.key);
        let why = "a string of arguments is split into words as a shell does";
        report.error(
            &value.place,
            Refusal::new(what, why, "close it, or write a list"),
        );
    }
    split
}

/// The files of `env_file` in their order, then `env` above them.
fn env(table: &Table<'_>, context: &Context<'_>, report: &mut Report) -> BTreeMap<String, String> {
    let mut env = BTreeMap::new();
    let files = table
        .get("env_file")
        .and_then(|v| v.strings("\".env\"", report));
    for (file, place) in files.into_iter().flatten() {
        env.extend(env_file(context, file, &place, report));
    }
    let inline = table.get("env").and_then(|v| {
        v.table(
            &format!("{}.env", table.title),
            "{ NODE_ENV = \"production\" }",
            report,
        )
    });
    for value in inline.iter().flat_map(Table::values) {
        let Some(text) = value.scalar(report) else {
            continue;
        };
        if report
            .take(&value.key_place, environment::check(value.key, &text))
            .is_some()
        {
            env.insert(value.key.to_owned(), text);
        }
    }
    env
}

/// The variables of one env file; its own problems have their places in it.
pub(crate) fn env_file(
    context: &Context<'_>,
    written: &str,
    place: &Place,
    report: &mut Report,
) -> BTreeMap<String, String> {
    let path = command::absolute(context.dir, written);
    if !context.fs.is_file(&path) {
        let what = format!("no such file: {written}");
        let why = format!("there is no file {}", path.display());
        let fix = "create it, check the path, or remove env_file";
        report.error(place, Refusal::new(what, why, fix));
        return BTreeMap::new();
    }
    let read = context.fs.read(&path, dotenv::MAX_BYTES + 1);
    let text = match read.map(String::from_utf8) {
        Ok(Ok(text)) if text.len() as u64 <= dotenv::MAX_BYTES => text,
        Ok(Ok(_)) => {
            let what = format!("{written} is larger than 1 MiB");
            let refusal = Refusal::new(what, "a file of settings is not", "check the path");
            report.error(place, refusal);
            return BTreeMap::new();
        }
        Ok(Err(_)) => {
            let what = format!("{written} is not UTF-8 text");
            report.error(place, Refusal::new(what, "", "save it as UTF-8"));
            return BTreeMap::new();
        }
        Err(error) => {
            let what = format!("cannot read {written}");
            report.error(
                place,
                Refusal::new(what, error.to_string(), "check its permissions"),
            );
            return BTreeMap::new();
        }
    };
    dotenv::parse(&text, &path, context.base_env).unwrap_or_else(|problems| {
        problems
            .into_iter()
            .for_each(|problem| report.push(problem));
        BTreeMap::new()
    })
}

pub(crate) const BALANCES: [(&str, Balance); 6] = [
    ("steered", Balance::Steered),
    ("least-connections", Balance::LeastConnections),
    ("round-robin", Balance::RoundRobin),
    ("ip-hash", Balance::IpHash),
    ("random", Balance::Random),
    ("shared", Balance::Shared),
];

fn scale(table: &Table<'_>, spec: &mut AppSpec, places: &mut Places, report: &mut Report) {
    if let Some(value) = table.get("instances") {
        places.set("instances", &value.place);
        spec.instances = instances(&value, report).unwrap_or_default();
    }
    if let Some(value) = table.get("exec_mode") {
        places.set("exec_mode", &value.place);
        let modes = [
            ("cluster", ExecMode::Cluster),
            ("fork", ExecMode::Fork),
            ("auto", ExecMode::Auto),
        ];
        spec.mode = value.choice(&modes, report).unwrap_or_default();
    }
    if let Some(value) = table.get("balance") {
        places.set("balance", &value.place);
        spec.balance = value.choice(&BALANCES, report).unwrap_or_default();
    }
    if let Some(value) = table.get("port") {
        places.set("port", &value.place);
        let port = value.integer(1..=65_535, "3000", report);
        spec.port = port.and_then(|port| u16::try_from(port).ok());
    } else if let Some(value) = table.get("env") {
        places.set("port", &value.place);
    }
    if let Some(value) = table.get("memory") {
        let bytes = value.size_bytes(report);
        spec.memory_bytes = bytes.and_then(|b| report.take(&value.place, checks::memory(b)));
    }
}

fn instances(value: &Value<'_>, report: &mut Report) -> Option<Instances> {
    if value.is_table() {
        let what = "`instances` with min and max is not supported by this version";
        let fix = "set it to a number or \"max\"";
        report.error(
            &value.place,
            Refusal::new(what, "autoscaling belongs to a later one", fix),
        );
        return None;
    }
    let result = if value.is_str() {
        checks::instances_text(value.string("\"max\"", report)?)
    } else {
        checks::instances(value.integer(i64::MIN..=i64::MAX, "4", report)?)
    };
    report.take(&value.place, result)
}

fn lifecycle(table: &Table<'_>, spec: &mut AppSpec, places: &mut Places, report: &mut Report) {
    if let Some(value) = table.get("health") {
        spec.health = health(&value, &table.title, report);
    }
    for (key, target) in [
        ("wait_ready", &mut spec.wait_ready),
        ("stop_message", &mut spec.stop.message),
    ] {
        if let Some(value) = table.get(key) {
            places.set(
                if key == "wait_ready" {
                    "wait_ready"
                } else {
                    "stop_message"
                },
                &value.place,
            );
            *target = value.boolean(report).unwrap_or(*target);
        }
    }
    let timeouts = table.get("timeouts").and_then(|v| {
        v.table(
            &format!("{}.timeouts", table.title),
            "{ ready = \"30s\", stop = \"30s\" }",
            report,
        )
    });
    if let Some(timeouts) = timeouts {
        timeouts.only(&["ready", "drain", "stop"], nothing_foreign, report);
        let t = &mut spec.timeouts;
        // No drain is a choice; no time to get ready or to stop is a mistake.
        for (key, target, zero_is_fine) in [
            ("ready", &mut t.ready_ms, false),
            ("drain", &mut t.drain_ms, true),
            ("stop", &mut t.stop_ms, false),
        ] {
            duration(&timeouts, key, target, zero_is_fine, report);
        }
    }
    if let Some(value) = table.get("stop_signal") {
        let text = value.string("\"SIGTERM\"", report);
        if let Some(name) = text.and_then(|t| report.take(&value.place, signal::stop_signal(t))) {
            spec.stop.signal = name;
        }
    }
    if let Some(value) = table.get("restart") {
        places.set("restart", &value.key_place);
        restart(&value, &table.title, &mut spec.restart, report);
    }
}

fn duration(
    table: &Table<'_>,
    key: &str,
    target: &mut u64,
    zero_is_fine: bool,
    report: &mut Report,
) {
    if let Some(value) = table.get(key) {
        *target = value.duration_ms(zero_is_fine, report).unwrap_or(*target);
    }
}

/// The defaults of a health check of `target`, as app-spec has them.
pub(crate) fn default_health(target: String) -> Health {
    Health {
        target,
        interval_ms: 10_000,
        timeout_ms: 5_000,
        failures: 3,
    }
}

fn health(value: &Value<'_>, title: &str, report: &mut Report) -> Option<Health> {
    if value.is_str() {
        let text = value.string("\"/healthz\"", report)?;
        return report
            .take(&value.place, checks::health_target(text))
            .map(default_health);
    }
    let title = format!("{title}.health");
    let table = value.table(&title, "\"/healthz\"", report)?;
    table.only(
        &["path", "url", "interval", "timeout", "failures"],
        nothing_foreign,
        report,
    );
    let target = match (table.get("path"), table.get("url")) {
        (Some(one), None) | (None, Some(one)) => {
            let text = one.string("\"/healthz\"", report);
            text.and_then(|text| report.take(&one.place, checks::health_target(text)))
        }
        (Some(_), Some(url)) => {
            let why = "a health check asks one thing";
            let refusal =
                Refusal::new("both `path` and `url` are given", why, "remove one of them");
            report.error(&url.key_place, refusal);
            None
        }
        (None, None) => {
            let what = format!("[{title}] has neither `path` nor `url`");
            let fix = "add `path = \"/healthz\"`";
            report.missing(
                &table.place,
                Refusal::new(what, "nothing says what to ask", fix),
            );
            None
        }
    };
    let mut health = default_health(target.clone().unwrap_or_default());
    duration(&table, "interval", &mut health.interval_ms, false, report);
    duration(&table, "timeout", &mut health.timeout_ms, false, report);
    if let Some(failures) = table
        .get("failures")
        .and_then(|v| v.integer(1..=1000, "3", report))
    {
        health.failures = failures as u32;
    }
    target.map(|_| health)
}

const POLICIES: [(&str, RestartPolicy); 3] = [
    ("always", RestartPolicy::Always),
    ("on-failure", RestartPolicy::OnFailure),
    ("never", RestartPolicy::Never),
];

fn restart(value: &Value<'_>, title: &str, restart: &mut Restart, report: &mut Report) {
    if !value.is_table() {
        if let Some(policy) = value.choice(&POLICIES, report) {
            restart.policy = policy;
        }
        return;
    }
    let example = "{ policy = \"on-failure\" }";
    let Some(table) = value.table(&format!("{title}.restart"), example, report) else {
        return;
    };
    let keys = [
        "policy",
        "min_uptime",
        "max_fast_exits",
        "window",
        "backoff_min",
        "backoff_max",
        "stop_exit_codes",
    ];
    table.only(&keys, nothing_foreign, report);
    if let Some(policy) = table
        .get("policy")
        .and_then(|v| v.choice(&POLICIES, report))
    {
        restart.policy = policy;
    }
    duration(
        &table,
        "min_uptime",
        &mut restart.min_uptime_ms,
        true,
        report,
    );
    duration(&table, "window", &mut restart.window_ms, false, report);
    duration(
        &table,
        "backoff_min",
        &mut restart.backoff_min_ms,
        false,
        report,
    );
    duration(
        &table,
        "backoff_max",
        &mut restart.backoff_max_ms,
        false,
        report,
    );
    let exits = table.get("max_fast_exits");
    if let Some(n) = exits.and_then(|v| v.integer(1..=MAX_FAST_EXITS, "16", report)) {
        restart.max_fast_exits = n as u32;
    }
    if let Some(codes) = table
        .get("stop_exit_codes")
        .and_then(|v| v.integers(0..=255, report))
    {
        restart.stop_exit_codes = codes.into_iter().map(|code| code as i32).collect();
    }
}

fn surroundings(
    table: &Table<'_>,
    spec: &mut AppSpec,
    places: &mut Places,
    context: &Context<'_>,
    report: &mut Report,
) {
    if let Some(value) = table.get("logs") {
        logs(&value, &table.title, context, &mut spec.logs, report);
    }
    if let Some(value) = table.get("user") {
        places.set("user", &value.place);
        spec.user = if value.is_integer() {
            value
                .integer(0..=i64::from(u32::MAX), "1000", report)
                .map(|id| id.to_string())
        } else {
            value.string("\"www-data\"", report).map(str::to_owned)
        };
    }
    if let Some(value) = table.get("depends_on") {
        places.set("depends_on", &value.place);
        let names = value.strings("[\"db\"]", report).unwrap_or_default();
        spec.depends_on = names.into_iter().map(|(name, _)| name.to_owned()).collect();
    }
    if let Some(value) = table.get("watch") {
        spec.watch = watch(&value, &table.title, &spec.cwd, context, report);
    }
    if let Some(value) = table.get("agent") {
        spec.agent = value.boolean(report).unwrap_or(true);
    }
}

pub(crate) fn log_size(bytes: u64) -> Result<u64, Refusal> {
    if bytes < MIN_LOG_BYTES {
        let what = "a log file of less than 4K is surely a typing error";
        let why = "it would be rotated every few lines";
        return Err(Refusal::new(what, why, "\"50M\" is the default"));
    }
    Ok(bytes)
}

fn logs(
    value: &Value<'_>,
    title: &str,
    context: &Context<'_>,
    logs: &mut Logs,
    report: &mut Report,
) {
    let example = "{ max_size = \"50M\", keep = 10 }";
    let Some(table) = value.table(&format!("{title}.logs"), example, report) else {
        return;
    };
    table.only(
        &["max_size", "keep", "compress", "dir"],
        nothing_foreign,
        report,
    );
    if let Some(value) = table.get("max_size") {
        let bytes = value.size_bytes(report);
        let bytes = bytes.and_then(|bytes| report.take(&value.place, log_size(bytes)));
        logs.max_bytes = bytes.unwrap_or(logs.max_bytes);
    }
    if let Some(keep) = table
        .get("keep")
        .and_then(|v| v.integer(0..=MAX_KEPT_LOGS, "10", report))
    {
        logs.keep = keep as u32;
    }
    if let Some(compress) = table.get("compress").and_then(|v| v.boolean(report)) {
        logs.compress = compress;
    }
    if let Some(dir) = table.get("dir").and_then(|v| v.string("\"logs\"", report)) {
        logs.dir = Some(command::absolute(context.dir, dir));
    }
}

pub(crate) const WATCH_DELAY_MS: u64 = 200;

fn watch(
    value: &Value<'_>,
    title: &str,
    cwd: &Path,
    context: &Context<'_>,
    report: &mut Report,
) -> Option<Watch> {
    let everything = || Watch {
        paths: vec![cwd.to_path_buf()],
        ignore: vec![],
        delay_ms: WATCH_DELAY_MS,
    };
    if value.is_bool() {
        return value.boolean(report)?.then(everything);
    }
    if !value.is_table() {
        let paths = watched(value, context, report)?;
        return Some(Watch {
            paths,
            ..everything()
        });
    }
    let table = value.table(&format!("{title}.watch"), "true", report)?;
    table.only(&["paths", "ignore", "delay"], nothing_foreign, report);
    let mut watch = everything();
    if let Some(value) = table.get("paths") {
        watch.paths = watched(&value, context, report)?;
    }
    if let Some(value) = table.get("ignore") {
        for (segment, place) in value.strings("[\"tmp\"]", report)? {
            let why = "it is compared with each part of a path: \"tmp\", \"cache.json\"";
            if segment.is_empty() || segment.contains(['*', '?', '/']) {
                let what = format!("`ignore` has \"{segment}\", which is not one part of a path");
                report.error(
                    &place,
                    Refusal::new(what, why, "name directories or files, no patterns"),
                );
            }
            watch.ignore.push(segment.to_owned());
        }
    }
    duration(&table, "delay", &mut watch.delay_ms, true, report);
    Some(watch)
}

fn watched(value: &Value<'_>, context: &Context<'_>, report: &mut Report) -> Option<Vec<PathBuf>> {
    let written = value.strings("[\"src\"]", report)?;
    if written.is_empty() {
        let fix = "name a directory, or set it to true for all";
        let refusal = Refusal::new(
            format!("`{}` is empty", value.key),
            "nothing would be watched",
            fix,
        );
        report.error(&value.place, refusal);
    }
    let mut paths = Vec::new();
    for (text, place) in written {
        let path = command::absolute(context.dir, text);
        report.take(&place, check_watched(text, &path, context.fs));
        paths.push(path);
    }
    Some(paths)
}

pub(crate) fn check_watched(
    written: &str,
    path: &Path,
    fs: &dyn FileSystem,
) -> Result<(), Refusal> {
    if fs.exists(path) {
        return Ok(());
    }
    let what = format!("nothing to watch at {written}");
    let why = format!("{} is neither a file nor a directory", path.display());
    Err(Refusal::new(what, why, "check the path"))
}

/// A duration of a flag, not zero.
pub(crate) fn positive(key: &str, ms: u64) -> Result<u64, Refusal> {
    if ms == 0 { Err(zero(key)) } else { Ok(ms) }
}
