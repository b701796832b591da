//! The beginning: what root hands over, the journal, and what goes on from before. And what is
//! put at root while we run, so that a next supervisor can begin the same way.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use node_cluster::{Channel, HandleKey, WorkerId};
use pando_logs::{Pump, PumpOptions};
use pando_root::link::Link;
use pando_root::proto::{ChildInfo, FromRoot, ToRoot};

use super::control::Control;
use super::events::{Token, worker_of};
use super::listeners::store_name;
use super::{Hub, HubError, Mail, Options, mailbox, now_ms};
use crate::core::{self, AppRecord, AppSnapshot, Core, WorkerSnapshot};
use crate::journal::Journal;
use crate::poller::Poller;

/// Root hands over at once; longer than this and it is not there.
const HAND_OVER_MS: i64 = 10_000;

/// What was last put at root, by its mark.
#[derive(Default)]
pub(super) struct Marks {
    apps: BTreeMap<String, u64>,
    workers: BTreeMap<WorkerId, u64>,
    /// The poller waits for room in the link.
    pub link_waits: bool,
    /// Root goes to a new binary: its end of the link is not its death.
    pub upgrading: bool,
}

impl Marks {
    pub fn forget_app(&mut self, app: &str) {
        self.apps.remove(app);
    }

    pub fn forget(&mut self, worker: WorkerId) {
        self.workers.remove(&worker);
    }
}

/// All that root kept.
#[derive(Default)]
struct HandOver {
    root_pid: u32,
    children: Vec<ChildInfo>,
    blobs: Vec<(String, String)>,
    fds: HashMap<String, OwnedFd>,
}

pub(super) fn begin(options: Options, mut link: Link) -> Result<Hub, HubError> {
    let mut kept = receive(&mut link).map_err(HubError::Link)?;
    let (journal, findings) = Journal::open(&options.home)?;
    if findings.torn_bytes > 0 {
        tracing::warn!(
            bytes = findings.torn_bytes,
            "cut a torn record off the journal"
        );
    }
    if let Some((lines, aside)) = &findings.damaged {
        tracing::error!(lines, kept = %aside.display(), "damaged records in the journal");
    }
    let (mailbox, mail, wake) = mailbox().map_err(HubError::Poll)?;
    let notices = mailbox.clone();
    let pump = Pump::start(PumpOptions {
        dir: options.home.join("logs"),
        intents: kept.fds.remove("intents"),
        echo: options.echo,
        notices: Box::new(move |notice| {
            notices.post(Mail::Log(notice));
        }),
    })
    .map_err(HubError::Logs)?;
    let control = open_control(&options.home, &mut kept, &mut link, mailbox.clone())?;
    let poller = Poller::new().map_err(HubError::Poll)?;
    poller
        .add(link.as_fd(), Token::Root.encode(), false)
        .map_err(HubError::Poll)?;
    poller
        .add(&*wake, Token::Wake.encode(), false)
        .map_err(HubError::Poll)?;
    let dummy = Arc::new(node_cluster::dummy().map_err(HubError::Poll)?);
    let core = Core::new(core::Options {
        cores: cores(),
        seed: now_ms() ^ u64::from(std::process::id()) << 32,
        first_message: now_ms() * 1_000,
    });
    let mut hub = Hub {
        options,
        core,
        link,
        journal,
        journal_problem: None,
        pump,
        poller,
        wake,
        mail,
        mailbox,
        control,
        channels: BTreeMap::new(),
        listeners: super::listeners::Listeners::default(),
        conns: HashMap::new(),
        dummy,
        inputs: std::collections::VecDeque::new(),
        marks: Marks::default(),
        calls: super::calls::Calls::default(),
        usage: super::usage::Usage::default(),
        questions: super::gateway::Questions::default(),
        watches: super::watch::Watches::default(),
        log_followers: super::logs::Followers::default(),
        own_log: super::own_log::OwnLog::default(),
        monitor_lags: false,
        root_pid: kept.root_pid,
        ending: None,
        exit_code: 0,
        last_code: 0,
        close_signal: None,
        settles_at: Some(now_ms() + super::SETTLED_MS),
    };
    hub.resume(kept);
    Ok(hub)
}

/// Reads root's hand-over to its end.
fn receive(link: &mut Link) -> io::Result<HandOver> {
    let mut kept = HandOver::default();
    let deadline = super::epoch_ms() + HAND_OVER_MS;
    loop {
        match link.recv()? {
            Some((
                FromRoot::Hello {
                    root_pid,
                    children,
                    blobs,
                    ..
                },
                _,
            )) => {
                kept.root_pid = root_pid;
                kept.children = children;
                kept.blobs = blobs;
            }
            Some((FromRoot::Fds { names }, fds)) => kept.fds.extend(names.into_iter().zip(fds)),
            Some((FromRoot::Ready, _)) => return Ok(kept),
            Some((other, _)) => tracing::warn!(?other, "root speaks before its hand-over"),
            None if super::epoch_ms() > deadline => return Err(io::ErrorKind::TimedOut.into()),
            None => wait_readable(link)?,
        }
    }
}

fn wait_readable(link: &Link) -> io::Result<()> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut fds = [PollFd::new(link, PollFlags::IN)];
    let second = Timespec {
        tv_sec: 1,
        tv_nsec: 0,
    };
    match poll(&mut fds, Some(&second)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// The control socket: the one that root kept, so that callers queue while nobody answers.
fn open_control(
    home: &Path,
    kept: &mut HandOver,
    link: &mut Link,
    mailbox: super::Mailbox,
) -> Result<Control, HubError> {
    let path = pando_control::socket_path(home);
    let failed = |source| HubError::Control {
        path: path.clone(),
        source,
    };
    let old = kept
        .fds
        .remove("control")
        .map(pando_control::listener_from_fd);
    let listener = match old {
        // Somebody may have removed the path: then nobody can call there.
        Some(Ok(listener)) if path.exists() => listener,
        Some(_) | None => pando_control::bind(&path).map_err(failed)?,
    };
    let order = ToRoot::Store {
        name: "control".to_owned(),
    };
    link.send(&order, &[listener.as_fd()]).map_err(failed)?;
    Control::start(listener, mailbox).map_err(failed)
}

/// Cores that this process, and so its workers, may use.
pub(super) fn cores() -> u32 {
    std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(1))
}

