//! Workers, by their instance number, so that a reload adds no series.

use super::{Family, Head, Picture, counter, flag, gauge, instance, seconds};
use monitor_spec::agent::Gc;
use monitor_spec::now::Worker;

const CPU: Head = counter(
    "pando_worker_cpu_seconds",
    "pando.worker.cpu.time",
    "s",
    "CPU time.",
);
const CPU_WAIT: Head = counter(
    "pando_worker_cpu_wait_seconds",
    "pando.worker.cpu.wait",
    "s",
    "Time in which it was ready to run and had no CPU.",
);
const SWITCHES: Head = counter(
    "pando_worker_context_switches",
    "pando.worker.context_switches",
    "{switch}",
    "Context switches.",
);
const GC_TIME: Head = counter(
    "pando_worker_gc_pause_seconds",
    "pando.worker.gc.time",
    "s",
    "Time in garbage collections, by kind.",
);
const GC_COUNT: Head = counter(
    "pando_worker_gc_pauses",
    "pando.worker.gc.count",
    "{pause}",
    "Garbage collections, by kind.",
);

/// A gauge and how it is read from a worker; `None` where it is not known.
type Read = fn(&Worker) -> Option<f64>;

fn bytes(count: Option<u64>) -> Option<f64> {
    count.map(|count| count as f64)
}

fn lag(us: Option<u64>) -> Option<f64> {
    us.map(seconds)
}

const GAUGES: [(Head, Read); 19] = [
    (
        gauge(
            "pando_worker_ready",
            "pando.worker.ready",
            "1",
            "1 while it is ready.",
        ),
        |w| Some(flag(w.state == "ready")),
    ),
    (
        gauge(
            "pando_worker_uptime_seconds",
            "pando.worker.uptime",
            "s",
            "Time since it was started.",
        ),
        |w| Some(w.uptime_ms as f64 / 1e3),
    ),
    (
        gauge(
            "pando_worker_agent",
            "pando.worker.agent",
            "1",
            "1 while reports of its preload come.",
        ),
        |w| Some(flag(w.agent)),
    ),
    (
        gauge(
            "pando_worker_memory_bytes",
            "pando.worker.memory",
            "By",
            "Resident memory.",
        ),
        |w| Some(w.memory_bytes as f64),
    ),
    (
        gauge(
            "pando_worker_pss_bytes",
            "pando.worker.memory.pss",
            "By",
            "Proportional set size: shared pages count in parts.",
        ),
        |w| bytes(w.pss_bytes),
    ),
    (
        gauge(
            "pando_worker_heap_used_bytes",
            "v8js.memory.heap.used",
            "By",
            "JavaScript heap in use.",
        ),
        |w| bytes(w.heap_used_bytes),
    ),
    (
        gauge(
            "pando_worker_heap_total_bytes",
            "pando.worker.heap.total",
            "By",
            "JavaScript heap allocated.",
        ),
        |w| bytes(w.heap_total_bytes),
    ),
    (
        gauge(
            "pando_worker_heap_limit_bytes",
            "v8js.memory.heap.limit",
            "By",
            "What V8 lets the heap grow to.",
        ),
        |w| bytes(w.heap_limit_bytes),
    ),
    (
        gauge(
            "pando_worker_heap_floor_bytes",
            "pando.worker.heap.floor",
            "By",
            "Heap in use right after the last major collection.",
        ),
        |w| bytes(w.heap_floor_bytes),
    ),
    (
        gauge(
            "pando_worker_external_bytes",
            "pando.worker.external",
            "By",
            "Memory outside the heap that JavaScript objects hold.",
        ),
        |w| bytes(w.external_bytes),
    ),
    (
        gauge(
            "pando_worker_event_loop_lag_mean_seconds",
            "nodejs.eventloop.delay.mean",
            "s",
            "Event-loop delay over the last seconds: mean.",
        ),
        |w| lag(w.lag_mean_us),
    ),
    (
        gauge(
            "pando_worker_event_loop_lag_p99_seconds",
            "nodejs.eventloop.delay.p99",
            "s",
            "Event-loop delay over the last seconds: 99th percentile.",
        ),
        |w| lag(w.lag_p99_us),
    ),
    (
        gauge(
            "pando_worker_event_loop_lag_max_seconds",
            "nodejs.eventloop.delay.max",
            "s",
            "Event-loop delay over the last seconds: longest.",
        ),
        |w| lag(w.lag_max_us),
    ),
    (
        gauge(
            "pando_worker_event_loop_utilization",
            "nodejs.eventloop.utilization",
            "1",
            "Share of time in which the event loop was busy, corrected for CPU that it had to wait for.",
        ),
        |w| w.utilization,
    ),
    (
        gauge(
            "pando_worker_open_fds",
            "pando.worker.fds",
            "{fd}",
            "Open file descriptors.",
        ),
        |w| Some(w.fds as f64),
    ),
    (
        gauge(
            "pando_worker_threads",
            "pando.worker.threads",
            "{thread}",
            "Threads.",
        ),
        |w| Some(w.threads as f64),
    ),
    (
        gauge(
            "pando_worker_active_handles",
            "pando.worker.handles",
            "{handle}",
            "Handles and requests that keep the event loop alive.",
        ),
        |w| w.handles.map(f64::from),
    ),
    (
        gauge(
            "pando_worker_requests_in_flight",
            "pando.worker.requests.in_flight",
            "{request}",
            "Requests that it is answering.",
        ),
        |w| Some(w.traffic.in_flight as f64),
    ),
    (
        gauge(
            "pando_worker_requests_per_second",
            "pando.worker.requests.rate",
            "{request}/s",
            "Requests a second over the last seconds.",
        ),
        |w| Some(w.traffic.rate),
    ),
];

