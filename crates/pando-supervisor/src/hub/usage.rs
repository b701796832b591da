//! What /proc says of workers: memory, CPU, open descriptors; and when to look.

use std::collections::{BTreeMap, HashMap};
use std::fs;

use app_spec::Balance;
use node_cluster::WorkerId;

use super::Hub;
use crate::core::{Core, Input, Ms, Target};

/// Between looks at memory and CPU.
const LOOK_EVERY_MS: Ms = 1_000;
/// Between looks at descriptor counts where least connections needs them.
const CONNECTIONS_EVERY_MS: Ms = 100;
/// Between looks at the accept queues of steered seats: a stalled worker's queue is noticed
/// within this and [`crate::core`]'s limit for a ping with a queue.
const QUEUES_EVERY_MS: Ms = 20;
/// Over how many looks CPU is averaged.
const CPU_LOOKS: usize = 3;

#[derive(Default)]
pub(super) struct Usage {
    next_look: Ms,
    next_connections: Ms,
    next_queues: Ms,
    cpu: HashMap<WorkerId, CpuMeter>,
    queues: BTreeMap<(String, usize), u32>,
}

/// CPU time seen at the last looks: (when, microseconds).
#[derive(Default)]
struct CpuMeter(std::collections::VecDeque<(Ms, u64)>);

impl CpuMeter {
    fn add(&mut self, now: Ms, used_us: u64) {
        self.0.push_back((now, used_us));
        while self.0.len() > CPU_LOOKS + 1 {
            self.0.pop_front();
        }
    }

    fn percent(&self) -> f64 {
        match (self.0.front(), self.0.back()) {
            (Some(first), Some(last)) if last.0 > first.0 => {
                let used_ms = last.1.saturating_sub(first.1) as f64 / 1_000.0;
                100.0 * used_ms / (last.0 - first.0) as f64
            }
            _ => 0.0,
        }
    }
}

impl Usage {
    pub fn next_at(&self, core: &Core) -> Ms {
        let mut due = self.next_look;
        if core.apps().any(|a| a.steered_seats().next().is_some()) {
            due = due.min(self.next_queues);
        }
        if core
            .apps()
            .any(|a| a.spec().balance == Balance::LeastConnections)
        {
            due = due.min(self.next_connections);
        }
        due
    }

    pub fn cpu_percent(&self, worker: WorkerId) -> f64 {
        self.cpu.get(&worker).map_or(0.0, CpuMeter::percent)
    }

    pub fn forget(&mut self, worker: WorkerId) {
        self.cpu.remove(&worker);
    }

    pub fn queue_was(&self, app: &str, seat: usize) -> u32 {
        self.queues
            .get(&(app.to_owned(), seat))
            .copied()
            .unwrap_or(0)
    }

    pub fn note_queue(&mut self, app: &str, seat: usize, waiting: u32) {
        let id = (app.to_owned(), seat);
        if waiting == 0 {
            self.queues.remove(&id);
        } else {
            self.queues.insert(id, waiting);
        }
    }
}

impl Hub {
    /// Takes the looks that are due.
    pub(super) fn sample(&mut self, now: Ms) {
        if now >= self.usage.next_queues {
            self.usage.next_queues = now + QUEUES_EVERY_MS;
            self.sample_queues();
        }
        let all = now >= self.usage.next_look;
        let connections = now >= self.usage.next_connections;
        if !all && !connections {
            return;
        }
        self.usage.next_connections = now + CONNECTIONS_EVERY_MS;
        if all {
            self.usage.next_look = now + LOOK_EVERY_MS;
            self.settle_journal();
            self.own_log.look(&self.options.home, now);
            self.tell_state();
        }
        let workers: Vec<(WorkerId, u32, u64, bool)> = self
            .core
            .apps()
            .filter(|a| all || a.spec().balance == Balance::LeastConnections)
            .flat_map(crate::core::App::workers)
            .filter_map(|w| Some((w.id, w.pid?, w.memory_bytes, !w.spec.is_cluster())))
            .collect();
        // What a shell or a package runner started is the app.
        let families = (all && workers.iter().any(|w| w.3)).then(Families::of_now);
        for (worker, pid, last_memory, fork) in workers {
            let mut memory_bytes = last_memory;
            if all {
                let looked = match families.as_ref().filter(|_| fork) {
                    Some(families) => families.look(pid),
                    None => look(pid),
                };
                let Some(looked) = looked else { continue };
                memory_bytes = looked.memory_bytes;
                self.usage
                    .cpu
                    .entry(worker)
                    .or_default()
                    .add(now, looked.cpu_us);
            }
            let connections = descriptors(pid).unwrap_or(0);
            let event = Target::Usage {
                memory_bytes,
                connections,
                timed: all,
            };
            self.inputs.push_back(Input::Worker { worker, event });
        }
        self.settle();
    }
}

