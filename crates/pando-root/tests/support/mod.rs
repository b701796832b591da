//! A real root with a probe for a supervisor, in a home of its own.
#![expect(dead_code, reason = "each test file uses a part")]
#![expect(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test's support"
)]

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use pando_root::proto::{ChildId, Exit, FromRoot, Scope, SpawnSpec, ToRoot};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

pub mod control;
pub use control::Control;

pub const PROBE: &str = env!("CARGO_BIN_EXE_pando-root-probe");
/// Only a hang takes so long.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Rig {
    dir: TempDir,
    pub root: Child,
}

/// Polls until there is a value.
#[track_caller]
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "never: {what}");
        sleep(Duration::from_millis(5));
    }
}

impl Rig {
    /// A root with its first supervisor in charge.
    pub fn start() -> Self {
        Self::start_as(&[])
    }

    pub fn start_as(env: &[(&str, &str)]) -> Self {
        let rig = Self::launch(env);
        rig.hello(1);
        rig
    }

    /// Does not wait for anything.
    pub fn launch(env: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = root_command(&dir.path().join("home"), "foreground", env)
            .spawn()
            .unwrap();
        Self { dir, root }
    }

    /// A new root on the same home.
    pub fn launch_again(&mut self) {
        self.root = root_command(&self.home(), "foreground", &[])
            .spawn()
            .unwrap();
    }

