//! One app: its spec, its instances, its workers, its listeners, and the orders it follows.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use app_spec::{AppSpec, Instances};
use node_cluster::{ConnId, HandleKey, Primary, WorkerId};

use super::effect::{AppRecord, Effect, Notice};
use super::feed::Routes;
use super::gateway::Offer;
use super::input::{Order, Target};
use super::instance::Instance;
use super::operation::{Failure, Goal, OpId, Operation, Outcome};
use super::private::Private;
use super::rollout::Rollout;
use super::steering::{Handed, Listener, Pending};
use super::worker::{RetireStyle, Worker};
use super::{Context, Ms};

/// Connections given to a worker and not yet taken by it.
pub(super) const HAND_OVER_WINDOW: usize = 12;

/// What the app is meant to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Desired {
    Running,
    /// Running, once the apps it depends on are ready.
    Waiting,
    Stopped,
}

/// What follows when the last worker has gone.
#[derive(Debug)]
pub(super) enum AfterStop {
    Nothing,
    Delete,
    Start(Option<Box<AppSpec>>),
}

pub struct App {
    pub(super) spec: Arc<AppSpec>,
    /// Counts specs; a worker of an older one is to be replaced.
    pub(super) revision: u32,
    pub(super) desired: Desired,
    pub(super) after_stop: AfterStop,
    pub(super) rollout: Option<Rollout>,
    pub(super) instances: Vec<Instance>,
    pub(super) workers: BTreeMap<WorkerId, Worker>,
    pub(super) primary: Primary,
    pub(super) listeners: BTreeMap<HandleKey, Listener>,
    pub(super) pending: VecDeque<Pending>,
    /// Connections handed over and not yet taken.
    pub(super) handed: BTreeMap<ConnId, Handed>,
    pub(super) picker: balance::Picker,
    pub(super) gate_open: bool,
    pub(super) operations: Vec<Operation>,
    /// When workers ended soon after their start, within the policy's window.
    pub(super) fast_exits: VecDeque<Ms>,
    /// Some worker of this app has asked to listen, so a new one is not ready before it does.
    pub(super) is_server: bool,
    pub(super) problem: Option<String>,
    pub(super) last_tick: Ms,
    pub(super) closing: bool,
    pub(super) private: Private,
    /// Of a gateway: the apps that it routes to.
    pub(super) routes: Routes,
    /// Of a gateway: a configuration that it was asked to take over.
    pub(super) offer: Option<Offer>,
    /// The last worker that ended by itself soon after its start.
    pub(super) failed: Option<WorkerId>,
    gone: bool,
}

impl App {
    pub(super) fn new(spec: Arc<AppSpec>, first_message: u64) -> Self {
        Self {
            revision: 0,
            desired: Desired::Stopped,
            after_stop: AfterStop::Nothing,
            rollout: None,
            instances: Vec::new(),
            workers: BTreeMap::new(),
            primary: Primary::new(node_cluster::Options {
                window: HAND_OVER_WINDOW,
            })
            .numbered_from(first_message),
            listeners: BTreeMap::new(),
            pending: VecDeque::new(),
            handed: BTreeMap::new(),
            picker: super::steering::picker(spec.balance),
            gate_open: true,
            operations: Vec::new(),
            fast_exits: VecDeque::new(),
            is_server: false,
            problem: None,
            last_tick: 0,
            closing: false,
            private: Private::default(),
            routes: Routes::default(),
            offer: None,
            failed: None,
            gone: false,
            spec,
        }
    }

    pub fn name(&self) -> &str {
        &self.spec.name
    }

    pub fn spec(&self) -> &AppSpec {
        &self.spec
    }

    pub fn desired(&self) -> Desired {
        self.desired
    }

    pub fn instances(&self) -> &[Instance] {
        &self.instances
    }

    pub fn workers(&self) -> impl Iterator<Item = &Worker> {
        self.workers.values()
    }

    pub fn worker(&self, id: WorkerId) -> Option<&Worker> {
        self.workers.get(&id)
    }

