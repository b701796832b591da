//! What hub, preloads and gateway say comes to pictures, totals and rows for the store. Pure: no
//! clock, no files. Rates go by the caller's clock, never by what a worker says of time.

mod app;
mod broken;
mod counts;
mod endpoints;
mod fuzz;
mod gateway;
mod leak;
mod meter;
mod requests;
mod room;
pub mod samples;
mod spark;
mod thread;
mod worker;

use std::collections::BTreeMap;

use app_spec::GATEWAY;
use monitor_spec::metric::Metric;
use monitor_spec::now::{self, Now};
use monitor_spec::state::{Event, State};
use monitor_spec::{agent, edge};

use app::App;
use counts::Counts;
use gateway::Gateway;
use meter::{Meter, Window};
use samples::Samples;

use crate::row::{Row, Scope, Second};
use crate::sample::Target;
use crate::totals::Totals;

pub(crate) use app::{endpoint_parts, endpoint_rows};
pub(crate) use endpoints::SLOT_S;
pub use fuzz::fuzz;

/// Events that wait for the next picture.
const EVENTS_MAX: usize = 256;
/// Problems of preloads in one picture.
const PROBLEMS_MAX: usize = 16;
/// Reports that wait: clocks that do not beat as ours give two in one second and none in another.
const WAITING_MAX: usize = 4;
/// Requests that one report can be about.
const REQUESTS_MAX: u64 = 10_000_000;
/// Lengths of a second that are believed.
const SECOND_S: std::ops::Range<f64> = 0.2..600.0;
/// While nobody reads (a supervisor without a CPU, a machine that was paused), so many seconds' reports
/// are taken later on. A preload's socket holds about a hundred.
const AWAY_MAX_S: u64 = 120;

/// When a second ends, and how long it was.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Since 1970.
    pub time_ms: i64,
    /// Of the monotonic clock.
    pub us: u64,
    /// Since the moment before.
    pub seconds: f64,
}

impl Moment {
    /// Reports of one thread that are taken until the next moment: a few, and one for each second
    /// that it is late.
    fn reports(&self, now_us: u64) -> usize {
        let away_s = now_us.saturating_sub(self.us) / 1_000_000;
        WAITING_MAX + away_s.min(AWAY_MAX_S) as usize
    }
}

pub struct Engine {
    version: &'static str,
    at: Moment,
    apps: BTreeMap<String, App>,
    gateway: Gateway,
    host: now::Host,
    /// Of root and supervisor.
    pids: (u32, u32),
    daemon: BTreeMap<u32, Process>,
    events: Vec<Event>,
    counts: Counts,
    /// The slot of [`SLOT_S`] seconds that is open, and how long it has been.
    slot: Option<(i64, f64)>,
}

/// One of Pando's own.
#[derive(Debug, Default)]
struct Process {
    name: String,
    memory_bytes: u64,
    meter: Meter,
    cpu: Window,
}

impl Engine {
    pub fn new(at: Moment, version: &'static str) -> Self {
        Self {
            version,
            at,
            apps: BTreeMap::new(),
            gateway: Gateway::default(),
            host: now::Host::default(),
            pids: (0, 0),
            daemon: BTreeMap::new(),
            events: Vec::new(),
            counts: Counts::new(at.time_ms),
            slot: None,
        }
    }

    pub fn state(&mut self, state: State) {
        self.pids = (state.root_pid, state.supervisor_pid);
        let is_told = |name: &String| state.apps.iter().any(|app| app.name == *name);
        let counts = &mut self.counts;
        self.apps.retain(|name, _| {
            let known = is_told(name);
            if !known {
                counts.forget(name);
            }
            known
        });
        for told in state.apps {
            self.apps.entry(told.name.clone()).or_default().told(told);
        }
    }

    /// What a worker's preload says; without a report, whether one would be taken.
    pub fn report(&mut self, us: u64, from: &Reporter, report: Option<agent::Report>) -> Taken {
        let id = (from.instance, from.worker);
        let app = self.apps.get_mut(&from.app);
        let Some(app) = app.filter(|app| app.workers.contains_key(&id)) else {
            return Taken::Unknown;
        };
        let Some(report) = report else {
            return Taken::Yes;
        };
        let routes = report.routes.iter();
        let routes = routes.map(|r| r.latency.count().saturating_add(r.streams));
        let outgoing = report.outgoing.iter().map(|out| out.latency.count());
        if routes.chain(outgoing).fold(0, u64::saturating_add) > REQUESTS_MAX {
            return Taken::Nonsense;
        }
        let room = self.at.reports(us);
        let broken = report.broken.clone();
        if !app.report(us, room, id, report) {
            return Taken::TooMany;
        }
        let mut told = Vec::new();
        for text in broken
            .iter()
            .filter_map(|broken| app.told_broken.first(broken))
        {
            told.push(Event {
                time_ms: self.at.time_ms,
                app: from.app.clone(),
                worker: Some(from.instance),
                kind: broken::EVENT.into(),
                text,
            });
        }
        told.into_iter().for_each(|event| self.event(event));
        Taken::Yes
    }

    /// Nobody can report on its socket any more.
    pub fn agent_ended(&mut self, from: &Reporter) {
        if let Some(app) = self.apps.get_mut(&from.app) {
            app.agent_ended((from.instance, from.worker));
        }
    }

    /// What of the apps is not measured, for the picture.
    pub fn problems(&self) -> Vec<String> {
        let problems = self.apps.values().flat_map(App::problems);
        problems.take(PROBLEMS_MAX).collect()
    }

