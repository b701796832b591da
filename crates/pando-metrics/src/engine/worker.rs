//! One worker: what its preload says, what /proc says, and both as one second and as a picture.

use std::collections::BTreeMap;

use histogram::Histogram;
use monitor_spec::agent::{Broken, Delay, Gc, Heap, Outgoing, Report, Route};
use monitor_spec::metric::Metric;
use monitor_spec::now::{self, Source};
use monitor_spec::state;

use super::Moment;
use super::leak::{Leak, Of};
use super::meter::{Meter, Window};
use super::requests::Recent;
use super::samples::Sample;
use super::spark::{self, Point};
use super::thread::{self, Beat, Thread};
use crate::row::{Row, Scope};
use crate::totals::{Endpoint as Requests, Worker as Counts};

/// Threads of a process whose reports are taken.
const THREADS_MAX: usize = 32;
/// A preload that has been silent for so long is behind a loop that stands still.
const OVERDUE_US: u64 = 3_000_000;
/// A worker in service whose preload has said nothing for so long will not speak.
const SILENT_S: f64 = 30.0;
/// Between two reports.
const BEAT_US: u64 = 1_000_000;
/// A thread that has been silent for so long has ended.
const THREAD_GONE_US: u64 = 60_000_000;

#[derive(Debug)]
pub(crate) struct Worker {
    pub told: state::Worker,
    node: Option<String>,
    /// Reports have come.
    pub agent: bool,
    last_report_us: u64,
    /// For how long it has been ready without a preload that speaks.
    silent_s: f64,
    threads: BTreeMap<u32, Thread>,
    inside: Recent,
    pub edge: Edge,
    edge_recent: Recent,
    /// Latencies since the slot began.
    slot: Histogram,
    lag_mean: Window,
    lag_p99: Window,
    lag_max: Window,
    utilization: Window,
    gc: Window,
    cpu: Window,
    cpu_wait: Window,
    meters: Meters,
    sample: Sample,
    resident: Leak,
}

/// What the gateway says of it.
#[derive(Debug, Default)]
pub(crate) struct Edge {
    pub requests: u64,
    pub failures: u64,
    pub in_flight: u64,
}

#[derive(Debug, Default)]
struct Meters {
    cpu: Meter,
    main_run: Meter,
    main_wait: Meter,
    wait: Meter,
    switches: Meter,
}

/// One second of a worker.
#[derive(Debug, Default)]
pub(crate) struct WorkerSecond {
    pub requests: Requests,
    pub routes: Vec<Route>,
    pub outgoing: Vec<Outgoing>,
    pub delay: Option<Delay>,
    pub utilization: Option<f64>,
    pub gc: Gc,
    pub gc_percent: Option<f64>,
    pub cpu_percent: Option<f64>,
    pub cpu_wait_percent: Option<f64>,
    /// Added to the totals.
    pub counts: Counts,
}

impl Worker {
    pub fn new(told: state::Worker) -> Self {
        Self {
            told,
            node: None,
            agent: false,
            last_report_us: 0,
            silent_s: 0.0,
            threads: BTreeMap::new(),
            inside: Recent::default(),
            edge: Edge::default(),
            edge_recent: Recent::default(),
            slot: Histogram::new(),
            lag_mean: Window::default(),
            lag_p99: Window::default(),
            lag_max: Window::default(),
            utilization: Window::default(),
            gc: Window::default(),
            cpu: Window::default(),
            cpu_wait: Window::default(),
            meters: Meters::default(),
            sample: Sample::default(),
            resident: Leak::new(Of::Resident),
        }
    }

    /// False: there are too many, more than `room` of a thread.
    pub fn report(&mut self, now_us: u64, room: usize, mut report: Report) -> bool {
        let number = report.thread;
        if !self.threads.contains_key(&number) && self.threads.len() >= THREADS_MAX {
            return false;
        }
        self.agent = true;
        self.last_report_us = now_us;
        if number == 0 && !report.node.is_empty() {
            self.node = Some(std::mem::take(&mut report.node));
        }
        let thread = self.threads.entry(number).or_insert_with(Thread::new);
        thread.report(now_us, room, report)
    }

    /// It is seen from outside from now on, not as a loop that stands still.
    pub fn agent_ended(&mut self) {
        self.agent = false;
        self.threads.clear();
    }

    /// What it said and nobody counted yet, once it speaks no more.
    pub fn rest(&mut self) -> Vec<Beat> {
        self.threads.values_mut().filter_map(Thread::rest).collect()
    }

