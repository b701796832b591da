//! The hub: one thread that owns all state and all sockets of the supervisor. It waits in one
//! epoll set, turns what happens into inputs of the [`Core`], and carries out its effects. The
//! control API and the health probes run on one tokio thread beside it, the log pump on a third;
//! both talk to the hub by bounded queues and an eventfd.
//!
//! Start: link to root, hand-over, journal, core, control socket. Stop: apps, answers, root.

mod calls;
mod channels;
mod control;
mod effects;
mod events;
mod gateway;
mod launch;
mod listeners;
mod logs;
mod monitor;
mod own_log;
mod preload;
mod private;
mod probe;
mod restore;
mod usage;
mod view;
mod watch;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use node_cluster::{ConnId, WorkerId};
use pando_control::Reply;
use pando_logs::{Echo, Pump};
use pando_root::link::Link;
use pando_root::proto::ToRoot;
use rustix::time::{ClockId, clock_gettime};

use crate::core::{self, Core, Input, Ms, OpId};
use crate::journal::Journal;
use crate::poller::{Poller, wake_fd};

/// What other threads tell the hub and it has not read yet.
const MAIL_MAX: usize = 1024;
/// The hub wakes at least this often.
const LONGEST_WAIT_MS: Ms = 1_000;
/// Until a channel that no event wakes is tried again.
const RETRY_MS: Ms = 10;
/// After this the start is over.
const SETTLED_MS: Ms = 2_000;
/// Answers to callers have this long to go out before the process ends.
const LINGER_MS: Ms = 150;

pub struct Options {
    pub home: PathBuf,
    /// Also write logs to this process's stdout.
    pub echo: Option<Echo>,
    /// `pando run`: end with the app's exit code when it ends.
    pub foreground: bool,
    pub version: &'static str,
    /// Who measures.
    pub monitor: monitor_spec::Handle,
    /// Called once, a while after the start.
    pub settled: fn(),
}

/// What other threads tell the hub.
pub(crate) enum Mail {
    Call(pando_control::Call),
    Probe {
        worker: WorkerId,
        conn: Option<ConnId>,
        result: Result<Vec<String>, String>,
    },
    Log(pando_logs::Notice),
    Changed {
        app: String,
    },
}

/// How other threads reach the hub.
#[derive(Clone)]
pub(crate) struct Mailbox {
    sender: SyncSender<Mail>,
    wake: Arc<OwnedFd>,
}

impl Mailbox {
    /// Waits while the hub is [`MAIL_MAX`] behind. False when the hub has ended.
    pub fn post(&self, mail: Mail) -> bool {
        let sent = self.sender.send(mail).is_ok();
        crate::poller::wake(&self.wake);
        sent
    }
}

pub struct Hub {
    options: Options,
    core: Core,
    link: Link,
    journal: Journal,
    /// Why the last record could not be written, until one can.
    journal_problem: Option<String>,
    pump: Pump,
    poller: Poller,
    wake: Arc<OwnedFd>,
    mail: Receiver<Mail>,
    mailbox: Mailbox,
    control: control::Control,
    channels: BTreeMap<WorkerId, channels::WorkerChannel>,
    listeners: listeners::Listeners,
    conns: HashMap<ConnId, Arc<OwnedFd>>,
    /// The far end of every ping: a worker closes its copy.
    dummy: Arc<OwnedFd>,
    inputs: VecDeque<Input>,
    marks: restore::Marks,
    calls: calls::Calls,
    usage: usage::Usage,
    questions: gateway::Questions,
    watches: watch::Watches,
    log_followers: logs::Followers,
    own_log: own_log::OwnLog,
    /// The metrics lost a word, and it was said.
    monitor_lags: bool,
    /// Root and its version, as it said hello.
    root_pid: u32,
    ending: Option<Ending>,
    /// The worst code that a worker ended with while we stop: `pando run` returns it.
    exit_code: i32,
    /// The code of the last worker that ended.
    last_code: i32,
    close_signal: Option<i32>,
    /// When [`Options::settled`] is called.
    settles_at: Option<Ms>,
}

/// The process ends at this time, with this last word to root.
struct Ending {
    at: Ms,
    word: Option<ToRoot>,
}

/// Milliseconds of CLOCK_MONOTONIC: the same clock for every process since boot.
pub(crate) fn now_ms() -> Ms {
    let t = clock_gettime(ClockId::Monotonic);
    u64::try_from(t.tv_sec).unwrap_or(0) * 1_000 + u64::try_from(t.tv_nsec).unwrap_or(0) / 1_000_000
}

pub(crate) fn epoch_ms() -> i64 {
    let t = clock_gettime(ClockId::Realtime);
    t.tv_sec * 1_000 + t.tv_nsec / 1_000_000
}

/// Runs the supervisor until it is told to end. The exit code is this process's own.
///
/// # Errors
/// What could not be set up: no link to root, an unreadable journal, no control socket.
pub fn run(options: Options) -> Result<(), HubError> {
    let link = Link::from_env().map_err(HubError::Link)?;
    let mut hub = restore::begin(options, link)?;
    hub.run().map_err(HubError::Poll)
}