    /// Whose stderr may explain why the app is not ready.
    pub fn failed(&self) -> Option<WorkerId> {
        self.failed
    }

    pub fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    /// Whether connections that wait can be taken now.
    pub fn gate_is_open(&self) -> bool {
        self.gate_open
    }

    pub fn is_reloading(&self) -> bool {
        self.rollout.is_some()
    }

    pub fn wanted(&self) -> u32 {
        u32::try_from(self.instances.len()).unwrap_or(u32::MAX)
    }

    pub fn ready_count(&self) -> u32 {
        let ready = |i: &&Instance| {
            i.current
                .and_then(|w| self.workers.get(&w))
                .is_some_and(Worker::is_ready)
        };
        u32::try_from(self.instances.iter().filter(ready).count()).unwrap_or(u32::MAX)
    }

    /// Every worker that is wanted is ready.
    pub fn is_fully_ready(&self) -> bool {
        self.desired == Desired::Running && self.wanted() > 0 && self.ready_count() == self.wanted()
    }

    /// Every instance has ended and its policy keeps it down; with the last exit code, the worst.
    pub fn exited(&self) -> Option<i32> {
        let done = self.desired == Desired::Running
            && !self.instances.is_empty()
            && self.workers.is_empty()
            && self.instances.iter().all(|i| i.done);
        done.then(|| {
            self.instances
                .iter()
                .filter_map(|i| i.exit_code)
                .max()
                .unwrap_or(0)
        })
    }

    pub(super) fn is_down(&self) -> bool {
        self.desired == Desired::Stopped && matches!(self.after_stop, AfterStop::Nothing)
    }

    pub(super) fn is_gone(&self) -> bool {
        self.gone
    }

    /// As ordered: the right workers ready, none coming or going.
    pub(super) fn is_settled(&self) -> bool {
        self.desired == Desired::Running
            && self.rollout.is_none()
            && !self.workers().any(Worker::is_leaving)
            && self.instances.iter().all(|i| {
                let ready = i
                    .current
                    .and_then(|w| self.workers.get(&w))
                    .is_some_and(|w| {
                        w.is_ready() && w.revision == self.revision && w.replace.is_none()
                    });
                i.successor.is_none() && (ready || i.done)
            })
    }

    pub(super) fn notice(
        &self,
        cx: &mut Context,
        worker: Option<WorkerId>,
        kind: &'static str,
        text: impl Into<String>,
    ) {
        let instance = worker
            .and_then(|w| self.workers.get(&w))
            .map(|w| w.instance);
        cx.emit(Effect::Notice(Notice {
            app: self.name().to_owned(),
            worker,
            instance,
            kind,
            text: text.into(),
        }));
    }

    pub(super) fn persist(&self, cx: &mut Context) {
        let running =
            self.desired != Desired::Stopped || matches!(self.after_stop, AfterStop::Start(_));
        // A version that is still on trial is not what a reboot should bring back.
        let spec = match &self.rollout {
            Some(rollout) if !rollout.passed => &rollout.old,
            Some(_) | None => &self.spec,
        };
        cx.emit(Effect::Persist(AppRecord {
            spec: Arc::clone(spec),
            running,
        }));
    }

    pub(super) fn order_start(&mut self, cx: &mut Context, op: OpId, spec: Option<AppSpec>) {
        if self.desired != Desired::Stopped && self.exited().is_none() {
            let failure = Failure {
                app: self.name().to_owned(),
                what: format!("{} is already running", self.name()),
                why: "an app of this name was started before".to_owned(),
                fix: format!(
                    "`pando reload {0}` takes a new version without downtime; \
                     `--name` starts a second app",
                    self.name()
                ),
                worker: None,
                exit_code: 1,
            };
            cx.emit(Effect::Finished {
                op,
                outcome: Outcome::Failed(failure),
            });
            return;
        }
        self.supersede(cx, "start");
        self.begin(op, Goal::Started, "started");
        if self.workers.is_empty() {
            self.start(cx, spec);
        } else {
            self.after_stop = AfterStop::Start(spec.map(Box::new));
            self.persist(cx);
        }
    }

