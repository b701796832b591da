//! The supervisor's life, as root sees it.
//!
//! ```text
//! start_at -> running -> in charge (said Hello) -> exited -> start_at (now, or after the back-off)
//!                └───────────┴── link closed -> exited, or killed after `farewell_ms`
//! ```
//! Never two at once, and never given up. Workers are not touched in any of this.

use std::env;
use std::ffi::CString;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::backoff::Backoff;
use crate::link::{LINK_ENV, link_pair};
use crate::options::{Ended, Tuning};
use crate::orders::{WORKER_ENV, c_string, rlimit};
use crate::peer::Peer;
use crate::proto::{Exit, FromRoot};
use crate::root::{Root, note};
use crate::spawn::{Command, Program, Report, SpawnError, Started, read_report, spawn};
use crate::tree::{self, HOME_ID_ENV};
use crate::upgrade::{FORMER_ENV, RETURN_ENV};

/// The home, for the supervisor.
pub const HOME_ENV: &str = "PANDO_HOME";
/// What root says by the environment; never passed on from its own, nor from a spec.
pub const RESERVED_ENV: [&str; 5] = [LINK_ENV, WORKER_ENV, HOME_ID_ENV, FORMER_ENV, RETURN_ENV];
/// The number of the link's fd in the supervisor.
const LINK_FD: i32 = 3;
/// More than the socket of one that died can hold.
const MAX_LAST_ORDERS: usize = 4096;

#[derive(Debug)]
pub(crate) struct Supervisor {
    pub pid: Option<i32>,
    pub peer: Option<Peer>,
    /// It has said `Hello`.
    pub in_charge: bool,
    /// It is the one from before a re-exec: its end is wanted and counts for nothing.
    pub leaving: bool,
    /// How many have been started.
    pub generation: u32,
    pub start_at: Option<Instant>,
    pub kill_at: Option<Instant>,
    started: Option<Started>,
    backoff: Backoff,
    /// Signals that came while there was none.
    signals: Vec<i32>,
    /// The first that asked for the end. Who was told of it may die before it has ended all.
    stop: Option<i32>,
    was_in_charge: bool,
}

impl Supervisor {
    pub fn new(tuning: Tuning) -> Self {
        Self {
            pid: None,
            peer: None,
            in_charge: false,
            leaving: false,
            generation: 0,
            start_at: None,
            kill_at: None,
            started: None,
            backoff: Backoff::new(tuning),
            signals: Vec::new(),
            stop: None,
            was_in_charge: false,
        }
    }

    pub fn deadline(&self) -> Option<Instant> {
        let retry_at = self.peer.as_ref().and_then(|peer| peer.retry_at);
        [self.start_at, self.kill_at, retry_at]
            .into_iter()
            .flatten()
            .min()
    }
}

impl Root {
    pub(crate) fn supervisor_on_time(&mut self, now: Instant) {
        if self.supervisor.kill_at.is_some_and(|at| at <= now) {
            self.kill_supervisor();
        }
        let wanted = self.ending.is_none() && !self.upgrade.commits();
        if wanted && self.supervisor.start_at.is_some_and(|at| at <= now) {
            self.supervisor.start_at = None;
            if let Err(why) = self.start_supervisor(now) {
                self.supervisor_lost(&why.to_string(), now);
            }
        }
    }

    fn start_supervisor(&mut self, now: Instant) -> Result<(), SpawnError> {
        let (ours, theirs) = link_pair().map_err(|why| SpawnError {
            stage: "socketpair",
            errno: why.raw_os_error().unwrap_or(libc::EIO),
        })?;
        let (stdin, stdout, stderr) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
        let args = env::args_os()
            .take(1)
            .chain(self.supervisor_args.iter().cloned());
        let (soft, hard) = self.nofile;
        let command = Command {
            program: Program::File(self.exe.as_fd()),
            args: args.map(c_string).collect::<Result<_, _>>()?,
            env: self.supervisor_env()?,
            cwd: None,
            fds: vec![
                (stdin.as_fd(), 0),
                (stdout.as_fd(), 1),
                (stderr.as_fd(), 2),
                (theirs.as_fd(), LINK_FD),
            ],
            user: None,
            // Whoever is left when root is killed must kill what the workers leave behind.
            dies_with_root: false,
            nofile: rlimit(soft, hard),
        };
        let started = spawn(&command)?;
        let mut peer = Peer::new(ours, self.hello());
        if let Some(notice) = self.notice.take() {
            peer.tell(notice);
        }
        for signal in self.supervisor.signals.drain(..) {
            peer.tell(FromRoot::Signal { signal });
        }
        self.supervisor.pid = Some(started.pid);
        self.supervisor.started = Some(started);
        self.supervisor.peer = Some(peer);
        self.supervisor.in_charge = false;
        self.supervisor.generation = self.supervisor.generation.saturating_add(1);
        if let Some(trial) = &mut self.trial {
            trial
                .deadline
                .get_or_insert(now + Duration::from_millis(self.tuning.hello_ms));
        }
        Ok(())
    }

    fn hello(&self) -> FromRoot {
        FromRoot::Hello {
            root_pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").into(),
            children: self.table.infos(),
            fds: self.store.names(),
            blobs: self.store.blobs(),
            generation: self.supervisor.generation,
            upgraded: self.trial.is_some(),
        }
    }

