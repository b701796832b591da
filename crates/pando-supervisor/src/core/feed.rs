//! What gateways are told of the apps that they route to: every change of state at once, of load
//! a few times a second.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use app_spec::AppSpec;
use gateway_spec::link::{AppEndpoints, AppState, Endpoint, EndpointState, ToGateway};
use node_cluster::WorkerId;

use super::app::{App, Desired};
use super::effect::Effect;
use super::mark::Mark;
use super::worker::{Phase, Worker};
use super::{Core, Ms};

/// Between two words on nothing but load.
const LOAD_EVERY_MS: Ms = 250;

/// What each gateway was told last of each app.
#[derive(Default)]
pub(super) struct Feed {
    told: BTreeMap<WorkerId, BTreeMap<String, Told>>,
    load_told_at: Ms,
    pub(super) load_due: Option<Ms>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Told {
    state: u64,
    load: u64,
}

/// The apps that a gateway routes to, as long as its descriptions are these.
#[derive(Debug, Default)]
pub(super) struct Routes {
    of: Vec<Arc<AppSpec>>,
    names: BTreeSet<String>,
}

impl App {
    pub(super) fn is_gateway(&self) -> bool {
        self.spec.gateway.is_some()
    }

    /// Looks the names up again only when a description is another.
    fn update_routes(&mut self) {
        let same = {
            let now = self.descriptions();
            let known = self.routes.of.iter();
            known.len() == now.len() && now.iter().zip(known).all(|(a, b)| Arc::ptr_eq(a, b))
        };
        if same {
            return;
        }
        let of: Vec<Arc<AppSpec>> = self.descriptions().into_iter().cloned().collect();
        let names = of.iter().flat_map(|spec| spec.routes_to());
        self.routes.names = names.map(str::to_owned).collect();
        self.routes.of = of;
    }

    /// Workers of this gateway that are to be told.
    fn hearers(&self) -> impl Iterator<Item = WorkerId> {
        self.workers()
            .filter(|w| w.config.is_some() && w.channel)
            .filter(|w| !matches!(w.phase, Phase::Stopping { .. }))
            .map(|w| w.id)
    }

    fn feed_marks(&self) -> Told {
        let (mut state, mut load) = (Mark::new(), Mark::new());
        (self.feed_state() as u8, self.why().is_some()).hash(&mut state);
        for worker in self.workers() {
            let door = self.private.seats.get(&worker.seat).copied();
            (worker.id, state_of(worker) as u8, worker.listens.len()).hash(&mut state);
            (door, worker.answered_probe, worker.listening.len()).hash(&mut state);
            (
                bucket(worker.pings.lag_us / 1_000),
                bucket(worker.connections.into()),
            )
                .hash(&mut load);
        }
        Told {
            state: state.finish(),
            load: load.finish(),
        }
    }

    fn feed_state(&self) -> AppState {
        let looping = self.instances.iter().any(|i| i.crash_loop);
        match self.desired {
            Desired::Stopped => AppState::Stopped,
            Desired::Waiting => AppState::Waiting,
            Desired::Running if self.workers().any(Worker::is_ready) => AppState::Ready,
            Desired::Running if self.exited().is_some() => AppState::Exited,
            Desired::Running if looping => AppState::CrashLoop,
            Desired::Running => AppState::Waking,
        }
    }

    fn why(&self) -> Option<String> {
        match self.feed_state() {
            AppState::Ready | AppState::Unknown | AppState::Other | AppState::Stopped => None,
            AppState::Waiting => Some(format!("waits for {}", self.spec.depends_on.join(", "))),
            AppState::Waking | AppState::CrashLoop | AppState::Exited => self.problem.clone(),
        }
    }

