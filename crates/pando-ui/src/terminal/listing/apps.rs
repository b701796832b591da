//! Apps and workers.

use monitor_spec::now::{App, Latency, Now, Traffic, Worker};

use super::super::page::Page;
use super::super::verdict;
use super::{Entry, Listing};
use crate::table::{Align, Column};
use crate::text::Style;
use crate::units::{self, float};

/// On 80 columns none of the first five that may go is missing; on 40 a name and a state are left.
const APPS: [Column; 17] = [
    Column::left("APP", 0).cut(16).at_least(8),
    Column::left("STATE", 0),
    Column::right("READY", 0),
    Column::right("REQ/S", 1).at_least(6),
    Column::right("ERR", 2).at_least(4),
    Column::right("P50", 12).at_least(7),
    Column::right("P95", 3).at_least(7),
    Column::right("P99", 9).at_least(7),
    Column::right("LAG", 6).at_least(7),
    Column::right("CPU", 5).at_least(5),
    Column::right("MEMORY", 4).at_least(7),
    Column::right("LOOP", 11).at_least(5),
    Column::left("TREND", 7),
    Column::right("RESTARTS", 10),
    Column::right("UP", 11).at_least(6),
    Column::left("LISTEN", 13).cut(8),
    Column::left("COMMAND", 14).cut(10),
];
const APP_TREND: usize = 12;

/// One row an app.
pub fn apps(now: &Now) -> Listing {
    Listing {
        columns: APPS.to_vec(),
        trend: Some(APP_TREND),
        trend_floor: 1.0,
        entries: now.apps.iter().map(app).collect(),
        empty: "no app yet: `pando start server.js` starts one",
    }
}

fn app(app: &App) -> Entry {
    let (state, style) = verdict::state_cell(verdict::app_state(app));
    let latency = app.traffic.latency;
    let runs = app.ready > 0;
    let entry = Entry::new(&app.name)
        .opens(Page::App(app.name.clone()))
        .text(&app.name, Style::Bold)
        .text(state, style);
    let entry = ready(entry, app);
    let entry = rate_and_errors(entry, &app.traffic);
    let entry = percentile(entry, latency, |l| l.p50_us);
    let entry = percentile(entry, latency, |l| l.p95_us);
    let entry = percentile(entry, latency, |l| l.p99_us);
    let entry = lag(entry, app.lag_p99_us);
    restarts(
        entry
            .plain(runs.then_some(app.cpu_percent), units::percent)
            .plain(used(app.memory_bytes), size)
            .plain(app.utilization.map(|u| u * 100.0), units::percent)
            .trend(&app.history.rate),
        app.restarts,
    )
    .plain(runs.then_some(float(app.uptime_ms)), duration)
    .text(app.listen.join(" "), Style::Plain)
    .text(&app.command, Style::Dim)
}

const WORKERS: [Column; 18] = [
    Column::right("#", 0),
    Column::left("STATE", 0),
    Column::right("PID", 9),
    Column::right("REQ/S", 1).at_least(6),
    Column::right("ERR", 8).at_least(4),
    Column::right("P95", 2).at_least(7),
    Column::right("P99", 11).at_least(7),
    Column::right("LAG", 4).at_least(7),
    Column::right("LOOP", 6).at_least(5),
    Column::right("CPU", 5).at_least(5),
    Column::right("MEMORY", 3).at_least(7),
    Column::right("HEAP", 10).at_least(7),
    Column::right("GC", 12).at_least(5),
    Column::left("TREND", 10),
    Column::right("RESTARTS", 11),
    Column::right("UP", 7).at_least(6),
    Column::right("FDS", 13).at_least(4),
    Column::left("LAST EXIT", 14).cut(10),
];
const WORKER_TREND: usize = 13;

/// One row a worker.
pub fn workers(app: &App) -> Listing {
    Listing {
        columns: WORKERS.to_vec(),
        trend: Some(WORKER_TREND),
        trend_floor: 1.0,
        entries: app.workers.iter().map(|w| worker(app, w)).collect(),
        empty: "no worker",
    }
}

