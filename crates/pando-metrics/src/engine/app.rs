//! One app: its workers, its endpoints, and what the gateway sees of it.

use std::collections::BTreeMap;

use histogram::Histogram;
use monitor_spec::edge;
use monitor_spec::metric::Metric;
use monitor_spec::now::{self, Source};
use monitor_spec::state;
use monitor_spec::{MAX_ENDPOINTS, agent};

use super::Moment;
use super::broken::{self, Told};
use super::counts::Counts;
use super::endpoints::{Name, Rows};
use super::gateway::{self, some};
use super::requests::{Recent, latency};
use super::samples::Samples;
use super::spark::{self, Point, Sparks};
use super::thread::Beat;
use super::worker::{Worker, WorkerSecond};
use crate::row::{Row, Scope};
use crate::totals::{Endpoint as Requests, Worker as WorkerCounts};

/// Without a report for so long, the gateway's word counts.
const AGENT_GONE_US: u64 = 60_000_000;
/// The gateway is where latencies are from for so long after the last request by it.
const EDGE_GONE_US: u64 = 600_000_000;

#[derive(Debug, Default)]
pub(crate) struct App {
    pub told: state::App,
    /// By instance number and id: while one is replaced there are two.
    pub workers: BTreeMap<(u32, u32), Worker>,
    /// Of each instance, over all its workers.
    sparks: BTreeMap<u32, Sparks>,
    own_sparks: Sparks,
    inside: Side,
    edge: Side,
    outgoing: Rows,
    edge_in_flight: u64,
    /// Of the gateway's own app: when it last reported.
    own_edge_us: Option<u64>,
    last_report_us: Option<u64>,
    /// Last words of workers that are gone, with their instance.
    left: Vec<(u32, Beat)>,
    /// Broken parts of its preloads that an event was told of.
    pub told_broken: Told,
}

/// Requests as one of both sees them.
#[derive(Debug, Default)]
struct Side {
    /// Of this second so far.
    current: Requests,
    recent: Recent,
    endpoints: Rows,
    last_request_us: Option<u64>,
}

impl Side {
    fn add(&mut self, now_us: u64, method: &str, route: &str, requests: &Requests) {
        if !requests.is_empty() {
            self.last_request_us = Some(now_us);
        }
        self.current.add(requests);
        self.endpoints.add(method, route, requests);
    }

    fn route(&mut self, now_us: u64, route: &agent::Route) {
        let requests = Requests::from(route);
        self.add(now_us, &route.method, &route.route, &requests);
    }

    fn pass(&mut self, seconds: f64) -> Requests {
        let second = std::mem::take(&mut self.current);
        self.recent.push(seconds, second.clone());
        self.endpoints.pass(seconds);
        second
    }

    fn since(&self, now_us: u64) -> Option<u64> {
        Some(now_us.saturating_sub(self.last_request_us?))
    }
}

impl App {
    pub fn told(&mut self, told: state::App) {
        for worker in &told.workers {
            let id = (worker.instance, worker.id);
            match self.workers.get_mut(&id) {
                Some(known) => known.told = worker.clone(),
                None => {
                    self.workers.insert(id, Worker::new(worker.clone()));
                }
            }
        }
        let is_told = |id: &(u32, u32)| told.workers.iter().any(|w| (w.instance, w.id) == *id);
        let left = &mut self.left;
        self.workers.retain(|id, worker| {
            let stays = is_told(id);
            if !stays {
                left.extend(worker.rest().into_iter().map(|beat| (id.0, beat)));
            }
            stays
        });
        let has = |instance: &u32| told.workers.iter().any(|w| w.instance == *instance);
        self.sparks.retain(|instance, _| has(instance));
        self.told = told;
    }

    /// Nobody can report on its socket any more.
    pub fn agent_ended(&mut self, id: (u32, u32)) {
        if let Some(worker) = self.workers.get_mut(&id) {
            let rest = worker.rest();
            self.left.extend(rest.into_iter().map(|beat| (id.0, beat)));
            worker.agent_ended();
        }
    }