    /// From stopped to running, with every counter at zero.
    pub(super) fn start(&mut self, cx: &mut Context, spec: Option<AppSpec>) {
        if let Some(spec) = spec {
            self.picker = super::steering::picker(spec.balance);
            self.spec = Arc::new(spec);
        }
        self.revision += 1;
        self.after_stop = AfterStop::Nothing;
        self.problem = None;
        self.closing = false;
        self.rollout = None;
        self.fast_exits.clear();
        self.desired = if self.spec.depends_on.is_empty() {
            Desired::Running
        } else {
            Desired::Waiting
        };
        self.instances.clear();
        self.set_wanted(cx, self.spec.instances.resolve(cx.cores));
        self.persist(cx);
    }

    pub(super) fn dependencies_are_ready(&mut self, _cx: &mut Context) {
        self.desired = Desired::Running;
    }

    pub(super) fn order(&mut self, cx: &mut Context, op: OpId, order: Order) {
        match order {
            Order::Start { spec } => self.order_start(cx, op, Some(spec)),
            Order::StartKnown => self.order_start(cx, op, None),
            Order::Stop => {
                self.stop(cx, AfterStop::Nothing, None, "stop");
                self.begin(op, Goal::Stopped, "stopped");
                self.persist(cx);
            }
            Order::Delete => {
                self.stop(cx, AfterStop::Delete, None, "delete");
                self.begin(op, Goal::Stopped, "deleted");
                self.persist(cx);
            }
            Order::Close { signal } => {
                self.stop(cx, AfterStop::Nothing, signal, "kill");
                self.closing = true;
                self.begin(op, Goal::Stopped, "stopped");
            }
            Order::Restart { spec } => {
                self.stop(cx, AfterStop::Start(spec.map(Box::new)), None, "restart");
                self.begin(op, Goal::Started, "restarted");
            }
            Order::Reload { spec } => self.order_reload(cx, op, spec),
            Order::Configure { spec } => {
                if self.refuse_during_rollout(cx, op) {
                    return;
                }
                if self.is_gateway() && spec.gateway.is_some() {
                    return self.configure_gateway(cx, op, spec);
                }
                self.spec = Arc::new(spec);
                self.persist(cx);
                let text = format!("{}: configured", self.name());
                cx.emit(Effect::Finished {
                    op,
                    outcome: Outcome::Done(text),
                });
            }
            Order::Scale { instances } => self.order_scale(cx, op, instances),
        }
    }

    fn order_scale(&mut self, cx: &mut Context, op: OpId, instances: Instances) {
        Arc::make_mut(&mut self.spec).instances = instances;
        if let Some(rollout) = &mut self.rollout {
            // Whichever version it ends with has this many.
            Arc::make_mut(&mut rollout.old).instances = instances;
        }
        if let AfterStop::Start(Some(spec)) = &mut self.after_stop {
            spec.instances = instances;
        }
        let wanted = instances.resolve(cx.cores);
        if self.desired == Desired::Stopped {
            self.persist(cx);
            let text = format!("{}: will start with {wanted}", self.name());
            cx.emit(Effect::Finished {
                op,
                outcome: Outcome::Done(text),
            });
            return;
        }
        self.set_wanted(cx, wanted);
        self.begin(op, Goal::Running, "scaled");
        self.persist(cx);
    }

    fn stop(&mut self, cx: &mut Context, after: AfterStop, signal: Option<i32>, verb: &str) {
        self.supersede(cx, verb);
        self.desired = Desired::Stopped;
        self.after_stop = after;
        self.rollout = None;
        let signal = signal.unwrap_or_else(|| self.stop_signal());
        let ids: Vec<WorkerId> = self.workers.keys().copied().collect();
        for id in ids {
            self.retire(cx, id, RetireStyle::Signal(signal));
        }
        self.instances.clear();
    }

