//! Does a rule's condition hold for an app in this picture?

use monitor_spec::now::{App, Now};
use monitor_spec::settings::Condition;

use super::rules::Rule;
use super::words::{bytes, duration, percent, short, time};

/// A process that begins compiles its code: it is slow, and that is no alert.
const WARM_UP_MS: u64 = 10_000;
/// The limit of what fires is so much easier.
const EASIER: f64 = 0.9;
/// Of the machine, that an app without a limit is thought to have.
const MACHINE_SHARE: f64 = 0.5;
const HOUR_MS: f64 = 3_600_000.0;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Verdict {
    /// With the sentence that says so.
    Holds(String),
    Over(String),
    Unknown,
    /// The question has no sense any more.
    Gone(String),
}

use Verdict::{Gone, Holds, Over, Unknown};

/// What a rule is asked of: apps, or the machine as the one with an empty name.
pub(super) fn subjects(rule: &Rule, now: &Now) -> Vec<String> {
    if matches!(
        rule.condition,
        Condition::Certificate { .. } | Condition::Disk { .. }
    ) {
        return vec![String::new()];
    }
    let apps = now.apps.iter().filter(|app| rule.is_for(&app.name));
    apps.map(|app| app.name.clone()).collect()
}

pub(super) fn judge(rule: &Rule, app: &str, now: &Now, firing: bool, rules: &[Rule]) -> Verdict {
    let within = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
    match rule.condition {
        Condition::Certificate { within_ms } => return certificate(now, within(within_ms)),
        Condition::Disk { below_share } => return disk(now, below_share, firing),
        Condition::Latency { .. }
        | Condition::ErrorRate { .. }
        | Condition::Lag { .. }
        | Condition::Cpu { .. }
        | Condition::Memory { .. }
        | Condition::MemorySlope { .. }
        | Condition::MemoryFull { .. }
        | Condition::CrashLoop
        | Condition::Degraded => {}
    }
    let Some(app) = now.apps.iter().find(|one| one.name == app) else {
        return Unknown;
    };
    match app.status.as_str() {
        "stopped" | "stopping" => return Gone("the app was stopped".into()),
        "exited" => return Gone("the app has ended".into()),
        _ => {}
    }
    match rule.condition {
        Condition::CrashLoop => crash_loop(app),
        Condition::Degraded => {
            let told = |other: &Rule| {
                matches!(other.condition, Condition::CrashLoop) && other.is_for(&app.name)
            };
            degraded(app, rules.iter().any(told))
        }
        Condition::Memory { above_share } => memory(app, above_share, firing),
        Condition::MemorySlope {
            above_bytes_per_hour,
        } => slope(app, above_bytes_per_hour as f64, firing),
        Condition::MemoryFull { within_ms } => full(app, now, within_ms as f64),
        Condition::Latency { .. }
        | Condition::ErrorRate { .. }
        | Condition::Lag { .. }
        | Condition::Cpu { .. } => {
            if app.reloading || app.uptime_ms < WARM_UP_MS {
                return Unknown;
            }
            busy(&rule.condition, app, firing)
        }
        Condition::Certificate { .. } | Condition::Disk { .. } => Unknown,
    }
}

fn busy(condition: &Condition, app: &App, firing: bool) -> Verdict {
    match *condition {
        Condition::Latency {
            percentile,
            above_us,
        } => {
            let Some(latency) = app.traffic.latency else {
                return Unknown;
            };
            let value = match percentile {
                50 => latency.p50_us,
                99 => latency.p99_us,
                _ => latency.p95_us,
            };
            above(
                &format!("p{percentile}"),
                value,
                above_us as f64,
                firing,
                time,
            )
        }
        Condition::Lag { above_us } => match app.lag_p99_us {
            Some(lag) => above("event-loop lag", lag as f64, above_us as f64, firing, time),
            None => Unknown,
        },
        Condition::Cpu { above_percent } => {
            let workers = app.workers.iter().filter(|w| w.pid.is_some()).count();
            if workers == 0 {
                return Unknown;
            }
            let value = app.cpu_percent / workers as f64 / 100.0;
            above(
                "CPU of a worker",
                value,
                above_percent / 100.0,
                firing,
                percent,
            )
        }
        Condition::ErrorRate { above, min_rate } => error_rate(app, above, min_rate, firing),
        Condition::Memory { .. }
        | Condition::MemorySlope { .. }
        | Condition::MemoryFull { .. }
        | Condition::CrashLoop
        | Condition::Degraded
        | Condition::Certificate { .. }
        | Condition::Disk { .. } => Unknown,
    }
}

