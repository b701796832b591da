//! What is known of one client connection while it is served: by its task, by its I/O, and by
//! the thread's sweep that ends those that are too slow.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::task::Waker;

use bytes::Bytes;

use super::guard::Phase;
use crate::client::Scheme;

/// Early answers that wait for the socket.
const MAX_EARLY: usize = 8;

/// What its task is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Command {
    Serve = 0,
    /// Finish what is under way and close.
    Shutdown = 1,
    /// Close now.
    Abort = 2,
}

pub struct ConnState {
    pub peer: SocketAddr,
    pub local: SocketAddr,
    pub scheme: Scheme,
    pub tls_version: &'static str,
    pub is_h2: bool,
    phase: AtomicU8,
    /// When the phase began, milliseconds of the gateway's clock.
    since_ms: AtomicU64,
    /// Since when the client's bytes are waited for within a body; 0 if they are not.
    read_blocked_ms: AtomicU64,
    /// Since when the client takes nothing; 0 if it does.
    write_blocked_ms: AtomicU64,
    /// Requests under way.
    active: AtomicU32,
    command: AtomicU8,
    /// Idle for long enough to give back its buffers.
    park: AtomicBool,
    waker: Mutex<Option<Waker>>,
    early: Mutex<VecDeque<Bytes>>,
    early_count: AtomicU32,
}

impl ConnState {
    pub fn new(
        peer: SocketAddr,
        local: SocketAddr,
        scheme: Scheme,
        tls_version: &'static str,
        is_h2: bool,
        now_ms: u64,
    ) -> Self {
        Self {
            peer,
            local,
            scheme,
            tls_version,
            is_h2,
            phase: AtomicU8::new(Phase::Head as u8),
            since_ms: AtomicU64::new(now_ms),
            read_blocked_ms: AtomicU64::new(0),
            write_blocked_ms: AtomicU64::new(0),
            active: AtomicU32::new(0),
            command: AtomicU8::new(Command::Serve as u8),
            park: AtomicBool::new(false),
            waker: Mutex::default(),
            early: Mutex::default(),
            early_count: AtomicU32::new(0),
        }
    }

    pub fn set_phase(&self, phase: Phase, now_ms: u64) {
        if self.phase.swap(phase as u8, Relaxed) != phase as u8 {
            self.since_ms.store(now_ms, Relaxed);
        }
    }

    pub fn phase_differs(&self, phase: Phase) -> bool {
        self.phase.load(Relaxed) != phase as u8
    }

    pub fn read_waits(&self, waits: bool, now_ms: u64) {
        mark(&self.read_blocked_ms, waits, now_ms);
    }

    pub fn write_waits(&self, waits: bool, now_ms: u64) {
        mark(&self.write_blocked_ms, waits, now_ms);
    }

    pub fn write_is_blocked(&self) -> bool {
        self.write_blocked_ms.load(Relaxed) != 0
    }

    pub fn request_begins(&self) {
        self.active.fetch_add(1, Relaxed);
    }

    pub fn request_ends(&self, now_ms: u64) {
        if self.active.fetch_sub(1, Relaxed) == 1 {
            self.since_ms.store(now_ms, Relaxed);
        }
    }

    pub fn order(&self, command: Command) {
        if self.command.fetch_max(command as u8, Relaxed) < command as u8 {
            self.wake();
        }
    }

    pub fn command(&self) -> Command {
        match self.command.load(Relaxed) {
            0 => Command::Serve,
            1 => Command::Shutdown,
            _ => Command::Abort,
        }
    }

    /// Tells its task to park, once for each time that it is idle. Returns whether it was told now.
    pub fn park_if_idle(&self, now_ms: u64) -> bool {
        let since = self.since_ms.load(Relaxed);
        let rests = now_ms.saturating_sub(since) >= PARK_AFTER_MS;
        // The sweep comes by every second: only the first time is told.
        let first = now_ms.saturating_sub(since) < PARK_AFTER_MS + PARK_WITHIN_MS;
        let parks = rests && first && !self.is_h2 && self.is_idle() && !self.write_is_blocked();
        if parks {
            self.park.store(true, Relaxed);
            self.wake();
        }
        parks
    }

    pub fn take_park(&self) -> bool {
        self.park.load(Relaxed) && self.park.swap(false, Relaxed)
    }

    /// No request is under way and none has begun to come.
    pub fn is_idle(&self) -> bool {
        self.phase.load(Relaxed) == Phase::Idle as u8 && self.active.load(Relaxed) == 0
    }

    fn wake(&self) {
        let waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(waker) = &*waker {
            waker.wake_by_ref();
        }
    }

    pub fn set_waker(&self, waker: &Waker) {
        let mut place = self.waker.lock().unwrap_or_else(PoisonError::into_inner);
        *place = Some(waker.clone());
    }

