//! What the threads share, and what each has for itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use ipnet::IpNet;

use crate::access_log::AccessLog;
use crate::acme::Challenges;
use crate::cache::Store;
use crate::clock;
use crate::limits::{Connections, LimitStore, TooMany};
use crate::measure::{Counts, Measure};
use crate::memory::Rest;
use crate::routing::Routing;
use crate::trace::Tracer;
use crate::upstream::Group;

const SAY_EVERY_MS: u64 = 1_000;

/// One configuration, as requests see it.
pub struct Config {
    pub routing: Routing,
    pub access_log: Arc<AccessLog>,
    pub trusted_proxies: Vec<IpNet>,
    pub limits: gateway_spec::Limits,
    pub timeouts: gateway_spec::Timeouts,
    /// Who takes spans; `None` sends none.
    pub tracer: Option<Arc<Tracer>>,
    /// Where load balancers ask whether the gateway serves.
    pub health: Option<Box<str>>,
    /// Where plain requests are redirected to.
    pub https_port: Option<u16>,
}

/// Of the whole process, for its life.
pub struct Shared {
    pub config: ArcSwap<Config>,
    /// Every group of upstreams of the present configuration.
    pub groups: ArcSwap<Vec<Arc<Group>>>,
    pub tls: ArcSwapOption<rustls::ServerConfig>,
    pub cache: Arc<Store>,
    pub challenges: Arc<Challenges>,
    pub limits: Arc<LimitStore>,
    /// Client connections, counted by their addresses.
    pub places: Connections,
    /// Connections at rest, whose memory is to be given back.
    pub rest: Rest,
    said_full_ms: AtomicU64,
    /// Answers say `Connection: close` and idle connections are let go.
    pub draining: AtomicBool,
    /// It drains, and no other gateway goes on in its place.
    pub leaving: AtomicBool,
    /// Connections that left HTTP and live.
    tunnels: AtomicU32,
    /// Connections of each thread.
    pub per_thread: Box<[AtomicU64]>,
    /// What each thread counts.
    pub measures: Vec<Arc<Measure>>,
    /// Somebody takes what is counted by route; without it would only grow.
    pub reports: AtomicBool,
}

/// One serving thread.
pub struct Thread {
    pub shared: Arc<Shared>,
    pub index: usize,
    pub measure: Arc<Measure>,
}

impl Thread {
    pub fn counts(&self) -> &Counts {
        &self.measure.counts
    }
}

impl Config {
    pub fn trusts(&self, ip: std::net::IpAddr) -> bool {
        if self.trusted_proxies.is_empty() {
            return false;
        }
        let ip = ip.to_canonical();
        self.trusted_proxies.iter().any(|net| net.contains(&ip))
    }
}

impl Shared {
    pub fn new(
        config: Config,
        threads: usize,
        cache: Arc<Store>,
        challenges: Arc<Challenges>,
    ) -> Self {
        let limits = &config.limits;
        Self {
            groups: ArcSwap::default(),
            places: Connections::new(limits.connections, limits.connections_per_ip),
            tls: ArcSwapOption::empty(),
            rest: Rest::default(),
            said_full_ms: AtomicU64::new(0),
            cache,
            challenges,
            limits: Arc::default(),
            draining: AtomicBool::new(false),
            leaving: AtomicBool::new(false),
            tunnels: AtomicU32::new(0),
            per_thread: (0..threads).map(|_| AtomicU64::new(0)).collect(),
            measures: (0..threads).map(|_| Arc::default()).collect(),
            reports: AtomicBool::new(false),
            config: ArcSwap::from_pointee(config),
        }
    }

    pub fn body_ms(&self) -> Duration {
        Duration::from_millis(self.config.load().timeouts.body_ms)
    }

    /// Closes idle upstream connections of a thread that are too old.
    pub fn sweep_upstreams(&self, thread: usize, now_ms: u64) {
        for group in self.groups.load().iter() {
            for endpoint in group.endpoints().iter() {
                endpoint.sweep(thread, now_ms);
            }
        }
    }

    pub fn open_connections(&self, thread: usize) -> u64 {
        self.per_thread[thread].load(Relaxed)
    }

    /// At most once a second: a flood of connections must not become one of log lines.
    pub fn say_full(&self, ip: std::net::IpAddr, full: &TooMany) {
        let now_ms = clock::now_ms();
        let last = self.said_full_ms.load(Relaxed);
        if now_ms.saturating_sub(last) >= SAY_EVERY_MS {
            self.said_full_ms.store(now_ms, Relaxed);
            tracing::warn!(client.addr = %ip, ?full, "connections beyond the limit are closed at once");
        }
    }

    pub fn is_draining(&self) -> bool {
        self.draining.load(Relaxed)
    }

    /// Counts a tunnel until the guard is dropped.
    pub fn tunnel(self: &Arc<Self>) -> TunnelGuard {
        self.tunnels.fetch_add(1, Relaxed);
        TunnelGuard(self.clone())
    }

    pub fn tunnels(&self) -> u32 {
        self.tunnels.load(Relaxed)
    }
}

pub struct TunnelGuard(Arc<Shared>);

impl Drop for TunnelGuard {
    fn drop(&mut self) {
        self.0.tunnels.fetch_sub(1, Relaxed);
    }
}
