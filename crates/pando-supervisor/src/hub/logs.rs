//! Logs for callers: the last lines and what follows, each caller on a thread of its own that
//! reads files. A slow one holds up nobody.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use app_spec::AppSpec;
use pando_control::Reply;
use pando_control::api::{Answer, Frame, LogLine, LogQuery, LogStream, Problem};
use pando_logs::{FileOptions, Line, Notice, Query, Stream};

use super::{Hub, calls};

/// Callers that follow logs at the same time.
const FOLLOWERS_MAX: usize = 64;
/// A follower looks at least this often, and whenever a file grew.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Bytes of lines read at once.
const READ_BYTES: usize = 256 * 1024;

/// Who follows, and what wakes them.
#[derive(Default)]
pub(super) struct Followers {
    running: Arc<AtomicUsize>,
    grown: Arc<(Mutex<u64>, Condvar)>,
}

impl Followers {
    fn wake(&self) {
        let (count, changed) = &*self.grown;
        *count.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        changed.notify_all();
    }
}

impl Hub {
    pub(super) fn configure_logs(&mut self, spec: &AppSpec) {
        let logs = &spec.logs;
        self.pump.configure(
            &spec.name,
            FileOptions {
                dir: logs.dir.clone(),
                max_bytes: logs.max_bytes,
                keep: logs.keep,
                compress: logs.compress,
            },
        );
    }

    pub(super) fn log_notice(&mut self, notice: Notice) {
        match notice {
            Notice::Changed { app } => {
                self.log_followers.wake();
                // Without followers the next notice waits for one: a chatty app must not keep
                // waking the hub.
                if self.log_followers.running.load(Ordering::SeqCst) > 0 {
                    self.pump.rearm(&app);
                }
            }
            Notice::Finished(_) => self.calls.logs_finished = true,
            Notice::WriteError { app, why } => {
                let text = format!("cannot write its log: {why}");
                self.tell(&notice_of(&app, "log-error", text));
            }
            Notice::Dropped { app, lines } => {
                let text = format!("{lines} log lines lost: no room on the disk");
                self.tell(&notice_of(&app, "log-lines-lost", text));
            }
        }
    }

    pub(super) fn logs(&mut self, query: LogQuery, reply: Reply) {
        let apps: Vec<(String, PathBuf)> = self
            .core
            .apps()
            .filter(|app| query.apps.is_empty() || query.apps.iter().any(|n| n == app.name()))
            .map(|app| {
                let own = app.spec().logs.dir.clone();
                (
                    app.name().to_owned(),
                    own.unwrap_or_else(|| self.options.home.join("logs")),
                )
            })
            .collect();
        if let Some(name) = query
            .apps
            .iter()
            .find(|n| !apps.iter().any(|(app, _)| app == *n))
        {
            return reply.failed(calls::unknown_app(name));
        }
        let running = Arc::clone(&self.log_followers.running);
        if running.fetch_add(1, Ordering::SeqCst) >= FOLLOWERS_MAX {
            running.fetch_sub(1, Ordering::SeqCst);
            return reply.failed(Problem {
                what: "too many callers follow logs".into(),
                why: format!("{FOLLOWERS_MAX} do already"),
                fix: "end one of them, or read the files in $PANDO_HOME/logs".into(),
                exit_code: 1,
                ..Problem::default()
            });
        }
        self.pump.flush();
        for (app, _) in &apps {
            self.pump.rearm(app);
        }
        let grown = Arc::clone(&self.log_followers.grown);
        let mailer = reply.clone();
        let spawned = std::thread::Builder::new()
            .name("logs".into())
            .spawn(move || {
                serve(&query, apps, &mailer, &grown);
                running.fetch_sub(1, Ordering::SeqCst);
            });
        if let Err(error) = spawned {
            self.log_followers.running.fetch_sub(1, Ordering::SeqCst);
            reply.failed(failed(&error));
        }
    }
}

fn notice_of(app: &str, kind: &'static str, text: String) -> crate::core::Notice {
    crate::core::Notice {
        app: app.to_owned(),
        worker: None,
        instance: None,
        kind,
        text,
    }
}

fn failed(error: &std::io::Error) -> Problem {
    Problem {
        what: "the logs cannot be read".into(),
        why: error.to_string(),
        fix: "look at the files in $PANDO_HOME/logs".into(),
        exit_code: 1,
        ..Problem::default()
    }
}

fn serve(
    query: &LogQuery,
    apps: Vec<(String, PathBuf)>,
    reply: &Reply,
    grown: &(Mutex<u64>, Condvar),
) {
    let files = Query {
        apps,
        worker: query.worker,
        stream: query.stream.map(|s| match s {
            LogStream::Out => Stream::Out,
            LogStream::Err => Stream::Err,
        }),
        lines: query.lines,
        since_ms: query.since_ms,
        until_ms: query.until_ms,
    };
    let (lines, mut cursor) = match pando_logs::tail(&files) {
        Ok(found) => found,
        Err(error) => return reply.failed(failed(&error)),
    };
    if !send_all(reply, lines) {
        return;
    }
    let mut seen = 0;
    while query.follow && !reply.is_closed() {
        match cursor.read(READ_BYTES) {
            Ok(lines) if lines.is_empty() => seen = wait(grown, seen),
            Ok(lines) => {
                if !send_all(reply, lines) {
                    return;
                }
            }
            Err(error) => return reply.failed(failed(&error)),
        }
    }
    reply.done(Answer::End);
}

fn wait(grown: &(Mutex<u64>, Condvar), seen: u64) -> u64 {
    let (count, changed) = grown;
    let count = count.lock().unwrap_or_else(PoisonError::into_inner);
    if *count != seen {
        return *count;
    }
    match changed.wait_timeout(count, LOOK_EVERY) {
        Ok((count, _)) => *count,
        Err(poisoned) => *poisoned.into_inner().0,
    }
}

/// False when the caller has gone.
fn send_all(reply: &Reply, lines: Vec<Line>) -> bool {
    lines
        .into_iter()
        .all(|line| reply.send_blocking(Frame::Log(to_wire(line))).is_ok())
}

fn to_wire(line: Line) -> LogLine {
    LogLine {
        app: line.app,
        worker: line.worker,
        stream: match line.stream {
            Stream::Out => LogStream::Out,
            Stream::Err => LogStream::Err,
        },
        time_ms: line.time_ms,
        text: String::from_utf8_lossy(&line.text).into_owned(),
    }
}
