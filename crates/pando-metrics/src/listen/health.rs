//! How the apps are, as probes ask for it.

use std::time::{Duration, Instant};

use monitor_spec::now::{AlertState, App, Now};
use serde_json::{Value, json};

/// The supervisor tells of its apps once a second. On a machine without a free CPU it may be late
/// by seconds and is well all the same: a probe that is stricter kills what only waits.
const FRESH: Duration = Duration::from_secs(15);

/// What is known at one moment.
#[derive(Clone, Debug, Default)]
pub struct Health {
    /// When the supervisor last told of its apps; `None` before it has.
    pub told: Option<Instant>,
    apps: Vec<(String, State)>,
}

#[derive(Clone, Debug)]
struct State {
    ready: bool,
    /// Stopped, or ended by itself with nobody to bring it back.
    meant_to_run: bool,
    status: String,
    body: Value,
}

/// An answer's status and its text.
pub(super) type Said = (u16, String);

impl Health {
    pub fn new(told: Option<Instant>, now: &Now) -> Self {
        let apps = now
            .apps
            .iter()
            .map(|app| (app.name.clone(), state(app, now)));
        Self {
            told,
            apps: apps.collect(),
        }
    }

    fn is_fresh(&self, at: Instant) -> bool {
        let age = self.told.map(|told| at.saturating_duration_since(told));
        age.is_some_and(|age| age < FRESH)
    }

    /// Is Pando itself alive? Nothing of the apps: a probe must not end healthy ones for the sake
    /// of one that fails.
    pub(super) fn live(&self, at: Instant) -> Said {
        if self.is_fresh(at) {
            (200, "ok\n".into())
        } else {
            (
                503,
                format!(
                    "the supervisor has told nothing for {} s\n",
                    FRESH.as_secs()
                ),
            )
        }
    }

    /// Can requests be sent here: has every app that is to run a worker that is ready? Of `apps`
    /// only, if some are named.
    pub(super) fn ready(&self, apps: &[String], at: Instant) -> Said {
        if !self.is_fresh(at) {
            return self.live(at);
        }
        let mut lines = String::new();
        let asked = |name: &String| apps.is_empty() || apps.contains(name);
        for (name, state) in self.apps.iter().filter(|(name, _)| asked(name)) {
            let wanted = state.meant_to_run || !apps.is_empty();
            if wanted && !state.ready {
                lines.push_str(&format!("{name}: {}\n", state.status));
            }
        }
        for name in apps {
            if !self.apps.iter().any(|(known, _)| known == name) {
                lines.push_str(&format!("{name}: there is no such app\n"));
            }
        }
        if lines.is_empty() {
            (200, "ok\n".into())
        } else {
            (503, lines)
        }
    }

    /// One app as JSON; `None` if there is none of that name.
    pub(super) fn app(&self, name: &str, at: Instant) -> Option<Said> {
        let (_, state) = self.apps.iter().find(|(known, _)| known == name)?;
        let sound = state.ready && self.is_fresh(at);
        let code = if sound { 200 } else { 503 };
        Some((code, format!("{}\n", state.body)))
    }
}

fn state(app: &App, now: &Now) -> State {
    let traffic = &app.traffic;
    let error_rate = (traffic.rate > 0.0).then(|| (traffic.errors_5xx / traffic.rate).min(1.0));
    let firing = now
        .alerts
        .iter()
        .filter(|alert| alert.app == app.name && alert.state == AlertState::Firing);
    let alerts: Vec<&str> = firing.map(|alert| alert.name.as_str()).collect();
    let body = json!({
        "app": app.name,
        "status": app.status,
        "workers_ready": app.ready,
        "workers_wanted": app.wanted,
        "restarts": app.restarts,
        "reloading": app.reloading,
        "problem": app.problem,
        "requests_per_second": traffic.rate,
        "error_rate": error_rate,
        "p95_ms": traffic.latency.map(|latency| latency.p95_us / 1e3),
        "event_loop_lag_p99_ms": app.lag_p99_us.map(|us| us as f64 / 1e3),
        "cpu_percent": app.cpu_percent,
        "memory_bytes": app.memory_bytes,
        "alerts": alerts,
    });
    State {
        ready: app.ready > 0,
        meant_to_run: app.wanted > 0
            && !matches!(app.status.as_str(), "stopped" | "stopping" | "exited"),
        status: format!(
            "{}, {} of {} workers are ready",
            app.status, app.ready, app.wanted
        ),
        body,
    }
}
