//! The supervisor's core: apps and workers as pure state machines. It takes inputs and `now` and
//! returns effects; it knows no tokio, no clock, no file and no socket. Connections, listeners and
//! processes are numbers to it, so that `tests/sim` can run whole fleets under one seeded clock.
//!
//! ```text
//!   starting -> ready -> draining -> stopping -> (gone)
//!   starting | ready -> (exited) -> respawn, at once or after a back-off
//!   ready -> stalled -> ready            stalled and unhealthy workers get no new connections
//! ```
//!
//! [`Core`] routes to [`app::App`]; an app's concerns are one file each: `launch` (spawning and
//! back-off), `readiness`, `steering` (who gets connections), `stall` (pings), `rollout` (reloads
//! and replacements), `retire` (draining and stopping), `operation` (what a caller waits for).
//! Absent on purpose: files, timers, sockets, the API's wire types.

mod app;
mod effect;
mod feed;
mod gateway;
mod input;
mod instance;
mod kept;
mod launch;
mod mark;
mod node;
mod operation;
mod private;
mod random;
mod readiness;
mod retire;
mod rollout;
mod snapshot;
mod stall;
mod steering;
mod worker;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use app_spec::AppSpec;
use node_cluster::{ConnId, WorkerId};

pub use app::{App, Desired};
pub use effect::{AppRecord, Effect, ListenMode, Notice, Probe, SpawnOrder};
pub use input::{Exit, Input, OpenFailure, Order, Target};
pub use instance::Instance;
pub use operation::{Failure, OpId, Outcome};
pub use private::PRIVATE_HOSTS_TRIED;
pub use random::Random;
pub use snapshot::{AppSnapshot, ListenerSnapshot, PrivateSnapshot, WorkerSnapshot};
pub use worker::{Phase, Worker};

/// Milliseconds on a clock that never goes back and that survives this process (CLOCK_MONOTONIC).
pub type Ms = u64;

/// Every app that runs, every order that waits.
pub struct Core {
    apps: BTreeMap<String, App>,
    /// Which app a worker belongs to.
    owners: BTreeMap<WorkerId, String>,
    /// Workers alive and ever made, when `owners` was written.
    known_workers: (usize, u32),
    feed: feed::Feed,
    cx: Context,
}

/// What every state machine needs besides its own state.
pub struct Context {
    pub now: Ms,
    pub cores: u32,
    pub random: Random,
    pub first_message: u64,
    effects: VecDeque<Effect>,
    next_worker: u32,
    next_conn: u64,
    next_config: u64,
}

impl Context {
    pub fn emit(&mut self, effect: Effect) {
        self.effects.push_back(effect);
    }

    fn new_worker(&mut self) -> WorkerId {
        self.next_worker += 1;
        WorkerId(self.next_worker)
    }

    /// A number that no gateway has heard, whatever supervisor started it.
    fn new_config(&mut self) -> u64 {
        self.next_config += 1;
        self.next_config
    }

    fn new_conn(&mut self) -> ConnId {
        self.next_conn += 1;
        ConnId(self.next_conn)
    }
}

/// How a core begins.
pub struct Options {
    /// Cores that workers may use; `instances = "max"`.
    pub cores: u32,
    /// Seed of jitter and random balance.
    pub seed: u64,
    /// Above every message number that a former supervisor used; microseconds since boot.
    pub first_message: u64,
}

impl Core {
    pub fn new(options: Options) -> Self {
        Self {
            apps: BTreeMap::new(),
            owners: BTreeMap::new(),
            known_workers: (0, 0),
            feed: feed::Feed::default(),
            cx: Context {
                now: 0,
                cores: options.cores,
                random: Random::new(options.seed),
                first_message: options.first_message,
                effects: VecDeque::new(),
                next_worker: 0,
                next_conn: 0,
                next_config: options.first_message,
            },
        }
    }

