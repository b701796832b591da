//! Root's state and its loop. What it does when something happens is in the modules beside:
//! `orders` (what the supervisor says), `supervisor` (its life), `upgrade` (its own re-exec).

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode as FileMode, OFlags};
use rustix::process::{Resource, Rlimit};

use crate::home::{Home, HomeError};
use crate::leftovers::kill_marked;
use crate::options::{Ended, Mode, Options, Tuning};
use crate::orders::Ending;
use crate::procfs;
use crate::proto::{ChildId, FromRoot};
use crate::signals::Signals;
use crate::store::Store;
use crate::supervisor::Supervisor;
use crate::table::Table;
use crate::upgrade::{Trial, Upgrade};

/// Orders taken in one turn.
pub(crate) const MAX_ORDERS: usize = 64;
/// Execs under way before root stops to read orders.
const MAX_STARTING: usize = 256;
/// After a poll that failed, so that a lasting failure does not burn the processor.
const POLL_PAUSE: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub(crate) struct Root {
    pub home: Home,
    pub mode: Mode,
    pub tuning: Tuning,
    pub supervisor_args: Vec<OsString>,
    pub resume_args: Vec<String>,
    /// Soft and hard RLIMIT_NOFILE as root found them.
    pub nofile: (u64, u64),
    /// The binary that runs, O_PATH: stays the same file whatever happens to its path.
    pub exe: OwnedFd,
    pub signals: Signals,
    pub table: Table,
    pub store: Store,
    pub supervisor: Supervisor,
    pub upgrade: Upgrade,
    pub trial: Option<Trial>,
    /// Told to the next supervisor.
    pub notice: Option<FromRoot>,
    pub ready: Option<OwnedFd>,
    /// Children that this process had before it was root.
    pub strangers: Vec<i32>,
    pub ending: Option<Ending>,
    /// SIGTERM, SIGINT or SIGQUIT that no supervisor was in charge to take: when root obeys.
    pub unheard: Option<(Instant, i32)>,
    pub ended: Option<Ended>,
    /// More exits wait than one turn takes.
    pub reap_again: bool,
    pub sweeps_left: u32,
    pub sweep_at: Option<Instant>,
}

/// What may wake the loop.
#[derive(Clone, Copy, Debug)]
enum Source {
    Signals,
    Link,
    Report(ChildId),
    Selfcheck,
}

/// Runs root until a supervisor ends it. The process must have one thread; this call makes none.
pub fn run(mut options: Options) -> Ended {
    let mut ready = options.ready_fd.take();
    let root = match options.resume {
        Some(state) => Root::resume(state),
        None => Root::start(options, &mut ready),
    };
    let ended = match root {
        Ok(root) => root.run(),
        Err(ended) => ended,
    };
    if let Some(ready) = ready {
        let text = match &ended {
            Ended::Shutdown { .. } => "ended".into(),
            Ended::Locked { .. } => "another pando root holds this home".into(),
            Ended::Failed(why) => why.clone(),
        };
        tell_starter(ready, &text);
    }
    ended
}

impl Root {
    fn start(options: Options, ready: &mut Option<OwnedFd>) -> Result<Self, Ended> {
        let failed = |what: &str, why: io::Error| Ended::Failed(format!("{what}: {why}"));
        let mut home = match Home::take(&options.home) {
            Ok(home) => home,
            Err(HomeError::Held { pid }) => return Err(Ended::Locked { pid }),
            Err(error @ HomeError::Io { .. }) => return Err(Ended::Failed(error.to_string())),
        };
        home.sign()
            .map_err(|why| failed("cannot write root.lock", why))?;
        if options.mode == Mode::Daemon {
            // It may lead a session already, and a home that cannot be entered shows elsewhere.
            let _ = rustix::process::setsid();
            let _ = rustix::process::chdir(&home.dir);
        }
        let killed = kill_marked(&home.id);
        if !killed.is_empty() {
            note(&format!(
                "killed {} processes that an earlier root left behind",
                killed.len()
            ));
        }
        let (nofile, parts) = become_root().map_err(|why| failed("cannot set up", why))?;
        let mut root = Self::assemble(home, nofile, parts, options.tuning);
        root.mode = options.mode;
        root.supervisor_args = options.supervisor_args;
        root.resume_args = options.resume_args;
        root.strangers = procfs::children(own_pid());
        root.ready = ready.take();
        root.supervisor.start_at = Some(Instant::now());
        Ok(root)
    }

    /// A root that holds nothing yet.
    pub(crate) fn assemble(
        home: Home,
        nofile: (u64, u64),
        (exe, signals): (OwnedFd, Signals),
        tuning: Tuning,
    ) -> Self {
        Self {
            home,
            mode: Mode::Daemon,
            tuning,
            supervisor_args: Vec::new(),
            resume_args: Vec::new(),
            nofile,
            exe,
            signals,
            table: Table::default(),
            store: Store::new(nofile.1),
            supervisor: Supervisor::new(tuning),
            upgrade: Upgrade::Idle,
            trial: None,
            notice: None,
            ready: None,
            strangers: Vec::new(),
            ending: None,
            unheard: None,
            ended: None,
            reap_again: true,
            sweeps_left: 0,
            sweep_at: None,
        }
    }

    fn run(mut self) -> Ended {
        loop {
            let now = Instant::now();
            if self.reap_again {
                self.reap(now);
            }
            self.on_time(now);
            self.flush(now, false);
            if let Some(ended) = self.ended.take() {
                self.leave(&ended);
                return ended;
            }
            for (source, flags) in self.wait(now) {
                self.on_source(source, flags, Instant::now());
            }
        }
    }

