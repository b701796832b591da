//! Root replaces its own binary: same PID, same children, same fds.
//!
//! ```text
//! Idle -> Checking -> Committing -> (exec) -> on trial -> (the new supervisor says Hello) -> Idle
//!   ^________|____________|                      └─ (exec of the former binary) -> Idle
//!        UpgradeFailed                                       UpgradeFailed
//! ```
//! While on trial root keeps the former binary open. A state that the new binary cannot read, a
//! supervisor that does not come into charge: each ends in an exec back.

use std::env;
use std::ffi::{CString, OsString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{Mode as FileMode, OFlags};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Signal;

use crate::inherit;
use crate::options::FD_PLACE;
use crate::orders::{c_string, rlimit};
use crate::proto::{Exit, FromRoot};
use crate::root::{Root, note};
use crate::spawn::{Command, Program, Report, SpawnError, Started, exec, read_report, spawn};
use crate::state::{STATE_VERSION, State};
use crate::supervisor::own_env;
use crate::tree;

/// The number of an fd on the former binary.
pub const FORMER_ENV: &str = "PANDO_ROOT_FORMER";
/// Why the new binary gave up: this is the former one again.
pub const RETURN_ENV: &str = "PANDO_ROOT_RETURN";
/// The argument with which a binary is asked whether it runs here and is a pando.
pub const SELFCHECK_ARG: &str = "--pando-selfcheck";

const STATE_WORD: &str = "root-state";
/// More output of a self-check is read and dropped.
const MAX_OUTPUT: usize = 4096;
/// For execs under way to end and for the supervisor to be told.
const COMMIT: Duration = Duration::from_secs(2);

/// What a binary prints for [`SELFCHECK_ARG`], then exits with 0.
pub fn selfcheck_line() -> String {
    format!(
        "pando {} {STATE_WORD} {STATE_VERSION}",
        env!("CARGO_PKG_VERSION")
    )
}

#[derive(Debug, Default)]
pub(crate) enum Upgrade {
    #[default]
    Idle,
    Checking(Check),
    Committing(Target, Instant),
}

/// The binary to be.
#[derive(Debug)]
pub(crate) struct Target {
    exe: OwnedFd,
    path: PathBuf,
    supervisor_args: Option<Vec<String>>,
}

#[derive(Debug)]
pub(crate) struct Check {
    target: Target,
    started: Started,
    output: Option<OwnedFd>,
    text: Vec<u8>,
    deadline: Instant,
}

/// A new binary that is not yet trusted.
#[derive(Debug)]
pub(crate) struct Trial {
    pub former: OwnedFd,
    pub former_args: Vec<OsString>,
    /// Set when the first of its supervisors starts.
    pub deadline: Option<Instant>,
    pub deaths: u32,
}

impl Upgrade {
    pub fn output(&self) -> Option<&OwnedFd> {
        match self {
            Self::Checking(check) => check.output.as_ref(),
            Self::Idle | Self::Committing(..) => None,
        }
    }

    /// The pid of a self-check under way.
    pub fn checker(&self) -> Option<i32> {
        match self {
            Self::Checking(check) => Some(check.started.pid),
            Self::Idle | Self::Committing(..) => None,
        }
    }

    pub fn commits(&self) -> bool {
        matches!(self, Self::Committing(..))
    }

    pub fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Idle => None,
            Self::Checking(check) => Some(check.deadline),
            Self::Committing(_, deadline) => Some(*deadline),
        }
    }
}

impl Root {
    pub(crate) fn begin_upgrade(
        &mut self,
        path: &Path,
        supervisor_args: Option<Vec<String>>,
        now: Instant,
    ) {
        let busy = !matches!(self.upgrade, Upgrade::Idle) || self.trial.is_some();
        if busy || self.ending.is_some() {
            let why = if busy {
                "another upgrade is under way"
            } else {
                "root ends"
            };
            return self.upgrade_failed(why);
        }
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let exe = match rustix::fs::open(path, flags, FileMode::empty()) {
            Ok(exe) => exe,
            Err(why) => return self.upgrade_failed(&format!("{}: {why}", path.display())),
        };
        let target = Target {
            exe,
            path: path.to_path_buf(),
            supervisor_args,
        };
        match self.start_check(target, now) {
            Ok(check) => self.upgrade = Upgrade::Checking(check),
            Err(why) => self.upgrade_failed(&format!("{}: {why}", path.display())),
        }
    }

