//! What must be so when the faults are over.

use std::collections::BTreeSet;

use crate::kernel::Client;
use crate::world::{APP, World};

impl World {
    /// After the faults: all is well, and nobody was forgotten.
    pub fn check(&mut self) {
        let Some(app) = self.core.app(APP) else {
            panic!("the app is gone")
        };
        assert!(
            app.is_fully_ready(),
            "{} of {} ready",
            app.ready_count(),
            app.wanted()
        );
        assert_eq!(
            self.nodes.len(),
            app.wanted() as usize,
            "workers that nobody wants"
        );
        let seats: BTreeSet<usize> = app.workers().map(|w| w.seat).collect();
        for sockets in self.kernel.listeners.values() {
            let steered: BTreeSet<usize> = sockets.steered.iter().copied().collect();
            if sockets.mode == pando_supervisor::core::ListenMode::Seats {
                assert_eq!(steered, seats, "steering to seats that nobody is in");
            }
        }
        assert!(
            self.kernel.waiting() <= 2,
            "{} wait in queues",
            self.kernel.waiting()
        );
        let newest: Vec<Client> = self.open.iter().copied().collect();
        let old = newest
            .iter()
            .filter(|c| **c + 50 < self.next_client)
            .count();
        assert_eq!(
            old, 0,
            "connections forgotten: {newest:?} of {}",
            self.next_client
        );
        assert_eq!(
            self.arrived,
            self.served + self.excused + newest.len() as u64
        );
        assert!(self.served > 0);
        self.check_gateway();
    }

    pub fn served(&self) -> u64 {
        self.served
    }

    /// Connections of the gateway that another worker took than they were for.
    pub fn astray(&self) -> u64 {
        self.astray
    }

    /// Connections of the gateway that a worker took.
    pub fn aimed(&self) -> u64 {
        self.hits
    }

    pub fn excused(&self) -> u64 {
        self.excused
    }

    pub fn describe(&self) -> String {
        let Some(app) = self.core.app(APP) else {
            return "no app".to_owned();
        };
        let workers: Vec<String> = app
            .workers()
            .map(|w| format!("{}@{} r{} {:?}", w.id.0, w.seat, w.revision, w.phase))
            .collect();
        format!(
            "t={} {:?} {workers:?} {:?}",
            self.now,
            app.instances(),
            self.kernel
        )
    }
}
