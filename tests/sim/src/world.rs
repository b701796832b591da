//! The loop that joins core, kernel and workers, and the faults.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use app_spec::{AppSpec, Balance, Command, Instances};
use node_cluster::{ConnId, WorkerId};
use pando_supervisor::core::{
    AppRecord, Core, Effect, Exit, Input, Ms, OpId, Options, Order, Outcome, Random, SpawnOrder,
    Target,
};

use crate::faults::Faults;
use crate::gateway::{Gateway, address_of};
use crate::kernel::{Client, Kernel};
use crate::node::{Act, Character, Node};

pub(crate) const APP: &str = "api";
const STEP_MS: Ms = 5;
/// Numbers of connections that a supervisor before this one handed over begin here.
pub(crate) const OLD_CONN: u64 = 1 << 40;

pub struct World {
    pub now: Ms,
    pub(crate) core: Core,
    pub(crate) random: Random,
    pub(crate) faults: Faults,
    pub(crate) kernel: Kernel,
    pub(crate) nodes: BTreeMap<WorkerId, Node>,
    /// What happens at a time: a boot that ends, a process that ends.
    pub(crate) booting: Vec<(Ms, WorkerId)>,
    /// Clients behind the supervisor's connection numbers.
    pub(crate) conns: BTreeMap<ConnId, Client>,
    pub(crate) next_client: Client,
    pub(crate) arrived: u64,
    pub(crate) served: u64,
    /// Lost with the worker that had taken them, or with a supervisor that had accepted them.
    pub(crate) excused: u64,
    /// Everyone not yet served or excused.
    pub(crate) open: BTreeSet<Client>,
    pub(crate) gateway: Gateway,
    /// The seat that a client of the gateway was sent to.
    pub(crate) aimed: BTreeMap<Client, usize>,
    pub(crate) hits: u64,
    pub(crate) astray: u64,
    pub(crate) journal: BTreeMap<String, AppRecord>,
    pub(crate) blobs: Blobs,
    pub(crate) next_op: u64,
    pub(crate) reloading: Option<OpId>,
    pub(crate) bad_revisions: bool,
    /// Processes that have ended and whose end the supervisor has not heard of.
    pub(crate) ended: VecDeque<(WorkerId, Exit)>,
    pub(crate) deaths: u64,
    pub outcomes: Vec<String>,
}

/// What root keeps for a next supervisor.
#[derive(Default)]
pub(crate) struct Blobs {
    pub(crate) apps: BTreeMap<String, (u64, String)>,
    pub(crate) workers: BTreeMap<WorkerId, (u64, String)>,
}

