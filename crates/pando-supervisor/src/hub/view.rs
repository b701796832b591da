//! The core's state as the control API shows it.

use app_spec::{AppSpec, Command};
use pando_control::api::{AppStatus, AppView, WorkerState, WorkerView};

use super::Hub;
use super::usage::Usage;
use crate::core::{App, Desired, Instance, Ms, Phase, Worker};

impl Hub {
    pub(super) fn views(&self, names: Option<&[String]>, now: Ms) -> Vec<AppView> {
        self.core
            .apps()
            .filter(|app| names.is_none_or(|names| names.iter().any(|n| n == app.name())))
            .map(|app| view(app, &self.usage, now))
            .collect()
    }
}

fn view(app: &App, usage: &Usage, now: Ms) -> AppView {
    let spec = app.spec();
    let mut workers: Vec<WorkerView> = app
        .workers()
        .map(|w| worker_view(app, w, usage, now))
        .collect();
    workers.extend(
        app.instances()
            .iter()
            .filter(|i| i.current.is_none() && i.successor.is_none())
            .map(empty_view),
    );
    workers.sort_by_key(|w| (w.instance, w.id));
    AppView {
        name: app.name().to_owned(),
        status: status(app),
        mode: if spec.is_cluster() { "cluster" } else { "fork" }.to_owned(),
        balance: balance_name(spec).to_owned(),
        command: command(spec),
        cwd: spec.cwd.clone(),
        wanted: if app.desired() == Desired::Stopped {
            0
        } else {
            app.wanted()
        },
        ready: app.ready_count(),
        listen: app.listens(),
        restarts: app.instances().iter().map(|i| i.restarts).sum(),
        uptime_ms: uptime(app, now),
        reloading: app.is_reloading(),
        workers,
        problem: app.problem().map(str::to_owned),
    }
}

fn status(app: &App) -> AppStatus {
    let looping = app.instances().iter().any(|i| {
        i.crash_loop
            && i.current
                .and_then(|w| app.worker(w))
                .is_none_or(|w| !w.is_ready())
    });
    match app.desired() {
        Desired::Waiting => AppStatus::Waiting,
        Desired::Stopped if app.workers().next().is_some() => AppStatus::Stopping,
        Desired::Stopped => AppStatus::Stopped,
        Desired::Running if app.exited().is_some() => AppStatus::Exited,
        Desired::Running if looping => AppStatus::CrashLoop,
        Desired::Running if app.workers().any(|w| w.unhealthy) => AppStatus::Unhealthy,
        Desired::Running if app.ready_count() >= app.wanted() => AppStatus::Ready,
        Desired::Running if app.ready_count() > 0 => AppStatus::Degraded,
        Desired::Running => AppStatus::Starting,
    }
}

fn uptime(app: &App, now: Ms) -> u64 {
    let since = app
        .workers()
        .filter(|w| w.is_ready())
        .filter_map(|w| w.ready_at)
        .min();
    since.map_or(0, |at| now.saturating_sub(at))
}

fn worker_view(app: &App, worker: &Worker, usage: &Usage, now: Ms) -> WorkerView {
    let instance = app.instances().iter().find(|i| i.number == worker.instance);
    let state = match worker.phase {
        Phase::Starting => WorkerState::Starting,
        Phase::Ready if worker.is_stalled() => WorkerState::Stalled,
        Phase::Ready if worker.unhealthy => WorkerState::Unhealthy,
        Phase::Ready => WorkerState::Ready,
        Phase::Draining { .. } => WorkerState::Draining,
        Phase::Stopping { .. } => WorkerState::Stopping,
    };
    WorkerView {
        id: worker.id.0,
        instance: worker.instance,
        pid: worker.pid,
        state,
        uptime_ms: now.saturating_sub(worker.spawned_at),
        restarts: instance.map_or(0, |i| i.restarts),
        memory_bytes: worker.memory_bytes,
        cpu_percent: usage.cpu_percent(worker.id),
        last_exit: instance.and_then(|i| i.last_exit.clone()),
        port: worker.port,
    }
}

/// A place whose next worker is still to come, or never will.
fn empty_view(instance: &Instance) -> WorkerView {
    let state = if instance.done {
        WorkerState::Stopped
    } else if instance.crash_loop {
        WorkerState::CrashLoop
    } else {
        WorkerState::Backoff
    };
    WorkerView {
        id: 0,
        instance: instance.number,
        pid: None,
        state,
        uptime_ms: 0,
        restarts: instance.restarts,
        memory_bytes: 0,
        cpu_percent: 0.0,
        last_exit: instance.last_exit.clone(),
        port: None,
    }
}

fn balance_name(spec: &AppSpec) -> &'static str {
    use app_spec::Balance;
    if !spec.is_cluster() {
        return "none";
    }
    match spec.balance {
        Balance::Steered => "steered",
        Balance::RoundRobin => "round-robin",
        Balance::LeastConnections => "least-connections",
        Balance::IpHash => "ip-hash",
        Balance::Random => "random",
        Balance::Shared => "shared",
    }
}

fn command(spec: &AppSpec) -> String {
    match &spec.command {
        Command::Shell { line } => line.clone(),
        Command::Exec { program, args } => {
            let mut all = vec![program.display().to_string()];
            all.extend(args.iter().cloned());
            all.join(" ")
        }
        Command::Script { script, .. } => script
            .strip_prefix(&spec.cwd)
            .unwrap_or(script)
            .display()
            .to_string(),
    }
}
