//! Alerts to a shell line: facts in its environment, JSON on its stdin.
//!
//! The line is the supervisor's child for as long as it runs, in a process group of its own that is
//! killed after [`LIMIT`]. Its environment is small and known: nothing of an app's is in it.

use std::io::Write as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use monitor_spec::settings::Notify;
use rustix::process::{Pid, Signal, kill_process_group};

use super::{Problems, delivered, fail, message};
use crate::alerts::Transition;

const LIMIT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);
/// What of the supervisor's own environment a line gets.
const KEPT: [&str; 6] = ["PATH", "HOME", "USER", "LANG", "TZ", "TMPDIR"];

pub(super) struct Job {
    line: String,
    place: String,
    env: Vec<(&'static str, String)>,
    home: PathBuf,
    body: String,
}

impl Job {
    pub fn new(line: &str, one: &Transition, host: &str, home: &Path) -> Self {
        let alert = &one.alert;
        let line = line.to_owned();
        Self {
            place: Notify::Command { line: line.clone() }.place(),
            line,
            env: vec![
                ("PANDO_ALERT_NAME", alert.name.clone()),
                ("PANDO_ALERT_APP", alert.app.clone()),
                ("PANDO_ALERT_STATE", message::state(alert.state).to_owned()),
                ("PANDO_ALERT_TEXT", alert.text.clone()),
                ("PANDO_ALERT_LINE", message::line(one, host)),
                ("PANDO_ALERT_FIRED_MS", one.fired_ms.to_string()),
                ("PANDO_ALERT_TIME_MS", one.time_ms.to_string()),
                ("PANDO_ALERT_HOST", host.to_owned()),
            ],
            home: home.to_owned(),
            body: message::alert(one).to_string(),
        }
    }
}

pub(super) fn run(jobs: Receiver<Job>, problems: Problems) {
    for job in jobs {
        match execute(&job, LIMIT) {
            Ok(()) => delivered(&problems, &job.place),
            Err(why) => fail(&problems, &job.place, &why),
        }
    }
}

fn execute(job: &Job, limit: Duration) -> Result<(), String> {
    let mut command = Command::new("/bin/sh");
    command.arg("-c").arg(&job.line).env_clear();
    command.envs(
        KEPT.iter()
            .filter_map(|name| Some((*name, std::env::var_os(name)?))),
    );
    command.envs(
        job.env
            .iter()
            .map(|(name, value)| (*name, value.replace('\0', ""))),
    );
    command
        .env("PANDO_HOME", &job.home)
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0);
    let mut child = command
        .spawn()
        .map_err(|error| format!("it cannot be started: {error}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // Less than a pipe holds, so this never waits; a line that reads nothing may have ended.
        let _ = stdin.write_all(job.body.as_bytes());
    }
    let status = wait(&mut child, limit);
    // What it left in the background ends with it, or at its limit.
    kill_group(&child);
    match status {
        Ok(Some(status)) if status.success() => Ok(()),
        Ok(Some(status)) => Err(ended(status)),
        Ok(None) => {
            let _ = child.wait();
            Err(format!("it was killed after {} s", limit.as_secs()))
        }
        Err(error) => Err(error.to_string()),
    }
}

fn wait(child: &mut Child, limit: Duration) -> std::io::Result<Option<ExitStatus>> {
    let end = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= end {
            return Ok(None);
        }
        std::thread::sleep(POLL);
    }
}

fn kill_group(child: &Child) {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    if let Some(pid) = pid {
        // There is none any more if all have ended.
        let _ = kill_process_group(pid, Signal::KILL);
    }
}

fn ended(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("it exited with code {code}"),
        (None, signal) => format!("it was killed by signal {}", signal.unwrap_or(0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::tests::one;

    fn job(line: &str) -> Job {
        let one = one("slow", Vec::new());
        Job::new(line, &one, "web-1", Path::new("/home/pando"))
    }

    #[test]
    fn a_line_gets_the_alert_in_its_environment_and_on_stdin() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out");
        let line = format!("{{ env; cat; }} > {}", out.display());
        execute(&job(&line), LIMIT).unwrap();
        let text = std::fs::read_to_string(out).unwrap();
        for wanted in [
            "PANDO_ALERT_NAME=slow\n",
            "PANDO_ALERT_STATE=firing\n",
            "PANDO_ALERT_LINE=FIRING slow on api: p95 is 812 ms (web-1)\n",
            "PANDO_HOME=/home/pando\n",
            "\"text\":\"p95 is 812 ms\"",
        ] {
            assert!(text.contains(wanted), "{wanted}: {text}");
        }
        assert!(!text.contains("CARGO"), "{text}");
    }

    #[test]
    fn what_fails_says_how() {
        assert_eq!(
            execute(&job("exit 3"), LIMIT),
            Err("it exited with code 3".into())
        );
        assert_eq!(
            execute(&job("kill -9 $$"), LIMIT),
            Err("it was killed by signal 9".into())
        );
    }

    #[test]
    fn a_line_that_hangs_is_killed_with_all_that_it_started() {
        let dir = tempfile::tempdir().unwrap();
        let pids = dir.path().join("pids");
        let line = format!("sleep 600 & echo $! > {}; sleep 600", pids.display());
        let limit = Duration::from_millis(700);
        assert_eq!(
            execute(&job(&line), limit),
            Err("it was killed after 0 s".into())
        );
        let pid = std::fs::read_to_string(pids).unwrap();
        let stat = format!("/proc/{}/stat", pid.trim());
        // Gone, or not yet buried by whoever inherited it.
        let end = Instant::now() + Duration::from_secs(20);
        while Instant::now() < end {
            let text = std::fs::read_to_string(&stat).unwrap_or_default();
            if text.is_empty() || text.contains(") Z ") {
                return;
            }
            std::thread::sleep(POLL);
        }
        panic!("it still runs");
    }
}