    fn supervisor_env(&self) -> Result<Vec<CString>, SpawnError> {
        let own = [
            format!("{HOME_ID_ENV}={}", tree::key(&self.home.id, None)),
            format!("{LINK_ENV}={LINK_FD}"),
        ];
        let mut env = own
            .into_iter()
            .map(c_string)
            .collect::<Result<Vec<_>, _>>()?;
        let mut home = std::ffi::OsString::from(format!("{HOME_ENV}="));
        home.push(&self.home.dir);
        env.push(c_string(home)?);
        env.extend(own_env(&[HOME_ENV])?);
        Ok(env)
    }

    pub(crate) fn supervisor_exited(&mut self, exit: Exit, now: Instant) {
        self.read_orders(MAX_LAST_ORDERS, now);
        self.supervisor.peer = None;
        self.supervisor.pid = None;
        self.supervisor.kill_at = None;
        let report = self
            .supervisor
            .started
            .take()
            .map(|started| read_report(&started.report));
        if std::mem::take(&mut self.supervisor.leaving) {
            self.supervisor.start_at = Some(now);
            return;
        }
        let how = match (report, exit) {
            (Some(Report::Failed(error)), _) => error.to_string(),
            (_, Exit::Code(code)) => format!("it ended with code {code}"),
            (_, Exit::Signal(signal)) => format!("it was killed by signal {signal}"),
        };
        self.supervisor_lost(&how, now);
    }

    /// There is none any more: when to start the next.
    fn supervisor_lost(&mut self, how: &str, now: Instant) {
        let was_in_charge = std::mem::take(&mut self.supervisor.in_charge);
        self.supervisor.was_in_charge |= was_in_charge;
        if self.ending.is_some() {
            return;
        }
        note(&format!("no supervisor: {how}"));
        if let Some(signal) = self.supervisor.stop {
            self.keep_signal(signal);
            self.expect_heard(signal, now);
        }
        // Nothing to hold yet, and somebody waits to hear what is wrong.
        let first = !self.supervisor.was_in_charge && self.supervisor.generation <= 1;
        if first && self.table.is_empty() && self.trial.is_none() {
            self.ended = Some(Ended::Failed(format!(
                "the supervisor did not come up: {how}"
            )));
            return;
        }
        self.supervisor.start_at = Some(now + self.supervisor.backoff.died(now));
        if let Some(trial) = &mut self.trial {
            trial.deaths += 1;
            if trial.deaths >= self.tuning.trial_deaths {
                self.roll_back(&format!(
                    "its supervisor died {} times",
                    self.tuning.trial_deaths
                ));
            }
        }
    }

    /// The other end of the link is closed; whoever held it has nothing left to do.
    pub(crate) fn link_closed(&mut self, now: Instant) {
        self.supervisor.peer = None;
        if self.supervisor.pid.is_some() && self.supervisor.kill_at.is_none() {
            let wait = Duration::from_millis(self.tuning.farewell_ms);
            self.supervisor.kill_at = Some(now + wait);
        }
    }

    /// Closes the link, after what still waits in it.
    pub(crate) fn dismiss_supervisor(&mut self, now: Instant) {
        if self.supervisor.peer.is_some() {
            self.flush(now, false);
            self.read_orders(MAX_LAST_ORDERS, now);
            self.link_closed(now);
        }
    }

    pub(crate) fn kill_supervisor(&mut self) {
        self.supervisor.kill_at = None;
        if let Some(pid) = self.supervisor.pid {
            tree::signal_own(pid, Signal::KILL);
        }
    }

    pub(crate) fn flush(&mut self, now: Instant, writable: bool) {
        if let Some(peer) = &mut self.supervisor.peer
            && let Err(why) = peer.flush(&self.store, now, writable)
        {
            // What it said before it went is still read; its exit follows.
            if why.kind() != std::io::ErrorKind::BrokenPipe {
                note(&format!("cannot speak to the supervisor: {why}"));
            }
            self.read_orders(MAX_LAST_ORDERS, now);
            self.link_closed(now);
        }
    }

    /// One of the forwarded signals.
    pub(crate) fn on_signal(&mut self, signal: i32, now: Instant) {
        match &mut self.supervisor.peer {
            Some(peer) => peer.tell(FromRoot::Signal { signal }),
            None => self.keep_signal(signal),
        }
        if [libc::SIGTERM, libc::SIGINT, libc::SIGQUIT].contains(&signal) {
            self.supervisor.stop.get_or_insert(signal);
            if !self.supervisor.in_charge {
                self.expect_heard(signal, now);
            }
        }
    }

    /// For the next supervisor.
    fn keep_signal(&mut self, signal: i32) {
        let signals = &mut self.supervisor.signals;
        if !signals.contains(&signal) {
            signals.push(signal);
        }
    }

    /// Root ends by itself unless a supervisor is in charge soon.
    fn expect_heard(&mut self, signal: i32, now: Instant) {
        let wait = Duration::from_millis(self.tuning.unheard_stop_ms);
        self.unheard.get_or_insert((now + wait, signal));
    }
}

/// This process's environment but for what root says by it and `also`.
pub(crate) fn own_env(also: &[&str]) -> Result<Vec<CString>, SpawnError> {
    let passed = env::vars_os().filter(|(name, _)| {
        let name = name.to_str();
        !name.is_some_and(|name| RESERVED_ENV.contains(&name) || also.contains(&name))
    });
    passed
        .map(|(mut entry, value)| {
            entry.push("=");
            entry.push(value);
            c_string(entry)
        })
        .collect()
}
