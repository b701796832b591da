//! Two specs of one app, setting by setting.

use std::collections::BTreeSet;

use app_spec::{AppSpec, Balance, Command, ExecMode, Health, Instances, RestartPolicy};

use super::Change;
use crate::environment::is_secret;
use crate::units::{show_duration, show_size};
use crate::words;

/// What a difference asks for, the stronger the later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Demand {
    Configure,
    Reload,
}

pub(super) struct Difference {
    key: String,
    from: Option<String>,
    to: Option<String>,
    pub demand: Demand,
}

impl Difference {
    pub fn into_change(self) -> Change {
        let show = |value: Option<String>| value.unwrap_or_else(|| "(none)".to_owned());
        Change {
            key: self.key,
            from: show(self.from),
            to: show(self.to),
        }
    }
}

struct Differences(Vec<Difference>);

impl Differences {
    fn add(&mut self, demand: Demand, key: &str, from: Option<String>, to: Option<String>) {
        if from != to {
            self.0.push(Difference {
                key: key.to_owned(),
                from,
                to,
                demand,
            });
        }
    }

    fn text(&mut self, demand: Demand, key: &str, from: impl ToString, to: impl ToString) {
        self.add(demand, key, Some(from.to_string()), Some(to.to_string()));
    }

    fn list(&mut self, demand: Demand, key: &str, from: &[String], to: &[String]) {
        let show = |list: &[String]| (!list.is_empty()).then(|| list.join(", "));
        self.add(demand, key, show(from), show(to));
    }
}

/// Everything that differs but the instance count, the base environment and the origin.
pub(super) fn differences(from: &AppSpec, to: &AppSpec) -> Vec<Difference> {
    let mut found = Differences(Vec::new());
    process(from, to, &mut found);
    environment(from, to, &mut found);
    health(from, to, &mut found);
    lifecycle(from, to, &mut found);
    surroundings(from, to, &mut found);
    found.0
}

fn process(from: &AppSpec, to: &AppSpec, found: &mut Differences) {
    let reload = Demand::Reload;
    if from.command != to.command {
        // Not by their texts: two commands may differ and read the same.
        found.0.push(Difference {
            key: "command".into(),
            from: Some(show_command(&from.command)),
            to: Some(show_command(&to.command)),
            demand: reload,
        });
    }
    found.text(reload, "cwd", from.cwd.display(), to.cwd.display());
    if from.is_cluster() != to.is_cluster() {
        found.text(
            reload,
            "exec_mode",
            show_mode(from.is_cluster()),
            show_mode(to.is_cluster()),
        );
    } else if from.mode != to.mode {
        // `auto` and what it means are the same to the workers.
        found.text(
            Demand::Configure,
            "exec_mode",
            show_exec(from.mode),
            show_exec(to.mode),
        );
    }
    // In fork mode nobody balances.
    let demand = if to.is_cluster() {
        reload
    } else {
        Demand::Configure
    };
    found.text(
        demand,
        "balance",
        show_balance(from.balance),
        show_balance(to.balance),
    );
    let port = |spec: &AppSpec| spec.port.map(|port| port.to_string());
    found.add(reload, "port", port(from), port(to));
    found.add(reload, "user", from.user.clone(), to.user.clone());
    found.text(reload, "agent", from.agent, to.agent);
}

fn environment(from: &AppSpec, to: &AppSpec, found: &mut Differences) {
    let keys: BTreeSet<&String> = from.env.keys().chain(to.env.keys()).collect();
    for key in keys {
        let (old, new) = (from.env.get(key), to.env.get(key));
        // In cluster mode PORT says again what `port` says.
        let told = key == "PORT" && from.port != to.port;
        if old == new || told {
            continue;
        }
        let secret = [old, new]
            .into_iter()
            .flatten()
            .any(|value| is_secret(key, value));
        let show = |value: Option<&String>, mask: &str| {
            value.map(|value| {
                if secret {
                    mask.to_owned()
                } else {
                    value.clone()
                }
            })
        };
        found.0.push(Difference {
            key: format!("env.{key}"),
            from: show(old, "****"),
            to: show(new, "**** (changed)"),
            demand: Demand::Reload,
        });
    }
}

fn health(from: &AppSpec, to: &AppSpec, found: &mut Differences) {
    let target = |spec: &AppSpec| spec.health.as_ref().map(|health| health.target.clone());
    // A new question is first put to a new worker, where a wrong one harms nobody; that no
    // question is asked any more concerns the supervisor only.
    let demand = if to.health.is_some() {
        Demand::Reload
    } else {
        Demand::Configure
    };
    found.add(demand, "health", target(from), target(to));
    let (Some(old), Some(new)) = (&from.health, &to.health) else {
        return;
    };
    let configure = Demand::Configure;
    for (key, field) in [
        (
            "health.interval",
            (|h| show_duration(h.interval_ms)) as fn(&Health) -> String,
        ),
        ("health.timeout", |h| show_duration(h.timeout_ms)),
        ("health.failures", |h| h.failures.to_string()),
    ] {
        found.text(configure, key, field(old), field(new));
    }
}

