//! A gateway's configuration, and what it is told of apps, on the core alone.
#![expect(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test names what it looks for, and fails where it is not"
)]

use std::collections::VecDeque;

use app_spec::{AppSpec, GATEWAY};
use gateway_spec::link::{AppState, ConfigOutcome, EndpointState, FromGateway, ToGateway, encode};
use gateway_spec::{Action, GatewaySpec, PathMatch, Route, Site, Upstreams};
use node_cluster::WorkerId;
use pando_supervisor::core::{
    AppRecord, Core, Effect, Exit, Input, Ms, OpId, Options, Order, Outcome, Target,
};

struct Rig {
    core: Core,
    now: Ms,
    next_op: u64,
    journal: Vec<AppRecord>,
    outcomes: Vec<(OpId, Result<String, String>)>,
    spawned: Vec<WorkerId>,
    told: VecDeque<(WorkerId, ToGateway)>,
    signals: Vec<(WorkerId, i32)>,
    opened: Vec<u64>,
}

fn gateway(headers: u32) -> AppSpec {
    let action = Action::Proxy(Upstreams::app("api"));
    let route = Route::new(PathMatch::Prefix("/".into()), action);
    let mut spec = GatewaySpec {
        sites: vec![Site::new(["*"], vec![route])],
        ..GatewaySpec::default()
    };
    spec.limits.headers = headers;
    AppSpec::of_gateway(spec)
}

impl Rig {
    fn new() -> Self {
        let core = Core::new(Options {
            cores: 2,
            seed: 1,
            first_message: 0,
        });
        Self {
            core,
            now: 1_000,
            next_op: 0,
            journal: Vec::new(),
            outcomes: Vec::new(),
            spawned: Vec::new(),
            told: VecDeque::new(),
            signals: Vec::new(),
            opened: Vec::new(),
        }
    }

    /// A gateway that serves, and its worker.
    fn serving() -> (Self, WorkerId) {
        let mut rig = Self::new();
        rig.order(Order::Start { spec: gateway(1) });
        let worker = rig.boot();
        let (_, id, _) = rig.config();
        rig.say(
            worker,
            &FromGateway::Config {
                id,
                outcome: ConfigOutcome::Applied,
            },
        );
        rig.line(worker, "\"ready\"");
        rig.wait(2_000);
        assert!(rig.core.app(GATEWAY).unwrap().is_fully_ready());
        rig.told.clear();
        (rig, worker)
    }

