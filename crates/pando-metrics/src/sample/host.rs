//! The machine: CPU, load, memory, pressure; and the cgroup that we are in.

use monitor_spec::now::Host;

use proc_files::{Reader, kilobytes};

use super::cgroup::Cgroup;

#[derive(Debug, Default)]
pub(crate) struct HostReader {
    name: String,
    cores: u32,
    /// Busy and all ticks at the last look.
    ticks: Option<(u64, u64)>,
    cgroup: Cgroup,
    throttled: Option<(u64, u64)>,
}

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
            self.cgroup = Cgroup::of_us(reader, memory_total_bytes);
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
            cgroup_memory_limit_bytes: self.cgroup.memory_bytes,
            cgroup_cpu_limit: self.cgroup.cpus,
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
        self.cgroup.cpus?;
        let now = self.cgroup.throttled_us(reader)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_writes_is_read() {
        let stat = "cpu  10 0 5 80 5 0 0 0 0 0\ncpu0 1\ncpu1 2\nintr 5\n";
        assert_eq!((cores(stat), busy_and_all(stat)), (2, Some((15, 100))));
        let text = "some avg10=1.50 avg60=0.3 avg300=0 total=5\nfull avg10=0\n";
        assert_eq!(pressure(text), Some(1.5));
    }

    #[test]
    fn this_machine_is_read() {
        let mut host = HostReader::default();
        let seen = host.look(&mut Reader::default(), 1, true);
        assert!(seen.cores >= 1 && seen.memory_total_bytes > 0 && !seen.name.is_empty());
    }
}