    /// The processes to sample.
    pub(crate) fn targets(&self) -> Vec<Target> {
        let workers = self.apps.values().flat_map(|app| app.workers.iter());
        let targets = workers.filter_map(|((_, id), worker)| {
            Some(Target {
                worker: *id,
                pid: worker.told.pid?,
                tree: worker.told.tree,
                watch_loop: !worker.agent,
            })
        });
        targets.collect()
    }

    /// Root and supervisor.
    pub(crate) fn pando(&self) -> [(&'static str, u32); 2] {
        [("root", self.pids.0), ("supervisor", self.pids.1)]
    }

    pub fn edge(&mut self, now_us: u64, report: edge::Report) {
        self.gateway.report(now_us, self.at.reports(now_us), report);
    }

    pub fn event(&mut self, event: Event) {
        self.counts.event(&event.app, &event.kind);
        if self.events.len() < EVENTS_MAX {
            self.events.push(event);
        }
    }

    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    pub fn totals(&self) -> &Totals {
        &self.counts.totals
    }

    /// A second is over: what is kept of it.
    pub fn tick(&mut self, time_ms: i64, us: u64, samples: Samples) -> Second {
        let seconds = us.saturating_sub(self.at.us) as f64 / 1e6;
        self.at = Moment {
            time_ms,
            us,
            seconds: seconds.clamp(SECOND_S.start, SECOND_S.end),
        };
        let at = self.at;
        self.counts.at(at);
        let mut rows = self.edge_second();
        for app in self.apps.values_mut() {
            rows.extend(app.second(at, &samples, &mut self.counts));
        }
        rows.push(self.host_second(samples));
        let time_s = time_ms.div_euclid(1_000);
        Second {
            time_s,
            slot: self.slot(time_s),
            rows,
        }
    }

    fn edge_second(&mut self) -> Vec<Row> {
        let reports = self.gateway.due();
        for report in &reports {
            self.counts.edge(report);
            for route in report.routes.iter().take(edge::MAX_ROWS) {
                let app = route.app.as_ref().and_then(|app| self.apps.get_mut(app));
                if let Some(app) = app {
                    app.edge_route(self.at.us, route);
                }
            }
            for (name, app) in &mut self.apps {
                app.edge_upstreams(report.upstreams.iter().filter(|up| up.group == *name));
            }
            if let Some(app) = self.apps.get_mut(GATEWAY) {
                app.own_edge(self.at.us, report);
            }
        }
        self.gateway.second(self.at, &reports).into_iter().collect()
    }

    fn host_second(&mut self, samples: Samples) -> Row {
        self.host = samples.host;
        let pids: Vec<u32> = samples.daemon.iter().map(|process| process.pid).collect();
        self.daemon.retain(|pid, _| pids.contains(pid));
        let (mut cpu, mut memory) = (0.0, 0u64);
        for process in samples.daemon {
            let known = self.daemon.entry(process.pid).or_default();
            known.name = process.name;
            known.memory_bytes = process.sample.memory_bytes;
            let reading = process.sample.cpu_us;
            known.meter.read(reading.at_us, reading.value);
            let percent = known.meter.per_second().map(|us| us / 1e4);
            known.cpu.push(percent);
            cpu += percent.unwrap_or(0.0);
            memory = memory.saturating_add(known.memory_bytes);
        }
        let mut row = Row::new(Scope::Host);
        row.set(Metric::HostCpu, self.host.cpu_percent)
            .set(Metric::HostLoad, self.host.load_1m)
            .set(
                Metric::HostMemoryAvailable,
                self.host.memory_available_bytes as f64,
            )
            .set(Metric::Cpu, cpu)
            .set(Metric::Memory, memory as f64);
        row
    }

    /// The rows of the slot before, when this second begins another.
    fn slot(&mut self, time_s: i64) -> Option<(i64, Vec<Row>)> {
        let length = SLOT_S.cast_signed();
        let start = time_s.div_euclid(length) * length;
        let seconds = self.at.seconds;
        let (open, passed) = self.slot.get_or_insert((start, 0.0));
        *passed += seconds;
        // This second is the slot's last, or was after it.
        if time_s < *open + length - 1 && start == *open {
            return None;
        }
        let (open, passed) = (*open, *passed);
        self.slot = None;
        let mut rows = Vec::new();
        for app in self.apps.values_mut() {
            rows.extend(app.turn(self.at.us, passed));
        }
        self.gateway.turn();
        Some((open, rows))
    }

    /// With the sparklines or, cheaper, without.
    pub fn picture(&self, histories: bool) -> Now {
        let daemon = self.daemon.iter().map(|(pid, process)| now::Process {
            name: process.name.clone(),
            pid: *pid,
            cpu_percent: process.cpu.mean().unwrap_or(0.0),
            memory_bytes: process.memory_bytes,
        });
        let apps = self.apps.values();
        Now {
            time_ms: self.at.time_ms,
            version: self.version.into(),
            host: self.host.clone(),
            daemon: daemon.collect(),
            apps: apps.map(|app| app.picture(self.at.us, histories)).collect(),
            gateway: self.gateway.picture(self.at.us, histories),
            ..Now::default()
        }
    }
}

/// What became of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    Yes,
    /// Nobody knows the worker yet.
    Unknown,
    TooMany,
    /// More requests than there can be.
    Nonsense,
}

/// Whose preload speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reporter {
    pub app: String,
    pub worker: u32,
    pub instance: u32,
}

#[cfg(test)]
mod tests;
