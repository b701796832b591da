//! What a next supervisor must know of apps and workers that go on running while this one is
//! gone. Kept by root as small blobs; specs are in the journal. A worker that was not ready yet is
//! not worth restoring: it serves nobody, and what it asked may have died with the asker.

use std::hash::{Hash, Hasher};
use std::net::SocketAddr;
use std::sync::Arc;

use node_cluster::{HandleKey, WorkerId};
use serde::{Deserialize, Serialize};

use super::app::{App, Desired};
use super::effect::{AppRecord, Effect, ListenMode};
use super::instance::Instance;
use super::kept::{Address, Protocol};
use super::mark::Mark;
use super::private::Private;
use super::steering::Listener;
use super::worker::{Phase, StopStep, Worker};
use super::{Context, Core, Ms};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AppSnapshot {
    pub name: String,
    pub revision: u32,
    pub is_server: bool,
    /// For the apps that it depends on.
    #[serde(default)]
    pub waiting: bool,
    pub instances: Vec<InstanceSnapshot>,
    pub listeners: Vec<ListenerSnapshot>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub private: Option<PrivateSnapshot>,
}

/// Private addresses of seats, all at the listener `key`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PrivateSnapshot {
    pub key: String,
    pub seats: Vec<(usize, SocketAddr)>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InstanceSnapshot {
    pub restarts: u64,
    pub last_exit: Option<String>,
    pub done: bool,
    pub exit_code: Option<i32>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ListenerSnapshot {
    pub key: String,
    pub address: Address,
    pub mode: ListenMode,
    pub seats: usize,
    pub port: u16,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkerSnapshot {
    pub id: u32,
    pub app: String,
    pub instance: u32,
    pub seat: usize,
    pub revision: u32,
    pub pid: Option<u32>,
    pub life: Life,
    pub spawned_at: Ms,
    pub ready_at: Option<Ms>,
    pub port: Option<u16>,
    pub channel: bool,
    pub agent: bool,
    pub handles_signal: bool,
    pub listens: Vec<String>,
    pub listening: Vec<String>,
    pub protocol: Option<Protocol>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Life {
    Starting,
    Ready,
    Leaving,
}

impl App {
    /// Changes whenever [`App::snapshot`] would.
    pub fn mark(&self) -> u64 {
        let mut hash = Mark::new();
        (
            self.committed_revision(),
            self.is_server,
            self.desired == Desired::Waiting,
            self.instances.len(),
        )
            .hash(&mut hash);
        for i in &self.instances {
            (i.restarts, i.done).hash(&mut hash);
        }
        for (key, l) in &self.listeners {
            (key, l.seats, l.port, l.opening.is_some()).hash(&mut hash);
        }
        (&self.private.key, &self.private.seats).hash(&mut hash);
        hash.finish()
    }

    /// The revision of the spec that is in the journal.
    fn committed_revision(&self) -> u32 {
        match &self.rollout {
            Some(rollout) if !rollout.passed => rollout.old_revision,
            Some(_) | None => self.revision,
        }
    }

    pub fn snapshot(&self) -> AppSnapshot {
        AppSnapshot {
            name: self.name().to_owned(),
            revision: self.committed_revision(),
            is_server: self.is_server,
            waiting: self.desired == Desired::Waiting,
            instances: self.instances.iter().map(InstanceSnapshot::of).collect(),
            listeners: self
                .listeners
                .iter()
                .filter(|(_, l)| l.opening.is_none())
                .map(|(key, l)| ListenerSnapshot {
                    key: key.0.clone(),
                    address: Address::of(&l.address),
                    mode: l.mode,
                    seats: l.seats,
                    port: l.port.unwrap_or(0),
                })
                .collect(),
            private: self.private.snapshot(),
        }
    }

    pub fn worker_snapshot(&self, worker: &Worker) -> WorkerSnapshot {
        WorkerSnapshot {
            id: worker.id.0,
            app: self.name().to_owned(),
            instance: worker.instance,
            seat: worker.seat,
            revision: worker.revision,
            pid: worker.pid,
            life: worker.life(),
            spawned_at: worker.spawned_at,
            ready_at: worker.ready_at,
            port: worker.port,
            channel: worker.channel,
            agent: worker.agent,
            handles_signal: worker.handles_signal,
            listens: worker.listens.clone(),
            listening: worker.listening.iter().map(|key| key.0.clone()).collect(),
            protocol: self.primary.snapshot(worker.id).map(Protocol::of),
        }
    }

    fn restored(record: &AppRecord, snapshot: Option<&AppSnapshot>, cx: &Context) -> Self {
        let mut app = Self::new(Arc::clone(&record.spec), cx.first_message);
        let Some(snapshot) = snapshot else { return app };
        app.revision = snapshot.revision;
        app.is_server = snapshot.is_server;
        for l in &snapshot.listeners {
            let address = l.address.listen_address();
            let listener = Listener::restored(address, l.mode, l.seats, l.port);
            app.listeners.insert(HandleKey(l.key.clone()), listener);
        }
        app.private = snapshot
            .private
            .as_ref()
            .map(Private::restored)
            .unwrap_or_default();
        if !record.running {
            // It was stopping; what it listens on is closed when the last worker has gone.
            return app;
        }
        app.desired = if snapshot.waiting {
            Desired::Waiting
        } else {
            Desired::Running
        };
        for (number, kept) in (0..app.spec.instances.resolve(cx.cores)).zip(
            snapshot
                .instances
                .iter()
                .map(Some)
                .chain(std::iter::repeat(None)),
        ) {
            let mut instance = Instance::new(number);
            if let Some(kept) = kept {
                instance.restarts = kept.restarts;
                instance.last_exit.clone_from(&kept.last_exit);
                instance.done = kept.done;
                instance.exit_code = kept.exit_code;
            }
            app.instances.push(instance);
        }
        app
    }

    /// Puts a worker back that was there before. False: it has no place here any more.
    fn readopt(&mut self, now: Ms, kept: &WorkerSnapshot) -> bool {
        let place = usize::try_from(kept.instance)
            .ok()
            .and_then(|i| self.instances.get_mut(i))
            .filter(|i| i.current.is_none());
        if kept.life == Life::Ready && place.is_none() || kept.life == Life::Starting {
            return false;
        }
        let id = WorkerId(kept.id);
        let spec = Arc::clone(&self.spec);
        let mut worker = Worker::new(
            id,
            kept.instance,
            kept.seat,
            kept.revision,
            spec,
            kept.spawned_at,
        );
        worker.pid = kept.pid;
        worker.ready_at = kept.ready_at;
        worker.port = kept.port;
        worker.channel = kept.channel;
        worker.agent = kept.agent;
        worker.handles_signal = kept.handles_signal;
        worker.listens.clone_from(&kept.listens);
        worker.listening = kept.listening.iter().cloned().map(HandleKey).collect();
        worker.answered_probe = true;
        worker.asked_to_listen = !worker.listening.is_empty();
        worker.pings.last_pong = now;
        worker.pings.next_at = now;
        if worker.channel {
            match &kept.protocol {
                Some(protocol) => self.primary.adopt(id, protocol.snapshot()),
                None => self.primary.join(id),
            }
        }
        worker.phase = match (kept.life, place) {
            (Life::Ready, Some(instance)) => {
                instance.current = Some(id);
                Phase::Ready
            }
            (Life::Starting | Life::Ready | Life::Leaving, _) => Phase::Stopping {
                until: now + self.spec.timeouts.stop_ms,
                step: StopStep::Disconnected,
            },
        };
        self.workers.insert(id, worker);
        true
    }
}

impl InstanceSnapshot {
    fn of(instance: &Instance) -> Self {
        Self {
            restarts: instance.restarts,
            last_exit: instance.last_exit.clone(),
            done: instance.done,
            exit_code: instance.exit_code,
        }
    }
}

impl Worker {
    fn life(&self) -> Life {
        match self.phase {
            Phase::Starting => Life::Starting,
            Phase::Ready => Life::Ready,
            Phase::Draining { .. } | Phase::Stopping { .. } => Life::Leaving,
        }
    }

    /// Changes whenever its snapshot would.
    pub fn mark(&self) -> u64 {
        let mut hash = Mark::new();
        (
            self.life() as u8,
            self.pid,
            self.revision,
            self.seat,
            self.instance,
        )
            .hash(&mut hash);
        (
            self.channel,
            self.agent,
            self.handles_signal,
            self.listening.len(),
        )
            .hash(&mut hash);
        self.listens.hash(&mut hash);
        hash.finish()
    }
}

impl Core {
    /// Begins where a former supervisor ended. Apps of the journal that have no snapshot start
    /// anew. Workers that can't be put back get SIGKILL; their places start a new one.
    pub fn restore(
        &mut self,
        now: Ms,
        records: &[AppRecord],
        apps: &[AppSnapshot],
        workers: &[WorkerSnapshot],
    ) {
        self.cx.now = now;
        for record in records {
            let kept = apps.iter().find(|a| a.name == record.spec.name);
            let mut app = App::restored(record, kept, &self.cx);
            if kept.is_none() && record.running {
                app.start(&mut self.cx, None);
            }
            self.apps.insert(record.spec.name.clone(), app);
        }
        for kept in workers {
            self.cx.next_worker = self.cx.next_worker.max(kept.id);
            let back = self
                .apps
                .get_mut(&kept.app)
                .is_some_and(|a| a.readopt(now, kept));
            if !back {
                let worker = WorkerId(kept.id);
                self.cx.emit(Effect::Signal {
                    worker,
                    signal: 9,
                    tree: true,
                });
            }
        }
        for app in self.apps.values_mut() {
            app.last_tick = now;
            // What the journal has is in force, whatever the former supervisor was about to do.
            let ids: Vec<WorkerId> = app.workers().map(|w| w.id).collect();
            for id in ids {
                app.configure_worker(&mut self.cx, id);
            }
        }
        self.settle();
    }
}
