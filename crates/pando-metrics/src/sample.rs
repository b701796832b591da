//! Reads /proc and cgroups once a second. What is costly is read more rarely, worker by worker:
//! threads and descriptors every [`SLOW_S`] seconds, shares of memory (PSS) every [`PSS_S`], who
//! is whose child every [`FAMILIES_S`].

mod blocked;
mod cgroup;
mod host;

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use proc_files::{Families, Reader, Sched, Stat, kilobytes, place, sched};

use crate::engine::samples::{Daemon, Reading, Sample, Samples};
use blocked::Watch;
use host::HostReader;

const SLOW_S: u64 = 5;
const FAMILIES_S: u64 = 5;
/// Walks all pages of a process: some milliseconds for one that is large.
const PSS_S: u64 = 60;
const LIMITS_S: u64 = 30;
const DISK_S: u64 = 10;
/// Processes of one worker that are added up.
const TREE_MAX: usize = 512;
/// Threads of one process that are read.
const THREADS_MAX: usize = 256;

/// A worker to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub worker: u32,
    pub pid: u32,
    /// With all that descends from it.
    pub tree: bool,
    /// Its loop does not speak for itself.
    pub watch_loop: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Sampler {
    reader: Reader,
    host: HostReader,
    known: HashMap<u32, Known>,
    families: Families,
    second: u64,
    home: PathBuf,
    /// Size and room of its file system.
    disk: (u64, u64),
}

/// What is remembered of a process.
#[derive(Debug, Default)]
struct Known {
    began: u64,
    slow: Option<(Reading, Reading)>,
    fds: u64,
    pss_bytes: Option<u64>,
    pss_second: Option<u64>,
    loop_watch: Watch,
    no_syscall: bool,
    /// CPU of each process of its tree at the last look, and of all that ever were.
    tree: BTreeMap<u32, u64>,
    tree_us: u64,
    seen: u64,
}

impl Sampler {
    /// `home` is what the free room on the disk is asked of.
    pub fn new(home: &Path) -> Self {
        Self {
            home: home.to_owned(),
            ..Self::default()
        }
    }

    pub fn look(&mut self, now_us: u64, targets: &[Target], pando: &[(&str, u32)]) -> Samples {
        self.second += 1;
        if targets.iter().any(|target| target.tree) {
            if self.second % FAMILIES_S == 1 || self.families.is_empty() {
                self.families = Families::of_now(&mut self.reader);
            }
        } else {
            self.families = Families::default();
        }
        let limits_too = self.second % LIMITS_S == 1;
        let mut host = self.host.look(&mut self.reader, now_us, limits_too);
        if self.second % DISK_S == 1 {
            self.disk = disk(&self.home).unwrap_or_default();
        }
        (host.disk_total_bytes, host.disk_available_bytes) = self.disk;
        let mut pss_allowed = true;
        let mut workers = BTreeMap::new();
        for target in targets {
            if let Some(sample) = self.process(now_us, target, &mut pss_allowed) {
                workers.insert(target.worker, sample);
            }
        }
        let daemon = pando.iter().filter_map(|(name, pid)| {
            let stat = proc_files::stat(&mut self.reader, *pid)?;
            Some(Daemon {
                name: (*name).to_owned(),
                pid: *pid,
                sample: sample_of(now_us, &stat),
            })
        });
        let daemon = daemon.collect();
        let second = self.second;
        self.known.retain(|_, known| known.seen == second);
        Samples {
            host,
            workers,
            daemon,
        }
    }

    fn process(&mut self, now_us: u64, target: &Target, pss_allowed: &mut bool) -> Option<Sample> {
        let pid = target.pid;
        let stat = proc_files::stat(&mut self.reader, pid)?;
        let known = self.known.entry(pid).or_default();
        if known.began != stat.began {
            *known = Known {
                began: stat.began,
                ..Known::default()
            };
        }
        known.seen = self.second;
        let mut sample = sample_of(now_us, &stat);
        let main = self.reader.read(&format!("/proc/{pid}/schedstat"));
        let main = main.and_then(sched);
        if let Some(main) = main.filter(|_| !target.tree) {
            sample.main_run_us = Some(reading(now_us, main.run_ns / 1_000));
            sample.main_wait_us = Some(reading(now_us, main.wait_ns / 1_000));
        }
        let turn = self.second.wrapping_add(u64::from(pid));
        if turn.is_multiple_of(SLOW_S) || known.slow.is_none() {
            known.slow = threads(&mut self.reader, pid).map(|all| {
                let wait = reading(now_us, all.wait_ns / 1_000);
                (wait, reading(now_us, all.slices))
            });
            known.fds = proc_files::descriptors(pid).unwrap_or(0);
        }
        let pss_due = known
            .pss_second
            .is_none_or(|last| self.second - last >= PSS_S);
        if pss_due && std::mem::take(pss_allowed) {
            known.pss_second = Some(self.second);
            let rollup = self.reader.read(&format!("/proc/{pid}/smaps_rollup"));
            known.pss_bytes = rollup.and_then(|text| kilobytes(text, "Pss:"));
        }
        sample.wait_us = known.slow.map(|slow| slow.0);
        sample.context_switches = known.slow.map(|slow| slow.1);
        sample.fds = known.fds;
        sample.pss_bytes = known.pss_bytes;
        if target.tree {
            self.add_tree(now_us, pid, &mut sample);
        } else if target.watch_loop && !known.no_syscall {
            let text = self.reader.read(&format!("/proc/{pid}/syscall"));
            match (text.and_then(place), main) {
                (Some(place), Some(main)) => {
                    sample.blocked_us = known.loop_watch.see(now_us, place, main.slices);
                }
                // Not allowed, or not in this kernel: it will not be later either.
                (None, _) | (_, None) => known.no_syscall = true,
            }
        }
        Some(sample)
    }