fn above(what: &str, value: f64, limit: f64, firing: bool, show: fn(f64) -> String) -> Verdict {
    let (value_text, limit_text) = (show(value), show(limit));
    let line = if firing { limit * EASIER } else { limit };
    if value > line {
        let side = if value > limit { "over" } else { "still near" };
        Holds(format!("{what} is {value_text}, {side} {limit_text}"))
    } else {
        Over(format!("{what} is {value_text}, below {limit_text}"))
    }
}

fn error_rate(app: &App, limit: f64, min_rate: f64, firing: bool) -> Verdict {
    let rate = app.traffic.rate;
    if rate <= 0.0 {
        return Unknown;
    }
    let share = (app.traffic.errors_5xx / rate).min(1.0);
    let verdict = above("error rate", share, limit, firing, percent);
    match verdict {
        // Too few to say that it is bad, for an alert that fires also too few that it is not.
        Holds(_) if rate < min_rate && firing => Unknown,
        Holds(_) if rate < min_rate => {
            Over(format!("fewer than {} requests a second", short(min_rate)))
        }
        Holds(_) | Over(_) | Unknown | Gone(_) => verdict,
    }
}

fn crash_loop(app: &App) -> Verdict {
    match app.status.as_str() {
        "crash-loop" => {
            let why = app
                .problem
                .as_deref()
                .unwrap_or("its workers end soon after their start");
            Holds(format!("crash loop: {why}"))
        }
        "ready" => Over("all workers are ready".into()),
        // Between two tries.
        _ => Unknown,
    }
}

fn degraded(app: &App, crash_loop_is_told: bool) -> Verdict {
    if app.ready >= app.wanted {
        return Over(format!("{} of {} workers are ready", app.ready, app.wanted));
    }
    let crashing = app.status == "crash-loop" && crash_loop_is_told;
    if app.reloading || app.status == "waiting" || crashing {
        return Unknown;
    }
    Holds(format!("{} of {} workers are ready", app.ready, app.wanted))
}

fn memory(app: &App, limit: f64, firing: bool) -> Verdict {
    let resident = app.workers.iter().filter_map(|worker| {
        let limit = app.memory_limit_bytes.filter(|bytes| *bytes > 0)?;
        Some((
            "memory of its limit",
            worker.memory_bytes as f64 / limit as f64,
        ))
    });
    let heap = app.workers.iter().filter_map(|worker| {
        let limit = worker.heap_limit_bytes.filter(|bytes| *bytes > 0)?;
        Some((
            "heap of what V8 allows",
            worker.heap_used_bytes? as f64 / limit as f64,
        ))
    });
    let worst = resident.chain(heap).max_by(|a, b| a.1.total_cmp(&b.1));
    match worst {
        Some((what, share)) => above(what, share, limit, firing, percent),
        None => Unknown,
    }
}

/// Whether the preload of a worker tells of its heap; without it no slope is known.
fn knows_heap(app: &App) -> bool {
    app.workers
        .iter()
        .any(|worker| worker.heap_used_bytes.is_some())
}

fn slope(app: &App, limit: f64, firing: bool) -> Verdict {
    match app.leak_bytes_per_hour {
        Some(gain) => {
            let show = |value: f64| format!("{} an hour", bytes(value.max(0.0)));
            above("memory growth", gain, limit, firing, show)
        }
        None if knows_heap(app) => Over("memory does not grow steadily".into()),
        None => Unknown,
    }
}