    fn start_check(&self, target: Target, now: Instant) -> Result<Check, SpawnError> {
        let (output, theirs) =
            pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).map_err(|error| SpawnError {
                stage: "pipe",
                errno: error.raw_os_error(),
            })?;
        let (soft, hard) = self.nofile;
        let path = target.path.clone().into_os_string();
        let command = Command {
            program: Program::File(target.exe.as_fd()),
            args: vec![c_string(path)?, c_string(SELFCHECK_ARG)?],
            env: own_env(&[])?,
            cwd: None,
            fds: vec![(theirs.as_fd(), 1), (theirs.as_fd(), 2)],
            user: None,
            dies_with_root: true,
            nofile: rlimit(soft, hard),
        };
        let started = spawn(&command)?;
        let deadline = now + Duration::from_millis(self.tuning.selfcheck_ms);
        Ok(Check {
            target,
            started,
            output: Some(output),
            text: Vec::new(),
            deadline,
        })
    }

    pub(crate) fn read_selfcheck(&mut self) {
        let Upgrade::Checking(check) = &mut self.upgrade else {
            return;
        };
        let mut buffer = [0_u8; 1024];
        let Some(output) = &check.output else { return };
        match rustix::io::read(output, &mut buffer[..]) {
            Ok(length @ 1..) => {
                let room = MAX_OUTPUT.saturating_sub(check.text.len());
                let new = buffer.get(..length.min(room)).unwrap_or_default();
                check.text.extend_from_slice(new);
            }
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
            Ok(0) | Err(_) => check.output = None,
        }
    }

    pub(crate) fn selfcheck_exited(&mut self, exit: Exit, now: Instant) {
        for _ in 0..=MAX_OUTPUT / 1024 {
            self.read_selfcheck();
        }
        let Upgrade::Checking(check) = std::mem::take(&mut self.upgrade) else {
            return;
        };
        match judge(exit, &read_report(&check.started.report), &check.text) {
            Ok(()) => {
                self.tell(FromRoot::Upgrading);
                self.upgrade = Upgrade::Committing(check.target, now + COMMIT);
            }
            Err(why) => self.upgrade_failed(&format!("{}: {why}", check.target.path.display())),
        }
    }

    pub(crate) fn upgrade_on_time(&mut self, now: Instant) {
        if let Some(trial) = &self.trial
            && trial.deadline.is_some_and(|at| at <= now)
            && self.ending.is_none()
        {
            self.roll_back("its supervisor did not come up in time");
        }
        if self.upgrade.commits() {
            self.flush(now, false);
        }
        let late = self.upgrade.deadline().is_some_and(|at| at <= now);
        match &self.upgrade {
            Upgrade::Idle => {}
            Upgrade::Checking(check) => {
                if late {
                    let path = check.target.path.display();
                    let why = format!("{path}: its self-check did not end in time");
                    self.cancel_upgrade();
                    self.upgrade_failed(&why);
                }
            }
            Upgrade::Committing(..) => {
                let told = self
                    .supervisor
                    .peer
                    .as_ref()
                    .is_none_or(|peer| !peer.wants_write());
                if late || (told && self.table.starting().next().is_none()) {
                    self.commit(told);
                }
            }
        }
    }

    pub(crate) fn cancel_upgrade(&mut self) {
        if let Some(pid) = self.upgrade.checker() {
            tree::signal_own(pid, Signal::KILL);
        }
        self.upgrade = Upgrade::Idle;
    }

    fn upgrade_failed(&mut self, why: &str) {
        note(&format!("upgrade failed: {why}"));
        let news = FromRoot::UpgradeFailed { why: why.into() };
        match &mut self.supervisor.peer {
            Some(peer) => peer.tell(news),
            None => self.notice = Some(news),
        }
    }

    /// Becomes the new binary. `told`: the supervisor knows, and will not take the end of its
    /// link for root's death.
    fn commit(&mut self, told: bool) {
        let Upgrade::Committing(target, _) = std::mem::take(&mut self.upgrade) else {
            return;
        };
        if !told {
            self.kill_supervisor();
        }
        let args = target.supervisor_args;
        let args = args.map(|args| args.into_iter().map(Into::into).collect());
        let args = args.unwrap_or_else(|| self.supervisor_args.clone());
        let former = Some(self.exe.as_fd());
        let why = self.replace(target.exe.as_fd(), &args, former, None);
        self.upgrade_failed(&format!("{}: {why}", target.path.display()));
    }

    /// Becomes the former binary again.
    pub(crate) fn roll_back(&mut self, why: &str) {
        let Some(trial) = self.trial.take() else {
            return;
        };
        note(&format!("back to the former binary: {why}"));
        self.kill_supervisor();
        let failed = self.replace(trial.former.as_fd(), &trial.former_args, None, Some(why));
        note(&format!("cannot go back: {failed}"));
        let why = format!("{why}, and the former binary cannot be executed any more: {failed}");
        self.notice = Some(FromRoot::UpgradeFailed { why });
    }

    /// Executes `exe` with all that root has. Returns only if that failed; nothing is changed
    /// then.
    fn replace(
        &self,
        exe: BorrowedFd<'_>,
        supervisor_args: &[OsString],
        former: Option<BorrowedFd<'_>>,
        reason: Option<&str>,
    ) -> io::Error {
        let state = match self.state(supervisor_args).write() {
            Ok(state) => state,
            Err(why) => return why,
        };
        let link = self
            .supervisor
            .peer
            .as_ref()
            .map(|peer| peer.socket.as_fd());
        let own = [self.home.lock_fd(), state.as_fd()].into_iter();
        let passed = own
            .chain(link)
            .chain(self.ready.as_ref().map(AsFd::as_fd))
            .chain(former);
        let passed: Vec<_> = passed
            .chain(self.store.fds.values().map(AsFd::as_fd))
            .collect();
        let args = self.resume_args.iter();
        let args = args.map(|arg| arg.replace(FD_PLACE, &state.as_raw_fd().to_string()).into());
        let args = env::args_os().take(1).chain(args).collect();
        let why = pass(&passed, true).map_or_else(
            |why| why,
            |()| become_binary(exe, args, former.map(|fd| fd.as_raw_fd()), reason),
        );
        if let Err(why) = pass(&passed, false) {
            note(&format!("an fd may leak into children: {why}"));
        }
        why
    }

    fn state(&self, supervisor_args: &[OsString]) -> State {
        let bytes = |args: &[OsString]| args.iter().map(|arg| arg.as_bytes().to_vec()).collect();
        let stored = self.store.fds.iter();
        State {
            version: STATE_VERSION,
            home: self.home.dir.clone(),
            home_id: self.home.id.clone(),
            lock: self.home.lock_fd().as_raw_fd(),
            mode: self.mode,
            tuning: self.tuning,
            supervisor_args: bytes(supervisor_args),
            former_args: bytes(&self.supervisor_args),
            resume_args: self.resume_args.clone(),
            nofile: self.nofile,
            generation: self.supervisor.generation,
            supervisor: self.supervisor.pid,
            link: self
                .supervisor
                .peer
                .as_ref()
                .map(|peer| peer.socket.as_raw_fd()),
            ready: self.ready.as_ref().map(AsRawFd::as_raw_fd),
            children: self.table.infos(),
            stored: stored
                .map(|(name, fd)| (name.clone(), fd.as_raw_fd()))
                .collect(),
            blobs: self.store.blobs(),
            strangers: self.strangers.clone(),
        }
    }
}