    /// Adds what descends from it. Its CPU keeps that of processes that have ended.
    fn add_tree(&mut self, now_us: u64, pid: u32, sample: &mut Sample) {
        let mut now: BTreeMap<u32, u64> = BTreeMap::new();
        now.insert(pid, sample.cpu_us.value);
        for child in self.families.tree(pid, TREE_MAX).into_iter().skip(1) {
            let Some(stat) = proc_files::stat(&mut self.reader, child) else {
                continue;
            };
            now.insert(child, stat.cpu_us());
            sample.threads += stat.threads;
            sample.memory_bytes += stat.memory_bytes();
        }
        // Shares of memory are those of the first process alone: better none.
        if now.len() > 1 {
            sample.pss_bytes = None;
        }
        let Some(known) = self.known.get_mut(&pid) else {
            return;
        };
        for (process, us) in &now {
            let before = known.tree.get(process).copied();
            let added = us.saturating_sub(before.unwrap_or(0));
            known.tree_us = known.tree_us.saturating_add(added);
        }
        known.tree = now;
        sample.cpu_us = reading(now_us, known.tree_us);
    }
}

fn disk(path: &Path) -> Option<(u64, u64)> {
    let seen = rustix::fs::statvfs(path).ok()?;
    let bytes = |blocks: u64| blocks.saturating_mul(seen.f_frsize);
    Some((bytes(seen.f_blocks), bytes(seen.f_bavail)))
}

/// What its `stat` alone says.
fn sample_of(now_us: u64, stat: &Stat) -> Sample {
    Sample {
        cpu_us: reading(now_us, stat.cpu_us()),
        memory_bytes: stat.memory_bytes(),
        threads: stat.threads,
        ..Sample::default()
    }
}

fn reading(at_us: u64, value: u64) -> Reading {
    Reading { at_us, value }
}

/// The sums over the threads of a process.
fn threads(reader: &mut Reader, pid: u32) -> Option<Sched> {
    let mut sum = Sched::default();
    let entries = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    for entry in entries.flatten().take(THREADS_MAX) {
        let thread = entry.file_name();
        let path = format!("/proc/{pid}/task/{}/schedstat", thread.to_string_lossy());
        if let Some(one) = reader.read(&path).and_then(sched) {
            sum.run_ns = sum.run_ns.saturating_add(one.run_ns);
            sum.wait_ns = sum.wait_ns.saturating_add(one.wait_ns);
            sum.slices = sum.slices.saturating_add(one.slices);
        }
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_seen() {
        let mut sampler = Sampler::new(Path::new("/"));
        let pid = std::process::id();
        let target = |tree| Target {
            worker: 7,
            pid,
            tree,
            watch_loop: true,
        };
        for (now_us, tree) in [(1, false), (2, true)] {
            let samples = sampler.look(now_us, &[target(tree)], &[("supervisor", pid)]);
            assert!(samples.host.disk_total_bytes > 0);
            let me = &samples.workers[&7];
            assert!(me.memory_bytes > 100_000 && me.fds >= 3 && me.threads >= 1);
            assert_eq!(me.main_run_us.is_none(), tree);
            assert_eq!(samples.daemon[0].name, "supervisor");
        }
        let gone = Target {
            pid: u32::MAX,
            ..target(false)
        };
        assert!(sampler.look(3, &[gone], &[]).workers.is_empty());
        assert!(sampler.known.is_empty());
    }

    #[test]
    fn cpu_of_children_that_ended_stays() {
        let mut sampler = Sampler::new(Path::new("/"));
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let target = Target {
            worker: 1,
            pid: std::process::id(),
            tree: true,
            watch_loop: false,
        };
        let first = sampler.look(1, &[target], &[]);
        let (me, with_child) = (std::process::id(), &sampler.known[&std::process::id()].tree);
        assert!(with_child.contains_key(&me) && with_child.contains_key(&child.id()));
        child.kill().unwrap();
        child.wait().unwrap();
        sampler.families = Families::default();
        let second = sampler.look(2, &[target], &[]);
        assert!(second.workers[&1].cpu_us.value >= first.workers[&1].cpu_us.value);
    }
}