    pub fn report(
        &mut self,
        now_us: u64,
        room: usize,
        id: (u32, u32),
        report: agent::Report,
    ) -> bool {
        let Some(worker) = self.workers.get_mut(&id) else {
            return false;
        };
        self.last_report_us = Some(now_us);
        worker.report(now_us, room, report)
    }

    /// What its preloads do not measure.
    pub fn problems(&self) -> Vec<String> {
        let name = &self.told.name;
        let mut problems = broken::problems(name, self.workers.values().map(Worker::broken));
        let mut silent = self.workers.values().filter(|worker| worker.is_silent());
        if self.told.agent
            && let Some(first) = silent.next()
        {
            problems.push(format!(
                "the preload of {name}.{} reports nothing ({} workers of {name} are so): their requests, event loop and \
                 heap are not seen from inside. Most often the app closes descriptors that it did not open, \
                 or another preload replaces `fs` or timers; see docs/agent.md",
                first.told.instance,
                1 + silent.count(),
            ));
        }
        problems
    }

    /// Requests that the gateway sent to it.
    pub fn edge_route(&mut self, now_us: u64, route: &edge::Route) {
        let requests = Requests::from(route);
        self.edge
            .add(now_us, &route.method, &route.endpoint, &requests);
    }

    pub fn edge_upstreams<'a>(&mut self, upstreams: impl Iterator<Item = &'a edge::Upstream>) {
        self.edge_in_flight = 0;
        for upstream in upstreams {
            self.edge_in_flight = self.edge_in_flight.saturating_add(upstream.in_flight);
            let newest = self.workers.iter_mut().rev();
            let mut of_instance = newest.filter(|(id, _)| Some(id.0) == upstream.instance);
            if let Some((_, worker)) = of_instance.next() {
                let edge = &mut worker.edge;
                edge.requests = edge.requests.saturating_add(upstream.requests);
                edge.failures = edge.failures.saturating_add(upstream.failures);
                edge.in_flight = upstream.in_flight;
            }
        }
    }

    /// The gateway is an app itself: all that it answers is its own, by site and route.
    pub fn own_edge(&mut self, now_us: u64, report: &edge::Report) {
        self.own_edge_us = Some(now_us);
        self.edge_in_flight = report.in_flight;
        let mut all = Requests::default();
        for route in report.routes.iter().take(edge::MAX_ROWS) {
            let requests = Requests::from(route);
            self.edge.add(now_us, &route.site, &route.route, &requests);
            all.add(&requests);
        }
        // In a reload the newer one has nearly all of it.
        if let Some(worker) = self.workers.values_mut().next_back() {
            let edge = &mut worker.edge;
            edge.requests = edge.requests.saturating_add(all.requests());
            edge.failures = edge.failures.saturating_add(all.errors_5xx);
            edge.in_flight = report.in_flight;
        }
    }

    /// Where its latencies are taken from: the preload, unless only the gateway sees requests.
    pub fn source(&self, now_us: u64) -> Source {
        if let Some(last) = self.own_edge_us {
            let here = now_us.saturating_sub(last) < gateway::GONE_US;
            return if here { Source::Gateway } else { Source::None };
        }
        let edge = self.edge.since(now_us);
        let by_edge = edge.is_some_and(|ago| ago < EDGE_GONE_US);
        let reported = self
            .last_report_us
            .is_some_and(|last| now_us.saturating_sub(last) < AGENT_GONE_US);
        let inside = self.inside.since(now_us);
        let blind = edge.is_some_and(|ago| ago < AGENT_GONE_US)
            && inside.is_none_or(|ago| ago >= AGENT_GONE_US);
        match (reported, by_edge) {
            (true, _) if !blind => Source::Agent,
            (_, true) => Source::Gateway,
            (true, false) => Source::Agent,
            (false, false) => Source::None,
        }
    }

    fn side(&self, source: Source) -> Option<&Side> {
        match source {
            Source::Agent => Some(&self.inside),
            Source::Gateway => Some(&self.edge),
            Source::None => None,
        }
    }

    /// A second is over: rows of the app and of its workers.
    pub fn second(&mut self, at: Moment, samples: &Samples, counts: &mut Counts) -> Vec<Row> {
        let mut rows: BTreeMap<u32, Row> = BTreeMap::new();
        let mut points: BTreeMap<u32, Point> = BTreeMap::new();
        let mut seconds = Vec::new();
        let name = self.told.name.clone();
        for ((instance, id), worker) in &mut self.workers {
            let second = worker.second(at, samples.workers.get(id));
            for route in &second.routes {
                self.inside.route(at.us, route);
                counts.route(&name, route);
            }
            for out in &second.outgoing {
                self.outgoing.outgoing(out);
                counts.outgoing(&name, out);
            }
            counts.worker(&name, *instance, &second.counts);
            let row = worker.row(&name, at, &second);
            points.insert(*instance, worker.point(&second, &row));
            // The newer one of two stands for the instance.
            rows.insert(*instance, row);
            seconds.push(second);
        }
        self.count_left(at.us, counts);
        for (instance, point) in points {
            self.sparks.entry(instance).or_default().push(point);
        }
        let own = self.own_row(at, &seconds);
        rows.into_values().chain([own]).collect()
    }

    fn count_left(&mut self, now_us: u64, counts: &mut Counts) {
        let name = &self.told.name;
        for (instance, beat) in std::mem::take(&mut self.left) {
            for route in &beat.routes {
                self.inside.route(now_us, route);
                counts.route(name, route);
            }
            for out in &beat.outgoing {
                self.outgoing.outgoing(out);
                counts.outgoing(name, out);
            }
            let gc = WorkerCounts {
                gc: beat.gc,
                ..WorkerCounts::default()
            };
            counts.worker(name, instance, &gc);
        }
    }

    fn own_row(&mut self, at: Moment, seconds: &[WorkerSecond]) -> Row {
        let source = self.source(at.us);
        let inside = self.inside.pass(at.seconds);
        let edge = self.edge.pass(at.seconds);
        self.outgoing.pass(at.seconds);
        let (requests, in_flight) = match source {
            Source::Agent => (Some(inside), self.in_flight()),
            Source::Gateway => (Some(edge), self.edge_in_flight),
            Source::None => (None, 0),
        };
        let mut row = Row::new(Scope::App(self.told.name.clone()));
        if let Some(requests) = &requests {
            row.set_requests(requests, at.seconds)
                .set(Metric::InFlight, in_flight as f64);
            row.latency = some(&requests.latency);
        }
        let delays = || seconds.iter().filter_map(|s| s.delay);
        let means: Vec<f64> = delays().map(|d| d.mean_us as f64).collect();
        let utilization: Vec<f64> = seconds.iter().filter_map(|s| s.utilization).collect();
        let gc: Vec<f64> = seconds.iter().filter_map(|s| s.gc_percent).collect();
        row.set(Metric::LagMean, mean(&means))
            .set(
                Metric::LagP99,
                delays().map(|d| d.p99_us as f64).reduce(f64::max),
            )
            .set(
                Metric::LagMax,
                delays().map(|d| d.max_us as f64).reduce(f64::max),
            )
            .set(Metric::Utilization, mean(&utilization))
            .set(Metric::Gc, mean(&gc))
            .set(Metric::Cpu, sum(seconds.iter().map(|s| s.cpu_percent)))
            .set(
                Metric::CpuWait,
                sum(seconds.iter().map(|s| s.cpu_wait_percent)),
            )
            .set(Metric::WorkersReady, f64::from(self.told.ready))
            .set(Metric::Restarts, self.told.restarts as f64);
        self.set_sums(&mut row);
        self.push_point(&row);
        row
    }

    /// What is the sum over the workers.
    fn set_sums(&self, row: &mut Row) {
        let rows: Vec<now::Worker> = self
            .workers
            .values()
            .map(|w| w.picture(Source::None))
            .collect();
        let of = |field: fn(&now::Worker) -> Option<f64>| sum(rows.iter().map(field));
        let bytes = |value: Option<u64>| value.map(|bytes| bytes as f64);
        let pss = rows.iter().map(|w| bytes(w.pss_bytes));
        row.set(Metric::Memory, of(|w| Some(w.memory_bytes as f64)))
            .set(Metric::Pss, sum(pss))
            .set(Metric::HeapUsed, of(|w| Some(w.heap_used_bytes? as f64)))
            .set(Metric::HeapTotal, of(|w| Some(w.heap_total_bytes? as f64)))
            .set(Metric::HeapFloor, of(|w| Some(w.heap_floor_bytes? as f64)))
            .set(Metric::External, of(|w| Some(w.external_bytes? as f64)))
            .set(Metric::Fds, of(|w| Some(w.fds as f64)))
            .set(Metric::ContextSwitches, of(|w| Some(w.context_switches)))
            .set(Metric::Handles, of(|w| w.handles.map(f64::from)));
    }

    fn push_point(&mut self, row: &Row) {
        let kept = |metric| {
            let found = row.values.iter().find(|(known, _)| *known == metric);
            found.map(|(_, value)| f64::from(*value))
        };
        let mut point = Point::default();
        point.set(spark::RATE, kept(Metric::Rate));
        point.set(
            spark::P95,
            row.latency.as_ref().and_then(|h| h.quantile(0.95)),
        );
        point.set(spark::ERRORS, kept(Metric::Errors5xx));
        point.set(spark::LAG, kept(Metric::LagP99));
        point.set(spark::UTILIZATION, kept(Metric::Utilization));
        point.set(spark::CPU, kept(Metric::Cpu));
        point.set(spark::MEMORY, kept(Metric::Memory));
        self.own_sparks.push(point);
    }

    fn in_flight(&self) -> u64 {
        self.workers.values().map(Worker::in_flight).sum()
    }

    /// A slot is over: rows of its endpoints, and the latencies of its workers.
    pub fn turn(&mut self, now_us: u64, seconds: f64) -> Vec<Row> {
        let source = self.source(now_us);
        let (inside, edge) = (self.inside.endpoints.turn(), self.edge.endpoints.turn());
        self.outgoing.turn();
        let endpoints = match source {
            Source::Agent => inside,
            Source::Gateway => edge,
            Source::None => Vec::new(),
        };
        let app = &self.told.name;
        let mut rows = Vec::new();
        for ((method, route), requests) in endpoints {
            let mut row = Row::new(Scope::Endpoint(app.clone(), endpoint_name(&method, &route)));
            row.set_requests(&requests, seconds);
            row.latency = some(&requests.latency);
            rows.push(row);
        }
        let mut latencies: BTreeMap<u32, Histogram> = BTreeMap::new();
        for ((instance, _), worker) in &mut self.workers {
            latencies
                .entry(*instance)
                .or_default()
                .merge(&worker.turn());
        }
        for (instance, slot) in latencies {
            if let Some(slot) = some(&slot) {
                let mut row = Row::new(Scope::Worker(app.clone(), instance));
                row.latency = Some(slot);
                rows.push(row);
            }
        }
        rows
    }

    pub fn picture(&self, now_us: u64, histories: bool) -> now::App {
        let told = &self.told;
        let source = self.source(now_us);
        let side = self.side(source);
        let in_flight = match source {
            Source::Agent => self.in_flight(),
            Source::Gateway => self.edge_in_flight,
            Source::None => 0,
        };
        let traffic = side.map(|side| side.recent.traffic(source, in_flight));
        let all = || self.workers.values();
        let utilization: Vec<f64> = all().filter_map(Worker::utilization).collect();
        now::App {
            name: told.name.clone(),
            status: told.status.clone(),
            mode: told.mode.clone(),
            command: told.command.clone(),
            listen: told.listen.clone(),
            wanted: told.wanted,
            ready: told.ready,
            restarts: told.restarts,
            uptime_ms: told.uptime_ms,
            reloading: told.reloading,
            problem: told.problem.clone(),
            traffic: traffic.unwrap_or_default(),
            lag_p99_us: all().filter_map(Worker::lag_p99).max(),
            lag_max_us: all().filter_map(Worker::lag_max).max(),
            utilization: mean(&utilization),
            cpu_percent: all().map(Worker::cpu_percent).sum(),
            memory_bytes: all().map(Worker::memory_bytes).sum(),
            memory_limit_bytes: told.memory_limit_bytes,
            leak_bytes_per_hour: all().filter_map(Worker::leak).reduce(|a, b| a + b),
            workers: self.worker_pictures(source, histories),
            endpoints: side
                .map(|side| endpoints(&side.endpoints, source))
                .unwrap_or_default(),
            outgoing: outgoing(&self.outgoing),
            history: if histories {
                self.own_sparks.history()
            } else {
                now::History::default()
            },
        }
    }

    fn worker_pictures(&self, source: Source, histories: bool) -> Vec<now::Worker> {
        let pictures = self.workers.values().map(|worker| {
            let mut picture = worker.picture(source);
            let sparks = self.sparks.get(&worker.told.instance);
            if let Some(sparks) = sparks.filter(|_| histories) {
                picture.history = sparks.history();
            }
            picture
        });
        pictures.collect()
    }
}

