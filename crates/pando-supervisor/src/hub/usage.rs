//! What /proc says of workers: memory, CPU, open descriptors; and when to look.

use std::collections::{BTreeMap, HashMap};

use app_spec::Balance;
use node_cluster::WorkerId;
use proc_files::{Families, Reader};

use super::Hub;
use crate::core::{Core, Input, Ms, Target};

/// Between looks at memory and CPU.
const LOOK_EVERY_MS: Ms = 1_000;
/// Between looks at descriptor counts where least connections needs them.
const CONNECTIONS_EVERY_MS: Ms = 100;
/// Between looks at the accept queues of steered seats: a stalled worker's queue is noticed
/// within this and [`crate::core`]'s limit for a ping with a queue.
const QUEUES_EVERY_MS: Ms = 20;
/// Processes of one worker that are added up.
const TREE_MAX: usize = 4096;
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
        let mut reader = Reader::default();
        // What a shell or a package runner started is the app.
        let families = (all && workers.iter().any(|w| w.3)).then(|| Families::of_now(&mut reader));
        for (worker, pid, last_memory, fork) in workers {
            let mut memory_bytes = last_memory;
            if all {
                let looked = match families.as_ref().filter(|_| fork) {
                    Some(families) => look_at_tree(&mut reader, families, pid),
                    None => look(&mut reader, pid),
                };
                let Some(looked) = looked else { continue };
                memory_bytes = looked.memory_bytes;
                self.usage
                    .cpu
                    .entry(worker)
                    .or_default()
                    .add(now, looked.cpu_us);
            }
            let connections = proc_files::descriptors(pid).unwrap_or(0);
            let connections = u32::try_from(connections).unwrap_or(u32::MAX);
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
fn look(reader: &mut Reader, pid: u32) -> Option<Look> {
    let stat = proc_files::stat(reader, pid)?;
    Some(Look {
        memory_bytes: stat.memory_bytes(),
        cpu_us: stat.cpu_us(),
    })
}

/// The sums over a tree; `None` when its first process has gone.
fn look_at_tree(reader: &mut Reader, families: &Families, pid: u32) -> Option<Look> {
    let mut sum = look(reader, pid)?;
    for child in families.tree(pid, TREE_MAX).into_iter().skip(1) {
        if let Some(looked) = look(reader, child) {
            sum.memory_bytes += looked.memory_bytes;
            sum.cpu_us += looked.cpu_us;
        }
    }
    Some(sum)
}

/// A process and all that descends from it.
pub(super) fn tree(pid: u32) -> Vec<u32> {
    Families::of_now(&mut Reader::default()).tree(pid, TREE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_seen() {
        let (me, mut reader) = (std::process::id(), Reader::default());
        let alone = look(&mut reader, me).unwrap().memory_bytes;
        assert!(alone > 100_000);
        assert_eq!(tree(me)[0], me);
        let families = Families::of_now(&mut reader);
        let family = look_at_tree(&mut reader, &families, me).unwrap();
        assert!(family.memory_bytes >= alone / 2);
        assert!(look_at_tree(&mut reader, &families, u32::MAX).is_none());
        assert!(look(&mut reader, u32::MAX).is_none());
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
