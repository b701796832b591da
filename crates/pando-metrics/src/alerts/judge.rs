//! Does a rule's condition hold for an app in this picture?

use app_spec::GATEWAY;
use monitor_spec::now::{App, Now};
use monitor_spec::settings::Condition;

use super::flow::{Flow, Flows, SPAN_MS};
use super::rules::Rule;
use super::words::{bytes, duration, percent, short, time};

/// A process that begins compiles its code: it is slow, and that is no alert.
const WARM_UP_MS: u64 = 10_000;
/// The limit of what fires is so much easier.
const EASIER: f64 = 0.9;
/// Of the machine, that an app without a limit is thought to have.
const MACHINE_SHARE: f64 = 0.5;
const HOUR_MS: f64 = 3_600_000.0;
/// Errors are counted over at least so long.
const LEAST_SPAN_MS: i64 = 10_000;
/// Where there are few requests: so many failures, and such a share of all, are bad.
const FEW_REQUESTS: f64 = 10.0;
const MOST: f64 = 0.5;
/// For so long an app that was never ready is only beginning.
const BEGINS_MS: u64 = 300_000;

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

/// What a rule is judged by, beside the picture.
pub(super) struct Known<'a> {
    pub rules: &'a [Rule],
    pub flows: &'a Flows,
}

impl Known<'_> {
    /// Some rule tells this of the app.
    fn tells(&self, app: &App, is: fn(&Condition) -> bool) -> bool {
        let mut rules = self.rules.iter();
        rules.any(|rule| is(&rule.condition) && rule.is_for(&app.name))
    }

    /// A crash loop is told by its own rule alone.
    fn tells_crash_loop(&self, app: &App) -> bool {
        let is = |condition: &Condition| matches!(condition, Condition::CrashLoop);
        app.status == "crash-loop" && self.tells(app, is)
    }
}

pub(super) fn judge(rule: &Rule, app: &str, now: &Now, firing: bool, known: &Known<'_>) -> Verdict {
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
        | Condition::Restarts { .. }
        | Condition::Down
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
        Condition::Restarts { above } => restarts(app, above, known),
        Condition::Down => down(app, known),
        Condition::Degraded => degraded(app, known),
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
            busy(rule, app, firing, known)
        }
        Condition::Certificate { .. } | Condition::Disk { .. } => Unknown,
    }
}

fn busy(rule: &Rule, app: &App, firing: bool, known: &Known<'_>) -> Verdict {
    match rule.condition {
        Condition::Latency {
            percentile,
            above_us,
        } => {
            // Its latencies are those of all apps and of slow clients: it must be meant.
            if app.name == GATEWAY && rule.apps.is_empty() {
                return Unknown;
            }
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
        Condition::Lag { above_us } => match lag_us(app) {
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
        Condition::ErrorRate { above, min_rate } => match known.flows.of(&app.name) {
            Some(flow) => error_rate(flow, rule.for_ms, (above, min_rate), firing),
            None => Unknown,
        },
        Condition::Memory { .. }
        | Condition::MemorySlope { .. }
        | Condition::MemoryFull { .. }
        | Condition::CrashLoop
        | Condition::Restarts { .. }
        | Condition::Down
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

/// Of the workers that have been up for a while: one that begins loads its code.
fn lag_us(app: &App) -> Option<u64> {
    let known = || app.workers.iter().filter(|w| w.lag_p99_us.is_some());
    if known().next().is_none() {
        return app.lag_p99_us;
    }
    let warm = known().filter(|worker| worker.uptime_ms >= WARM_UP_MS);
    warm.filter_map(|worker| worker.lag_p99_us).max()
}

/// Over the time that it must hold, so that rare errors among rare requests do not come and go.
fn error_rate(flow: &Flow, for_ms: u64, (limit, min_rate): (f64, f64), firing: bool) -> Verdict {
    let span_ms = i64::try_from(for_ms).unwrap_or(SPAN_MS);
    let recent = flow.over(span_ms.clamp(LEAST_SPAN_MS, SPAN_MS));
    let Some(share) = recent.error_share() else {
        return Unknown;
    };
    if recent.rate() >= min_rate {
        return above("error rate", share, limit, firing, percent);
    }
    // Too few for a share of them to say much; if most of them fail, that says enough.
    let all = flow.over(SPAN_MS);
    let share = all.error_share().unwrap_or(0.0);
    let enough = |count: f64| count.round() >= FEW_REQUESTS;
    if enough(all.errors) && share >= limit.max(MOST) {
        return Holds(format!(
            "{:.0} of {:.0} requests failed in ten minutes",
            all.errors, all.requests
        ));
    }
    let few = format!("fewer than {} requests a second", short(min_rate));
    match (firing, share <= limit * EASIER && enough(all.requests)) {
        // For an alert that fires also too few that it is not.
        (true, false) => Unknown,
        (true, true) => Over(format!("error rate is {}, {few}", percent(share))),
        (false, _) => Over(few),
    }
}

fn restarts(app: &App, limit: u32, known: &Known<'_>) -> Verdict {
    if known.tells_crash_loop(app) {
        return Unknown;
    }
    let Some(flow) = known.flows.of(&app.name) else {
        return Unknown;
    };
    let count = flow.over(SPAN_MS).restarts;
    if count <= u64::from(limit) {
        return Over(format!("{count} restarts in ten minutes"));
    }
    let last = app.workers.iter().find_map(|w| w.last_exit.as_deref());
    let why = last.map(|why| format!(": {why}")).unwrap_or_default();
    Holds(format!(
        "{count} restarts in ten minutes that nobody asked for, over {limit}{why}"
    ))
}

fn down(app: &App, known: &Known<'_>) -> Verdict {
    if app.ready > 0 || app.wanted == 0 {
        return Over(format!("{} of {} workers are ready", app.ready, app.wanted));
    }
    // An app that has just been started may take its time.
    let was_ready = known.flows.of(&app.name).is_some_and(|f| f.was_ready);
    let begins = !was_ready && app.uptime_ms < BEGINS_MS;
    if app.reloading || app.status == "waiting" || begins || known.tells_crash_loop(app) {
        return Unknown;
    }
    let why = app.problem.as_ref().map(|why| format!(": {why}"));
    let why = why.unwrap_or_default();
    Holds(format!("none of its {} workers is ready{why}", app.wanted))
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

fn degraded(app: &App, known: &Known<'_>) -> Verdict {
    if app.ready >= app.wanted {
        return Over(format!("{} of {} workers are ready", app.ready, app.wanted));
    }
    let is_down = |condition: &Condition| matches!(condition, Condition::Down);
    let told = (app.ready == 0 && known.tells(app, is_down)) || known.tells_crash_loop(app);
    if app.reloading || app.status == "waiting" || told {
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