pub(super) fn families<'a>(picture: &Picture<'a>, all: &mut Vec<Family<'a>>) {
    for (head, read) in GAUGES {
        let mut family = Family::new(head);
        for app in &picture.now.apps {
            // The one that is ready wins its place's row over its successor or predecessor.
            let mut workers: Vec<&Worker> =
                app.workers.iter().filter(|w| w.pid.is_some()).collect();
            workers.sort_by_key(|worker| (worker.state == "ready", worker.id));
            for worker in workers {
                if let (Some(number), Some(value)) = (instance(worker.instance), read(worker)) {
                    family.number(vec![("app", &app.name), ("worker", number)], value);
                }
            }
        }
        all.push(family);
    }
    let [mut cpu, mut wait, mut switches] = [CPU, CPU_WAIT, SWITCHES].map(Family::new);
    let [mut gc_time, mut gc_count] = [GC_TIME, GC_COUNT].map(Family::new);
    for (key, worker) in &picture.totals.workers {
        let Some(number) = instance(key.instance) else {
            continue;
        };
        let labels = || vec![("app", key.app.as_str()), ("worker", number)];
        let since_ms = worker.since_ms;
        let worker = &worker.counts;
        cpu.sum(labels(), seconds(worker.cpu_us), since_ms);
        wait.sum(labels(), seconds(worker.cpu_wait_us), since_ms);
        switches.count(labels(), worker.context_switches, since_ms);
        for (kind, pauses) in kinds(&worker.gc) {
            let mut labels = labels();
            labels.push(("kind", kind));
            gc_time.sum(labels.clone(), seconds(pauses.total_us), since_ms);
            gc_count.count(labels, pauses.count.into(), since_ms);
        }
    }
    all.extend([cpu, wait, switches, gc_time, gc_count]);
}

fn kinds(gc: &Gc) -> [(&'static str, &monitor_spec::agent::Pauses); 4] {
    [
        ("minor", &gc.minor),
        ("major", &gc.major),
        ("incremental", &gc.incremental),
        ("weakcb", &gc.weak_callbacks),
    ]
}