fn lifecycle(from: &AppSpec, to: &AppSpec, found: &mut Differences) {
    let configure = Demand::Configure;
    found.text(configure, "wait_ready", from.wait_ready, to.wait_ready);
    let (old, new) = (&from.timeouts, &to.timeouts);
    for (key, old, new) in [
        ("timeouts.ready", old.ready_ms, new.ready_ms),
        ("timeouts.drain", old.drain_ms, new.drain_ms),
        ("timeouts.stop", old.stop_ms, new.stop_ms),
        (
            "restart.min_uptime",
            from.restart.min_uptime_ms,
            to.restart.min_uptime_ms,
        ),
        (
            "restart.window",
            from.restart.window_ms,
            to.restart.window_ms,
        ),
        (
            "restart.backoff_min",
            from.restart.backoff_min_ms,
            to.restart.backoff_min_ms,
        ),
        (
            "restart.backoff_max",
            from.restart.backoff_max_ms,
            to.restart.backoff_max_ms,
        ),
    ] {
        found.text(configure, key, show_duration(old), show_duration(new));
    }
    found.text(configure, "stop_signal", &from.stop.signal, &to.stop.signal);
    found.text(
        configure,
        "stop_message",
        from.stop.message,
        to.stop.message,
    );
    let (old, new) = (&from.restart, &to.restart);
    found.text(
        configure,
        "restart",
        show_policy(old.policy),
        show_policy(new.policy),
    );
    found.text(
        configure,
        "restart.max_fast_exits",
        old.max_fast_exits,
        new.max_fast_exits,
    );
    let codes = |codes: &[i32]| codes.iter().map(i32::to_string).collect::<Vec<_>>();
    let (old, new) = (codes(&old.stop_exit_codes), codes(&new.stop_exit_codes));
    found.list(configure, "restart.stop_exit_codes", &old, &new);
    let memory = |spec: &AppSpec| spec.memory_bytes.map(show_size);
    found.add(configure, "memory", memory(from), memory(to));
}

fn surroundings(from: &AppSpec, to: &AppSpec, found: &mut Differences) {
    let configure = Demand::Configure;
    let (old, new) = (&from.logs, &to.logs);
    found.text(
        configure,
        "logs.max_size",
        show_size(old.max_bytes),
        show_size(new.max_bytes),
    );
    found.text(configure, "logs.keep", old.keep, new.keep);
    found.text(configure, "logs.compress", old.compress, new.compress);
    let dir = |dir: &Option<std::path::PathBuf>| dir.as_ref().map(|dir| dir.display().to_string());
    found.add(configure, "logs.dir", dir(&old.dir), dir(&new.dir));
    found.list(configure, "depends_on", &from.depends_on, &to.depends_on);
    let watch = |spec: &AppSpec| {
        let watch = spec.watch.as_ref()?;
        let paths = watch.paths.iter().map(|path| path.display().to_string());
        let ignored = watch.ignore.iter().map(|segment| format!("not {segment}"));
        let delay = format!("after {}", show_duration(watch.delay_ms));
        Some(
            paths
                .chain(ignored)
                .chain([delay])
                .collect::<Vec<_>>()
                .join(", "),
        )
    };
    found.add(configure, "watch", watch(from), watch(to));
}

fn show_command(command: &Command) -> String {
    let quoted = |words: &[String]| {
        words
            .iter()
            .map(|word| words::quote(word))
            .collect::<Vec<_>>()
    };
    match command {
        Command::Shell { line } => line.clone(),
        Command::Exec { program, args } => {
            let program = words::quote(&program.display().to_string());
            [vec![program], quoted(args)].concat().join(" ")
        }
        Command::Script {
            script,
            interpreter,
            interpreter_args,
            args,
        } => {
            let script = words::quote(&script.display().to_string());
            let interpreter = words::quote(interpreter);
            let parts = [
                vec![interpreter],
                quoted(interpreter_args),
                vec![script],
                quoted(args),
            ];
            parts.concat().join(" ")
        }
    }
}

pub(super) fn show_instances(instances: Instances) -> String {
    match instances {
        Instances::Count(n) => n.to_string(),
        Instances::Max => "max".into(),
        Instances::MaxLess(n) => format!("-{n}"),
    }
}

fn show_mode(cluster: bool) -> &'static str {
    if cluster { "cluster" } else { "fork" }
}

fn show_exec(mode: ExecMode) -> &'static str {
    match mode {
        ExecMode::Auto => "auto",
        ExecMode::Cluster => "cluster",
        ExecMode::Fork => "fork",
    }
}

fn show_balance(balance: Balance) -> &'static str {
    crate::app::BALANCES
        .iter()
        .find(|(_, b)| *b == balance)
        .map_or("", |(name, _)| name)
}

fn show_policy(policy: RestartPolicy) -> &'static str {
    match policy {
        RestartPolicy::Always => "always",
        RestartPolicy::OnFailure => "on-failure",
        RestartPolicy::Never => "never",
    }
}