    fn boot(&mut self) -> WorkerId {
        let worker = *self.spawned.last().unwrap();
        self.tell(worker, Target::Spawned { pid: worker.0 });
        self.line(worker, r#"{"cmd":"NODE_CLUSTER","act":"online","seq":0}"#);
        self.line(worker, r#"{"cmd":"NODE_PANDO","act":"hello"}"#);
        worker
    }

    fn order(&mut self, order: Order) -> OpId {
        self.next_op += 1;
        let op = OpId(self.next_op);
        self.input(Input::Order {
            op,
            app: GATEWAY.into(),
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

    fn line(&mut self, worker: WorkerId, line: &str) {
        let line = line.as_bytes().to_vec();
        self.tell(worker, Target::Line { line, fd: false });
    }

    fn say(&mut self, worker: WorkerId, say: &FromGateway) {
        let line = encode(say).unwrap();
        self.line(worker, std::str::from_utf8(&line).unwrap().trim());
    }

    fn settle(&mut self) {
        while let Some(effect) = self.core.poll_effect() {
            match effect {
                Effect::Spawn(order) => self.spawned.push(order.worker),
                Effect::Persist(record) => self.journal.push(record),
                Effect::Tell { worker, say } => self.told.push_back((worker, *say)),
                Effect::Signal { worker, signal, .. } => self.signals.push((worker, signal)),
                Effect::OpenFor { request, .. } => self.opened.push(request),
                Effect::Finished { op, outcome } => {
                    let outcome = match outcome {
                        Outcome::Done(text) => Ok(text),
                        Outcome::Failed(failure) => Err(failure.why),
                    };
                    self.outcomes.push((op, outcome));
                }
                _ => {}
            }
        }
    }

    fn wait(&mut self, ms: Ms) {
        let end = self.now + ms;
        while let Some(due) = self.core.next_deadline().filter(|due| *due <= end) {
            self.now = due.max(self.now + 1);
            self.core.tick(self.now);
            self.settle();
        }
        self.now = end;
    }

    /// The configuration that was told last.
    fn config(&self) -> (WorkerId, u64, u32) {
        let mut configs = self.told.iter().filter_map(|(worker, say)| match say {
            ToGateway::Config { id, spec, .. } => Some((*worker, *id, spec.limits.headers)),
            _ => None,
        });
        configs.next_back().expect("a configuration was told")
    }

    fn outcome(&self, op: OpId) -> Option<&Result<String, String>> {
        self.outcomes.iter().find(|(o, _)| *o == op).map(|(_, r)| r)
    }

    fn journaled(&self) -> u32 {
        let spec = &self.journal.last().unwrap().spec;
        spec.gateway.as_ref().unwrap().limits.headers
    }
}

#[test]
fn a_change_is_journaled_only_when_it_is_in_force() {
    let (mut rig, worker) = Rig::serving();
    let op = rig.order(Order::Configure { spec: gateway(2) });
    let (to, id, headers) = rig.config();
    assert_eq!((to, headers), (worker, 2));
    assert_eq!((rig.outcome(op), rig.journaled()), (None, 1));
    let second = rig.order(Order::Configure { spec: gateway(3) });
    assert!(rig.outcome(second).unwrap().is_err(), "one at a time");

    rig.say(
        worker,
        &FromGateway::Config {
            id,
            outcome: ConfigOutcome::Applied,
        },
    );
    assert!(rig.outcome(op).unwrap().is_ok());
    assert_eq!(rig.journaled(), 2);
    assert_eq!(rig.spawned.len(), 1, "the same process goes on");
}

#[test]
fn a_refused_change_changes_nothing() {
    let (mut rig, worker) = Rig::serving();
    let op = rig.order(Order::Configure { spec: gateway(2) });
    let (_, id, _) = rig.config();
    let problems = vec!["no certificate".into(), "no key".into()];
    rig.say(
        worker,
        &FromGateway::Config {
            id,
            outcome: ConfigOutcome::Rejected { problems },
        },
    );
    let why = rig.outcome(op).unwrap().as_ref().unwrap_err();
    assert!(why.contains("no certificate\nno key"), "{why}");
    assert_eq!((rig.journaled(), rig.spawned.len()), (1, 1));
}

#[test]
fn what_cannot_be_taken_over_is_a_reload() {
    let (mut rig, worker) = Rig::serving();
    let op = rig.order(Order::Configure { spec: gateway(2) });
    let (_, id, _) = rig.config();
    let why = "listen changed".to_owned();
    rig.say(
        worker,
        &FromGateway::Config {
            id,
            outcome: ConfigOutcome::NeedsReload { why },
        },
    );
    assert_eq!((rig.outcome(op), rig.journaled()), (None, 1));
    let successor = rig.boot();
    assert_ne!(successor, worker);
    let (to, id, headers) = rig.config();
    assert_eq!((to, headers), (successor, 2));
    // The successor refuses too: the one before serves on with what it had.
    let problems = vec!["no certificate".into()];
    rig.say(
        successor,
        &FromGateway::Config {
            id,
            outcome: ConfigOutcome::Rejected { problems },
        },
    );
    assert!(rig.signals.contains(&(successor, 9)));
    let exit = Exit::Signal(9);
    rig.tell(successor, Target::Exited { exit });
    let why = rig.outcome(op).unwrap().as_ref().unwrap_err();
    assert!(why.contains("no certificate"), "{why}");
    assert_eq!(rig.journaled(), 1);
    assert!(rig.core.app(GATEWAY).unwrap().is_fully_ready());
}

#[test]
fn a_gateway_that_dies_or_is_silent_ends_the_order() {
    let (mut rig, worker) = Rig::serving();
    let op = rig.order(Order::Configure { spec: gateway(2) });
    rig.wait(20_000);
    assert!(rig.outcome(op).unwrap().is_err());
    let op = rig.order(Order::Configure { spec: gateway(3) });
    let exit = Exit::Signal(9);
    rig.tell(worker, Target::Exited { exit });
    rig.wait(1);
    assert!(rig.outcome(op).unwrap().is_err());
    rig.boot();
    let (_, _, headers) = rig.config();
    assert_eq!((headers, rig.journaled()), (1, 1), "the one before holds");
}

#[test]
fn an_unknown_app_is_told_as_such_and_files_go_by_the_driver() {
    let (mut rig, worker) = Rig::serving();
    rig.say(
        worker,
        &FromGateway::Open {
            id: 7,
            path: "/etc/shadow".into(),
        },
    );
    assert_eq!(rig.opened, [7]);
    rig.line(
        worker,
        r#"{"cmd":"NODE_PANDO","act":"gateway","say":{"sing":1}}"#,
    );
    // An app of that name appears, and has no worker that is reached yet.
    let command = app_spec::Command::Exec {
        program: "/srv/api".into(),
        args: Vec::new(),
    };
    let spec = AppSpec::new("api", command, "/srv".into());
    rig.input(Input::Order {
        op: OpId(99),
        app: "api".into(),
        order: Box::new(Order::Start { spec }),
    });
    let last = rig.told.back().cloned();
    let Some((to, ToGateway::Apps(apps))) = last else {
        panic!("{last:?}")
    };
    assert_eq!((to, apps[0].state), (worker, AppState::Waking));
    assert!(
        apps[0]
            .endpoints
            .iter()
            .all(|e| e.state != EndpointState::Ready)
    );
}

#[test]
fn another_app_cannot_speak_as_a_gateway() {
    let (mut rig, _) = Rig::serving();
    let command = app_spec::Command::Exec {
        program: "/srv/x".into(),
        args: Vec::new(),
    };
    let mut spec = AppSpec::new("x", command, "/srv".into());
    spec.mode = app_spec::ExecMode::Cluster;
    rig.input(Input::Order {
        op: OpId(99),
        app: "x".into(),
        order: Box::new(Order::Start { spec }),
    });
    let worker = rig.boot();
    rig.say(
        worker,
        &FromGateway::Open {
            id: 7,
            path: "/etc/shadow".into(),
        },
    );
    assert!(rig.opened.is_empty());
}
