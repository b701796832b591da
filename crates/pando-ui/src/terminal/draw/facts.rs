//! What a page is about, in one or two lines above its charts; and all that is known of a worker
//! or an endpoint.

use monitor_spec::now::{App, Endpoint, Gateway, Latency, Now, Source, Traffic, Worker};
use ratatui::layout::Rect;

use super::super::look::Pen;
use super::super::model::Model;
use super::super::page::{self, Page};
use super::super::verdict;
use crate::text::Style;
use crate::units;

type Piece = (String, Style);

/// Draws the lines; returns the rows taken.
pub fn lines(model: &Model, pen: &mut Pen, area: Rect) -> u16 {
    let Some(now) = model.now.as_deref() else {
        return 0;
    };
    let lines = match &model.place().page {
        Page::Apps | Page::Top => vec![machine(now)],
        Page::App(name) => match page::app(now, name) {
            Some(app) => of_app(app),
            None => gone(name),
        },
        Page::Worker { app, instance } => match page::worker(now, app, *instance) {
            Some(worker) => of_worker(worker),
            None => gone(&format!("worker {instance} of {app}")),
        },
        Page::Endpoint { app, method, route } => match page::endpoint(now, app, method, route) {
            Some(endpoint) => vec![latencies(&endpoint.traffic)],
            None => vec![vec![dim("no request in the last 60 s")]],
        },
        Page::Gateway => now.gateway.as_ref().map_or_else(Vec::new, of_gateway),
        Page::Alerts | Page::Events | Page::Logs => Vec::new(),
    };
    let mut y = area.y;
    for line in &lines {
        pen.whole_pieces(area.x, y, area.width, line);
        y += 1;
    }
    y - area.y
}

fn dim(text: impl Into<String>) -> Piece {
    (text.into(), Style::Dim)
}

fn plain(text: impl Into<String>) -> Piece {
    (text.into(), Style::Plain)
}

/// `label value` with room behind it.
fn pair(line: &mut Vec<Piece>, label: &str, value: impl Into<String>, style: Style) {
    line.push(dim(format!("{label} ")));
    line.push((value.into(), style));
    line.push(plain("  "));
}

fn gone(what: &str) -> Vec<Vec<Piece>> {
    vec![vec![(
        format!("▲ {what} is not there any more"),
        Style::Yellow,
    )]]
}

fn machine(now: &Now) -> Vec<Piece> {
    let host = &now.host;
    let used = host
        .memory_total_bytes
        .saturating_sub(host.memory_available_bytes);
    let mut line = vec![plain(format!("{}  ", host.name))];
    pair(&mut line, "cores", host.cores.to_string(), Style::Plain);
    pair(
        &mut line,
        "cpu",
        units::percent(host.cpu_percent),
        Style::Plain,
    );
    pair(
        &mut line,
        "load",
        format!("{:.1}", host.load_1m),
        Style::Plain,
    );
    let memory = format!(
        "{} of {}",
        units::size(used),
        units::size(host.memory_total_bytes)
    );
    pair(&mut line, "memory", memory, Style::Plain);
    let rate: f64 = now.apps.iter().map(|app| app.traffic.rate).sum();
    pair(&mut line, "requests/s", units::rate(rate), Style::Bold);
    if let Some(throttled) = host.cgroup_throttled_percent.filter(|p| *p >= 1.0) {
        pair(
            &mut line,
            "throttled",
            units::percent(throttled),
            Style::Yellow,
        );
    }
    line
}

fn of_app(app: &App) -> Vec<Vec<Piece>> {
    let word = verdict::app_state(app);
    let (state, style) = verdict::state_cell(word);
    let mut facts = vec![(format!("{state} {}/{}", app.ready, app.wanted), style)];
    facts.push(plain(format!("  {}  ", app.mode)));
    if !app.listen.is_empty() {
        facts.push(plain(format!("{}  ", app.listen.join(" "))));
    }
    if app.ready > 0 {
        pair(
            &mut facts,
            "up",
            units::duration(app.uptime_ms),
            Style::Plain,
        );
    }
    let restarts = if app.restarts > 0 {
        Style::Yellow
    } else {
        Style::Plain
    };
    pair(&mut facts, "restarts", app.restarts.to_string(), restarts);
    if let Some(limit) = app.memory_limit_bytes {
        pair(&mut facts, "limit", units::size(limit), Style::Plain);
    }
    facts.push(dim(app.command.clone()));
    let mut lines = vec![facts];
    if let Some(problem) = &app.problem {
        let sign = if style == Style::Red { '✖' } else { '▲' };
        let style = if style == Style::Red {
            Style::Red
        } else {
            Style::Yellow
        };
        lines.push(vec![(format!("{sign} {problem}"), style)]);
    }
    lines.push(latencies(&app.traffic));
    if let Some(leak) = app.leak_bytes_per_hour.filter(|bytes| *bytes > 0.0) {
        let bytes = units::size(units::whole(leak));
        lines.push(vec![(
            format!("▲ the heaps' floors grow by {bytes} an hour"),
            Style::Yellow,
        )]);
    }
    lines
}