    /// An informational answer for an HTTP/1.1 client, as bytes.
    pub fn push_early(&self, bytes: Bytes) {
        let mut early = self.early.lock().unwrap_or_else(PoisonError::into_inner);
        if early.len() < MAX_EARLY {
            early.push_back(bytes);
            self.early_count.fetch_add(1, Relaxed);
            drop(early);
            self.wake();
        }
    }

    pub fn has_early(&self) -> bool {
        self.early_count.load(Relaxed) > 0
    }

    pub fn take_early(&self) -> Option<Bytes> {
        let mut early = self.early.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = early.pop_front()?;
        self.early_count.fetch_sub(1, Relaxed);
        Some(bytes)
    }

    /// What the sweep has to say at `now_ms`.
    pub fn judge(&self, now_ms: u64, limits: &gateway_spec::Timeouts, draining: bool) -> Command {
        let older = |since: u64, limit: u64| since != 0 && now_ms.saturating_sub(since) > limit;
        if older(self.write_blocked_ms.load(Relaxed), limits.write_ms) {
            return Command::Abort;
        }
        let since = self.since_ms.load(Relaxed);
        let phase = self.phase.load(Relaxed);
        let busy = self.active.load(Relaxed) > 0;
        if phase == Phase::Body as u8 {
            let slow = older(self.read_blocked_ms.load(Relaxed), limits.body_ms);
            return if slow { Command::Abort } else { Command::Serve };
        }
        if busy || phase == Phase::Through as u8 {
            return Command::Serve;
        }
        if phase == Phase::Head as u8 && older(since, limits.header_ms) {
            return Command::Abort;
        }
        // A client that is about to send gets its answer with `Connection: close` instead.
        let idle_ms = if draining {
            DRAIN_IDLE_MS
        } else {
            limits.idle_ms
        };
        if phase == Phase::Idle as u8 && older(since, idle_ms) {
            // A client of HTTP/2 is told to go, which one that is gone already does not hear.
            let deaf = self.is_h2 && older(since, idle_ms + limits.header_ms);
            return if deaf {
                Command::Abort
            } else {
                Command::Shutdown
            };
        }
        Command::Serve
    }
}

/// From the last answer to the parking of a connection.
const PARK_AFTER_MS: u64 = 1_500;
/// Longer than it takes the sweep to come by, and long enough for one that is late.
const PARK_WITHIN_MS: u64 = 5_000;
/// An idle connection is closed after this while the gateway drains.
const DRAIN_IDLE_MS: u64 = 2_000;

fn mark(place: &AtomicU64, waits: bool, now_ms: u64) {
    let was = place.load(Relaxed) != 0;
    if waits != was {
        place.store(if waits { now_ms } else { 0 }, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_slowness_has_its_limit() {
        let limits = gateway_spec::Timeouts::default();
        let at = "127.0.0.1:1".parse().unwrap();
        let conn = || ConnState::new(at, at, Scheme::Http, "", false, 1000);
        let late = 1000 + limits.header_ms + 1;
        assert_eq!(conn().judge(late, &limits, false), Command::Abort);
        let idle = conn();
        idle.set_phase(Phase::Idle, 1000);
        assert_eq!(idle.judge(late, &limits, false), Command::Serve);
        assert_eq!(idle.judge(late, &limits, true), Command::Shutdown);
        assert_eq!(
            idle.judge(1000 + limits.idle_ms + 1, &limits, false),
            Command::Shutdown
        );
        let h2 = ConnState::new(at, at, Scheme::Http, "", true, 1000);
        h2.set_phase(Phase::Idle, 1000);
        let told = 1000 + limits.idle_ms + 1;
        assert_eq!(h2.judge(told, &limits, false), Command::Shutdown);
        let deaf = told + limits.header_ms;
        assert_eq!(h2.judge(deaf, &limits, false), Command::Abort);
        let busy = conn();
        busy.set_phase(Phase::Idle, 1000);
        busy.request_begins();
        assert_eq!(busy.judge(1_000_000, &limits, false), Command::Serve);
        busy.write_waits(true, 1000);
        assert_eq!(busy.judge(1_000_000, &limits, false), Command::Abort);
        let body = conn();
        body.set_phase(Phase::Body, 1000);
        assert_eq!(body.judge(1_000_000, &limits, false), Command::Serve);
        body.read_waits(true, 1000);
        assert_eq!(body.judge(1_000_000, &limits, false), Command::Abort);
    }

    #[test]
    fn what_rests_is_parked_once() {
        let at = "127.0.0.1:1".parse().unwrap();
        let conn = ConnState::new(at, at, Scheme::Http, "", false, 1000);
        conn.park_if_idle(9_000);
        assert!(!conn.take_park(), "it has not had a request yet");
        conn.request_begins();
        conn.set_phase(Phase::Idle, 1000);
        conn.park_if_idle(3_000);
        assert!(!conn.take_park(), "it is at a request");
        conn.request_ends(3_000);
        conn.park_if_idle(3_100);
        assert!(!conn.take_park(), "too soon");
        conn.park_if_idle(4_600);
        assert!(conn.take_park() && !conn.take_park());
    }
}
