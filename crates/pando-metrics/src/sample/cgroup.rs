//! The limits of the control group that we are in, version 1 and 2 (the kernel's
//! admin-guide/cgroup-v1 and cgroup-v2). Groups are nested: the smallest limit of those above
//! counts. In a container the path of /proc/self/cgroup may be the host's and lead nowhere; then
//! its end, or the mounted root itself, is ours.

use proc_files::Reader;

const OWN: &str = "/proc/self/cgroup";
const MOUNT: &str = "/sys/fs/cgroup";
/// Directories above our group that are looked at.
const DEPTH_MAX: usize = 16;

/// The tightest of our group and those above it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Cgroup {
    pub memory_bytes: Option<u64>,
    /// 1.5 is one and a half.
    pub cpus: Option<f64>,
    /// The `cpu.stat` of the group with that limit, and what its time is called there.
    throttled: Option<(String, Unit)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    /// `throttled_usec` of version 2.
    Microseconds,
    /// `throttled_time` of version 1.
    Nanoseconds,
}

impl Cgroup {
    /// `memory_total`: what is as large as the machine is no limit.
    pub fn of_us(reader: &mut Reader, memory_total: u64) -> Self {
        let own = reader.read(OWN).map(str::to_owned).unwrap_or_default();
        Self::read(reader, &own, MOUNT, memory_total)
    }

    fn read(reader: &mut Reader, own: &str, mount: &str, memory_total: u64) -> Self {
        let mut group = Self::default();
        if let Some(path) = unified(own) {
            // Beside version 1 it is mounted elsewhere, and has no limits then.
            for root in [mount.to_owned(), format!("{mount}/unified")] {
                for dir in above(&root, path) {
                    let memory = reader.read(&format!("{dir}/memory.max"));
                    group.memory(memory.and_then(bytes), memory_total);
                    let cpus = reader.read(&format!("{dir}/cpu.max")).and_then(cpu_max);
                    group.cpu(cpus, &dir, Unit::Microseconds);
                }
            }
        }
        if let Some(path) = controller(own, "memory") {
            for dir in above(&format!("{mount}/memory"), path) {
                let memory = reader.read(&format!("{dir}/memory.limit_in_bytes"));
                group.memory(memory.and_then(bytes), memory_total);
            }
        }
        if let Some(path) = controller(own, "cpu") {
            // Where both are mounted as one, each has a link of its own; some have only one name.
            for name in ["cpu", "cpu,cpuacct", "cpuacct,cpu"] {
                for dir in above(&format!("{mount}/{name}"), path) {
                    let number = |reader: &mut Reader, file: &str| {
                        let text = reader.read(&format!("{dir}/{file}"))?;
                        text.trim().parse::<i64>().ok()
                    };
                    let quota = number(reader, "cpu.cfs_quota_us");
                    let period = number(reader, "cpu.cfs_period_us");
                    let cpus = quota
                        .zip(period)
                        .and_then(|(quota, period)| share(quota, period));
                    group.cpu(cpus, &dir, Unit::Nanoseconds);
                }
            }
        }
        group
    }

    fn memory(&mut self, bytes: Option<u64>, total: u64) {
        if let Some(bytes) = bytes.filter(|bytes| *bytes < total) {
            self.memory_bytes = Some(self.memory_bytes.map_or(bytes, |known| known.min(bytes)));
        }
    }

    fn cpu(&mut self, cpus: Option<f64>, dir: &str, unit: Unit) {
        let Some(cpus) = cpus else { return };
        if self.cpus.is_none_or(|known| cpus < known) {
            self.cpus = Some(cpus);
            self.throttled = Some((format!("{dir}/cpu.stat"), unit));
        }
    }

    /// For how long the group with the CPU's limit was held up, ever.
    pub fn throttled_us(&self, reader: &mut Reader) -> Option<u64> {
        let (path, unit) = self.throttled.as_ref()?;
        let (name, per_us) = match unit {
            Unit::Microseconds => ("throttled_usec ", 1),
            Unit::Nanoseconds => ("throttled_time ", 1_000),
        };
        let text = reader.read(path)?;
        let time = text.lines().find_map(|line| line.strip_prefix(name))?;
        let time: u64 = time.trim().parse().ok()?;
        Some(time / per_us)
    }
}