struct Look {
    memory_bytes: u64,
    cpu_us: u64,
}

/// One process now; `None` when it has gone.
fn look(pid: u32) -> Option<Look> {
    let statm = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
    let page = u64::try_from(rustix::param::page_size()).ok()?;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command may hold spaces and parentheses: fields count from the last one.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    let ticks: u64 = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    let per_second = rustix::param::clock_ticks_per_second().max(1);
    Some(Look {
        memory_bytes: pages * page,
        cpu_us: ticks * 1_000_000 / per_second,
    })
}

/// Open descriptors of a process, in O(1): the size of its fd directory (Linux 6.2).
fn descriptors(pid: u32) -> Option<u32> {
    let size = fs::metadata(format!("/proc/{pid}/fd")).ok()?.len();
    if size > 0 {
        return u32::try_from(size).ok();
    }
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count();
    u32::try_from(entries).ok()
}

/// A process and all that descends from it.
pub(super) fn tree(pid: u32) -> Vec<u32> {
    Families::of_now().tree(pid)
}

/// Who is whose child, at one moment.
struct Families(HashMap<u32, Vec<u32>>);

impl Families {
    fn of_now() -> Self {
        let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        for entry in processes {
            let name = entry.file_name();
            let Some(child) = name.to_str().and_then(|n| n.parse::<u32>().ok()) else {
                continue;
            };
            if let Some(parent) = parent(child) {
                children.entry(parent).or_default().push(child);
            }
        }
        Self(children)
    }

    fn tree(&self, pid: u32) -> Vec<u32> {
        const TREE_MAX: usize = 4096;
        let mut all = vec![pid];
        let mut next = 0;
        while let Some(parent) = all.get(next).copied().filter(|_| all.len() < TREE_MAX) {
            all.extend(self.0.get(&parent).into_iter().flatten());
            next += 1;
        }
        all
    }

    /// The sums over a tree; `None` when its first process has gone.
    fn look(&self, pid: u32) -> Option<Look> {
        let mut sum = look(pid)?;
        for looked in self.tree(pid).into_iter().skip(1).filter_map(look) {
            sum.memory_bytes += looked.memory_bytes;
            sum.cpu_us += looked.cpu_us;
        }
        Some(sum)
    }
}

fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let after_name = stat.rsplit_once(')')?.1;
    after_name.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_seen() {
        let me = std::process::id();
        assert!(look(me).unwrap().memory_bytes > 100_000);
        assert!(descriptors(me).unwrap() >= 3);
        assert_eq!(tree(me)[0], me);
        let family = Families::of_now().look(me).unwrap();
        assert!(family.memory_bytes >= look(me).unwrap().memory_bytes / 2);
        assert!(Families::of_now().look(u32::MAX).is_none());
        assert!(look(u32::MAX).is_none());
    }

    #[test]
    fn cpu_is_a_rate_over_the_last_looks() {
        let mut meter = CpuMeter::default();
        for n in 0..10u64 {
            meter.add(n * 1_000, n * 500_000);
        }
        assert!((meter.percent() - 50.0).abs() < 0.01);
        assert_eq!(CpuMeter::default().percent(), 0.0);
    }
}