/// `GET /users/:id`; rows without a method are named by their second part alone.
pub(crate) fn endpoint_name(method: &str, route: &str) -> String {
    if method.is_empty() {
        route.to_owned()
    } else {
        format!("{method} {route}")
    }
}

/// Both parts of an [`endpoint_name`].
pub(crate) fn endpoint_parts(name: &str) -> Name {
    let (method, route) = name.split_once(' ').unwrap_or(("", name));
    (method.to_owned(), route.to_owned())
}

fn endpoints(rows: &Rows, source: Source) -> Vec<now::Endpoint> {
    let (rows, seconds) = rows.window();
    let rows = rows
        .into_iter()
        .map(|(name, requests)| (name.clone(), requests));
    endpoint_rows(rows.collect(), source, seconds)
}

/// Endpoints with what they did in so many seconds, the busiest first.
pub(crate) fn endpoint_rows(
    rows: Vec<(Name, Requests)>,
    source: Source,
    seconds: f64,
) -> Vec<now::Endpoint> {
    let all_us: f64 = rows.iter().map(|(_, r)| r.latency.sum() as f64).sum();
    let mut endpoints: Vec<now::Endpoint> = rows
        .into_iter()
        .map(|((method, route), requests)| now::Endpoint {
            method,
            route,
            requests: requests.requests(),
            time_share: requests.latency.sum() as f64 / all_us.max(1.0),
            traffic: requests.traffic(source, 0, seconds),
        })
        .collect();
    endpoints.sort_by_key(|endpoint| std::cmp::Reverse(endpoint.requests));
    endpoints.truncate(MAX_ENDPOINTS + 1);
    endpoints
}

fn outgoing(rows: &Rows) -> Vec<now::Outgoing> {
    let (rows, seconds) = rows.window();
    let mut all: Vec<now::Outgoing> = rows
        .into_iter()
        .map(|((kind, peer), requests)| {
            let traffic = requests.traffic(Source::Agent, 0, seconds);
            now::Outgoing {
                kind: kind.clone(),
                peer: peer.clone(),
                rate: traffic.rate,
                errors: traffic.errors_5xx,
                latency: latency(&requests.latency),
            }
        })
        .collect();
    all.sort_by(|a, b| b.rate.total_cmp(&a.rate));
    all
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// Of those that are known.
fn sum(values: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    values.flatten().reduce(|a, b| a + b)
}
