//! One worker: a process in a seat.

use std::collections::BTreeSet;
use std::sync::Arc;

use app_spec::AppSpec;
use node_cluster::{ConnId, HandleKey, PingId, WorkerId};

use super::Ms;
use super::stall::STUCK_AFTER_MS;

/// Where a worker is in its life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    Starting,
    Ready,
    /// Gets no new connections; answers what is open with `Connection: close`.
    Draining {
        until: Ms,
        style: RetireStyle,
    },
    /// Was told to end.
    Stopping {
        until: Ms,
        step: StopStep,
    },
}

/// How a drained worker is asked to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetireStyle {
    /// The cluster's `disconnect`: it ends when its last connection does.
    Gentle,
    /// Its stop signal, or this one.
    Signal(i32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopStep {
    Disconnected,
    Signalled,
    /// SIGKILL to the whole tree; the number of times it was sent.
    Killed(u32),
}

/// Liveness as the pings see it.
#[derive(Clone, Debug, Default)]
pub(super) struct Pings {
    pub outstanding: Option<(PingId, Ms)>,
    pub next_at: Ms,
    pub last_pong: Ms,
    pub stalled_since: Option<Ms>,
    /// Pongs in time since the stall; enough of them end it.
    pub good: u32,
    /// Connections in the seat's queue at the last look.
    pub queued: u32,
    /// No further judgement before this: the others have been asked.
    pub judge_at: Ms,
    /// The stall was worth telling a person.
    pub told: bool,
    /// Round trips, microseconds: an average that follows peaks at once and forgets them slowly.
    pub lag_us: u64,
}

/// Health and readiness probes.
#[derive(Clone, Debug, Default)]
pub(super) struct Probes {
    pub outstanding: Option<Asked>,
    pub next_at: Ms,
    pub fails: u32,
    pub last_why: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Health(Option<ConnId>),
    Port,
    Listening,
}

pub struct Worker {
    pub id: WorkerId,
    pub instance: u32,
    pub seat: usize,
    pub revision: u32,
    /// What it was started with; timeouts and limits come from the app's spec of now.
    pub spec: Arc<AppSpec>,
    pub pid: Option<u32>,
    pub phase: Phase,
    pub spawned_at: Ms,
    pub ready_at: Option<Ms>,
    pub port: Option<u16>,
    pub memory_bytes: u64,
    pub unhealthy: bool,
    pub(super) channel: bool,
    pub(super) listening: BTreeSet<HandleKey>,
    /// It asked to listen on something, ready or not.
    pub(super) asked_to_listen: bool,
    pub(super) said_ready: bool,
    /// The preload answered.
    pub(super) agent: bool,
    /// The app has its own handler of the stop signal.
    pub(super) handles_signal: bool,
    pub(super) pings: Pings,
    pub(super) probes: Probes,
    pub(super) connections: u32,
    pub(super) over_memory: u32,
    /// What it asked for while it started and can't have.
    pub(super) refused: Option<String>,
    /// Bad messages on its channel.
    pub(super) complaints: u32,
    /// Why a successor is wanted.
    pub(super) replace: Option<String>,
    /// Why it is being ended although nobody asked for it: told when it has exited.
    pub(super) doomed: Option<String>,
    /// What its process tree listens on, as seen from outside (fork mode).
    pub(super) listens: Vec<String>,
    pub(super) answered_probe: bool,
    /// Of a gateway: the configuration that it was given last.
    pub(super) config: Option<u64>,
}

impl Worker {
    pub(super) fn new(
        id: WorkerId,
        instance: u32,
        seat: usize,
        revision: u32,
        spec: Arc<AppSpec>,
        now: Ms,
    ) -> Self {
        Self {
            id,
            instance,
            seat,
            revision,
            spec,
            pid: None,
            phase: Phase::Starting,
            spawned_at: now,
            ready_at: None,
            port: None,
            memory_bytes: 0,
            unhealthy: false,
            channel: false,
            listening: BTreeSet::new(),
            asked_to_listen: false,
            said_ready: false,
            agent: false,
            handles_signal: false,
            pings: Pings::default(),
            probes: Probes::default(),
            connections: 0,
            over_memory: 0,
            refused: None,
            complaints: 0,
            replace: None,
            doomed: None,
            listens: Vec::new(),
            answered_probe: false,
            config: None,
        }
    }

    pub fn is_ready(&self) -> bool {
        self.phase == Phase::Ready
    }

    pub fn is_starting(&self) -> bool {
        self.phase == Phase::Starting
    }

    pub fn is_leaving(&self) -> bool {
        matches!(self.phase, Phase::Draining { .. } | Phase::Stopping { .. })
    }

    pub fn is_stalled(&self) -> bool {
        self.pings.stalled_since.is_some()
    }

    /// Its event loop will not turn again: it can be asked for nothing.
    pub(super) fn is_stuck(&self, now: Ms) -> bool {
        self.pings
            .stalled_since
            .is_some_and(|since| now.saturating_sub(since) >= STUCK_AFTER_MS)
    }

    /// The delay of its event loop: what was measured, or what an answer is late by now.
    pub fn lag_us(&self, now: Ms) -> u64 {
        let waited = self
            .pings
            .outstanding
            .map(|(_, sent)| now.saturating_sub(sent));
        self.pings.lag_us.max(waited.unwrap_or(0) * 1_000)
    }

    pub fn has_channel(&self) -> bool {
        self.channel
    }

    /// It listens by itself (fork mode), so no other process can on the same port.
    pub(super) fn holds_its_port(&self) -> bool {
        !self.spec.is_cluster() && (self.port.is_some() || !self.listens.is_empty())
    }

    /// May get new connections.
    pub fn is_available(&self) -> bool {
        self.is_ready() && !self.is_stalled() && !self.unhealthy
    }
}
