//! `pando ls`: one row an app, and below it what is wrong with it.

use monitor_spec::now::{App, Now, Source};
use pando_control::api::{AppStatus, AppView};
use serde_json::{Value, json};

use super::table::{Cell, Column, Layout, Row, note_of, render};
use super::text::Style;
use super::units;

const COLUMNS: [Column; 13] = [
    Column::left("NAME", 0).cut(14),
    Column::left("MODE", 7),
    Column::left("STATUS", 0),
    Column::right("READY", 0),
    Column::right("RESTARTS", 6),
    Column::right("UPTIME", 5),
    Column::right("CPU", 0),
    Column::right("MEMORY", 0),
    Column::right("REQ/S", 2),
    Column::right("P95", 3),
    Column::right("LAG", 4),
    Column::left("LISTEN", 1).cut(8),
    Column::left("COMMAND", 9).cut(16),
];

/// The table's lines. Without a picture of the metrics what they know is a dash.
pub fn table(apps: &[AppView], now: Option<&Now>, layout: Layout) -> Vec<String> {
    let row = |app| row(app, now.and_then(|now| measured(now, app)));
    let rows: Vec<Row> = apps.iter().map(row).collect();
    render(&COLUMNS, &rows, layout)
}

fn measured<'a>(now: &'a Now, app: &AppView) -> Option<&'a App> {
    now.apps.iter().find(|known| known.name == app.name)
}

/// For programs: the app with what the metrics know of it, `null` where they do not answer.
pub fn json(app: &AppView, now: Option<&Now>) -> Value {
    let figures = now.and_then(|now| measured(now, app)).map(|app| {
        let latency = app.traffic.latency;
        json!({
            "requests_per_s": app.traffic.rate,
            "errors_5xx_per_s": app.traffic.errors_5xx,
            "p50_us": latency.map(|l| l.p50_us),
            "p95_us": latency.map(|l| l.p95_us),
            "p99_us": latency.map(|l| l.p99_us),
            "lag_p99_us": app.lag_p99_us,
            "utilization": app.utilization,
            "cpu_percent": app.cpu_percent,
            "memory_bytes": app.memory_bytes,
        })
    });
    let mut value = json!(app);
    if let Some(fields) = value.as_object_mut() {
        fields.insert("metrics".into(), json!(figures));
    }
    value
}

fn row(app: &AppView, figures: Option<&App>) -> Row {
    let (status, style) = status(app);
    let cpu: f64 = app.workers.iter().map(|w| w.cpu_percent).sum();
    let memory: u64 = app.workers.iter().map(|w| w.memory_bytes).sum();
    let dash = || Cell::styled("-", Style::Dim);
    // A worker that was not looked at yet has no memory; one that runs always has some.
    let looked_at = |text: String| if memory == 0 { dash() } else { Cell::new(text) };
    let known = |text: Option<String>| text.map_or_else(dash, Cell::new);
    let seen = figures.filter(|app| app.traffic.source != Source::None);
    let p95 = seen.and_then(|app| app.traffic.latency);
    let lag = figures.and_then(|app| app.lag_p99_us);
    let restarts = if app.restarts == 0 {
        Style::Plain
    } else {
        Style::Yellow
    };
    let cells = vec![
        Cell::styled(&app.name, Style::Bold),
        Cell::new(mode(app)),
        Cell::styled(status, style),
        if app.wanted == 0 {
            dash()
        } else {
            Cell::new(format!("{}/{}", app.ready, app.wanted))
        },
        Cell::styled(app.restarts.to_string(), restarts),
        if app.ready == 0 {
            dash()
        } else {
            Cell::new(units::duration(app.uptime_ms))
        },
        looked_at(units::percent(cpu)),
        looked_at(units::size(memory)),
        known(seen.map(|app| units::rate(app.traffic.rate))),
        known(p95.map(|latency| units::took(latency.p95_us))),
        known(lag.map(|us| units::took(units::float(us)))),
        Cell::new(addresses(&app.listen)),
        Cell::styled(&app.command, Style::Dim),
    ];
    let problem = app.problem.as_ref().map(|p| {
        let style = if style == Style::Red {
            Style::Red
        } else {
            Style::Yellow
        };
        Cell::styled(p, style)
    });
    Row {
        cells,
        notes: problem.into_iter().collect(),
    }
}