    /// What is broken in its preload, by the last report of each thread.
    pub fn broken(&self) -> Vec<&Broken> {
        self.threads
            .values()
            .flat_map(|thread| &thread.broken)
            .collect()
    }

    pub fn is_silent(&self) -> bool {
        self.silent_s >= SILENT_S
    }

    /// For how long a preload that did report has said nothing.
    fn overdue_us(&self, now_us: u64) -> Option<u64> {
        let silent = now_us.saturating_sub(self.last_report_us);
        (self.agent && silent >= OVERDUE_US).then(|| silent - BEAT_US)
    }

    pub fn second(&mut self, at: Moment, sample: Option<&Sample>) -> WorkerSecond {
        let mut second = WorkerSecond::default();
        let serves = self.told.pid.is_some() && self.told.state == "ready";
        let silent = serves && !self.agent;
        self.silent_s = if silent {
            self.silent_s + at.seconds
        } else {
            0.0
        };
        self.beats(at, &mut second);
        if let Some(sample) = sample {
            self.sampled(at, sample, &mut second);
        }
        self.look_from_outside(at, &mut second);
        let edge = Requests {
            errors_5xx: self.edge.failures,
            latency: counted(self.edge.requests),
            ..Requests::default()
        };
        self.edge.requests = 0;
        self.edge.failures = 0;
        self.edge_recent.push(at.seconds, edge);
        self.slot.merge(&second.requests.latency);
        self.inside.push(at.seconds, second.requests.clone());
        self.lag_mean.push(second.delay.map(|d| d.mean_us as f64));
        self.lag_p99.push(second.delay.map(|d| d.p99_us as f64));
        self.lag_max.push(second.delay.map(|d| d.max_us as f64));
        self.utilization.push(second.utilization);
        self.gc
            .push(second.gc_percent.map(|percent| percent * 10.0));
        self.cpu.push(second.cpu_percent);
        self.cpu_wait.push(second.cpu_wait_percent);
        second
    }

    fn beats(&mut self, at: Moment, second: &mut WorkerSecond) {
        self.threads
            .retain(|_, thread| at.us.saturating_sub(thread.last_us) < THREAD_GONE_US);
        let mut heard = false;
        for (number, thread) in &mut self.threads {
            let Some(beat) = thread.beat(at.us as f64 / 1e6) else {
                continue;
            };
            heard = true;
            let Beat {
                delay,
                utilization,
                gc,
                routes,
                outgoing,
            } = beat;
            let worst = |before: Delay, now: Delay| {
                if now.p99_us > before.p99_us {
                    now
                } else {
                    before
                }
            };
            second.delay = match (second.delay, delay) {
                (Some(a), Some(b)) => Some(worst(a, b)),
                (a, b) => a.or(b),
            };
            if *number == 0 {
                second.utilization = utilization;
            }
            thread::add_gc(&mut second.gc, gc, u64::MAX);
            for route in &routes {
                second.requests.add(&route.into());
            }
            second.routes.extend(routes);
            second.outgoing.extend(outgoing);
        }
        if heard {
            let per_second = thread::gc_us(&second.gc) as f64 / at.seconds.max(0.1);
            second.gc_percent = Some(per_second / 1e4);
            second.counts.gc = second.gc;
        }
    }

    fn sampled(&mut self, at: Moment, sample: &Sample, second: &mut WorkerSecond) {
        let meters = &mut self.meters;
        second.counts.cpu_us = meters.cpu.read(sample.cpu_us.at_us, sample.cpu_us.value);
        let percent = |meter: &Meter| meter.per_second().map(|us| us / 1e4);
        second.cpu_percent = percent(&meters.cpu);
        if let Some(wait) = sample.wait_us {
            second.counts.cpu_wait_us = meters.wait.read(wait.at_us, wait.value);
        }
        second.cpu_wait_percent = percent(&meters.wait);
        if let Some(switches) = sample.context_switches {
            let added = meters.switches.read(switches.at_us, switches.value);
            second.counts.context_switches = added;
        }
        let mut read = |reading: Option<super::samples::Reading>,
                        meter: fn(&mut Meters) -> &mut Meter| {
            let reading = reading?;
            let meter = meter(meters);
            meter.read(reading.at_us, reading.value);
            meter.per_second()
        };
        let run = read(sample.main_run_us, |m| &mut m.main_run);
        let wait = read(sample.main_wait_us, |m| &mut m.main_wait);
        if let (Some(run), Some(wait)) = (run, wait) {
            second.utilization = match second.utilization {
                // A loop that waits for a CPU counts as active; that is not the app's doing.
                Some(active) if run + wait > 0.0 => Some(active * run / (run + wait)),
                Some(active) => Some(active),
                // The main thread's time on a CPU is what a loop is active at least.
                None if !self.agent => Some((run / 1e6).clamp(0.0, 1.0)),
                None => None,
            };
        }
        if self.heap().is_none() {
            self.resident
                .add(at.us as f64 / 1e6, sample.memory_bytes as f64);
        }
        self.sample = sample.clone();
    }