fn bytes(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// `50000 100000` is half a CPU, `max 100000` no limit.
fn cpu_max(text: &str) -> Option<f64> {
    let (quota, period) = text.trim().split_once(' ')?;
    share(quota.parse().ok()?, period.parse().ok()?)
}

/// Version 1 says -1 where there is no limit.
fn share(quota_us: i64, period_us: i64) -> Option<f64> {
    (quota_us > 0 && period_us > 0).then(|| quota_us as f64 / period_us as f64)
}

/// The path of version 2.
fn unified(text: &str) -> Option<&str> {
    text.lines().find_map(|line| line.strip_prefix("0::"))
}

/// The path of a controller of version 1.
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

    const MIB: u64 = 1 << 20;

    /// What a made-up tree says.
    fn check(own: &str, files: &[(&str, &str)]) -> (Option<u64>, Option<f64>, Option<u64>) {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let mut reader = Reader::default();
        let mount = dir.path().display().to_string();
        let group = Cgroup::read(&mut reader, own, &mount, 8_192 * MIB);
        let throttled = group.throttled_us(&mut reader);
        (group.memory_bytes.map(|b| b / MIB), group.cpus, throttled)
    }

    #[test]
    fn of_version_2_the_smallest_above_counts() {
        let found = check(
            "0::/a.slice/b.scope\n",
            &[
                ("memory.max", "max\n"),
                ("a.slice/memory.max", "536870912\n"),
                ("a.slice/b.scope/memory.max", "1073741824\n"),
                ("a.slice/cpu.max", "150000 100000\n"),
                ("a.slice/cpu.stat", "usage_usec 9\nthrottled_usec 77\n"),
                ("a.slice/b.scope/cpu.max", "max 100000\n"),
                ("a.slice/b.scope/cpu.stat", "throttled_usec 1\n"),
            ],
        );
        assert_eq!(found, (Some(512), Some(1.5), Some(77)));
        // The group itself is the tightest.
        let found = check(
            "0::/a/b\n",
            &[
                ("a/memory.max", "536870912"),
                ("a/b/memory.max", "268435456"),
                ("a/cpu.max", "400000 100000"),
                ("a/b/cpu.max", "25000 100000"),
            ],
        );
        assert_eq!(found, (Some(256), Some(0.25), None));
    }

    #[test]
    fn of_version_1_both_are_read() {
        let own = "12:memory:/docker/x\n4:cpu,cpuacct:/docker/x\n1:name=systemd:/docker/x\n";
        let found = check(
            own,
            &[
                ("memory/memory.limit_in_bytes", "9223372036854771712\n"),
                ("memory/docker/x/memory.limit_in_bytes", "268435456\n"),
                ("cpu,cpuacct/cpu.cfs_quota_us", "-1\n"),
                ("cpu,cpuacct/cpu.cfs_period_us", "100000\n"),
                ("cpu,cpuacct/docker/cpu.cfs_quota_us", "200000\n"),
                ("cpu,cpuacct/docker/cpu.cfs_period_us", "100000\n"),
                ("cpu,cpuacct/docker/x/cpu.cfs_quota_us", "50000\n"),
                ("cpu,cpuacct/docker/x/cpu.cfs_period_us", "100000\n"),
                (
                    "cpu,cpuacct/docker/x/cpu.stat",
                    "nr_periods 3\nthrottled_time 5000000\n",
                ),
            ],
        );
        assert_eq!(found, (Some(256), Some(0.5), Some(5_000)));
    }

    #[test]
    fn in_a_container_the_hosts_path_leads_nowhere() {
        // Docker mounts its group as the root, and /proc still has the host's path.
        let own = "5:memory:/docker/0123\n3:cpu:/docker/0123\n";
        let found = check(
            own,
            &[
                ("memory/memory.limit_in_bytes", "134217728\n"),
                ("cpu/cpu.cfs_quota_us", "300000\n"),
                ("cpu/cpu.cfs_period_us", "100000\n"),
            ],
        );
        assert_eq!(found, (Some(128), Some(3.0), None));
        let found = check("0::/\n", &[("memory.max", "134217728")]);
        assert_eq!(found.0, Some(128));
    }

    #[test]
    fn nonsense_and_what_is_as_large_as_the_machine_is_no_limit() {
        let none = (None, None, None);
        assert_eq!(check("", &[]), none);
        assert_eq!(check("0::/../..\n4:memory\nx", &[]), none);
        let found = check(
            "0::/a\n3:cpu:/\n",
            &[
                ("a/memory.max", "8589934592"),
                ("a/cpu.max", "0 100000"),
                ("cpu/cpu.cfs_quota_us", "0"),
                ("cpu/cpu.cfs_period_us", "many"),
            ],
        );
        assert_eq!(found, none);
        for (text, cpus) in [
            ("150000 100000\n", Some(1.5)),
            ("max 100000\n", None),
            ("50000 0", None),
            ("50000", None),
            ("-5 100000", None),
        ] {
            assert_eq!(cpu_max(text), cpus, "{text}");
        }
        let deep = "/a".repeat(100);
        assert_eq!(above("/r", &deep).len(), DEPTH_MAX);
        assert_eq!(above("/r", "/x/y"), ["/r/x/y", "/r/x", "/r"]);
        assert_eq!(above("/r", "/"), ["/r"]);
        assert_eq!(controller("3:cpu,cpuacct:/c\n", "cpuacct"), Some("/c"));
        assert_eq!(controller("3:cpuset:/c\n", "cpu"), None);
    }
}
