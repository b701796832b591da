//! Orders that cross each other and workers that end in unusual ways, on the core alone: no clock,
//! no process, no file.

use app_spec::{AppSpec, Command, Instances, RestartPolicy};
use node_cluster::WorkerId;
use pando_supervisor::core::{
    AppRecord, AppSnapshot, Core, Effect, Exit, Input, Ms, OpId, Options, Order, Outcome, Phase,
    Probe, Target, WorkerSnapshot,
};

const APP: &str = "job";

/// A core whose workers are programs that listen as soon as they are asked to.
struct Rig {
    core: Core,
    now: Ms,
    next_op: u64,
    journal: Option<AppRecord>,
    outcomes: Vec<(OpId, Result<String, String>)>,
    signals: Vec<(WorkerId, i32)>,
    /// Workers that have got a signal; they end as time passes.
    leaving: Vec<WorkerId>,
    /// Workers that have been started and have not ended.
    alive: Vec<WorkerId>,
    notices: Vec<&'static str>,
    /// New workers listen, and so get ready.
    boots: bool,
}

fn spec(instances: u32, policy: RestartPolicy) -> AppSpec {
    let command = Command::Exec {
        program: "/srv/job".into(),
        args: Vec::new(),
    };
    let mut spec = AppSpec::new(APP, command, "/srv".into());
    spec.instances = Instances::Count(instances);
    spec.restart.policy = policy;
    spec
}

fn new_version(instances: u32) -> Option<AppSpec> {
    let mut new = spec(instances, RestartPolicy::Always);
    new.command = Command::Exec {
        program: "/srv/job".into(),
        args: vec!["new".into()],
    };
    Some(new)
}

fn core() -> Core {
    Core::new(Options {
        cores: 2,
        seed: 1,
        first_message: 0,
    })
}

impl Rig {
    fn new() -> Self {
        Self {
            core: core(),
            now: 1_000,
            next_op: 0,
            journal: None,
            outcomes: Vec::new(),
            signals: Vec::new(),
            leaving: Vec::new(),
            alive: Vec::new(),
            notices: Vec::new(),
            boots: true,
        }
    }

    fn started(instances: u32, policy: RestartPolicy) -> Self {
        let mut rig = Self::new();
        let spec = spec(instances, policy);
        let op = rig.order(Order::Start { spec });
        rig.wait(200);
        assert!(rig.done(op), "{:?}", rig.outcomes);
        rig
    }

    fn order(&mut self, order: Order) -> OpId {
        self.next_op += 1;
        let op = OpId(self.next_op);
        self.input(Input::Order {
            op,
            app: APP.into(),
            order: Box::new(order),
        });
        op
    }

    fn input(&mut self, input: Input) {
        self.core.handle(self.now, input);
        self.settle();
    }

    fn tell(&mut self, worker: WorkerId, event: Target) {
        self.input(Input::Worker { worker, event });
    }

