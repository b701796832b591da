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

    fn sweep(&self, thread: &Thread) {
        let config = thread.shared.config.load();
        let draining = thread.shared.is_draining();
        let now_ms = clock::now_ms();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|conn| {
            let Some(conn) = conn.upgrade() else {
                return false;
            };
            let command = conn.judge(now_ms, &config.timeouts, draining);
            if command > Command::Serve {
                conn.order(command);
            } else {
                conn.park_if_idle(now_ms);
            }
            true
        });
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
        connections.sweep(&thread);
        thread.shared.sweep_upstreams(thread.index, clock::now_ms());
    }
}
