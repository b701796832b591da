//! The machine: CPU, load, memory, pressure; and the cgroup that we are in.

use monitor_spec::now::Host;

use proc_files::{Reader, kilobytes};

#[derive(Debug, Default)]
pub(crate) struct HostReader {
    name: String,
    cores: u32,
    /// Busy and all ticks at the last look.
    ticks: Option<(u64, u64)>,
    limits: Limits,
    throttled: Option<(u64, u64)>,
}

/// The tightest of our cgroup and those above it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Limits {
    memory_bytes: Option<u64>,
    cpus: Option<f64>,
}

/// Directories above our cgroup that are looked at.
const DEPTH_MAX: usize = 16;

impl HostReader {
    pub fn look(&mut self, reader: &mut Reader, now_us: u64, limits_too: bool) -> Host {
        if self.name.is_empty() {
            let name = reader.read("/proc/sys/kernel/hostname").unwrap_or_default();
            self.name = name.trim().to_owned();
        }
        let stat = reader.read("/proc/stat").unwrap_or_default();
        self.cores = cores(stat);
        let cpu_percent = self.cpu_percent(busy_and_all(stat));
        let load = reader.read("/proc/loadavg").unwrap_or_default();
        let load_1m = load.split(' ').next().and_then(|text| text.parse().ok());
        let memory = reader.read("/proc/meminfo").unwrap_or_default();
        let memory_total_bytes = kilobytes(memory, "MemTotal:").unwrap_or(0);
        let memory_available_bytes = kilobytes(memory, "MemAvailable:").unwrap_or(0);
        let pressure = reader.read("/proc/pressure/cpu").and_then(pressure);
        if limits_too {
            self.limits = limits(reader, memory_total_bytes);
        }
        let throttled = self.throttled_percent(reader, now_us);
        Host {
            name: self.name.clone(),
            cores: self.cores,
            cpu_percent,
            load_1m: load_1m.unwrap_or(0.0),
            memory_total_bytes,
            memory_available_bytes,
            cpu_pressure_percent: pressure,
            cgroup_memory_limit_bytes: self.limits.memory_bytes,
            cgroup_cpu_limit: self.limits.cpus,
            cgroup_throttled_percent: throttled,
            ..Host::default()
        }
    }

    fn cpu_percent(&mut self, now: Option<(u64, u64)>) -> f64 {
        let before = std::mem::replace(&mut self.ticks, now);
        let (Some((busy, all)), Some((busy_before, all_before))) = (now, before) else {
            return 0.0;
        };
        let all = all.saturating_sub(all_before);
        let busy = busy.saturating_sub(busy_before).min(all);
        100.0 * busy as f64 / all.max(1) as f64
    }

    fn throttled_percent(&mut self, reader: &mut Reader, now_us: u64) -> Option<f64> {
        self.limits.cpus?;
        let own = reader.read("/proc/self/cgroup")?;
        let path = unified(own)?.to_owned();
        let stat = reader.read(&format!("/sys/fs/cgroup{path}/cpu.stat"))?;
        let now = stat
            .lines()
            .find_map(|line| line.strip_prefix("throttled_usec "));
        let now: u64 = now?.trim().parse().ok()?;
        let (at_us, before) = self.throttled.replace((now_us, now))?;
        let passed = now_us.saturating_sub(at_us).max(1);
        Some((100.0 * now.saturating_sub(before) as f64 / passed as f64).min(100.0))
    }
}

fn cores(stat: &str) -> u32 {
    let lines = stat.lines().skip(1);
    let cores = lines.take_while(|line| line.starts_with("cpu")).count();
    u32::try_from(cores).unwrap_or(0)
}

/// Of the first line of /proc/stat: user nice system idle iowait irq softirq steal.
fn busy_and_all(stat: &str) -> Option<(u64, u64)> {
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    let fields = line.split_ascii_whitespace().take(8);
    let fields: Vec<u64> = fields.map(|text| text.parse().unwrap_or(0)).collect();
    let all = fields
        .iter()
        .fold(0u64, |sum, field| sum.saturating_add(*field));
    let idle = fields.get(3)?.saturating_add(*fields.get(4)?);
    Some((all.saturating_sub(idle), all))
}

/// The share of the last ten seconds in which somebody waited.
fn pressure(text: &str) -> Option<f64> {
    let some = text.lines().find_map(|line| line.strip_prefix("some "))?;
    let share = some
        .split(' ')
        .find_map(|field| field.strip_prefix("avg10="));
    share?.parse().ok()
}

