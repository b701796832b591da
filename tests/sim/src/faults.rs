//! What goes wrong: crashes, stalls, bad builds, and the death of the supervisor itself.

use std::collections::{BTreeMap, BTreeSet};

use app_spec::Instances;
use node_cluster::{ConnId, WorkerId};
use pando_supervisor::core::{AppRecord, Exit, Order};

use crate::kernel::Client;
use crate::world::{OLD_CONN, World, core};

/// How often things go wrong, per step of 5 ms: one in this many; 0 is never.
#[derive(Clone, Copy, Debug)]
pub struct Faults {
    pub crash: u64,
    pub stall: u64,
    pub reload: u64,
    /// One reload in this many is of a build that does not boot.
    pub bad_build: u64,
    pub scale: u64,
    pub supervisor_death: u64,
    /// `kill -9` of the gateway, if there is one.
    pub gateway_death: u64,
}

impl World {
    pub(crate) fn go_wrong(&mut self) {
        if self.chance(self.faults.crash)
            && let Some(worker) = self.any_worker()
        {
            self.end(worker, Exit::Signal(9));
        }
        if self.chance(self.faults.stall)
            && let Some(worker) = self.any_worker()
        {
            let until = self.now + 200 + self.random.draw() % 3_000;
            if let Some(node) = self.nodes.get_mut(&worker) {
                node.stalled_until = until;
            }
        }
        if self.chance(self.faults.reload) && self.reloading.is_none() {
            self.bad_revisions = self.chance(self.faults.bad_build);
            let op = self.order(Order::Reload { spec: None });
            let refused = self.outcomes.last().is_some_and(|o| o.contains("already"));
            self.reloading = (!refused).then_some(op);
        }
        if self.chance(self.faults.scale) {
            let count = 1 + u32::try_from(self.random.draw() % 6).unwrap_or(0);
            self.order(Order::Scale {
                instances: Instances::Count(count),
            });
        }
        if self.chance(self.faults.gateway_death) {
            self.end_gateway(Exit::Signal(9));
        }
        if self.chance(self.faults.supervisor_death) {
            self.supervisor_dies();
        }
    }

    fn any_worker(&mut self) -> Option<WorkerId> {
        let all: Vec<WorkerId> = self.nodes.keys().copied().collect();
        let at = usize::try_from(self.random.draw() >> 1)
            .ok()?
            .checked_rem(all.len())?;
        all.get(at).copied()
    }

    /// `kill -9` of the supervisor, and the next one begins with what root and the journal have.
    fn supervisor_dies(&mut self) {
        self.deaths += 1;
        let offset = self.deaths * OLD_CONN;
        let mut kept = BTreeMap::new();
        for node in self.nodes.values_mut() {
            for (_, attach) in &mut node.inbox {
                if let node_cluster::Attach::Conn(conn) = attach
                    && let Some(client) = self.conns.get(conn)
                {
                    // The descriptor is in the channel: it outlives the supervisor.
                    let moved = ConnId(conn.0 + offset);
                    kept.insert(moved, *client);
                    *conn = moved;
                }
            }
        }
        let serving: BTreeSet<Client> = self
            .nodes
            .values()
            .flat_map(|n| &n.serving)
            .map(|(c, _)| *c)
            .collect();
        let in_channels: BTreeSet<Client> = kept.values().copied().collect();
        for client in self.conns.values() {
            let lost = !serving.contains(client) && !in_channels.contains(client);
            if lost && self.open.remove(client) {
                self.excused += 1;
            }
        }
        self.conns = kept;
        self.reloading = None;
        self.bad_revisions = false;
        self.core = core(self.random.draw(), self.now);
        let apps: Vec<_> = self
            .blobs
            .apps
            .values()
            .map(|(_, text)| serde_json::from_str(text).expect("what was written"))
            .collect();
        let workers: Vec<_> = self
            .blobs
            .workers
            .values()
            .map(|(_, text)| serde_json::from_str(text).expect("what was written"))
            .collect();
        let records: Vec<AppRecord> = self.journal.values().cloned().collect();
        self.kernel.gate_open = true;
        for sockets in self.kernel.listeners.values_mut() {
            sockets.accepted_here.clear();
        }
        let known: BTreeSet<WorkerId> = self.blobs.workers.keys().copied().collect();
        self.core.restore(self.now, &records, &apps, &workers);
        let strangers: Vec<WorkerId> = self
            .nodes
            .keys()
            .filter(|id| !known.contains(id))
            .copied()
            .collect();
        for worker in strangers {
            self.end(worker, Exit::Signal(9));
        }
        if self.gateway.worker.is_some_and(|w| !known.contains(&w)) {
            self.end_gateway(Exit::Signal(9));
        }
        self.carry_out();
    }
}