    /// Of a loop that does not speak for itself: pings, and what the kernel says.
    fn look_from_outside(&mut self, at: Moment, second: &mut WorkerSecond) {
        let seen = if self.agent {
            self.overdue_us(at.us)
        } else {
            self.told.ping_us.max(self.sample.blocked_us)
        };
        let (Some(us), None) = (seen, second.delay) else {
            return;
        };
        second.delay = Some(Delay {
            mean_us: us,
            p50_us: us,
            p99_us: us,
            max_us: us,
        });
        if self.agent {
            // Busy all the time, but for that in which it waited for a CPU.
            let waited_us = self.meters.main_wait.per_second().unwrap_or(0.0);
            second.utilization = Some((1.0 - waited_us / 1e6).clamp(0.0, 1.0));
        }
    }

    fn heap(&self) -> Option<Heap> {
        let mut sum: Option<Heap> = None;
        for heap in self.threads.values().filter_map(|thread| thread.heap) {
            sum = Some(match sum {
                None => heap,
                Some(sum) => Heap {
                    used_bytes: sum.used_bytes.saturating_add(heap.used_bytes),
                    total_bytes: sum.total_bytes.saturating_add(heap.total_bytes),
                    // Each thread has its own; the main one's is meant.
                    limit_bytes: sum.limit_bytes,
                    floor_bytes: match (sum.floor_bytes, heap.floor_bytes) {
                        (Some(a), Some(b)) => Some(a.saturating_add(b)),
                        (a, b) => a.or(b),
                    },
                    external_bytes: sum.external_bytes.saturating_add(heap.external_bytes),
                    // Memory of the process is told by each of its threads.
                    array_buffers_bytes: sum.array_buffers_bytes.max(heap.array_buffers_bytes),
                },
            });
        }
        sum
    }

    pub fn leak(&self) -> Option<f64> {
        let floors = self
            .threads
            .values()
            .filter_map(|t| t.leak.bytes_per_hour());
        let floors = floors.reduce(|a, b| a + b);
        let resident = || self.resident.bytes_per_hour();
        if self.heap().is_some() {
            floors
        } else {
            floors.or_else(resident)
        }
    }

    pub fn in_flight(&self) -> u64 {
        self.threads.values().map(|t| u64::from(t.in_flight)).sum()
    }

    pub fn memory_bytes(&self) -> u64 {
        if self.sample.memory_bytes > 0 {
            self.sample.memory_bytes
        } else {
            self.told.memory_bytes
        }
    }

    pub fn cpu_percent(&self) -> f64 {
        self.cpu.mean().unwrap_or(self.told.cpu_percent)
    }

    pub fn lag_p99(&self) -> Option<u64> {
        self.lag_p99.max().map(|us| us as u64)
    }

    pub fn lag_max(&self) -> Option<u64> {
        self.lag_max.max().map(|us| us as u64)
    }

    pub fn utilization(&self) -> Option<f64> {
        self.utilization.mean()
    }

    /// The latencies of the slot that is over.
    pub fn turn(&mut self) -> Histogram {
        std::mem::take(&mut self.slot)
    }

    /// What is kept of this second.
    pub fn row(&self, app: &str, at: Moment, second: &WorkerSecond) -> Row {
        let mut row = Row::new(Scope::Worker(app.to_owned(), self.told.instance));
        if self.agent {
            row.set_requests(&second.requests, at.seconds)
                .set(Metric::InFlight, self.in_flight() as f64);
        }
        if self.told.pid.is_some() {
            self.set_process(&mut row);
        }
        row.set(Metric::LagMean, second.delay.map(|d| d.mean_us as f64))
            .set(Metric::LagP99, second.delay.map(|d| d.p99_us as f64))
            .set(Metric::LagMax, second.delay.map(|d| d.max_us as f64))
            .set(Metric::Utilization, second.utilization)
            .set(Metric::Cpu, second.cpu_percent)
            .set(Metric::CpuWait, second.cpu_wait_percent)
            .set(Metric::Gc, second.gc_percent)
            .set(Metric::Restarts, self.told.restarts as f64);
        row
    }

