//! Pando itself, the machine, and alerts.

use monitor_spec::now::AlertState;

use super::{Family, Head, Picture, flag, gauge};

const BUILD: Head = gauge(
    "pando_build_info",
    "pando.build.info",
    "1",
    "The version of Pando; always 1.",
);
const START: Head = gauge(
    "pando_start_time_seconds",
    "pando.start.time",
    "s",
    "When the counters began, as seconds since 1970.",
);
const PROBLEMS: Head = gauge(
    "pando_monitor_problems",
    "pando.monitor.problems",
    "{problem}",
    "What is wrong with the measuring itself, counted.",
);
const ALERTS: Head = gauge(
    "pando_alerts",
    "pando.alerts",
    "{alert}",
    "Alerts that are pending or firing; always 1.",
);
const PROCESS_CPU: Head = gauge(
    "pando_process_cpu_cores",
    "pando.process.cpu.cores",
    "{cpu}",
    "Cores that a process of Pando itself uses.",
);
const PROCESS_MEMORY: Head = gauge(
    "pando_process_memory_bytes",
    "pando.process.memory",
    "By",
    "Resident memory of a process of Pando itself.",
);
const HOST_CPU: Head = gauge(
    "pando_host_cpu_utilization",
    "system.cpu.utilization",
    "1",
    "Share of all cores in use, 0 to 1.",
);
const HOST_LOAD: Head = gauge(
    "pando_host_load1",
    "system.linux.cpu.load_1m",
    "{thread}",
    "Load average of the last minute.",
);
const HOST_CORES: Head = gauge(
    "pando_host_cores",
    "system.cpu.logical.count",
    "{cpu}",
    "Cores.",
);
const HOST_MEMORY: Head = gauge(
    "pando_host_memory_bytes",
    "system.memory.limit",
    "By",
    "Memory of the machine.",
);
const HOST_AVAILABLE: Head = gauge(
    "pando_host_memory_available_bytes",
    "system.linux.memory.available",
    "By",
    "Memory that is free or can be freed.",
);
const HOST_PRESSURE: Head = gauge(
    "pando_host_cpu_pressure_ratio",
    "pando.host.cpu.pressure",
    "1",
    "Share of time in which some process waited for a CPU, 0 to 1.",
);
const DISK: Head = gauge(
    "pando_home_disk_bytes",
    "pando.home.disk.size",
    "By",
    "Size of the file system that has Pando's home.",
);
const DISK_AVAILABLE: Head = gauge(
    "pando_home_disk_available_bytes",
    "pando.home.disk.available",
    "By",
    "Free room on it.",
);

pub(super) fn families<'a>(picture: &Picture<'a>, all: &mut Vec<Family<'a>>) {
    let now = picture.now;
    let mut one = |head: Head, value: Option<f64>| {
        let mut family = Family::new(head);
        if let Some(value) = value {
            family.number(Vec::new(), value);
        }
        all.push(family);
    };
    let host = &now.host;
    let known = |bytes: u64| (bytes > 0).then_some(bytes as f64);
    one(START, Some(picture.totals.since_ms as f64 / 1e3));
    one(PROBLEMS, Some(now.problems.len() as f64));
    one(HOST_CPU, Some(host.cpu_percent / 100.0));
    one(HOST_LOAD, Some(host.load_1m));
    one(HOST_CORES, known(host.cores.into()));
    one(HOST_MEMORY, known(host.memory_total_bytes));
    one(HOST_AVAILABLE, known(host.memory_available_bytes));
    one(
        HOST_PRESSURE,
        host.cpu_pressure_percent.map(|percent| percent / 100.0),
    );
    one(DISK, known(host.disk_total_bytes));
    let available = known(host.disk_total_bytes).map(|_| host.disk_available_bytes as f64);
    one(DISK_AVAILABLE, available);
    let mut build = Family::new(BUILD);
    build.number(vec![("version", &now.version)], flag(true));
    let (mut cpu, mut memory) = (Family::new(PROCESS_CPU), Family::new(PROCESS_MEMORY));
    for process in &now.daemon {
        cpu.number(
            vec![("process", &process.name)],
            process.cpu_percent / 100.0,
        );
        memory.number(
            vec![("process", &process.name)],
            process.memory_bytes as f64,
        );
    }
    let mut alerts = Family::new(ALERTS);
    for alert in &now.alerts {
        let state = match alert.state {
            AlertState::Pending => "pending",
            AlertState::Firing => "firing",
            AlertState::Resolved => continue,
        };
        let labels = vec![
            ("name", alert.name.as_str()),
            ("app", &alert.app),
            ("state", state),
        ];
        alerts.number(labels, flag(true));
    }
    all.extend([build, cpu, memory, alerts]);
}