/// Milliseconds until so many bytes more are in use.
fn hours_as_ms(room: f64, bytes_per_hour: f64) -> Option<f64> {
    (bytes_per_hour > 0.0).then(|| room.max(0.0) / bytes_per_hour * HOUR_MS)
}

fn full(app: &App, now: &Now, within_ms: f64) -> Verdict {
    let mut soonest: Option<(f64, f64, &str)> = None;
    let mut offer = |left: Option<f64>, gain: f64, what| {
        if let Some(left) = left.filter(|left| soonest.is_none_or(|(least, ..)| *left < least)) {
            soonest = Some((left, gain, what));
        }
    };
    for worker in &app.workers {
        let Some(gain) = worker.leak_bytes_per_hour else {
            continue;
        };
        if let Some(limit) = app.memory_limit_bytes {
            let room = limit as f64 - worker.memory_bytes as f64;
            offer(hours_as_ms(room, gain), gain, "its limit");
        }
        if let (Some(limit), Some(floor)) = (worker.heap_limit_bytes, worker.heap_floor_bytes) {
            let room = limit as f64 - floor as f64;
            offer(hours_as_ms(room, gain), gain, "what V8 allows its heap");
        }
    }
    let machine = now.host.memory_total_bytes as f64 * MACHINE_SHARE;
    if let Some(gain) = app.leak_bytes_per_hour
        && app.memory_limit_bytes.is_none()
        && machine > 0.0
    {
        let left = hours_as_ms(machine - app.memory_bytes as f64, gain);
        offer(left, gain, "half of the machine");
    }
    match soonest {
        Some((left, gain, what)) if left < within_ms => Holds(format!(
            "memory grows by {} an hour and reaches {what} in {}",
            bytes(gain),
            duration(left as u64)
        )),
        Some(_) => Over("memory grows slowly".into()),
        None if knows_heap(app) => Over("memory does not grow steadily".into()),
        None => Unknown,
    }
}

fn certificate(now: &Now, within_ms: i64) -> Verdict {
    let Some(gateway) = &now.gateway else {
        return Unknown;
    };
    let mut bad = Vec::new();
    for one in &gateway.certificates {
        let left_ms = one.not_after_s.map(|end| {
            i64::try_from(end)
                .unwrap_or(i64::MAX)
                .saturating_mul(1000)
                .saturating_sub(now.time_ms)
        });
        let text = match (left_ms, &one.problem) {
            (Some(left), _) if left <= 0 => format!("the certificate of {} has ended", one.host),
            (Some(left), problem) if left < within_ms => {
                let left = duration(u64::try_from(left).unwrap_or(0));
                let why = problem
                    .as_ref()
                    .map(|why| format!(": {why}"))
                    .unwrap_or_default();
                format!("the certificate of {} ends in {left}{why}", one.host)
            }
            (_, Some(why)) => format!("the certificate of {} fails: {why}", one.host),
            (None, None) => format!("there is no certificate for {} yet", one.host),
            (Some(_), None) => continue,
        };
        bad.push((left_ms.unwrap_or(0), text));
    }
    bad.sort();
    match bad.as_slice() {
        [] => Over("all certificates are in order".into()),
        [(_, text)] => Holds(text.clone()),
        [(_, text), rest @ ..] => Holds(format!("{text} (and {} more)", rest.len())),
    }
}

fn disk(now: &Now, limit: f64, firing: bool) -> Verdict {
    let host = &now.host;
    if host.disk_total_bytes == 0 {
        return Unknown;
    }
    let share = host.disk_available_bytes as f64 / host.disk_total_bytes as f64;
    let line = if firing { limit / EASIER } else { limit };
    let room = bytes(host.disk_available_bytes as f64);
    if share < line {
        Holds(format!(
            "{room} ({}) are free on the disk, below {}",
            percent(share),
            percent(limit)
        ))
    } else {
        Over(format!("{room} ({}) are free on the disk", percent(share)))
    }
}