    /// Waits for something to happen or a deadline to pass.
    fn wait(&self, now: Instant) -> Vec<(Source, PollFlags)> {
        let mut sources = vec![Source::Signals];
        let mut fds = vec![PollFd::new(&self.signals, PollFlags::IN)];
        let starting = self.table.starting().count();
        if let Some(peer) = &self.supervisor.peer {
            let mut flags = PollFlags::empty();
            flags.set(
                PollFlags::IN,
                peer.takes_orders() && starting < MAX_STARTING,
            );
            flags.set(
                PollFlags::OUT,
                peer.wants_write() && peer.retry_at.is_none(),
            );
            sources.push(Source::Link);
            fds.push(PollFd::new(&peer.socket, flags));
        }
        for (id, report) in self.table.starting() {
            sources.push(Source::Report(id));
            fds.push(PollFd::new(report, PollFlags::IN));
        }
        if let Some(output) = self.upgrade.output() {
            sources.push(Source::Selfcheck);
            fds.push(PollFd::new(output, PollFlags::IN));
        }
        let wait = if self.reap_again {
            Some(Duration::ZERO)
        } else {
            self.next_deadline()
                .map(|at| at.saturating_duration_since(now))
        };
        let wait = wait.and_then(|wait| Timespec::try_from(wait).ok());
        match poll(&mut fds, wait.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => {
                note(&format!("poll: {error}"));
                std::thread::sleep(POLL_PAUSE);
                return sources
                    .into_iter()
                    .map(|source| (source, PollFlags::IN))
                    .collect();
            }
        }
        let flags = fds.iter().map(PollFd::revents);
        sources
            .into_iter()
            .zip(flags)
            .filter(|(_, flags)| !flags.is_empty())
            .collect()
    }

    fn on_source(&mut self, source: Source, flags: PollFlags, now: Instant) {
        match source {
            Source::Signals => {
                for signal in self.signals.read() {
                    if signal == libc::SIGCHLD {
                        self.reap(now);
                    } else {
                        self.on_signal(signal, now);
                    }
                }
            }
            Source::Link => {
                if flags.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
                    self.read_orders(MAX_ORDERS, now);
                }
                if flags.contains(PollFlags::OUT) {
                    self.flush(now, true);
                }
            }
            Source::Report(child) => self.on_report(child),
            Source::Selfcheck => self.read_selfcheck(),
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        let own = [self.sweep_at, self.unheard.map(|(at, _)| at)];
        let ending = self.ending.as_ref().map(|ending| ending.look_at);
        let others = [self.supervisor.deadline(), self.upgrade.deadline(), ending];
        let trial = self.trial.as_ref().and_then(|trial| trial.deadline);
        own.into_iter().chain(others).chain([trial]).flatten().min()
    }

    fn on_time(&mut self, now: Instant) {
        if self.sweep_at.is_some_and(|at| at <= now) {
            self.sweep(now);
        }
        self.supervisor_on_time(now);
        self.upgrade_on_time(now);
        self.ending_on_time(now);
        if let Some((at, signal)) = self.unheard
            && at <= now
        {
            self.unheard = None;
            note(&format!("no supervisor takes signal {signal}: root ends"));
            self.begin_shutdown(128 + signal, now);
        }
    }

    pub(crate) fn tell(&mut self, news: FromRoot) {
        if let Some(peer) = &mut self.supervisor.peer {
            peer.tell(news);
        }
    }

    fn leave(&mut self, ended: &Ended) {
        if let Some(ready) = self.ready.take() {
            tell_starter(
                ready,
                if let Ended::Failed(why) = ended {
                    why
                } else {
                    "stopped"
                },
            );
        }
        if let Err(why) = self.home.clear() {
            note(&format!("cannot clear root.lock: {why}"));
        }
    }
}

/// What makes a process a root: its limit, its name, orphans come to it, signals as an fd, and
/// a hold on its own binary. Done again after an exec; returns the RLIMIT_NOFILE found.
pub(crate) fn become_root() -> io::Result<((u64, u64), (OwnedFd, Signals))> {
    let found = rustix::process::getrlimit(Resource::Nofile);
    let unlimited = u64::MAX;
    let raised = Rlimit {
        current: found.maximum,
        maximum: found.maximum,
    };
    if let Err(why) = rustix::process::setrlimit(Resource::Nofile, raised) {
        note(&format!("cannot raise RLIMIT_NOFILE: {why}"));
    }
    let me = rustix::process::getpid();
    if !me.is_init() {
        rustix::process::set_child_subreaper(Some(me))?;
    }
    // Only for people who look at `ps`.
    let _ = rustix::thread::set_name(c"pando-root");
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let exe = rustix::fs::open("/proc/self/exe", flags, FileMode::empty())?;
    let limits = (
        found.current.unwrap_or(unlimited),
        found.maximum.unwrap_or(unlimited),
    );
    Ok((limits, (exe, Signals::new()?)))
}

pub(crate) fn own_pid() -> i32 {
    rustix::process::getpid().as_raw_nonzero().get()
}

/// Tells whoever waits for the daemon, and lets go.
pub(crate) fn tell_starter(ready: OwnedFd, text: &str) {
    let line = format!("{}\n", text.replace('\n', " "));
    // Nobody may be there any more.
    let _ = rustix::io::write(&ready, line.as_bytes());
}

/// One line to stderr, unless that would wait: a log that nobody reads must not stop root.
pub(crate) fn note(text: &str) {
    let stderr = io::stderr();
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let mut fds = [PollFd::from_borrowed_fd(stderr.as_fd(), PollFlags::OUT)];
    if poll(&mut fds, Some(&now)).is_ok_and(|ready| ready > 0) {
        let _ = stderr
            .lock()
            .write_all(format!("pando root: {text}\n").as_bytes());
    }
}
