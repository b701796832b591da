//! `pando show`: one app and its workers.

use pando_control::api::{AppView, WorkerState, WorkerView};

use super::apps::{status, urls};
use super::table::{Cell, Column, Layout, Row, render};
use super::text::{Style, one_line};
use super::units;

const COLUMNS: [Column; 10] = [
    Column::right("WORKER", 0),
    Column::right("ID", 3),
    Column::right("PID", 0),
    Column::left("STATE", 0),
    Column::right("UPTIME", 0),
    Column::right("RESTARTS", 1),
    Column::right("CPU", 0),
    Column::right("MEMORY", 0),
    Column::right("PORT", 2),
    Column::left("LAST EXIT", 4).cut(10),
];

/// Label and value of what is said of an app above its workers. Values may be long.
pub fn facts(app: &AppView) -> Vec<(&'static str, String)> {
    let mut facts = vec![
        (
            "status",
            format!("{}, {} of {} ready", status(app).0, app.ready, app.wanted),
        ),
        ("command", app.command.clone()),
        ("cwd", app.cwd.display().to_string()),
        ("mode", format!("{}, {}", app.mode, app.balance)),
    ];
    let urls = urls(&app.listen);
    if !app.listen.is_empty() {
        let open = if urls.is_empty() {
            String::new()
        } else {
            format!("   {}", urls.join("  "))
        };
        facts.push(("listen", format!("{}{open}", app.listen.join(" "))));
    }
    if app.uptime_ms > 0 {
        facts.push(("uptime", units::duration(app.uptime_ms)));
    }
    facts.push(("restarts", app.restarts.to_string()));
    if let Some(problem) = &app.problem {
        facts.push(("problem", problem.clone()));
    }
    facts
}

/// Everything about one app, as lines.
pub fn page(app: &AppView, more: &[(&'static str, String)], layout: Layout) -> Vec<String> {
    let facts = facts(app);
    let all = || facts.iter().chain(more);
    let labels = all().map(|(label, _)| label.len()).max().unwrap_or(0);
    let mut lines = vec![Style::Bold.paint(&one_line(&app.name), layout.color)];
    for (label, value) in all() {
        let style = if *label == "status" {
            status(app).1
        } else {
            Style::Plain
        };
        let style = if *label == "problem" {
            Style::Red
        } else {
            style
        };
        let label = Style::Dim.paint(&format!("{label:<labels$}"), layout.color);
        lines.push(format!(
            "  {label}  {}",
            style.paint(&one_line(value), layout.color)
        ));
    }
    if !app.workers.is_empty() {
        lines.push(String::new());
        lines.extend(table(&app.workers, layout));
    }
    lines
}

/// The workers' table.
pub fn table(workers: &[WorkerView], layout: Layout) -> Vec<String> {
    let rows: Vec<Row> = workers.iter().map(row).collect();
    render(&COLUMNS, &rows, layout)
}

fn row(worker: &WorkerView) -> Row {
    let (state, style) = state(worker.state);
    let lives = worker.pid.is_some();
    let dash_unless = |shown: bool, text: String| {
        if shown {
            Cell::new(text)
        } else {
            Cell::styled("-", Style::Dim)
        }
    };
    let live = |text| dash_unless(lives, text);
    // A process that was not looked at yet has no memory.
    let measured = |text| dash_unless(lives && worker.memory_bytes > 0, text);
    let cells = vec![
        Cell::new(worker.instance.to_string()),
        Cell::styled(worker.id.to_string(), Style::Dim),
        live(worker.pid.unwrap_or(0).to_string()),
        Cell::styled(state, style),
        live(units::duration(worker.uptime_ms)),
        Cell::new(worker.restarts.to_string()),
        measured(units::percent(worker.cpu_percent)),
        measured(units::size(worker.memory_bytes)),
        Cell::new(worker.port.map(|p| p.to_string()).unwrap_or_default()),
        Cell::styled(
            worker.last_exit.as_deref().unwrap_or_default(),
            Style::Yellow,
        ),
    ];
    Row {
        cells,
        notes: Vec::new(),
    }
}

fn state(state: WorkerState) -> (&'static str, Style) {
    match state {
        WorkerState::Starting => ("starting", Style::Cyan),
        WorkerState::Ready => ("ready", Style::Green),
        WorkerState::Unhealthy => ("unhealthy", Style::Red),
        WorkerState::Stalled => ("stalled", Style::Red),
        WorkerState::Draining => ("draining", Style::Yellow),
        WorkerState::Stopping => ("stopping", Style::Yellow),
        WorkerState::Backoff => ("backoff", Style::Yellow),
        WorkerState::CrashLoop => ("crash-loop", Style::Red),
        WorkerState::Stopped => ("stopped", Style::Dim),
    }
}

#[cfg(test)]
mod tests {
    use pando_control::api::AppStatus;

    use super::super::apps::tests::{app, worker};
    use super::*;

    const PAGE: &str = r"
api
  status    degraded, 1 of 2 ready
  command   server.js
  cwd       /srv/api
  mode      cluster, steered
  listen    :3000   http://localhost:3000
  uptime    2h 5m
  restarts  0
  file      /srv/api/pando.toml

WORKER  ID   PID  STATE    UPTIME  RESTARTS   CPU   MEMORY  LAST EXIT
     0   1  4000  ready     2h 5m         0  3.0%  38.2 MB
     1   2     -  backoff       -         3     -        -  exit code 1
";

    #[test]
    fn a_page_at_eighty_columns() {
        let mut app = app("api", 2);
        app.workers[1] = WorkerView {
            pid: None,
            state: WorkerState::Backoff,
            restarts: 3,
            last_exit: Some("exit code 1".into()),
            ..worker(1)
        };
        app.ready = 1;
        app.status = AppStatus::Degraded;
        let more = [("file", "/srv/api/pando.toml".to_string())];
        let lines = page(
            &app,
            &more,
            Layout {
                width: Some(80),
                color: false,
            },
        );
        assert_eq!(lines.join("\n"), PAGE.trim_matches('\n'));
    }
}
