//! One `[app.NAME]` table to an [`AppSpec`].

pub(crate) mod env;
pub(crate) mod lifecycle;
mod run;
pub(crate) mod surroundings;

use std::collections::BTreeMap;
use std::path::Path;

use app_spec::{AppSpec, Balance, Command, ExecMode, Instances};

use crate::checks::{self, Places};
use crate::command::{self, Surroundings};
use crate::fs::FileSystem;
use crate::problem::{Refusal, Report};
use crate::table::{Table, Value};
use crate::{environment, name};

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
    let env = env::read(table, context, report);
    let at = Surroundings {
        fs: context.fs,
        base: context.dir,
        cwd: &cwd,
        path_var: command::path_var(&env, context.base_env),
    };
    if let (Some(value), Some(text)) = (table.get("cwd"), written_cwd) {
        report.take(&value.place, checks::cwd(&at, text));
    }
    let command = run::read(table, &at, report);
    // An app whose command is broken is still checked for everything else.
    let sound = command.is_some();
    let command = command.unwrap_or_else(|| Command::Shell {
        line: String::new(),
    });
    let mut spec = AppSpec::new(name, command, cwd.clone());
    spec.base_env = environment::clean(context.base_env, &cwd);
    spec.env = env;
    scale(table, &mut spec, &mut places, report);
    lifecycle::read(table, &mut spec, &mut places, report);
    surroundings::read(table, &mut spec, &mut places, context, report);
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