fn worker(app: &App, worker: &Worker) -> Entry {
    let (state, style) = verdict::state_cell(&worker.state);
    let latency = worker.traffic.latency;
    let instance = f64::from(worker.instance);
    let lives = worker.pid.is_some();
    let entry = Entry::new(worker.instance.to_string())
        .opens(worker_page(app, worker))
        .ranked(worker.instance.to_string(), Style::Bold, instance)
        .text(state, style)
        .plain(worker.pid.map(f64::from), |pid| pid.to_string());
    let entry = rate_and_errors(entry, &worker.traffic);
    let entry = percentile(entry, latency, |l| l.p95_us);
    let entry = percentile(entry, latency, |l| l.p99_us);
    let entry = lag(entry, worker.lag_p99_us);
    let entry = entry
        .plain(worker.utilization.map(|u| u * 100.0), units::percent)
        .plain(lives.then_some(worker.cpu_percent), units::percent);
    let entry = memory(entry, worker.memory_bytes, app.memory_limit_bytes)
        .plain(worker.heap_used_bytes.map(float), size)
        .plain(worker.gc_ms_per_s.map(|ms| ms / 10.0), units::percent)
        .trend(&worker.history.rate);
    restarts(entry, worker.restarts)
        .plain(lives.then_some(float(worker.uptime_ms)), duration)
        .plain(lives.then_some(float(worker.fds)), units::whole_count)
        .text(worker.last_exit.as_deref().unwrap_or(""), Style::Yellow)
}

fn worker_page(app: &App, worker: &Worker) -> Page {
    Page::Worker {
        app: app.name.clone(),
        instance: worker.instance,
    }
}

const TOP: [Column; 14] = [
    Column::left("NAME", 0).cut(18).at_least(10),
    Column::left("STATE", 0),
    Column::right("PID", 11),
    Column::right("REQ/S", 1).at_least(6),
    Column::right("ERR", 6).at_least(4),
    Column::right("P50", 10).at_least(7),
    Column::right("P95", 4).at_least(7),
    Column::right("P99", 9).at_least(7),
    Column::right("LAG", 5).at_least(7),
    Column::right("LOOP", 12).at_least(5),
    Column::right("CPU", 3).at_least(5),
    Column::right("MEMORY", 2).at_least(7),
    Column::left("TREND", 7),
    Column::right("UP", 8).at_least(6),
];
const TOP_TREND: usize = 12;

/// Whether a column of [`top`] is of numbers, which are sorted from the largest.
pub fn is_number_of_top(column: usize) -> bool {
    TOP.get(column).is_some_and(|c| c.align == Align::Right)
}

/// Apps, and their workers below them.
pub fn top(now: &Now) -> Listing {
    let with_workers = |app: &App| {
        let mut entry = top_app(app);
        entry.children = app.workers.iter().map(|w| top_worker(app, w)).collect();
        entry
    };
    Listing {
        columns: TOP.to_vec(),
        trend: Some(TOP_TREND),
        trend_floor: 1.0,
        entries: now.apps.iter().map(with_workers).collect(),
        empty: "no app yet: `pando start server.js` starts one",
    }
}

fn top_app(app: &App) -> Entry {
    let (sign, style) = verdict::state(verdict::app_state(app));
    let state = if app.wanted > 1 || app.ready < app.wanted {
        format!(
            "{sign} {} {}/{}",
            verdict::app_state(app),
            app.ready,
            app.wanted
        )
    } else {
        format!("{sign} {}", verdict::app_state(app))
    };
    let entry = Entry::new(&app.name)
        .opens(Page::App(app.name.clone()))
        .text(&app.name, Style::Bold)
        .text(state, style)
        .ranked("", Style::Plain, 0.0);
    let runs = app.ready > 0;
    let entry = top_traffic(entry, &app.traffic);
    lag(entry, app.lag_p99_us)
        .plain(app.utilization.map(|u| u * 100.0), units::percent)
        .plain(runs.then_some(app.cpu_percent), units::percent)
        .plain(used(app.memory_bytes), size)
        .trend(&app.history.rate)
        .plain(runs.then_some(float(app.uptime_ms)), duration)
}