/// Percentiles, errors, and where they were taken.
fn latencies(traffic: &Traffic) -> Vec<Piece> {
    let mut line = Vec::new();
    let latency = traffic.latency;
    let shown = |of: fn(Latency) -> f64| latency.map_or("-".to_owned(), |l| units::took(of(l)));
    pair(&mut line, "p50", shown(|l| l.p50_us), Style::Plain);
    pair(&mut line, "p95", shown(|l| l.p95_us), Style::Bold);
    pair(&mut line, "p99", shown(|l| l.p99_us), Style::Plain);
    pair(&mut line, "max", shown(|l| l.max_us), Style::Plain);
    let share = verdict::error_share(traffic);
    let errors = if share > 0.0 {
        verdict::error_style(share)
    } else {
        Style::Plain
    };
    pair(&mut line, "5xx", units::percent(share * 100.0), errors);
    pair(
        &mut line,
        "4xx/s",
        units::rate(traffic.errors_4xx),
        Style::Plain,
    );
    let source = match traffic.source {
        Source::None => "nobody sees its requests",
        Source::Agent => "in the worker",
        Source::Gateway => "at the gateway",
    };
    line.extend([dim(source), plain("  ")]);
    pair(
        &mut line,
        "in flight",
        units::count(traffic.in_flight),
        Style::Plain,
    );
    line
}

fn of_worker(worker: &Worker) -> Vec<Vec<Piece>> {
    let mut facts = vec![verdict::state_cell(&worker.state)];
    facts.push(plain("  "));
    if let Some(pid) = worker.pid {
        pair(&mut facts, "pid", pid.to_string(), Style::Plain);
        pair(
            &mut facts,
            "up",
            units::duration(worker.uptime_ms),
            Style::Plain,
        );
    }
    pair(
        &mut facts,
        "restarts",
        worker.restarts.to_string(),
        Style::Plain,
    );
    if let Some(node) = &worker.node {
        pair(&mut facts, "node", node.clone(), Style::Plain);
    }
    if !worker.agent {
        facts.push(dim("without the preload: seen from outside only"));
    }
    if let Some(exit) = &worker.last_exit {
        pair(&mut facts, "its predecessor", exit.clone(), Style::Yellow);
    }
    vec![facts, latencies(&worker.traffic)]
}

fn of_gateway(gateway: &Gateway) -> Vec<Vec<Piece>> {
    let mut line = Vec::new();
    pair(
        &mut line,
        "connections",
        units::count(gateway.connections),
        Style::Plain,
    );
    pair(
        &mut line,
        "tunnels",
        units::count(gateway.tunnels),
        Style::Plain,
    );
    let per_s = |bytes: f64| format!("{}/s", units::size(units::whole(bytes)));
    pair(&mut line, "in", per_s(gateway.bytes_in_per_s), Style::Plain);
    pair(
        &mut line,
        "out",
        per_s(gateway.bytes_out_per_s),
        Style::Plain,
    );
    let hits = gateway.cache_hit_ratio;
    let hits = hits.map_or("-".to_owned(), |ratio| units::percent(ratio * 100.0));
    pair(&mut line, "cache hits", hits, Style::Plain);
    pair(
        &mut line,
        "limited/s",
        units::rate(gateway.limited),
        Style::Plain,
    );
    pair(
        &mut line,
        "retries/s",
        units::rate(gateway.retries),
        Style::Plain,
    );
    vec![line, latencies(&gateway.traffic)]
}