impl World {
    pub fn new(seed: u64, instances: u32, balance: Balance, faults: Faults) -> Self {
        let command = Command::Script {
            script: "/srv/server.js".into(),
            interpreter: "node".into(),
            interpreter_args: Vec::new(),
            args: Vec::new(),
        };
        let mut spec = AppSpec::new(APP, command, "/srv".into());
        spec.instances = Instances::Count(instances);
        spec.balance = balance;
        spec.timeouts.ready_ms = 5_000;
        let mut world = Self {
            now: 1_000,
            core: core(seed, 1_000),
            random: Random::new(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15)),
            faults,
            kernel: Kernel {
                gate_open: true,
                ..Kernel::default()
            },
            nodes: BTreeMap::new(),
            booting: Vec::new(),
            conns: BTreeMap::new(),
            next_client: 0,
            arrived: 0,
            served: 0,
            excused: 0,
            open: BTreeSet::new(),
            gateway: Gateway::default(),
            aimed: BTreeMap::new(),
            hits: 0,
            astray: 0,
            journal: BTreeMap::new(),
            blobs: Blobs::default(),
            next_op: 0,
            reloading: None,
            bad_revisions: false,
            ended: VecDeque::new(),
            deaths: 0,
            outcomes: Vec::new(),
        };
        world.order(Order::Start { spec });
        world
    }

    pub(crate) fn order(&mut self, order: Order) -> OpId {
        self.order_for(APP, order)
    }

    pub(crate) fn order_for(&mut self, app: &str, order: Order) -> OpId {
        self.next_op += 1;
        let op = OpId(self.next_op);
        self.input(Input::Order {
            op,
            app: app.to_owned(),
            order: Box::new(order),
        });
        op
    }

    pub(crate) fn chance(&mut self, one_in: u64) -> bool {
        one_in > 0 && self.random.draw().is_multiple_of(one_in)
    }

    fn input(&mut self, input: Input) {
        self.core.handle(self.now, input);
        self.carry_out();
    }

    pub(crate) fn worker(&mut self, worker: WorkerId, event: Target) {
        self.input(Input::Worker { worker, event });
    }

    pub(crate) fn carry_out(&mut self) {
        let mut opened = VecDeque::new();
        loop {
            while let Some(effect) = self.core.poll_effect() {
                self.effect(effect, &mut opened);
            }
            let Some(input) = opened.pop_front() else {
                break;
            };
            self.core.handle(self.now, input);
        }
        self.save();
    }

    /// As the hub does: what a successor must know, whenever it changed.
    fn save(&mut self) {
        let known = |id: &WorkerId| self.core.app_of(*id).is_some();
        self.blobs.workers.retain(|id, _| known(id));
        for app in self.core.apps() {
            let kept = self.blobs.apps.get(app.name());
            if kept.is_none_or(|(mark, _)| *mark != app.mark()) {
                let text = serde_json::to_string(&app.snapshot()).expect("plain data");
                let name = app.name().to_owned();
                self.blobs.apps.insert(name, (app.mark(), text));
            }
            for worker in app.workers() {
                let mark = worker.mark();
                let kept = self.blobs.workers.get(&worker.id);
                if kept.is_none_or(|(old, _)| *old != mark) {
                    let text =
                        serde_json::to_string(&app.worker_snapshot(worker)).expect("plain data");
                    self.blobs.workers.insert(worker.id, (mark, text));
                }
            }
        }
    }

    fn effect(&mut self, effect: Effect, opened: &mut VecDeque<Input>) {
        match effect {
            Effect::Spawn(order) => self.spawn(&order),
            Effect::Signal { worker, signal, .. } => self.signal(worker, signal),
            Effect::Send {
                worker,
                line,
                attach,
            } => {
                if let Some(node) = self.nodes.get_mut(&worker) {
                    node.inbox.push_back((line, attach));
                } else if self.gateway.worker == Some(worker) {
                    self.gateway.line(&line);
                }
            }
            Effect::Open {
                app,
                key,
                mode,
                seats,
                ..
            } => {
                self.kernel.open(key.clone(), mode, seats);
                opened.push_back(Input::Opened {
                    app,
                    key,
                    result: Ok(3000),
                });
            }
            Effect::DropConn { conn } => self.drop_conn(conn),
            Effect::OpenPrivate { app, key, seat, .. } => {
                self.kernel.private.entry((key.clone(), seat)).or_default();
                opened.push_back(Input::OpenedPrivate {
                    app,
                    key,
                    seat,
                    result: Ok(address_of(seat)),
                });
            }
            Effect::Tell { worker, say } => {
                if self.gateway.worker == Some(worker) {
                    self.gateway.told(*say);
                }
            }
            Effect::Persist(record) => {
                self.journal.insert(record.spec.name.clone(), record);
            }
            Effect::Finished { op, outcome } => self.finished(op, outcome),
            Effect::Forget { .. }
            | Effect::Probe { .. }
            | Effect::OpenFor { .. }
            | Effect::Answered { .. }
            | Effect::Measured(_)
            | Effect::Unpersist { .. }
            | Effect::Notice(_)
            | Effect::Progress { .. } => {}
            other @ (Effect::Grow { .. }
            | Effect::CloseListener { .. }
            | Effect::ClosePrivate { .. }
            | Effect::Steer { .. }
            | Effect::Accept { .. }
            | Effect::Gate { .. }) => self.kernel.apply(other),
        }
    }

    fn drop_conn(&mut self, conn: ConnId) {
        let client = self.conns.remove(&conn);
        let taken = self
            .nodes
            .values()
            .flat_map(|n| &n.serving)
            .map(|(c, _)| *c);
        if let Some(client) = client.filter(|c| self.open.contains(c)) {
            let taken = taken.collect::<BTreeSet<_>>().contains(&client);
            assert!(
                taken,
                "the supervisor closed a connection that nobody has taken"
            );
        }
    }

    fn finished(&mut self, op: OpId, outcome: Outcome) {
        if self.reloading == Some(op) {
            self.reloading = None;
            self.bad_revisions = false;
        }
        self.outcomes.push(match outcome {
            Outcome::Done(text) => text,
            Outcome::Failed(failure) => format!("FAILED {}", failure.what),
        });
    }

    fn spawn(&mut self, order: &SpawnOrder) {
        if order.spec.gateway.is_some() {
            self.gateway.spawned(order.worker);
            return;
        }
        let Some(seat) = self
            .core
            .app(APP)
            .and_then(|a| a.worker(order.worker))
            .map(|w| (w.seat, w.revision))
        else {
            return;
        };
        let bad = self.bad_revisions && self.is_newest(seat.1);
        let fails = bad && self.random.draw().is_multiple_of(2);
        let character = Character {
            boot_ms: 50 + self.random.draw() % 200,
            fails,
            hangs: bad && !fails,
            agent: !self.random.draw().is_multiple_of(4),
            service_ms: 1 + self.random.draw() % 20,
        };
        self.booting
            .push((self.now + character.boot_ms, order.worker));
        self.nodes
            .insert(order.worker, Node::new(character, seat.0, seat.1));
    }

    fn is_newest(&self, revision: u32) -> bool {
        self.nodes.values().all(|n| n.revision <= revision)
            && self
                .core
                .app(APP)
                .is_some_and(pando_supervisor::core::App::is_reloading)
    }

    fn signal(&mut self, worker: WorkerId, signal: i32) {
        if self.gateway.worker == Some(worker) {
            return self.end_gateway(Exit::Signal(signal));
        }
        if signal == 9
            || self
                .nodes
                .get(&worker)
                .is_some_and(|n| n.serving.is_empty())
        {
            self.end(worker, Exit::Signal(signal));
        } else if let Some(node) = self.nodes.get_mut(&worker) {
            node.close();
        }
    }

    /// The process ends: what it had taken goes with it; what it had not read does not.
    pub(crate) fn end(&mut self, worker: WorkerId, exit: Exit) {
        let Some(node) = self.nodes.remove(&worker) else {
            return;
        };
        self.booting.retain(|(_, w)| *w != worker);
        // Handed over by a supervisor that has died, unread by a worker that now dies: nobody
        // has a copy any more.
        for (_, attach) in &node.inbox {
            if let node_cluster::Attach::Conn(conn) = attach
                && conn.0 >= OLD_CONN
                && let Some(client) = self.conns.remove(conn)
                && self.open.remove(&client)
            {
                self.excused += 1;
            }
        }
        for (client, _) in node.serving {
            self.open.remove(&client);
            self.excused += 1;
        }
        self.ended.push_back((worker, exit));
    }

    /// Runs for a while, with arrivals, and with faults if `faulty`.
    pub fn run(&mut self, ms: Ms, faulty: bool) {
        let end = self.now + ms;
        while self.now < end {
            self.now += STEP_MS;
            self.arrivals();
            if faulty {
                self.go_wrong();
            }
            self.tell_ends();
            self.boot();
            self.turn_loops();
            self.turn_gateway();
            self.accept_in_supervisor();
            if self.now.is_multiple_of(20) {
                self.look_at_queues();
            }
            if self.core.next_deadline().is_some_and(|due| due <= self.now) {
                self.core.tick(self.now);
                self.carry_out();
                let next = self.core.next_deadline();
                assert!(
                    next.is_none_or(|due| due > self.now),
                    "what was due at {} is due still at {}: the hub would spin; {}",
                    next.unwrap_or(0),
                    self.now,
                    self.describe()
                );
            }
        }
    }

    fn arrivals(&mut self) {
        for _ in 0..(self.random.draw() % 6) / 4 {
            self.next_client += 1;
            let by_gateway = self.next_client.is_multiple_of(2);
            let seat = self.gateway.pick(&mut self.random).filter(|_| by_gateway);
            if let Some(seat) = seat {
                let arrives = self.kernel.arrive_at(seat, self.next_client);
                assert!(
                    arrives,
                    "the gateway was told of an address that is not there"
                );
                self.aimed.insert(self.next_client, seat);
                self.arrived += 1;
                self.open.insert(self.next_client);
                continue;
            }
            if self.kernel.arrive(self.next_client, &mut self.random) {
                self.arrived += 1;
                self.open.insert(self.next_client);
            }
        }
    }

    fn tell_ends(&mut self) {
        while let Some((worker, exit)) = self.ended.pop_front() {
            self.worker(worker, Target::ChannelClosed);
            self.worker(worker, Target::Exited { exit });
        }
    }

    fn boot(&mut self) {
        let due: Vec<WorkerId> = self
            .booting
            .iter()
            .filter(|(at, _)| *at <= self.now)
            .map(|(_, w)| *w)
            .collect();
        self.booting.retain(|(at, _)| *at > self.now);
        for worker in due {
            let Some(node) = self.nodes.get_mut(&worker) else {
                continue;
            };
            if node.character.fails {
                self.end(worker, Exit::Code(1));
                continue;
            }
            let said = node.boot();
            self.worker(worker, Target::Spawned { pid: worker.0 });
            self.say(worker, said);
        }
    }

    fn say(&mut self, worker: WorkerId, said: Vec<String>) {
        for line in said {
            self.worker(
                worker,
                Target::Line {
                    line: line.into_bytes(),
                    fd: false,
                },
            );
        }
    }

    fn turn_loops(&mut self) {
        let awake: Vec<WorkerId> = self
            .nodes
            .iter()
            .filter(|(id, node)| {
                self.now >= node.stalled_until && !self.booting.iter().any(|(_, w)| w == *id)
            })
            .map(|(id, _)| *id)
            .collect();
        for worker in awake {
            self.turn(worker);
        }
    }

    fn turn(&mut self, worker: WorkerId) {
        let Some(node) = self.nodes.get_mut(&worker) else {
            return;
        };
        let end = self.now + node.character.service_ms;
        let mut said = Vec::new();
        for act in node.turn() {
            match act {
                Act::Say(line) => said.push(line),
                Act::Took(conn) => {
                    if let Some(client) = self.conns.get(&conn) {
                        if let Some(seat) = self.aimed.remove(client) {
                            self.hits += 1;
                            self.astray += u64::from(seat != node.seat);
                        }
                        node.serving.push((*client, end));
                    }
                }
            }
        }
        for (key, sockets) in &mut self.kernel.listeners {
            if node.takes_from_kernel(key, self.now) {
                let seat = if sockets.queues.len() > 1 {
                    node.seat
                } else {
                    0
                };
                let waiting = sockets.queues.get_mut(seat).map(std::mem::take);
                node.serving
                    .extend(waiting.into_iter().flatten().map(|client| (client, end)));
            }
        }
        let now = self.now;
        for (client, _) in node.serving.extract_if(.., |(_, until)| *until <= now) {
            self.served += u64::from(self.open.remove(&client));
        }
        if node.drain_asked && !node.drain_told && node.serving.is_empty() {
            node.drain_told = true;
            said.push(r#"{"cmd":"NODE_PANDO","act":"drained"}"#.to_owned());
        }
        let over = node.closing && node.serving.is_empty();
        self.say(worker, said);
        if over {
            self.end(worker, Exit::Code(0));
        }
    }

    fn accept_in_supervisor(&mut self) {
        while let Some((key, client)) = self.kernel.take_for_supervisor() {
            let conn = self.core.new_conn();
            self.conns.insert(conn, client);
            self.input(Input::Accepted {
                app: APP.to_owned(),
                key,
                conn,
                client: None,
                private: None,
            });
        }
        while let Some((key, seat, client)) = self.kernel.take_private() {
            let conn = self.core.new_conn();
            self.conns.insert(conn, client);
            self.input(Input::Accepted {
                app: APP.to_owned(),
                key,
                conn,
                client: None,
                private: Some(seat),
            });
        }
    }

    fn look_at_queues(&mut self) {
        let looks: Vec<_> = self
            .core
            .app(APP)
            .into_iter()
            .flat_map(pando_supervisor::core::App::steered_seats)
            .filter_map(|(key, seat)| {
                let waiting = self.kernel.listeners.get(key)?.queues.get(seat)?.len();
                Some((
                    key.clone(),
                    seat,
                    u32::try_from(waiting).unwrap_or(u32::MAX),
                ))
            })
            .collect();
        for (key, seat, waiting) in looks {
            self.input(Input::Queued {
                app: APP.to_owned(),
                key,
                seat,
                waiting,
            });
        }
    }
}

pub(crate) fn core(seed: u64, now: Ms) -> Core {
    Core::new(Options {
        cores: 4,
        seed,
        first_message: now * 1_000,
    })
}