#[derive(Debug, thiserror::Error)]
pub enum HubError {
    #[error("no link to pando's root process: {0}")]
    Link(io::Error),
    #[error("{0}")]
    Journal(#[from] crate::journal::JournalError),
    #[error("cannot start the log pump: {0}")]
    Logs(io::Error),
    #[error("cannot open the control socket {path}: {source}")]
    Control { path: PathBuf, source: io::Error },
    #[error("cannot wait for events: {0}")]
    Poll(io::Error),
}

impl Hub {
    fn run(&mut self) -> io::Result<()> {
        loop {
            self.settle();
            if self.end_if_due() {
                return Ok(());
            }
            let timeout = self.timeout(now_ms());
            for ready in self.poller.wait(timeout)? {
                self.on_ready(ready);
                if self.ending.as_ref().is_some_and(|e| e.at == 0) {
                    return Ok(());
                }
            }
            self.settle();
            let now = now_ms();
            if self.settles_at.take_if(|at| *at <= now).is_some() {
                (self.options.settled)();
            }
            self.flush_waiting_channels();
            self.drop_old_questions(now);
            self.sample(now);
            if self.core.next_deadline().is_some_and(|due| due <= now) {
                self.core.tick(now);
            }
        }
    }

    /// Carries out effects until nothing follows from them any more.
    fn settle(&mut self) {
        loop {
            self.save_marks();
            while let Some(effect) = self.core.poll_effect() {
                self.carry_out(effect);
            }
            match self.inputs.pop_front() {
                Some(input) => self.core.handle(now_ms(), input),
                None => break,
            }
        }
        self.check_foreground();
    }

    fn timeout(&self, now: Ms) -> Ms {
        let mut due = now + LONGEST_WAIT_MS;
        if let Some(deadline) = self.core.next_deadline() {
            due = due.min(deadline);
        }
        due = due.min(self.usage.next_at(&self.core));
        due = due.min(self.questions.next_at().unwrap_or(due));
        if self.waiting_channels().next().is_some() {
            due = due.min(now + RETRY_MS);
        }
        if let Some(ending) = &self.ending {
            due = due.min(ending.at);
        }
        due.saturating_sub(now)
    }

    /// Lets answers go out, then ends.
    fn end_after_answers(&mut self, word: Option<ToRoot>) {
        if self.ending.is_none() {
            self.ending = Some(Ending {
                at: now_ms() + LINGER_MS,
                word,
            });
        }
    }

    fn end_if_due(&mut self) -> bool {
        let now = now_ms();
        let Some(ending) = self.ending.take_if(|e| e.at <= now) else {
            return false;
        };
        self.pump.flush();
        if let Some(word) = ending.word
            && let Err(error) = self.link.send(&word, &[])
        {
            tracing::error!(%error, "cannot tell root to end");
        }
        while self.link.wants_write() {
            match self.link.flush() {
                Ok(true) => break,
                Ok(false) => std::thread::yield_now(),
                Err(error) => {
                    tracing::error!(%error, "root is gone");
                    break;
                }
            }
        }
        true
    }

    /// `pando run`: when every app has ended, so does Pando, with the app's code.
    fn check_foreground(&mut self) {
        if !self.options.foreground || self.ending.is_some() {
            return;
        }
        let looping = self
            .core
            .apps()
            .any(|a| a.instances().iter().any(|i| i.crash_loop));
        if self.all_have_ended() {
            self.exit_code = self
                .core
                .apps()
                .filter_map(|a| a.exited())
                .max()
                .unwrap_or(0);
            if self.close_signal.is_none() {
                // What is left is a gateway, if anything.
                self.close_all(Some(15), None);
            }
        } else if looping && self.close_signal.is_none() {
            tracing::error!(code = self.last_code, "crash loop: giving up");
            self.exit_code = self.last_code;
            self.close_all(Some(15), None);
        }
    }

    /// A gateway is there for the others; one that is alone serves files or other machines.
    fn all_have_ended(&self) -> bool {
        let is_gateway = |app: &&core::App| app.spec().gateway.is_some();
        let ended = |app: &core::App| app.exited().is_some();
        if self.core.apps().all(|app| is_gateway(&app)) {
            return self.core.apps().all(ended);
        }
        self.core.apps().filter(|app| !is_gateway(app)).all(ended)
    }

    pub(crate) fn order(&mut self, app: &str, order: crate::core::Order) -> OpId {
        let op = self.calls.new_op();
        self.inputs.push_back(Input::Order {
            op,
            app: app.to_owned(),
            order: Box::new(order),
        });
        op
    }

    /// Stops every app, keeps them journaled as running, then ends root.
    fn close_all(&mut self, signal: Option<i32>, reply: Option<Reply>) {
        self.close_signal = Some(signal.unwrap_or(15));
        let names: Vec<String> = self.core.apps().map(|a| a.name().to_owned()).collect();
        let ops: Vec<OpId> = names
            .iter()
            .map(|name| self.order(name, crate::core::Order::Close { signal }))
            .collect();
        self.calls.close_when(ops, reply);
        if self.calls.closed() {
            self.finish_close();
        }
    }

    fn finish_close(&mut self) {
        let code = if self.options.foreground {
            self.exit_code
        } else {
            0
        };
        self.end_after_answers(Some(ToRoot::Shutdown { code }));
    }
}

fn mailbox() -> io::Result<(Mailbox, Receiver<Mail>, Arc<OwnedFd>)> {
    let (sender, receiver) = sync_channel(MAIL_MAX);
    let wake = Arc::new(wake_fd()?);
    Ok((
        Mailbox {
            sender,
            wake: Arc::clone(&wake),
        },
        receiver,
        wake,
    ))
}