/// Blobs of one kind, `app/NAME` or `worker/ID`, those that can be read.
fn blobs<T: serde::de::DeserializeOwned>(kept: &HandOver, kind: &str) -> Vec<T> {
    let of_kind = kept.blobs.iter().filter(|(name, _)| name.starts_with(kind));
    of_kind
        .filter_map(|(name, value)| match serde_json::from_str(value) {
            Ok(blob) => Some(blob),
            Err(error) => {
                tracing::error!(%error, name, "root kept something that cannot be read");
                None
            }
        })
        .collect()
}

impl Hub {
    /// Takes up what was there, and begins what is to run.
    fn resume(&mut self, mut kept: HandOver) {
        match self.pump.intents_fd().try_clone_to_owned() {
            Ok(intents) => self.store_fd("intents".to_owned(), intents.as_fd()),
            Err(error) => tracing::error!(%error, "the logs' intents are not kept"),
        }
        let records: Vec<AppRecord> = self.journal.apps().cloned().collect();
        let mut apps: Vec<AppSnapshot> = blobs(&kept, "app/");
        let workers: Vec<WorkerSnapshot> = blobs(&kept, "worker/");
        for record in &records {
            self.configure_logs(&record.spec);
            self.watch(&record.spec, record.running);
        }
        let known = |name: &str| records.iter().any(|r| r.spec.name == name);
        for app in apps.iter_mut().filter(|app| known(&app.name)) {
            for listener in &app.listeners {
                let key = HandleKey(listener.key.clone());
                let sockets = (0..listener.seats)
                    .map_while(|seat| kept.fds.remove(&store_name(&app.name, &key, seat)))
                    .collect();
                self.adopt_listener(&app.name, listener, sockets);
            }
            let take = |name: &str| kept.fds.remove(name);
            let private = app.private.take();
            app.private = private.map(|p| self.adopt_private(&app.name, p, take));
        }
        for worker in &workers {
            self.readopt(worker, &mut kept);
        }
        self.core.restore(now_ms(), &records, &apps, &workers);
        self.forget_strangers(&kept, &workers);
        if let Err(error) = self.link.send(&ToRoot::Hello, &[]) {
            tracing::error!(%error, "root did not take our hello");
        }
        for child in kept.children {
            if let Some(exit) = child.exit {
                self.child_exited(child.child, exit);
            }
        }
        tracing::info!(
            apps = records.len(),
            workers = workers.len(),
            "the supervisor is up"
        );
    }

    fn readopt(&mut self, worker: &WorkerSnapshot, kept: &mut HandOver) {
        let id = WorkerId(worker.id);
        let mut take = |kind: &str| kept.fds.remove(&format!("{kind}/{}", worker.id));
        let (out, err, channel) = (take("out"), take("err"), take("chan"));
        if let Some(agent) = take("agent") {
            self.attach_agent(id, &worker.app, worker.instance, agent);
        }
        if let (Some(out), Some(err)) = (out, err) {
            self.attach_logs(id, &worker.app, worker.instance, out, err);
        }
        match channel.map(Channel::new) {
            Some(Ok(channel)) => self.add_channel(id, channel),
            Some(Err(error)) => {
                tracing::error!(%error, worker.id = worker.id, "a channel was lost")
            }
            None => {}
        }
    }

    /// Children and descriptors that no snapshot names: what was being made when the former
    /// supervisor died.
    fn forget_strangers(&mut self, kept: &HandOver, workers: &[WorkerSnapshot]) {
        let known = |id: u32| workers.iter().any(|w| w.id == id);
        let strangers: Vec<_> = kept
            .children
            .iter()
            .map(|c| c.child)
            .filter(|child| worker_of(*child).is_none_or(|w| !known(w.0)))
            .collect();
        for child in strangers {
            tracing::warn!(?child, "ending a child that nobody knows");
            let scope = pando_root::proto::Scope::Tree;
            self.tell_root(&ToRoot::Signal {
                child,
                signal: 9,
                scope,
            });
        }
        for name in kept.fds.keys() {
            self.tell_root(&ToRoot::Drop { name: name.clone() });
        }
    }

    /// Puts at root what has changed since the last time.
    pub(super) fn save_marks(&mut self) {
        let mut orders = Vec::new();
        for app in self.core.apps() {
            let mark = app.mark();
            if self.marks.apps.get(app.name()) != Some(&mark) {
                self.marks.apps.insert(app.name().to_owned(), mark);
                orders.push((format!("app/{}", app.name()), encode(&app.snapshot())));
            }
            for worker in app.workers() {
                let mark = worker.mark();
                if self.marks.workers.get(&worker.id) != Some(&mark) {
                    self.marks.workers.insert(worker.id, mark);
                    let name = format!("worker/{}", worker.id.0);
                    orders.push((name, encode(&app.worker_snapshot(worker))));
                }
            }
        }
        for (name, value) in orders {
            self.tell_root(&ToRoot::Put { name, value });
        }
    }
}

fn encode(blob: &impl serde::Serialize) -> Option<String> {
    match serde_json::to_string(blob) {
        Ok(text) => Some(text),
        Err(error) => {
            tracing::error!(%error, "a snapshot cannot be written");
            None
        }
    }
}