/// The path of cgroup v2.
fn unified(text: &str) -> Option<&str> {
    let path = text.lines().find_map(|line| line.strip_prefix("0::"))?;
    Some(if path == "/" { "" } else { path })
}

/// The path of a controller of cgroup v1.
fn controller<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':');
        let controllers = parts.nth(1)?;
        let path = parts.next()?;
        controllers
            .split(',')
            .any(|known| known == name)
            .then_some(path)
    })
}

fn limits(reader: &mut Reader, memory_total: u64) -> Limits {
    let Some(own) = reader.read("/proc/self/cgroup").map(str::to_owned) else {
        return Limits::default();
    };
    let mut limits = Limits::default();
    if let Some(path) = unified(&own) {
        for dir in above("/sys/fs/cgroup", path) {
            let memory = reader.read(&format!("{dir}/memory.max"));
            limits.memory(memory, memory_total);
            if let Some(cpus) = reader.read(&format!("{dir}/cpu.max")).and_then(cpu_max) {
                limits.cpus = Some(limits.cpus.map_or(cpus, |known| known.min(cpus)));
            }
        }
    }
    if let Some(path) = controller(&own, "memory") {
        for dir in above("/sys/fs/cgroup/memory", path) {
            let memory = reader.read(&format!("{dir}/memory.limit_in_bytes"));
            limits.memory(memory, memory_total);
        }
    }
    limits
}

impl Limits {
    /// What is as large as the machine is no limit.
    fn memory(&mut self, text: Option<&str>, total: u64) {
        let bytes = text.and_then(|text| text.trim().parse::<u64>().ok());
        if let Some(bytes) = bytes.filter(|bytes| *bytes < total) {
            self.memory_bytes = Some(self.memory_bytes.map_or(bytes, |known| known.min(bytes)));
        }
    }
}

/// `50000 100000` is half a CPU.
fn cpu_max(text: &str) -> Option<f64> {
    let (quota, period) = text.trim().split_once(' ')?;
    let (quota, period): (f64, f64) = (quota.parse().ok()?, period.parse().ok()?);
    (period > 0.0).then(|| quota / period)
}

/// A directory and those above it, up to the root.
fn above(root: &str, path: &str) -> Vec<String> {
    let mut dirs = Vec::new();
    let mut path = path.trim_end_matches('/');
    for _ in 0..DEPTH_MAX {
        dirs.push(format!("{root}{path}"));
        match path.rsplit_once('/') {
            Some((parent, _)) => path = parent,
            None => break,
        }
    }
    dirs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_writes_is_read() {
        let stat = "cpu  10 0 5 80 5 0 0 0 0 0\ncpu0 1\ncpu1 2\nintr 5\n";
        assert_eq!((cores(stat), busy_and_all(stat)), (2, Some((15, 100))));
        let text = "some avg10=1.50 avg60=0.3 avg300=0 total=5\nfull avg10=0\n";
        assert_eq!(pressure(text), Some(1.5));
        assert_eq!(cpu_max("150000 100000\n"), Some(1.5));
        assert_eq!(cpu_max("max 100000\n"), None);
        let cgroups = "4:memory:/a/b\n3:cpu,cpuacct:/c\n0::/x.slice/y\n";
        assert_eq!(unified(cgroups), Some("/x.slice/y"));
        assert_eq!(controller(cgroups, "cpuacct"), Some("/c"));
        assert_eq!(controller(cgroups, "pids"), None);
        assert_eq!(above("/r", "/x/y"), ["/r/x/y", "/r/x", "/r"]);
        assert_eq!(above("/r", ""), ["/r"]);
    }

    #[test]
    fn what_is_as_large_as_the_machine_is_no_limit() {
        let mut limits = Limits::default();
        for text in ["max", "9223372036854771712", "1000"] {
            limits.memory(Some(text), 1_000);
        }
        assert_eq!(limits.memory_bytes, None);
        limits.memory(Some("900\n"), 1_000);
        limits.memory(Some("950\n"), 1_000);
        assert_eq!(limits.memory_bytes, Some(900));
    }

    #[test]
    fn this_machine_is_read() {
        let mut host = HostReader::default();
        let seen = host.look(&mut Reader::default(), 1, true);
        assert!(seen.cores >= 1 && seen.memory_total_bytes > 0 && !seen.name.is_empty());
    }
}