    fn set_process(&self, row: &mut Row) {
        let heap = self.heap();
        let of = |field: fn(&Heap) -> u64| heap.as_ref().map(|heap| field(heap) as f64);
        let floor = heap.as_ref().and_then(|heap| heap.floor_bytes);
        let handles: u64 = self.threads.values().map(|t| u64::from(t.handles)).sum();
        row.set(Metric::Memory, self.memory_bytes() as f64)
            .set(Metric::Pss, self.sample.pss_bytes.map(|b| b as f64))
            .set(Metric::HeapUsed, of(|heap| heap.used_bytes))
            .set(Metric::HeapTotal, of(|heap| heap.total_bytes))
            .set(Metric::HeapFloor, floor.map(|bytes| bytes as f64))
            .set(Metric::External, of(|heap| heap.external_bytes))
            .set(Metric::Fds, self.sample.fds as f64)
            .set(Metric::ContextSwitches, self.meters.switches.per_second())
            .set(Metric::Handles, self.agent.then_some(handles as f64));
    }

    pub fn point(&self, second: &WorkerSecond, row: &Row) -> Point {
        let kept = |metric| {
            let found = row.values.iter().find(|(known, _)| *known == metric);
            found.map(|(_, value)| f64::from(*value))
        };
        let mut point = Point::default();
        point.set(spark::RATE, kept(Metric::Rate));
        point.set(spark::P95, second.requests.latency.quantile(0.95));
        point.set(spark::ERRORS, kept(Metric::Errors5xx));
        point.set(spark::LAG, kept(Metric::LagP99));
        point.set(spark::UTILIZATION, kept(Metric::Utilization));
        point.set(spark::CPU, kept(Metric::Cpu));
        point.set(spark::MEMORY, kept(Metric::Memory));
        point
    }

    /// Without its history.
    pub fn picture(&self, app_source: Source) -> now::Worker {
        let told = &self.told;
        let heap = self.heap();
        let of = |field: fn(&Heap) -> u64| heap.as_ref().map(field);
        let traffic = if self.agent && app_source == Source::Agent {
            self.inside.traffic(Source::Agent, self.in_flight())
        } else if app_source == Source::Gateway {
            let mut seen = self
                .edge_recent
                .traffic(Source::Gateway, self.edge.in_flight);
            // Which latency is whose is not told.
            seen.latency = None;
            seen
        } else {
            now::Traffic::default()
        };
        let handles = self.threads.values().map(|t| t.handles);
        let handles = handles.fold(0, u32::saturating_add);
        now::Worker {
            id: told.id,
            instance: told.instance,
            pid: told.pid,
            state: told.state.clone(),
            uptime_ms: told.uptime_ms,
            restarts: told.restarts,
            last_exit: told.last_exit.clone(),
            node: self.node.clone(),
            agent: self.agent,
            traffic,
            lag_mean_us: self.lag_mean.mean().map(|us| us as u64),
            lag_p99_us: self.lag_p99(),
            lag_max_us: self.lag_max(),
            utilization: self.utilization(),
            cpu_percent: self.cpu_percent(),
            cpu_wait_percent: self.cpu_wait.mean().unwrap_or(0.0),
            memory_bytes: self.memory_bytes(),
            pss_bytes: self.sample.pss_bytes,
            heap_used_bytes: of(|heap| heap.used_bytes),
            heap_total_bytes: of(|heap| heap.total_bytes),
            heap_limit_bytes: of(|heap| heap.limit_bytes),
            heap_floor_bytes: heap.as_ref().and_then(|heap| heap.floor_bytes),
            external_bytes: of(|heap| heap.external_bytes),
            gc_ms_per_s: self.gc.mean(),
            fds: self.sample.fds,
            threads: self.sample.threads,
            context_switches: self.meters.switches.per_second().unwrap_or(0.0),
            handles: self.agent.then_some(handles),
            leak_bytes_per_hour: self.leak(),
            history: now::History::default(),
        }
    }
}

/// A count alone.
fn counted(count: u64) -> Histogram {
    let mut histogram = Histogram::new();
    histogram.record_many(0, count);
    histogram
}
