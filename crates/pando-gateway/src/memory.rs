//! Memory that was freed, back to the kernel: the allocator keeps it for the next allocation, but
//! after many connections came to rest there is no next one for a while.

#![expect(unsafe_code, reason = "malloc_trim is the C library's own")]

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::clock;

/// Fewer connections are not worth the look at the whole heap.
const CONNECTIONS_MIN: u64 = 256;
const EVERY_MS: u64 = 2_000;

/// How much came to rest since memory was last given back; one for all threads.
#[derive(Debug, Default)]
pub struct Rest {
    connections: AtomicU64,
    last_ms: AtomicU64,
}

impl Rest {
    /// `connections` have given their buffers back.
    pub fn add(&self, connections: u64) {
        if connections > 0 {
            self.connections.fetch_add(connections, Relaxed);
        }
    }

    /// Whether memory is to be given back now; asked by every thread, granted to one.
    pub fn is_due(&self, now_ms: u64) -> bool {
        let last_ms = self.last_ms.load(Relaxed);
        self.connections.load(Relaxed) >= CONNECTIONS_MIN
            && now_ms.saturating_sub(last_ms) >= EVERY_MS
            && self
                .last_ms
                .compare_exchange(last_ms, now_ms, Relaxed, Relaxed)
                .is_ok()
    }

    /// Gives it back; takes some milliseconds, so not on a serving thread.
    pub fn give_back(&self) {
        self.connections.store(0, Relaxed);
        let begun_ms = clock::now_ms();
        trim();
        let took_ms = clock::now_ms() - begun_ms;
        tracing::debug!(took_ms, "memory of connections at rest was given back");
    }
}

#[cfg(target_env = "gnu")]
fn trim() {
    // SAFETY: malloc_trim takes a number, locks what it works on, and touches only memory that
    // nobody has.
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(not(target_env = "gnu"))]
fn trim() {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_due_after_many_and_not_again_at_once() {
        let rest = Rest::default();
        rest.add(CONNECTIONS_MIN - 1);
        assert!(!rest.is_due(10_000));
        rest.add(1);
        assert!(rest.is_due(10_000) && !rest.is_due(10_000));
        rest.give_back();
        rest.add(CONNECTIONS_MIN);
        assert!(!rest.is_due(10_000 + EVERY_MS - 1));
        assert!(rest.is_due(10_000 + EVERY_MS));
    }
}