    fn settle(&mut self) {
        while let Some(effect) = self.core.poll_effect() {
            self.carry_out(effect);
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        if let Effect::Spawn(order) = effect {
            self.alive.push(order.worker);
            self.tell(order.worker, Target::Spawned { pid: 100 });
        } else if let Effect::Probe { worker, probe, .. } = effect {
            assert!(matches!(probe, Probe::Listening { .. }));
            let listens = self.boots.then(|| ":1".to_owned()).into_iter().collect();
            let result = Ok(listens);
            self.tell(worker, Target::ProbeResult { conn: None, result });
        } else if let Effect::Signal { worker, signal, .. } = effect {
            self.signals.push((worker, signal));
            self.leaving.push(worker);
        } else if let Effect::Persist(record) = effect {
            self.journal = Some(record);
        } else if let Effect::Unpersist { .. } = effect {
            self.journal = None;
        } else if let Effect::Finished { op, outcome } = effect {
            let told = match outcome {
                Outcome::Done(text) => Ok(text),
                Outcome::Failed(failure) => Err(failure.what),
            };
            self.outcomes.push((op, told));
        } else if let Effect::Notice(notice) = effect {
            self.notices.push(notice.kind);
        }
    }

    /// Lets time pass in steps, so that every deadline is met.
    fn wait(&mut self, ms: Ms) {
        let end = self.now + ms;
        while self.now < end {
            self.now += 10;
            self.core.tick(self.now);
            self.settle();
            for worker in std::mem::take(&mut self.leaving) {
                self.ends(worker, Exit::Signal(15));
            }
        }
    }

    fn ends(&mut self, worker: WorkerId, exit: Exit) {
        self.alive.retain(|w| *w != worker);
        self.tell(worker, Target::Exited { exit });
    }

    /// All that run now end; not those that follow.
    fn all_end(&mut self, exit: Exit) {
        for worker in self.alive.clone() {
            self.ends(worker, exit);
        }
    }

    fn told(&self, op: OpId) -> Option<&Result<String, String>> {
        let of_op = self.outcomes.iter().find(|(id, _)| *id == op);
        of_op.map(|(_, outcome)| outcome)
    }

    fn done(&self, op: OpId) -> bool {
        self.told(op).is_some_and(Result::is_ok)
    }

    fn failed(&self, op: OpId) -> bool {
        self.told(op).is_some_and(Result::is_err)
    }

    fn ready(&self) -> u32 {
        self.core.app(APP).map_or(0, |app| app.ready_count())
    }

    fn exited(&self) -> Option<i32> {
        self.core.app(APP).and_then(|app| app.exited())
    }

    fn journaled_args(&self) -> Vec<String> {
        match &self
            .journal
            .as_ref()
            .expect("it was journaled")
            .spec
            .command
        {
            Command::Exec { args, .. } => args.clone(),
            Command::Script { .. } | Command::Shell { .. } => Vec::new(),
        }
    }
}

#[test]
fn a_reload_brings_back_an_app_that_has_ended() {
    let mut rig = Rig::started(3, RestartPolicy::Never);
    rig.all_end(Exit::Code(0));
    assert_eq!(rig.exited(), Some(0));
    let op = rig.order(Order::Reload { spec: None });
    rig.wait(3_000);
    assert!(rig.done(op), "{:?}", rig.outcomes);
    assert_eq!(rig.ready(), 3);
}

#[test]
fn a_failed_reload_of_an_ended_app_leaves_it_ended() {
    let mut rig = Rig::started(2, RestartPolicy::Never);
    rig.all_end(Exit::Code(4));
    rig.boots = false;
    let op = rig.order(Order::Reload { spec: None });
    rig.all_end(Exit::Code(1));
    assert!(rig.failed(op), "{:?}", rig.outcomes);
    rig.wait(5_000);
    assert_eq!(rig.exited(), Some(4));
    assert!(rig.alive.is_empty());
}

#[test]
fn a_reloaded_job_may_be_done_before_it_is_ready() {
    let mut rig = Rig::started(2, RestartPolicy::OnFailure);
    rig.all_end(Exit::Code(0));
    rig.boots = false;
    let op = rig.order(Order::Reload { spec: None });
    rig.all_end(Exit::Code(0));
    rig.all_end(Exit::Code(0));
    assert!(rig.done(op), "{:?}", rig.outcomes);
    assert_eq!(rig.exited(), Some(0));
}

#[test]
fn an_app_that_has_ended_can_be_started_again() {
    let mut rig = Rig::started(2, RestartPolicy::Never);
    let running = rig.order(Order::StartKnown);
    assert!(rig.failed(running));
    rig.all_end(Exit::Code(0));
    let op = rig.order(Order::StartKnown);
    rig.wait(200);
    assert!(rig.done(op), "{:?}", rig.outcomes);
    assert_eq!(rig.ready(), 2);
}

#[test]
fn a_start_that_overtakes_a_delete_ends_it_and_wins() {
    for first in [Order::Delete, Order::Stop] {
        let mut rig = Rig::started(1, RestartPolicy::Always);
        let leaving = rig.order(first);
        let op = rig.order(Order::StartKnown);
        assert!(rig.failed(leaving));
        rig.all_end(Exit::Signal(15));
        rig.wait(200);
        assert!(rig.done(op), "{:?}", rig.outcomes);
        assert!(rig.journal.as_ref().unwrap().running);
    }
}

#[test]
fn a_version_on_trial_is_not_journaled_by_a_scale() {
    let mut rig = Rig::started(2, RestartPolicy::Always);
    let old = rig.alive.clone();
    rig.boots = false;
    let spec = new_version(2);
    let reload = rig.order(Order::Reload { spec });
    rig.wait(50);
    let canary = *rig.alive.iter().find(|w| !old.contains(w)).unwrap();
    let instances = Instances::Count(3);
    let scale = rig.order(Order::Scale { instances });
    assert!(rig.journaled_args().is_empty());
    rig.boots = true;
    rig.ends(canary, Exit::Code(1));
    assert!(rig.failed(reload), "{:?}", rig.outcomes);
    rig.wait(5_000);
    assert!(rig.done(scale), "{:?}", rig.outcomes);
    let record = rig.journal.clone().unwrap();
    assert_eq!(record.spec.instances, instances);
    assert_eq!(rig.core.app(APP).unwrap().spec(), &*record.spec);
    assert!(rig.journaled_args().is_empty());
    assert_eq!(rig.ready(), 3);
}

#[test]
fn a_mended_version_does_not_wait_out_the_crash_loop_of_the_old_one() {
    let mut rig = Rig::new();
    rig.boots = false;
    let spec = spec(4, RestartPolicy::Always);
    rig.order(Order::Start { spec });
    for _ in 0..400 {
        rig.all_end(Exit::Code(1));
        rig.wait(50);
    }
    let app = rig.core.app(APP).unwrap();
    assert!(app.instances().iter().all(|i| i.crash_loop));
    rig.boots = true;
    let op = rig.order(Order::Reload { spec: None });
    rig.wait(5_000);
    assert!(rig.done(op), "{:?}", rig.outcomes);
    assert_eq!(rig.ready(), 4);
}

#[test]
fn a_replacement_counts_as_a_restart_and_says_why() {
    let mut rig = Rig::started(1, RestartPolicy::Always);
    let worker = rig.alive[0];
    let mut spec = spec(1, RestartPolicy::Always);
    spec.memory_bytes = Some(1 << 20);
    rig.order(Order::Configure { spec });
    for _ in 0..3 {
        let event = Target::Usage {
            memory_bytes: 5 << 20,
            connections: 0,
            timed: true,
        };
        rig.tell(worker, event);
    }
    rig.wait(3_000);
    let place = rig.core.app(APP).unwrap().instances()[0].clone();
    assert_eq!(place.restarts, 1);
    assert!(place.last_exit.unwrap().contains("over 1 MB"));
    assert!(rig.signals.contains(&(worker, 15)));
}

#[test]
fn a_worker_that_babbles_fills_no_log() {
    let mut rig = Rig::started(1, RestartPolicy::Always);
    let worker = rig.alive[0];
    for _ in 0..10_000 {
        rig.tell(worker, Target::Oversized { bytes: 1 << 27 });
    }
    let told = rig.notices.iter().filter(|k| **k == "oversized-message");
    assert_eq!(told.count(), 20);
}

/// A supervisor that dies while an app stops: the next one does not forget its ports.
#[test]
fn a_stopping_apps_listeners_are_closed_by_the_next_supervisor() {
    let record = AppRecord {
        spec: std::sync::Arc::new(spec(1, RestartPolicy::Always)),
        running: false,
    };
    let app: AppSnapshot = serde_json::from_value(serde_json::json!({
        "name": APP, "revision": 1, "is_server": true, "instances": [],
        "listeners": [{
            "key": "k", "address": { "unix": { "path": "/run/job.sock" } },
            "mode": "Shared", "seats": 1, "port": 0,
        }],
    }))
    .unwrap();
    let worker: WorkerSnapshot = serde_json::from_value(serde_json::json!({
        "id": 7, "app": APP, "instance": 0, "seat": 0, "revision": 1, "pid": 100,
        "life": "Leaving", "spawned_at": 0, "ready_at": 0, "port": null, "channel": false,
        "agent": false, "handles_signal": false, "listens": [], "listening": [],
        "protocol": null,
    }))
    .unwrap();
    let mut core = core();
    core.restore(1_000, &[record], &[app], &[worker]);
    let leaving = core.app(APP).unwrap().worker(WorkerId(7)).unwrap();
    assert!(matches!(leaving.phase, Phase::Stopping { .. }));
    assert!(closed_listeners(&mut core).is_empty());
    let worker = WorkerId(7);
    let event = Target::Exited {
        exit: Exit::Code(0),
    };
    core.handle(2_000, Input::Worker { worker, event });
    assert_eq!(closed_listeners(&mut core), ["k"]);
}

fn closed_listeners(core: &mut Core) -> Vec<String> {
    let mut closed = Vec::new();
    while let Some(effect) = core.poll_effect() {
        if let Effect::CloseListener { key, .. } = effect {
            closed.push(key.0);
        }
    }
    closed
}