/// Label, value, and how it looks.
type Fact = (&'static str, String, Style);

const LABEL_WIDTH: u16 = 20;
const VALUE_WIDTH: u16 = 18;

/// All that is known of a worker or an endpoint, in as many columns as there is room for.
pub fn details(model: &Model, pen: &mut Pen, area: Rect) {
    let Some(now) = model.now.as_deref() else {
        return;
    };
    let page = &model.place().page;
    let facts = if let Page::Worker { app, instance } = page {
        let limit = page::app(now, app).and_then(|app| app.memory_limit_bytes);
        page::worker(now, app, *instance).map(|worker| worker_facts(worker, limit))
    } else if let Page::Endpoint { app, method, route } = page {
        page::endpoint(now, app, method, route).map(endpoint_facts)
    } else {
        None
    };
    let wide = LABEL_WIDTH + VALUE_WIDTH;
    let columns = usize::from((area.width / wide).max(1));
    let facts = facts.unwrap_or_default();
    let height = facts.len().div_ceil(columns).max(1);
    for (at, (label, value, style)) in facts.iter().enumerate() {
        let x = area.x + u16::try_from(at / height).unwrap_or(0) * wide;
        let y = area.y + u16::try_from(at % height).unwrap_or(0);
        if y < area.bottom() {
            pen.put(x, y, LABEL_WIDTH - 1, label, Style::Dim);
            pen.put(x + LABEL_WIDTH, y, VALUE_WIDTH - 2, value, *style);
        }
    }
}

fn worker_facts(worker: &Worker, limit: Option<u64>) -> Vec<Fact> {
    let size = |bytes: Option<u64>| bytes.map_or("-".to_owned(), units::size);
    let took = |us: Option<u64>| us.map_or("-".to_owned(), |us| units::took(units::float(us)));
    let memory = units::float(worker.memory_bytes);
    let lag = worker.lag_p99_us.map_or(0.0, units::float);
    let share = |value: Option<f64>| value.map_or("-".to_owned(), units::percent);
    let is = Style::Plain;
    vec![
        (
            "memory",
            size(Some(worker.memory_bytes)),
            verdict::memory(limit).style(memory, is),
        ),
        (
            "memory limit",
            limit.map_or("none".to_owned(), units::size),
            is,
        ),
        ("its own share (PSS)", size(worker.pss_bytes), is),
        ("heap used", size(worker.heap_used_bytes), is),
        ("heap total", size(worker.heap_total_bytes), is),
        ("heap limit", size(worker.heap_limit_bytes), is),
        ("heap floor", size(worker.heap_floor_bytes), is),
        ("outside the heap", size(worker.external_bytes), is),
        ("heap floor grows", leak(worker.leak_bytes_per_hour), is),
        ("loop lag mean", took(worker.lag_mean_us), is),
        (
            "loop lag p99",
            took(worker.lag_p99_us),
            verdict::LAG.style(lag, is),
        ),
        ("loop lag max", took(worker.lag_max_us), is),
        (
            "loop in use",
            share(worker.utilization.map(|u| u * 100.0)),
            is,
        ),
        (
            "garbage collection",
            share(worker.gc_ms_per_s.map(|ms| ms / 10.0)),
            is,
        ),
        ("cpu", units::percent(worker.cpu_percent), is),
        (
            "waits for a cpu",
            units::percent(worker.cpu_wait_percent),
            is,
        ),
        ("switches/s", units::rate(worker.context_switches), is),
        ("threads", units::count(worker.threads), is),
        ("descriptors", units::count(worker.fds), is),
        (
            "handles",
            worker.handles.map_or("-".to_owned(), |n| n.to_string()),
            is,
        ),
        (
            "predecessor",
            worker.last_exit.clone().unwrap_or("-".into()),
            is,
        ),
    ]
}

fn leak(bytes_per_hour: Option<f64>) -> String {
    match bytes_per_hour {
        Some(bytes) if bytes > 0.0 => format!("{}/h", units::size(units::whole(bytes))),
        Some(_) | None => "no".to_owned(),
    }
}

fn endpoint_facts(endpoint: &Endpoint) -> Vec<Fact> {
    let traffic = &endpoint.traffic;
    let mean = traffic.latency.map_or(0.0, |latency| latency.mean_us);
    let is = Style::Plain;
    vec![
        ("requests in 60 s", units::count(endpoint.requests), is),
        ("requests/s", units::rate(traffic.rate), is),
        (
            "5xx/s",
            units::rate(traffic.errors_5xx),
            verdict::error_style(verdict::error_share(traffic)),
        ),
        ("4xx/s", units::rate(traffic.errors_4xx), is),
        ("mean", units::took(mean), is),
        (
            "of the app's time",
            units::percent(endpoint.time_share * 100.0),
            is,
        ),
        ("in flight", units::count(traffic.in_flight), is),
    ]
}