    pub fn home(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn root_pid(&self) -> i32 {
        self.root.id().cast_signed()
    }

    /// Text of a file that a child writes, once it ends with a newline.
    #[track_caller]
    pub fn text(&self, name: &str) -> String {
        let path = self.path(name);
        eventually(name, || {
            fs::read_to_string(&path)
                .ok()
                .filter(|text| text.ends_with('\n'))
        })
    }

    /// A pid that a child wrote to a file.
    #[track_caller]
    pub fn pid_in(&self, name: &str) -> i32 {
        self.text(name).trim().parse().unwrap()
    }

    pub fn control(&self, control: &Control) {
        let text = serde_json::to_vec(control).unwrap();
        let socket = UnixDatagram::unbound().unwrap();
        let path = self.home().join("ctl");
        eventually("the supervisor listens", || {
            socket.send_to(&text, &path).ok()
        });
    }

    pub fn order(&self, order: ToRoot) {
        self.order_with(order, &[]);
    }

    pub fn order_with(&self, order: ToRoot, files: &[&str]) {
        let files = files.iter().map(|name| self.path(name)).collect();
        self.control(&Control::Order { order, files });
    }

    /// Runs a shell script as a child; waits until it runs and returns its pid.
    #[track_caller]
    pub fn shell(&self, child: u64, script: &str) -> i32 {
        self.order(ToRoot::Spawn(self.shell_spec(child, script)));
        self.spawned(child)
    }

    pub fn shell_spec(&self, child: u64, script: &str) -> SpawnSpec {
        SpawnSpec {
            child: ChildId(child),
            program: "/bin/sh".into(),
            args: vec!["-c".into(), script.into()],
            argv0: None,
            env: vec![("PATH".into(), "/usr/bin:/bin".into())],
            cwd: self.dir.path().into(),
            fds: Vec::new(),
            user: None,
            marker: format!("app:{child}"),
            nofile: false,
        }
    }

    #[track_caller]
    pub fn spawned(&self, child: u64) -> i32 {
        let id = ChildId(child);
        self.wait(&format!("{id:?} is spawned"), |message| match message {
            FromRoot::Spawned { child, pid } if *child == id => Some(pid.cast_signed()),
            FromRoot::SpawnFailed {
                child,
                stage,
                errno,
            } if *child == id => {
                panic!("{id:?} failed: {stage} {errno}")
            }
            _ => None,
        })
    }

    #[track_caller]
    pub fn exit(&self, child: u64) -> Exit {
        let id = ChildId(child);
        self.wait(&format!("{id:?} exits"), |message| match message {
            FromRoot::Exited { child, exit } if *child == id => Some(*exit),
            _ => None,
        })
    }

    #[track_caller]
    pub fn spawn_failure(&self, child: u64) -> (String, i32) {
        let id = ChildId(child);
        self.wait(&format!("{id:?} fails"), |message| match message {
            FromRoot::SpawnFailed {
                child,
                stage,
                errno,
            } if *child == id => Some((stage.clone(), *errno)),
            _ => None,
        })
    }

    pub fn signal(&self, child: u64, signal: Signal, scope: Scope) {
        self.order(ToRoot::Signal {
            child: ChildId(child),
            signal: signal.as_raw(),
            scope,
        });
    }

    /// The `count`th hand-over since the home exists, when it is complete: its `Hello`.
    #[track_caller]
    pub fn hello(&self, count: usize) -> FromRoot {
        eventually(&format!("hand-over {count}"), || {
            let messages = self.messages();
            let ready = messages
                .iter()
                .filter(|m| matches!(m, FromRoot::Ready))
                .count();
            if ready < count {
                return None;
            }
            let mut hellos = messages
                .into_iter()
                .filter(|m| matches!(m, FromRoot::Hello { .. }));
            hellos.nth(count - 1)
        })
    }

    #[track_caller]
    pub fn wait<T>(&self, what: &str, mut pick: impl FnMut(&FromRoot) -> Option<T>) -> T {
        eventually(what, || self.messages().iter().find_map(&mut pick))
    }

    /// Lines of the supervisors, whole ones.
    pub fn events(&self) -> Vec<serde_json::Value> {
        let text = fs::read_to_string(self.home().join("events")).unwrap_or_default();
        text.lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    /// Everything that root told its supervisors so far.
    pub fn messages(&self) -> Vec<FromRoot> {
        let message = |event: serde_json::Value| event.get("from_root").cloned();
        let parse = |value| serde_json::from_value(value).unwrap();
        self.events()
            .into_iter()
            .filter_map(message)
            .map(parse)
            .collect()
    }

    /// Of the supervisor that spoke last.
    pub fn supervisor_pid(&self) -> i32 {
        let pid = |event: &serde_json::Value| event.get("pid")?.as_i64();
        let pid = self.events().iter().rev().find_map(pid).unwrap();
        i32::try_from(pid).unwrap()
    }

    #[track_caller]
    /// From now on supervisors fail before they are in charge.
    pub fn no_supervisor_follows(&self) {
        let control = self.home().join("ctl");
        fs::remove_file(&control).unwrap();
        fs::create_dir(&control).unwrap();
    }

    pub fn root_exit(&mut self) -> ExitStatus {
        let root = &mut self.root;
        eventually("root ends", || root.try_wait().unwrap())
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let home = self.home();
            eprintln!(
                "{}",
                fs::read_to_string(home.join("events")).unwrap_or_default()
            );
        }
        let _ = self.root.kill();
        let _ = self.root.wait();
        let _ = pando_root::kill_leftovers(&self.home());
    }
}

pub fn root_command(home: &Path, mode: &str, env: &[(&str, &str)]) -> Command {
    let mut command = Command::new(PROBE);
    command
        .args(["root".as_ref(), home.as_os_str(), mode.as_ref()])
        .envs(env.iter().copied());
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command
}

pub fn kill(pid: i32, signal: Signal) {
    kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
}

/// Whether it exists and is no zombie.
pub fn lives(pid: i32) -> bool {
    state(pid).is_some_and(|state| state != "Z" && state != "X")
}

#[track_caller]
pub fn gone(pid: i32) {
    eventually(&format!("{pid} is gone"), || (!lives(pid)).then_some(()));
}

fn state(pid: i32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(
        stat.rsplit(')')
            .next()?
            .split_whitespace()
            .next()?
            .to_owned(),
    )
}

/// Pid and state of a process's children.
pub fn children(pid: i32) -> Vec<(i32, String)> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let pids = text.split_whitespace().filter_map(|pid| pid.parse().ok());
    pids.filter_map(|pid| Some((pid, state(pid)?))).collect()
}
