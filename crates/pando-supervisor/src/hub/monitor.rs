//! What the metrics are told by the hub: the apps once a second, events, the gateway's reports,
//! the sockets of preloads; and questions of callers passed on.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use monitor_spec::ask::{Answer, Ask};
use monitor_spec::{Replier, Word, state};
use node_cluster::WorkerId;
use pando_control::Reply;
use pando_control::api::{self, AppView, Frame, Problem};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use super::{Hub, epoch_ms, now_ms};
use crate::core::{App, Ms};

/// A caller of the control API.
struct Caller(Reply);

impl Replier for Caller {
    fn push(&self, answer: Answer) -> bool {
        use pando_control::TrySendError;
        // One that reads slowly misses pictures.
        !matches!(
            self.0.try_send(Frame::Monitor(Box::new(answer))),
            Err(TrySendError::Gone)
        )
    }

    fn done(self: Box<Self>, answer: Answer) {
        self.0.done(api::Answer::Monitor(Box::new(answer)));
    }

    fn failed(self: Box<Self>, why: String) {
        self.0.failed(Problem {
            place: "metrics".into(),
            what: "the metrics could not answer".into(),
            why,
            exit_code: 1,
            ..Problem::default()
        });
    }
}

/// A preload's socket: ours, and the worker's. Datagrams keep reports apart and whole, and one
/// that finds no room is refused at once.
///
/// # Errors
/// No descriptors.
pub(super) fn agent_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        flags,
        None,
    )?)
}

impl Hub {
    /// Hands the metrics the socket on which a worker's preload reports.
    pub(super) fn attach_agent(
        &mut self,
        worker: WorkerId,
        app: &str,
        instance: u32,
        ours: OwnedFd,
    ) {
        self.tell_monitor(Word::Agent {
            app: app.to_owned(),
            worker: worker.0,
            instance,
            socket: ours,
        });
    }

    pub(super) fn store_agent(&mut self, worker: WorkerId, ours: &OwnedFd) {
        self.store_fd(format!("agent/{}", worker.0), ours.as_fd());
    }

    pub(super) fn tell_monitor(&mut self, word: Word) {
        if self.options.monitor.tell(word).is_err() && !self.monitor_lags {
            tracing::warn!("the metrics do not keep up: some of what they are told is lost");
            self.monitor_lags = true;
        }
    }

    pub(super) fn ask_monitor(&mut self, ask: Ask, reply: Reply) {
        let reply = Box::new(Caller(reply));
        if let Err(Word::Ask { reply, .. }) = self.options.monitor.tell(Word::Ask { ask, reply }) {
            reply.failed("they do not keep up with what they are told; try again".into());
        }
    }

    /// The apps as they are now.
    pub(super) fn tell_state(&mut self) {
        let now = now_ms();
        let views = self.views(None, now);
        let apps = views.into_iter().filter_map(|view| {
            let app = self.core.app(&view.name)?;
            Some(app_state(view, app, now))
        });
        let state = state::State {
            time_ms: epoch_ms(),
            supervisor_pid: std::process::id(),
            root_pid: self.root_pid,
            apps: apps.collect(),
        };
        self.tell_monitor(Word::State(Box::new(state)));
    }
}

fn app_state(view: AppView, app: &App, now: Ms) -> state::App {
    let spec = app.spec();
    let workers = view.workers.into_iter().map(|worker| {
        let known = app.workers().find(|known| known.id.0 == worker.id);
        let pinged = known.filter(|known| known.has_channel() && known.is_ready());
        let ping_us = pinged.map(|known| known.lag_us(now));
        state::Worker {
            id: worker.id,
            instance: worker.instance,
            pid: worker.pid,
            state: kebab(&worker.state),
            uptime_ms: worker.uptime_ms,
            restarts: worker.restarts,
            last_exit: worker.last_exit,
            memory_bytes: worker.memory_bytes,
            cpu_percent: worker.cpu_percent,
            ping_us,
            tree: !spec.is_cluster(),
        }
    });
    state::App {
        status: kebab(&view.status),
        mode: view.mode,
        command: view.command,
        listen: view.listen,
        wanted: view.wanted,
        ready: view.ready,
        restarts: view.restarts,
        uptime_ms: view.uptime_ms,
        reloading: view.reloading,
        problem: view.problem,
        memory_limit_bytes: spec.memory_bytes,
        agent: super::launch::has_preload(spec),
        workers: workers.collect(),
        name: view.name,
    }
}

/// A state's name as the API writes it.
fn kebab(state: &impl serde::Serialize) -> String {
    match serde_json::to_value(state) {
        Ok(serde_json::Value::String(name)) => name,
        Ok(_) | Err(_) => String::new(),
    }
}