fn top_worker(app: &App, worker: &Worker) -> Entry {
    let (state, style) = verdict::state_cell(&worker.state);
    let name = format!("  worker {}", worker.instance);
    let lives = worker.pid.is_some();
    let entry = Entry::new(format!("{}\0{}", app.name, worker.instance))
        .opens(worker_page(app, worker))
        .text(name, Style::Plain)
        .text(state, style)
        .plain(worker.pid.map(f64::from), |pid| pid.to_string());
    let entry = top_traffic(entry, &worker.traffic);
    let entry = lag(entry, worker.lag_p99_us)
        .plain(worker.utilization.map(|u| u * 100.0), units::percent)
        .plain(lives.then_some(worker.cpu_percent), units::percent);
    memory(entry, worker.memory_bytes, app.memory_limit_bytes)
        .trend(&worker.history.rate)
        .plain(lives.then_some(float(worker.uptime_ms)), duration)
}

fn top_traffic(entry: Entry, traffic: &Traffic) -> Entry {
    let entry = rate_and_errors(entry, traffic);
    let entry = percentile(entry, traffic.latency, |l| l.p50_us);
    let entry = percentile(entry, traffic.latency, |l| l.p95_us);
    percentile(entry, traffic.latency, |l| l.p99_us)
}

/// `2/4`; yellow while some are missing.
fn ready(entry: Entry, app: &App) -> Entry {
    if app.wanted == 0 {
        return entry.ranked("-", Style::Dim, -1.0);
    }
    let style = if app.ready < app.wanted {
        verdict::state(verdict::app_state(app)).1
    } else {
        Style::Plain
    };
    let shown = format!("{}/{}", app.ready, app.wanted);
    entry.ranked(shown, style, f64::from(app.ready))
}

/// Requests a second and the share of 5xx; dashes where nobody sees requests.
pub fn rate_and_errors(entry: Entry, traffic: &Traffic) -> Entry {
    use monitor_spec::now::Source;
    let seen = match traffic.source {
        Source::None => None,
        Source::Agent | Source::Gateway => Some(traffic),
    };
    let share = seen.map(|t| verdict::error_share(t) * 100.0);
    entry
        .plain(seen.map(|t| t.rate), units::rate)
        .number(share, units::percent, |percent| {
            verdict::error_style(percent / 100.0)
        })
}

pub fn percentile(entry: Entry, latency: Option<Latency>, of: impl Fn(Latency) -> f64) -> Entry {
    entry.plain(latency.map(of), units::took)
}

pub fn lag(entry: Entry, lag_us: Option<u64>) -> Entry {
    entry.number(lag_us.map(float), units::took, |us| {
        verdict::LAG.style(us, Style::Plain)
    })
}

/// A worker's memory, judged by its limit.
fn memory(entry: Entry, bytes: u64, limit: Option<u64>) -> Entry {
    let limits = verdict::memory(limit);
    entry.number(used(bytes), size, |bytes| limits.style(bytes, Style::Plain))
}

fn restarts(entry: Entry, restarts: u64) -> Entry {
    let style = if restarts == 0 {
        Style::Dim
    } else {
        Style::Yellow
    };
    entry.ranked(units::count(restarts), style, float(restarts))
}

/// A process that was not looked at yet has no memory; one that runs always has some.
fn used(bytes: u64) -> Option<f64> {
    (bytes > 0).then_some(float(bytes))
}

pub fn size(bytes: f64) -> String {
    units::size(units::whole(bytes))
}

fn duration(ms: f64) -> String {
    units::duration(units::whole(ms))
}
