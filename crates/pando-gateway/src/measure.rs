//! What the gateway measures of itself, and its report of it once a second.
//!
//! ```text
//! serving thread   Account (one a request) ──record──> Shard, Counts (of the thread)
//! control thread   Reporter ──once a second──> takes the shards, adds up, reports over the link
//! ```
//! A shard's lock is its own thread's but for the moment that the control thread takes what is in
//! it. Nobody waits for the link: while it takes nothing, counts are kept and added to.

pub mod account;
mod bounds;
mod reporter;
mod shard;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

pub use reporter::Reporter;
pub use shard::{Done, Shard, method_name};

/// A counter that only its own thread adds to, so that adding is no locked instruction. It only
/// grows: who reads it knows what it was before.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    pub fn add(&self, more: u64) {
        self.0.store(self.get().wrapping_add(more), Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// What one thread has counted since it began.
#[derive(Debug, Default)]
pub struct Counts {
    pub begun: Count,
    pub ended: Count,
    /// Bytes that clients sent and got, heads included, after TLS.
    pub bytes_in: Count,
    pub bytes_out: Count,
    pub limited: Count,
    pub retries: Count,
    pub tls_failures: Count,
    /// Turns of the thread's sweep: one that stands still shows.
    pub turns: Count,
}

/// Of one thread.
#[derive(Debug, Default)]
pub struct Measure {
    pub counts: Counts,
    shard: Mutex<Shard>,
}

impl Measure {
    pub fn shard(&self) -> MutexGuard<'_, Shard> {
        self.shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