/// Whether what was checked may take over.
fn judge(exit: Exit, report: &Report, text: &[u8]) -> Result<(), String> {
    if let Report::Failed(error) = report {
        let hint = if (error.stage, error.errno) == ("exec", libc::ENOENT) {
            " (it is a script, or its loader is missing)"
        } else {
            ""
        };
        return Err(format!("{error}{hint}"));
    }
    let text = String::from_utf8_lossy(text);
    let said = text
        .lines()
        .find(|line| !line.trim().is_empty())
        .unwrap_or("nothing");
    match exit {
        Exit::Code(0) => {}
        Exit::Code(code) => {
            return Err(format!("its self-check ended with {code} and said: {said}"));
        }
        Exit::Signal(signal) => return Err(format!("its self-check died of signal {signal}")),
    }
    let Some(line) = text.lines().find(|line| line.starts_with("pando ")) else {
        return Err(format!("it is not a pando; its self-check said: {said}"));
    };
    let mut words = line
        .split_ascii_whitespace()
        .skip_while(|word| *word != STATE_WORD);
    let reads = words.nth(1).and_then(|word| word.parse::<u32>().ok());
    if reads.is_some_and(|version| version < STATE_VERSION) {
        return Err("it is too old to take over from this one; stop the daemon first".into());
    }
    Ok(())
}

pub(crate) fn pass(fds: &[BorrowedFd<'_>], inherited: bool) -> io::Result<()> {
    fds.iter()
        .try_for_each(|fd| inherit::set_inherited(*fd, inherited))
}

/// The exec itself. Returns only if it failed.
pub(crate) fn become_binary(
    exe: BorrowedFd<'_>,
    args: Vec<OsString>,
    former: Option<RawFd>,
    reason: Option<&str>,
) -> io::Error {
    let strings = || -> Result<(Vec<CString>, Vec<CString>), SpawnError> {
        let args = args.into_iter().map(c_string).collect::<Result<_, _>>()?;
        let mut env = own_env(&[])?;
        if let Some(former) = former {
            env.push(c_string(format!("{FORMER_ENV}={former}"))?);
        }
        if let Some(reason) = reason {
            env.push(c_string(format!(
                "{RETURN_ENV}={}",
                reason.replace('\0', "")
            ))?);
        }
        Ok((args, env))
    };
    match strings() {
        Ok((args, env)) => exec(exe, &args, &env),
        Err(why) => io::Error::other(why.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_pando_that_reads_this_state_is_let_in() {
        let runs = Report::Running;
        let check = |exit, text: &str| judge(exit, &runs, text.as_bytes());
        assert_eq!(check(Exit::Code(0), &selfcheck_line()), Ok(()));
        assert_eq!(check(Exit::Code(0), "a warning\npando 9.1"), Ok(()));
        for (exit, text, why) in [
            (Exit::Code(0), "", "not a pando"),
            (Exit::Code(0), "pandora 1", "not a pando"),
            (Exit::Code(0), "pando 0.0.1 root-state 0", "too old"),
            (Exit::Code(1), "GLIBC_9 not found", "GLIBC_9"),
            (Exit::Signal(11), "", "signal 11"),
        ] {
            assert!(check(exit, text).unwrap_err().contains(why), "{text}");
        }
        let script = Report::Failed(SpawnError {
            stage: "exec",
            errno: libc::ENOENT,
        });
        assert!(
            judge(Exit::Code(127), &script, b"")
                .unwrap_err()
                .contains("script")
        );
    }
}
