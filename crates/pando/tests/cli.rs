//! The real binary against a daemon that is a closure.
#![expect(clippy::unwrap_used, reason = "a test's helpers fail by panicking")]
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a fake daemon knows a few calls"
)]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use monitor_spec::ask::Ask;
use monitor_spec::now::{Now, Source};
use pando_control::api::{
    Answer, AppStatus, AppView, Frame, LogLine, LogStream, Problem, Progress, Request, ScaleChange,
    Select, WorkerState, WorkerView,
};
use pando_control::{Call, ServeOptions, bind, serve_until, socket_path};

/// A daemon in a thread of this process, on a home of its own.
struct Daemon {
    home: tempfile::TempDir,
    requests: mpsc::Receiver<Request>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Daemon {
    fn start(handle: impl Fn(Call) + Send + 'static) -> Self {
        let home = tempfile::tempdir().unwrap();
        let listener = bind(&socket_path(home.path())).unwrap();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let (seen, requests) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let (calls, mut arriving) = tokio::sync::mpsc::channel::<Call>(8);
                let stop = async {
                    let _ = stopped.await;
                };
                let serving = serve_until(listener, calls, ServeOptions::default(), stop);
                let handling = async {
                    while let Some(call) = arriving.recv().await {
                        let _ = seen.send(call.request.clone());
                        handle(call);
                    }
                };
                tokio::join!(serving, handling).0.unwrap();
            });
        });
        Self {
            home,
            requests,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    fn run(&self, args: &[&str]) -> Ran {
        run_in(self.home.path(), self.home.path(), args)
    }

    fn requests(&self) -> Vec<Request> {
        self.requests.try_iter().collect()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[derive(Debug)]
struct Ran {
    code: i32,
    out: String,
    err: String,
}

fn command(home: &Path, cwd: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pando"));
    command
        .args(args)
        .current_dir(cwd)
        .env("PANDO_HOME", home)
        .stdin(Stdio::null());
    command
}

fn run_in(home: &Path, cwd: &Path, args: &[&str]) -> Ran {
    let Output {
        status,
        stdout,
        stderr,
    } = command(home, cwd, args).output().unwrap();
    Ran {
        code: status.code().unwrap(),
        out: String::from_utf8(stdout).unwrap(),
        err: String::from_utf8(stderr).unwrap(),
    }
}

fn app(name: &str, status: AppStatus) -> AppView {
    let worker = WorkerView {
        id: 7,
        instance: 0,
        pid: Some(4711),
        state: WorkerState::Ready,
        uptime_ms: 61_000,
        restarts: 0,
        memory_bytes: 50 << 20,
        cpu_percent: 1.0,
        last_exit: None,
        port: None,
    };
    AppView {
        name: name.into(),
        status,
        mode: "cluster".into(),
        balance: "steered".into(),
        command: "server.js".into(),
        cwd: "/srv".into(),
        wanted: 1,
        ready: 1,
        listen: vec![":3000".into()],
        restarts: 0,
        uptime_ms: 61_000,
        reloading: false,
        workers: vec![worker],
        problem: None,
    }
}

/// A thousand such lines do not fit into a pipe (pipe(7): 64 KiB).
const LONG: &str = "........................................................................\
                    ........................................................................";

/// Knows one app, `api`; does whatever it is told but reload.
fn ordinary(call: Call) {
    let done = |text: &str, app: AppView| {
        call.reply.done(Answer::Changed {
            text: vec![text.into()],
            apps: vec![app],
        });
    };
    match &call.request {
        Request::List { .. } => call
            .reply
            .done(Answer::Apps(vec![app("api", AppStatus::Ready)])),
        Request::Specs { .. } => call.reply.done(Answer::Specs(Vec::new())),
        Request::Start { specs, .. } => {
            let progress = Progress {
                app: specs[0].name.clone(),
                ready: 0,
                wanted: 1,
                text: "starting worker 1 of 1".into(),
            };
            call.reply.try_send(Frame::Progress(progress)).unwrap();
            done("web is ready", app(&specs[0].name, AppStatus::Ready));
        }
        Request::Reload { .. } => call.reply.failed(Problem {
            place: "app api".into(),
            what: "the new build did not get ready".into(),
            why: "it exited with code 1".into(),
            fix: "correct it".into(),
            stderr: vec!["Error: boom".into()],
            exit_code: 1,
        }),
        Request::Logs { query } => {
            for n in 0..query.lines {
                let line = LogLine {
                    app: "api".into(),
                    worker: 0,
                    stream: LogStream::Out,
                    time_ms: 1_795_233_824_123,
                    text: format!("line {n}{}", if query.follow { LONG } else { "" }),
                };
                // The first lines that fit are enough for a reader that goes.
                let _ = call.reply.try_send(Frame::Log(line));
            }
            if query.follow {
                tokio::spawn(async move { call.reply.closed().await });
            } else {
                call.reply.done(Answer::End);
            }
        }
        Request::Stop { .. } | Request::Scale { .. } => done("done", app("api", AppStatus::Ready)),
        Request::Monitor { ask: Ask::Now } => {
            let picture = monitor_spec::ask::Answer::Now(Box::new(picture()));
            call.reply.done(Answer::Monitor(Box::new(picture)));
        }
        other => panic!("{other:?}"),
    }
}

/// What the metrics know of `api`.
fn picture() -> Now {
    let mut api = monitor_spec::now::App {
        name: "api".into(),
        status: "ready".into(),
        ready: 1,
        wanted: 1,
        cpu_percent: 1.0,
        memory_bytes: 52_428_800,
        lag_p99_us: Some(2_100),
        ..Default::default()
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
fn the_binary_says_what_it_is() {
    let home = tempfile::tempdir().unwrap();
    let version = format!("pando {}\n", env!("CARGO_PKG_VERSION"));
    // What root reads before it becomes another binary.
    let check = format!("{}\n", pando_root::selfcheck_line());
    for (flag, says) in [("--version", version), ("--pando-selfcheck", check)] {
        let ran = run_in(home.path(), home.path(), &[flag]);
        assert_eq!((ran.code, ran.out), (0, says));
    }
    assert_eq!(run_in(home.path(), home.path(), &["dance"]).code, 2);
    assert_eq!(run_in(home.path(), home.path(), &[]).code, 2);
}

#[test]
fn without_a_daemon_reading_starts_none() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("home");
    let ran = |args: &[&str]| run_in(&home, dir.path(), args);
    assert_eq!(
        ran(&["ls"]).out,
        "No app yet. `pando start server.js` starts one.\n"
    );
    assert_eq!(ran(&["ls", "--json"]).out, "[]\n");
    let kill = ran(&["kill"]);
    assert_eq!(
        (kill.code, kill.out.contains("No Pando daemon runs")),
        (0, true)
    );
    for args in [
        &["show", "api"][..],
        &["logs"],
        &["env", "api"],
        &["stop", "api"],
    ] {
        let ran = ran(args);
        assert_eq!(ran.code, 1, "{args:?}");
        assert!(
            ran.err.contains("why: ") && ran.err.contains("fix: "),
            "{}",
            ran.err
        );
    }
    assert!(!home.exists(), "reading leaves nothing behind");
}

#[test]
fn a_list_is_a_table_or_json() {
    let daemon = Daemon::start(ordinary);
    let ran = daemon.run(&["ls"]);
    assert_eq!(
        ran.out,
        "\
NAME  MODE       STATUS  READY  RESTARTS  UPTIME   CPU   MEMORY  REQ/S    P95     LAG  LISTEN  COMMAND
api   cluster×1  ready     1/1         0   1m 1s  1.0%  50.0 MB   1204  12 ms  2.1 ms  :3000   server.js
"
    );
    let json: serde_json::Value = serde_json::from_str(&daemon.run(&["ls", "--json"]).out).unwrap();
    assert_eq!(json[0]["workers"][0]["pid"], 4711);
    assert_eq!(json[0]["metrics"]["p95_us"], 12_300.0);
    let show = daemon.run(&["show", "api"]);
    assert!(
        show.out.contains("http://localhost:3000") && show.out.contains("4711"),
        "{}",
        show.out
    );
}

#[test]
fn a_list_does_not_wait_for_metrics_that_are_stuck() {
    let held = std::sync::Mutex::new(Vec::new());
    let daemon = Daemon::start(move |call| match &call.request {
        Request::Monitor { .. } => held.lock().unwrap().push(call),
        _ => ordinary(call),
    });
    let ran = daemon.run(&["ls"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(
        ran.out.contains("50.0 MB      -    -    -  :3000"),
        "{}",
        ran.out
    );
    let json: serde_json::Value = serde_json::from_str(&daemon.run(&["ls", "--json"]).out).unwrap();
    assert!(json[0]["metrics"].is_null());
}

#[test]
fn top_prints_once_where_there_is_no_terminal() {
    let daemon = Daemon::start(ordinary);
    let top = daemon.run(&["top", "--sort", "cpu"]);
    assert_eq!(top.code, 0, "{}", top.err);
    assert!(
        top.out.contains("REQ/S") && top.out.contains("● ready"),
        "{}",
        top.out
    );
    assert!(
        top.out.contains("12 ms") && top.out.contains("50.0 MB"),
        "{}",
        top.out
    );
    let json: serde_json::Value =
        serde_json::from_str(&daemon.run(&["top", "--json"]).out).unwrap();
    assert_eq!(json["apps"][0]["name"], "api");
    let wrong = daemon.run(&["top", "--sort", "colour"]);
    assert_eq!(wrong.code, 2);
    assert!(wrong.err.contains("req/s"), "{}", wrong.err);
    let monit = daemon.run(&["monit"]);
    assert_eq!(monit.code, 2);
    assert!(monit.err.contains("pando top --once"), "{}", monit.err);
}

#[test]
fn a_start_tells_where_to_look_and_a_name_in_use_is_refused() {
    let daemon = Daemon::start(ordinary);
    let dir = tempfile::tempdir().unwrap();
    let ran = |args: &[&str]| run_in(daemon.home.path(), dir.path(), args);
    let started = ran(&["start", "sleep 1000", "--name", "web"]);
    assert_eq!(started.code, 0, "{}", started.err);
    assert_eq!(
        started.out,
        "web is ready\n  open http://localhost:3000\n  logs pando logs web\n  all  pando ls\n"
    );
    assert_eq!(started.err, "web: 0/1 ready, starting worker 1 of 1\n");
    let again = ran(&["start", "sleep 1000", "--name", "api"]);
    assert_eq!(again.code, 1);
    assert!(
        again.err.contains("pando reload api") && again.err.contains("--name"),
        "{}",
        again.err
    );
    let known = ran(&["start", "api"]);
    assert_eq!(
        (known.code, known.err.contains("runs already")),
        (1, true),
        "{}",
        known.err
    );
    let flags = ran(&["start", "api", "-i", "4"]);
    assert_eq!(
        (flags.code, flags.err.contains("flags do not go")),
        (2, true),
        "{}",
        flags.err
    );
    let nothing = ran(&["start"]);
    assert_eq!(
        (nothing.code, nothing.err.contains("nothing to start")),
        (2, true)
    );
    assert_eq!(ran(&["start", "no-such-script.js"]).code, 2);
}

#[test]
fn a_failed_reload_shows_the_new_workers_stderr_and_exits_with_one() {
    let daemon = Daemon::start(ordinary);
    let ran = daemon.run(&["reload", "api"]);
    assert_eq!(ran.code, 1);
    assert_eq!(
        ran.err,
        "error: app api: the new build did not get ready\n  why: it exited with code 1\n  stderr \
         of the new worker:\n    | Error: boom\n  fix: correct it\n"
    );
    let json = daemon.run(&["reload", "api", "--json"]);
    let value: serde_json::Value = serde_json::from_str(&json.err).unwrap();
    assert_eq!(value["problems"][0]["stderr"][0], "Error: boom");
    assert_eq!(json.out, "");
}

#[test]
fn arguments_become_the_right_calls() {
    let daemon = Daemon::start(ordinary);
    assert_eq!(daemon.run(&["scale", "api", "-1"]).code, 0);
    assert_eq!(daemon.run(&["stop", "all"]).code, 0);
    let select = Select::Names(vec!["api".into()]);
    assert_eq!(
        daemon.requests(),
        [
            Request::Scale {
                select,
                change: ScaleChange::Down(1)
            },
            Request::Stop {
                select: Select::All
            },
        ]
    );
}

#[test]
fn logs_are_lines_or_json() {
    let daemon = Daemon::start(ordinary);
    let ran = daemon.run(&["logs", "api", "--lines", "2", "--no-follow"]);
    let ends: Vec<&str> = ran
        .out
        .lines()
        .map(|l| l.split_once(" api.0 ").unwrap().1)
        .collect();
    assert_eq!(ends, ["| line 0", "| line 1"]);
    let ran = daemon.run(&["logs", "--lines", "1", "--no-follow", "--json"]);
    let line: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(
        (line["message"].as_str(), line["app"].as_str()),
        (Some("line 0"), Some("api"))
    );
}

#[test]
fn a_reader_that_goes_ends_the_logs_quietly() {
    let daemon = Daemon::start(ordinary);
    let mut child = command(
        daemon.home.path(),
        daemon.home.path(),
        &["logs", "--lines", "1000"],
    )
    .stdout(Stdio::piped())
    .stderr(Stdio::piped())
    .spawn()
    .unwrap();
    let mut out = BufReader::with_capacity(16, child.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    assert!(line.contains("| line 0..."), "{line}");
    drop(out);
    let deadline = Instant::now() + Duration::from_secs(20);
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if Instant::now() > deadline {
            child.kill().unwrap();
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    let mut err = String::new();
    std::io::Read::read_to_string(&mut child.stderr.take().unwrap(), &mut err).unwrap();
    assert_eq!((status.code(), err.as_str()), (Some(0), ""));
}

#[test]
fn completions_need_no_daemon() {
    let home = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let ran = run_in(home.path(), home.path(), &["completions", shell]);
        assert!(ran.code == 0 && ran.out.contains("resurrect"), "{shell}");
    }
}