/// What is wrong with the measuring, below the table.
pub fn measuring(problem: &str, layout: Layout) -> Vec<String> {
    let note = Cell::styled(format!("measuring: {problem}"), Style::Yellow);
    note_of(&note, layout)
}

/// The first few; an app may listen on hundreds.
fn addresses(listen: &[String]) -> String {
    const SHOWN_MAX: usize = 4;
    let shown = listen.iter().take(SHOWN_MAX).map(String::as_str);
    let text = shown.collect::<Vec<_>>().join(" ");
    match listen.len().saturating_sub(SHOWN_MAX) {
        0 => text,
        more => format!("{text} +{more}"),
    }
}

/// `cluster×4`, `fork×2`, `fork`; without a number while no worker is wanted.
fn mode(app: &AppView) -> String {
    match (app.mode.as_str(), app.wanted) {
        (mode, 0) | (mode @ "fork", 1) => mode.to_owned(),
        (mode, wanted) => format!("{mode}×{wanted}"),
    }
}

/// The word for an app's state and its colour.
pub fn status(app: &AppView) -> (&'static str, Style) {
    if app.reloading {
        return ("reloading", Style::Cyan);
    }
    match app.status {
        AppStatus::Ready => ("ready", Style::Green),
        AppStatus::Starting => ("starting", Style::Cyan),
        AppStatus::Degraded => ("degraded", Style::Yellow),
        AppStatus::Unhealthy => ("unhealthy", Style::Red),
        AppStatus::CrashLoop => ("crash-loop", Style::Red),
        AppStatus::Waiting => ("waiting", Style::Cyan),
        AppStatus::Stopping => ("stopping", Style::Yellow),
        AppStatus::Stopped => ("stopped", Style::Dim),
        AppStatus::Exited => ("exited", Style::Dim),
    }
}

