//! Once a second each thread looks at its connections: who is too slow, who is idle for too long.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use super::conn::{Command, ConnState};
use crate::clock;
use crate::shared::Thread;

const EVERY: Duration = Duration::from_secs(1);
const EVERY_DRAINING: Duration = Duration::from_millis(100);

/// The connections of one thread.
#[derive(Default)]
pub struct Connections(Mutex<Vec<Weak<ConnState>>>);

impl Connections {
    pub fn add(&self, conn: &Arc<ConnState>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that are gone are cleared away by the sweep, at the latest a second from now.
        all.push(Arc::downgrade(conn));
    }

    /// Returns how many were told to park.
    fn sweep(&self, thread: &Thread) -> u64 {
        let config = thread.shared.config.load();
        let draining = thread.shared.is_draining();
        let now_ms = clock::now_ms();
        let mut parked = 0;
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|conn| {
            let Some(conn) = conn.upgrade() else {
                return false;
            };
            let command = conn.judge(now_ms, &config.timeouts, draining);
            if command > Command::Serve {
                conn.order(command);
            } else {
                parked += u64::from(conn.park_if_idle(now_ms));
            }
            true
        });
        parked
    }
}

/// Runs for the life of the thread.
pub async fn run(connections: Arc<Connections>, thread: Arc<Thread>) {
    loop {
        let every = if thread.shared.is_draining() {
            EVERY_DRAINING
        } else {
            EVERY
        };
        tokio::time::sleep(every).await;
        thread.counts().turns.add(1);
        // Those of the last round have parked by now.
        let now_ms = clock::now_ms();
        if thread.shared.rest.is_due(now_ms) {
            let shared = thread.shared.clone();
            tokio::task::spawn_blocking(move || shared.rest.give_back());
        }
        thread.shared.rest.add(connections.sweep(&thread));
        thread.shared.sweep_upstreams(thread.index, now_ms);
    }
}