    /// What a gateway is told of this app.
    pub fn endpoints(&self, now: Ms) -> AppEndpoints {
        let mut workers: Vec<&Worker> = self.workers().collect();
        // Where two share an address, the one that is well stands for both.
        workers.sort_by_key(|w| (w.instance, !w.is_available(), w.is_leaving(), w.id));
        let mut seen = BTreeSet::new();
        let endpoints = workers.into_iter().filter_map(|worker| {
            let address = self.private_address(worker)?;
            seen.insert(address.clone()).then(|| Endpoint {
                instance: worker.instance,
                worker: worker.id.0,
                address,
                state: state_of(worker),
                ready_ms: worker.ready_at.map_or(0, |at| now.saturating_sub(at)),
                lag_us: worker.lag_us(now),
                connections: worker.connections,
            })
        });
        AppEndpoints {
            app: self.name().to_owned(),
            state: self.feed_state(),
            why: self.why(),
            // The driver has them.
            errors: Vec::new(),
            endpoints: endpoints.collect(),
        }
    }
}

fn state_of(worker: &Worker) -> EndpointState {
    match worker.phase {
        Phase::Starting => EndpointState::Starting,
        Phase::Ready if worker.is_stalled() => EndpointState::Stalled,
        Phase::Ready if worker.unhealthy => EndpointState::Unhealthy,
        Phase::Ready => EndpointState::Ready,
        Phase::Draining { .. } | Phase::Stopping { .. } => EndpointState::Draining,
    }
}

/// Loads are told when they are of another size, not when they flicker.
fn bucket(load: u64) -> u32 {
    u64::BITS - load.leading_zeros()
}

impl Core {
    /// Which apps gateways route to, before anything follows from it.
    pub(super) fn mark_routed(&mut self) {
        let gateways = self.apps.values_mut().filter(|app| app.is_gateway());
        let mut any = false;
        for gateway in gateways {
            gateway.update_routes();
            any = true;
        }
        if !any && self.feed.told.is_empty() {
            return;
        }
        let routed: Vec<String> = self
            .apps
            .values()
            .filter(|app| app.is_gateway() && !app.is_down())
            .flat_map(|app| app.routes.names.iter().cloned())
            .collect();
        for app in self.apps.values_mut() {
            app.private.wanted = routed.iter().any(|name| name == app.name());
        }
    }

    /// Tells gateways what has changed.
    pub(super) fn feed(&mut self) {
        let hearers: Vec<(WorkerId, &App)> = self
            .apps
            .values()
            .filter(|app| app.is_gateway())
            .flat_map(|app| app.hearers().map(move |worker| (worker, app)))
            .collect();
        self.feed
            .told
            .retain(|worker, _| hearers.iter().any(|(hearer, _)| hearer == worker));
        self.feed.load_due = None;
        let load_is_due = self.cx.now >= self.feed.load_told_at + LOAD_EVERY_MS;
        let mut told_load = false;
        for (worker, gateway) in hearers {
            let told = self.feed.told.entry(worker).or_default();
            told.retain(|name, _| gateway.routes.names.contains(name));
            let mut news = Vec::new();
            for name in &gateway.routes.names {
                let app = self.apps.get(name);
                let now = app.map_or(Told { state: 0, load: 0 }, App::feed_marks);
                let before = told.get(name);
                let state = before.is_none_or(|before| before.state != now.state);
                let load = before.is_some_and(|before| before.load != now.load);
                if !state && load && !load_is_due {
                    self.feed.load_due = Some(self.feed.load_told_at + LOAD_EVERY_MS);
                }
                if state || load && load_is_due {
                    told_load |= load;
                    told.insert(name.clone(), now);
                    let unknown = || AppEndpoints::unknown(name.clone());
                    news.push(app.map_or_else(unknown, |app| app.endpoints(self.cx.now)));
                }
            }
            if !news.is_empty() {
                let say = Box::new(ToGateway::Apps(news));
                self.cx.effects.push_back(Effect::Tell { worker, say });
            }
        }
        if told_load {
            self.feed.load_told_at = self.cx.now;
        }
    }
}