/// What a person opens in a browser, for each address that an app listens on and that has one.
pub fn urls(listen: &[String]) -> Vec<String> {
    let url = |address: &String| {
        let (host, port) = address.rsplit_once(':')?;
        port.parse::<u16>().ok()?;
        let host = match host {
            "" | "*" | "0.0.0.0" | "[::]" | "::" | "127.0.0.1" | "[::1]" => "localhost",
            other => other,
        };
        Some(format!("http://{host}:{port}"))
    };
    listen.iter().filter_map(url).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use pando_control::api::{WorkerState, WorkerView};

    use super::*;

    pub(crate) fn worker(instance: u32) -> WorkerView {
        WorkerView {
            id: instance + 1,
            instance,
            pid: Some(4_000 + instance),
            state: WorkerState::Ready,
            uptime_ms: 7_500_000,
            restarts: 0,
            memory_bytes: 40_055_603,
            cpu_percent: 3.04,
            last_exit: None,
            port: None,
        }
    }

    pub(crate) fn app(name: &str, workers: u32) -> AppView {
        AppView {
            name: name.into(),
            status: AppStatus::Ready,
            mode: "cluster".into(),
            balance: "steered".into(),
            command: "server.js".into(),
            cwd: "/srv/api".into(),
            wanted: workers,
            ready: workers,
            listen: vec![":3000".into()],
            restarts: 0,
            uptime_ms: 7_500_000,
            reloading: false,
            workers: (0..workers).map(worker).collect(),
            problem: None,
        }
    }

    fn fleet() -> Vec<AppView> {
        let crashed = AppView {
            status: AppStatus::CrashLoop,
            mode: "fork".into(),
            command: "python3 -m http.server $PORT --directory /srv/a/rather/long/path".into(),
            ready: 0,
            listen: vec![],
            restarts: 17,
            uptime_ms: 0,
            problem: Some(
                "exited with code 1 after 0.2 s, 17 times in 60 s: Error: Cannot find module \
                 'express'; the next try is in 30 s"
                    .into(),
            ),
            ..app("payments-worker", 1)
        };
        let stopped = AppView {
            status: AppStatus::Stopped,
            ready: 0,
            wanted: 0,
            listen: vec![],
            uptime_ms: 0,
            workers: vec![],
            ..app("日本", 2)
        };
        vec![app("api", 4), crashed, stopped]
    }

    fn figures() -> Now {
        let mut api = App {
            name: "api".into(),
            lag_p99_us: Some(2_100),
            ..App::default()
        };
        api.traffic.source = Source::Agent;
        api.traffic.rate = 1_204.4;
        api.traffic.latency = Some(monitor_spec::now::Latency {
            p95_us: 12_300.0,
            ..Default::default()
        });
        Now {
            apps: vec![api],
            ..Now::default()
        }
    }

    #[test]
    fn programs_get_what_the_metrics_know() {
        let value = json(&app("api", 1), Some(&figures()));
        assert_eq!(value["name"], "api");
        assert_eq!(value["metrics"]["requests_per_s"], 1_204.4);
        assert_eq!(value["metrics"]["lag_p99_us"], 2_100);
        assert!(json(&app("api", 1), None)["metrics"].is_null());
    }

    fn check(width: Option<usize>, expect: &str) {
        let lines = table(
            &fleet(),
            Some(&figures()),
            Layout {
                width,
                color: false,
            },
        );
        assert_eq!(lines.join("\n"), expect.trim_matches('\n'), "at {width:?}");
        for line in lines {
            assert!(
                super::super::text::width(&line) <= width.unwrap_or(usize::MAX),
                "{line}"
            );
            assert_eq!(line.trim_end(), line);
        }
    }

    #[test]
    fn eighty_columns() {
        check(
            Some(80),
            r#"
NAME             STATUS      READY   CPU   MEMORY  REQ/S    P95     LAG  LISTEN
api              ready         4/4   12%   153 MB   1204  12 ms  2.1 ms  :3000
payments-worker  crash-loop    0/1  3.0%  38.2 MB      -      -       -
  ! exited with code 1 after 0.2 s, 17 times in 60 s: Error: Cannot find module
    'express'; the next try is in 30 s
日本             stopped         -     -        -      -      -       -
"#,
        );
    }

    #[test]
    fn short_names_leave_room_for_more() {
        let lines = table(
            &[app("api", 4)],
            None,
            Layout {
                width: Some(80),
                color: false,
            },
        );
        assert_eq!(
            lines.join("\n"),
            "\
NAME  STATUS  READY  RESTARTS  UPTIME  CPU  MEMORY  REQ/S  P95  LAG  LISTEN
api   ready     4/4         0   2h 5m  12%  153 MB      -    -    -  :3000"
        );
    }

    #[test]
    fn a_hundred_and_sixty_columns() {
        check(
            Some(160),
            r#"
NAME             MODE       STATUS      READY  RESTARTS  UPTIME   CPU   MEMORY  REQ/S    P95     LAG  LISTEN  COMMAND
api              cluster×4  ready         4/4         0   2h 5m   12%   153 MB   1204  12 ms  2.1 ms  :3000   server.js
payments-worker  fork       crash-loop    0/1        17       -  3.0%  38.2 MB      -      -       -          python3 -m http.server $PORT --directory /srv/a/r…
  ! exited with code 1 after 0.2 s, 17 times in 60 s: Error: Cannot find module 'express'; the next try is in 30 s
日本             cluster    stopped         -         0       -     -        -      -      -       -          server.js
"#,
        );
    }

    #[test]
    fn a_narrow_terminal_keeps_what_matters() {
        check(
            Some(48),
            r#"
NAME            STATUS      READY   CPU   MEMORY
api             ready         4/4   12%   153 MB
payments-work…  crash-loop    0/1  3.0%  38.2 MB
  ! exited with code 1 after 0.2 s, 17 times in
    60 s: Error: Cannot find module 'express';
    the next try is in 30 s
日本            stopped         -     -        -
"#,
        );
    }

    #[test]
    fn what_is_wrong_with_the_measuring_is_below_the_table() {
        let layout = Layout {
            width: Some(30),
            color: false,
        };
        let lines = measuring("since 18:13 the disk is full", layout);
        let wanted = ["  ! measuring: since 18:13 the", "    disk is full"];
        assert_eq!(lines, wanted);
    }

    #[test]
    fn urls_are_what_a_browser_takes() {
        let listen = [
            ":3000",
            "127.0.0.1:8080",
            "10.0.0.5:80",
            "[::]:1",
            "/run/x.sock",
        ];
        assert_eq!(
            urls(&listen.map(String::from)),
            [
                "http://localhost:3000",
                "http://localhost:8080",
                "http://10.0.0.5:80",
                "http://localhost:1"
            ]
        );
    }
}