    /// Takes one input. Effects wait in [`Core::poll_effect`], in the order to carry them out.
    pub fn handle(&mut self, now: Ms, input: Input) {
        self.cx.now = now;
        match input {
            Input::Order { op, app, order } => self.order(op, &app, *order),
            Input::Opened { app, key, result } => {
                self.with(&app, |a, cx| a.opened(cx, key, result))
            }
            Input::Accepted {
                app,
                key,
                conn,
                client,
                private,
            } => {
                self.with(&app, |a, cx| a.accepted(cx, key, conn, client, private));
            }
            Input::OpenedPrivate {
                app,
                key,
                seat,
                result,
            } => self.with(&app, |a, cx| a.opened_private(cx, &key, seat, result)),
            Input::Queued {
                app,
                key,
                seat,
                waiting,
            } => {
                self.with(&app, |a, cx| a.queued(cx, &key, seat, waiting));
            }
            Input::Changed { app } => self.with(&app, App::files_changed),
            Input::Worker { worker, event } => {
                if let Some(name) = self.owners.get(&worker).cloned() {
                    self.with(&name, |a, cx| a.worker_event(cx, worker, event));
                } else if let Target::Exited { .. } = event {
                    // One that was not worth taking up again: its end is all there is to it.
                    self.cx.emit(Effect::Forget { worker });
                }
            }
        }
        self.settle();
    }

    /// A connection number for one that the driver is about to hand in.
    pub fn new_conn(&mut self) -> ConnId {
        self.cx.new_conn()
    }

    /// Lets time pass: whatever was due by `now` happens.
    pub fn tick(&mut self, now: Ms) {
        self.cx.now = now;
        for app in self.apps.values_mut() {
            app.tick(&mut self.cx);
        }
        self.settle();
    }

    /// When [`Core::tick`] must be called next, at the latest.
    pub fn next_deadline(&self) -> Option<Ms> {
        let apps = self.apps.values().filter_map(App::next_deadline);
        apps.chain(self.feed.load_due).min()
    }

    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.cx.effects.pop_front()
    }

    pub fn apps(&self) -> impl Iterator<Item = &App> {
        self.apps.values()
    }

    pub fn app(&self, name: &str) -> Option<&App> {
        self.apps.get(name)
    }

    pub fn app_of(&self, worker: WorkerId) -> Option<&App> {
        self.owners
            .get(&worker)
            .and_then(|name| self.apps.get(name))
    }

    fn with(&mut self, name: &str, act: impl FnOnce(&mut App, &mut Context)) {
        if let Some(app) = self.apps.get_mut(name) {
            act(app, &mut self.cx);
        }
    }

    fn order(&mut self, op: OpId, name: &str, order: Order) {
        if let Order::Start { spec } = order {
            let app = self
                .apps
                .entry(name.to_owned())
                .or_insert_with(|| App::new(Arc::new(spec.clone()), self.cx.first_message));
            app.order_start(&mut self.cx, op, Some(spec));
        } else if let Some(app) = self.apps.get_mut(name) {
            app.order(&mut self.cx, op, order);
        } else {
            let failure = Failure::unknown_app(name);
            self.cx.emit(Effect::Finished {
                op,
                outcome: Outcome::Failed(failure),
            });
        }
    }

    /// After every step: dependencies, what follows in the apps, owners of new workers, apps that
    /// are gone.
    fn settle(&mut self) {
        let waiting: Vec<String> = self
            .apps
            .values()
            .filter(|a| a.desired() == Desired::Waiting && self.dependencies_ready(a.spec()))
            .map(|a| a.name().to_owned())
            .collect();
        for name in waiting {
            self.with(&name, App::dependencies_are_ready);
        }
        self.mark_routed();
        for app in self.apps.values_mut() {
            app.after_step(&mut self.cx);
        }
        self.feed();
        let workers: usize = self.apps.values().map(|a| a.workers.len()).sum();
        if self.known_workers != (workers, self.cx.next_worker) {
            self.known_workers = (workers, self.cx.next_worker);
            self.owners.clear();
            for app in self.apps.values() {
                self.owners
                    .extend(app.workers().map(|w| (w.id, app.name().to_owned())));
            }
        }
        self.apps.retain(|_, app| !app.is_gone());
    }

    /// An unknown dependency holds nobody up: the file was checked, and a deleted app must not
    /// keep its dependants down for ever.
    fn dependencies_ready(&self, spec: &AppSpec) -> bool {
        spec.depends_on
            .iter()
            .all(|d| self.apps.get(d).is_none_or(App::is_fully_ready))
    }
}
