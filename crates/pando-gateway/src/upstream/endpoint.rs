//! One address that requests can go to, with what is known of it and the connections kept to it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use balance::{Ejection, PeakEwma};
use gateway_spec::Protocol;

use super::h1::Conn;
use super::h2;

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// What an endpoint is, as its source (file, DNS, supervisor) says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    pub address: Address,
    /// As logs call it: `api/2`, `10.0.0.7:3000`.
    pub label: Arc<str>,
    /// The worker's number, of an app of this home.
    pub worker: Option<Arc<str>>,
    /// Its instance's number.
    pub instance: Option<u32>,
    /// The name that was resolved to the address, for `Host` and SNI.
    pub host: Arc<str>,
    pub protocol: Protocol,
    pub weight: u32,
    pub backup: bool,
}

/// Connections to one endpoint that wait for the next request, of one thread.
#[derive(Default)]
pub struct Kept {
    pub idle: Vec<Conn>,
    pub h2: Option<h2::Shared>,
}

pub struct Endpoint {
    pub known: Known,
    /// Of the address: the same after a restart, in another version and on another machine.
    pub id: u64,
    /// Requests on their way and what their answers take.
    pub load: PeakEwma,
    pub ejection: Ejection,
    /// Health checks have failed.
    pub unhealthy: AtomicBool,
    /// It takes no new requests: draining, stalled, starting, as the supervisor says.
    pub closed: AtomicBool,
    /// Event-loop delay, microseconds.
    pub lag_us: AtomicU32,
    /// When it became available, for a slow start.
    pub since_ms: AtomicU64,
    /// Since the last report.
    requests: AtomicU64,
    failures: AtomicU64,
    /// One place a thread.
    kept: Box<[Mutex<Kept>]>,
}

impl Endpoint {
    pub fn new(known: Known, threads: usize, now_ms: u64) -> Self {
        Self {
            id: balance::text_key(known.address.to_string().as_bytes()),
            known,
            load: PeakEwma::default(),
            ejection: Ejection::default(),
            unhealthy: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            lag_us: AtomicU32::new(0),
            since_ms: AtomicU64::new(now_ms),
            requests: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            kept: (0..threads).map(|_| Mutex::default()).collect(),
        }
    }

    pub fn is_available(&self, now_ms: u64) -> bool {
        !self.closed.load(Relaxed)
            && !self.unhealthy.load(Relaxed)
            && !self.ejection.is_ejected(now_ms)
    }

    /// A request has ended here.
    pub fn count(&self, failed: bool) {
        self.requests.fetch_add(1, Relaxed);
        if failed {
            self.failures.fetch_add(1, Relaxed);
        }
    }

    /// Requests, and those of them that failed, since the last time.
    pub fn take_counts(&self) -> (u64, u64) {
        let failures = self.failures.swap(0, Relaxed);
        (self.requests.swap(0, Relaxed), failures)
    }

    /// How long a request sent now would at least wait: the event loop's delay, or the age of one
    /// that should have been answered.
    pub fn wait_us(&self, now_us: u64) -> u64 {
        u64::from(self.lag_us.load(Relaxed)).max(self.load.unanswered_us(now_us))
    }

    /// The connections of thread `thread`.
    pub fn kept(&self, thread: usize) -> MutexGuard<'_, Kept> {
        self.kept[thread % self.kept.len()]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection of `thread` that can take a request, the last used first.
    pub fn checkout(&self, thread: usize, now_ms: u64) -> Option<Conn> {
        let mut kept = self.kept(thread);
        while let Some(mut conn) = kept.idle.pop() {
            if now_ms < conn.keep_until_ms && conn.is_quiet() {
                return Some(conn);
            }
        }
        None
    }

    /// Closes every connection of every thread that no request is on.
    pub fn close_idle(&self) {
        for thread in 0..self.kept.len() {
            *self.kept(thread) = Kept::default();
        }
    }

    /// Closes what was idle for too long or was closed by the other side.
    pub fn sweep(&self, thread: usize, now_ms: u64) {
        let mut kept = self.kept(thread);
        kept.idle
            .retain_mut(|conn| now_ms < conn.keep_until_ms && conn.is_quiet());
        if kept.h2.as_ref().is_some_and(h2::Shared::is_closed) {
            kept.h2 = None;
        }
    }
}