    /// Adds places, or gives up the highest-numbered ones.
    pub(super) fn set_wanted(&mut self, cx: &mut Context, wanted: u32) {
        while self.wanted() < wanted {
            self.instances.push(Instance::new(self.wanted()));
        }
        while self.wanted() > wanted {
            let Some(instance) = self.instances.pop() else {
                break;
            };
            for id in [instance.current, instance.successor].into_iter().flatten() {
                self.retire(cx, id, RetireStyle::Gentle);
            }
        }
    }

    pub(super) fn files_changed(&mut self, cx: &mut Context) {
        if self.desired == Desired::Running && self.rollout.is_none() {
            self.notice(cx, None, "watch", "files changed: reloading");
            self.begin_rollout((*self.spec).clone());
        }
    }

    pub(super) fn worker_event(&mut self, cx: &mut Context, id: WorkerId, event: Target) {
        match event {
            Target::Spawned { pid } => {
                if let Some(w) = self.workers.get_mut(&id) {
                    w.pid = Some(pid);
                }
            }
            Target::SpawnFailed { why } => self.spawn_failed(cx, id, why),
            Target::Line { line, fd } => self.line(cx, id, &line, fd),
            Target::Oversized { bytes } => {
                let text = format!("passed over a message of {bytes} bytes on the IPC channel");
                self.complain(cx, id, "oversized-message", text);
            }
            Target::ChannelClosed => self.channel_closed(cx, id),
            Target::ChannelStuck => self.channel_stuck(cx, id),
            Target::Exited { exit } => self.exited_worker(cx, id, exit),
            Target::ProbeResult { conn, result } => self.probe_result(cx, id, conn, result),
            Target::Usage {
                memory_bytes,
                connections,
                timed,
            } => {
                self.usage(cx, id, memory_bytes, connections, timed);
            }
        }
    }

    /// Everything that follows from the state as it now is. Idempotent.
    pub(super) fn after_step(&mut self, cx: &mut Context) {
        if self.desired == Desired::Stopped && self.workers.is_empty() {
            self.stopped(cx);
        }
        if self.desired == Desired::Running {
            self.advance(cx);
            if self.exited().is_some() {
                // Nobody will come: a client must be refused, not left in a queue.
                self.close_listeners(cx, |_| true);
            }
        }
        self.update_private(cx);
        self.update_steering(cx);
        self.deliver_pending(cx);
        self.check_operations(cx);
    }

    fn stopped(&mut self, cx: &mut Context) {
        match std::mem::replace(&mut self.after_stop, AfterStop::Nothing) {
            AfterStop::Start(spec) => self.start(cx, spec.map(|s| *s)),
            AfterStop::Nothing => self.close_listeners(cx, |_| true),
            AfterStop::Delete => {
                self.close_listeners(cx, |_| true);
                if !self.gone {
                    self.gone = true;
                    cx.emit(Effect::Unpersist {
                        app: self.name().to_owned(),
                    });
                }
            }
        }
    }

    pub(super) fn tick(&mut self, cx: &mut Context) {
        self.forgive_pause(cx.now);
        let ids: Vec<WorkerId> = self.workers.keys().copied().collect();
        for id in ids {
            self.check_readiness(cx, id);
            self.check_pings(cx, id);
            self.check_retirement(cx, id);
        }
        self.check_offer(cx);
        self.last_tick = cx.now;
    }

    pub(super) fn next_deadline(&self) -> Option<Ms> {
        let respawn = (0..self.instances.len())
            .filter(|_| self.desired == Desired::Running)
            .map(|index| (index, &self.instances[index]))
            .filter(|(index, i)| i.is_empty() && !i.done && self.is_vacant(*index))
            .map(|(_, i)| i.not_before);
        let replacing = self
            .instances
            .iter()
            .filter(|i| i.successor.is_none() && i.not_before > self.last_tick)
            .map(|i| i.not_before);
        let workers = self.workers().flat_map(|w| {
            [
                self.readiness_deadline(w),
                self.ping_deadline(w),
                super::retire::deadline(w),
            ]
        });
        respawn
            .chain(replacing)
            .chain(workers.flatten())
            .chain(self.trial_deadline())
            .chain(self.offer_deadline())
            .min()
    }
}
