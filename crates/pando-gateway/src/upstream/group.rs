//! The endpoints of one route, and the choice among them.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption};
use balance::{Balancer, Breaker, BreakerOptions, Outlier, Permit, Policy, RetryBudget};
use gateway_spec::{Balance, HashKey, Protocol, Target, Upstreams};
use tokio::sync::oneshot;

use super::endpoint::{Endpoint, Known};
use crate::clock;
use crate::tls::FileSource;
use crate::tls::client::Connectors;

/// Why no endpoint was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// None is there at all: a name that does not resolve, an app that has not started yet.
    Empty,
    /// None is there, and none is on its way: [`Group::absence`] says why.
    Absent,
    /// None could take the request in time.
    Busy,
    /// As many wait already as may.
    QueueFull,
    /// The circuit is open.
    Open { retry_after_ms: u64 },
}

pub struct Group {
    pub spec: Upstreams,
    /// As logs and `explain` call it.
    pub name: Arc<str>,
    endpoints: ArcSwap<Vec<Arc<Endpoint>>>,
    balancer: Balancer,
    /// Held while one failure is judged, so that no two eject beyond the group's share.
    judging: Mutex<()>,
    /// Requests that wait for an endpoint.
    waiting: Mutex<VecDeque<oneshot::Sender<()>>>,
    /// Length of `waiting`, to be read without its lock.
    queued: AtomicU32,
    threads: usize,
    /// `None`: no endpoint has TLS.
    pub connectors: Option<Arc<Connectors>>,
    outlier: Option<Outlier>,
    breaker: Option<Mutex<Breaker>>,
    pub budget: RetryBudget,
    /// Why there is no endpoint and nobody to wait for, for a person.
    absence: ArcSwapOption<String>,
}

/// A request's place at an endpoint; counted there until it is dropped.
pub struct Ticket {
    pub endpoint: Arc<Endpoint>,
    pub group: Arc<Group>,
    permit: Permit,
    begun_us: u64,
}

impl Ticket {
    /// The head of an answer came; `failed` if it says that nobody could answer.
    pub fn answered(&self, failed: bool) {
        let now_us = clock::now_us();
        self.endpoint
            .load
            .answered(now_us.saturating_sub(self.begun_us), now_us);
        self.group
            .judge(&self.endpoint, self.permit, !failed, now_us / 1000);
    }

    /// No connection, a reset, a deadline.
    pub fn failed(&self) {
        let now_us = clock::now_us();
        self.endpoint
            .load
            .failed(now_us.saturating_sub(self.begun_us), now_us);
        self.group
            .judge(&self.endpoint, self.permit, false, now_us / 1000);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.endpoint.load.ended();
        self.group.wake_one();
    }
}

impl Group {
    pub fn new(spec: Upstreams, threads: usize, files: Arc<dyn FileSource>) -> Self {
        let name = match &spec.target {
            Target::App(app) => app.as_str().into(),
            Target::Addresses(list) => list
                .iter()
                .map(|upstream| upstream.address.as_str())
                .collect::<Vec<_>>()
                .join(",")
                .into(),
        };
        let outlier = spec.outlier.on.then_some(Outlier {
            consecutive: spec.outlier.consecutive,
            eject_ms: spec.outlier.eject_ms,
            max_eject_ms: spec.outlier.max_eject_ms,
            max_share: spec.outlier.max_share,
        });
        let breaker = spec.breaker.error_share.map(|error_share| {
            Mutex::new(Breaker::new(BreakerOptions {
                error_share,
                window_ms: spec.breaker.window_ms,
                min_requests: spec.breaker.min_requests,
                open_ms: spec.breaker.open_ms,
            }))
        });
        let connectors = has_tls(&spec).then(|| Connectors::new(spec.tls.clone(), files));
        Self {
            absence: ArcSwapOption::empty(),
            outlier,
            breaker,
            budget: RetryBudget::new(spec.retry.budget),
            balancer: Balancer::new(policy(&spec.balance)),
            judging: Mutex::default(),
            spec,
            name,
            endpoints: ArcSwap::default(),
            waiting: Mutex::default(),
            queued: AtomicU32::new(0),
            threads,
            connectors,
        }
    }

    pub fn endpoints(&self) -> arc_swap::Guard<Arc<Vec<Arc<Endpoint>>>> {
        self.endpoints.load()
    }

    /// Sets who there is. Endpoints with the same address go on with all that is known of them.
    pub fn set(&self, wanted: Vec<Known>) {
        let now = clock::now_ms();
        let old = self.endpoints.load_full();
        let next: Vec<_> = wanted
            .into_iter()
            .map(|known| match old.iter().find(|e| e.known == known) {
                Some(endpoint) => endpoint.clone(),
                None => Arc::new(Endpoint::new(known, self.threads, now)),
            })
            .collect();
        self.endpoints.store(Arc::new(next));
        self.wake_all();
    }

    /// The client configuration for TLS to the endpoints.
    pub fn tls(&self, protocol: Protocol) -> io::Result<Arc<rustls::ClientConfig>> {
        let connectors = self.connectors.as_ref();
        let connectors = connectors.ok_or_else(|| io::Error::other("it was made without TLS"))?;
        connectors.get(protocol).map_err(io::Error::other)
    }

    /// Numbers of its endpoints.
    pub fn stats(&self) -> serde_json::Value {
        let now_us = clock::now_us();
        let endpoints = self.endpoints.load();
        let endpoints = endpoints.iter().map(|e| {
            serde_json::json!({
                "upstream": &*e.known.label,
                "address": e.known.address.to_string(),
                "available": e.is_available(now_us / 1000),
                "in_flight": e.load.in_flight(),
                "latency_us": e.load.latency_us(now_us),
                "wait_us": e.wait_us(now_us),
            })
        });
        serde_json::json!({
            "name": &*self.name,
            "waiting": self.queued.load(Relaxed),
            "endpoints": endpoints.collect::<Vec<_>>(),
        })
    }

    /// What places the request, for the policies that hash.
    pub fn key(&self, request: &KeySource<'_>) -> Option<u64> {
        match &self.spec.balance {
            Balance::PeakEwma
            | Balance::RoundRobin
            | Balance::LeastConnections
            | Balance::Random
            | Balance::TwoChoices => None,
            Balance::IpHash | Balance::RingHash(HashKey::Ip) => {
                Some(balance::address_key(request.ip))
            }
            Balance::RingHash(HashKey::Path) => Some(balance::text_key(request.path.as_bytes())),
            Balance::RingHash(HashKey::Uri) => {
                let query = balance::text_key(request.query.unwrap_or_default().as_bytes());
                Some(balance::text_key(request.path.as_bytes()) ^ query.rotate_left(32))
            }
            Balance::RingHash(HashKey::Header(name)) => {
                let value = request.headers.get(name.as_str())?;
                Some(balance::text_key(value.as_bytes()))
            }
            Balance::RingHash(HashKey::Cookie(name)) => {
                let value = crate::cookie::find(request.headers, name)?;
                Some(balance::text_key(value.as_bytes()))
            }
        }
    }

    /// An endpoint for one request, at once or when one is free. `sticky` is preferred, those in
    /// `tried` are avoided while there are others.
    pub async fn acquire(
        self: &Arc<Self>,
        key: Option<u64>,
        sticky: Option<u64>,
        tried: &[u64],
    ) -> Result<Ticket, Refused> {
        let permit = self.admit()?;
        if let Some(ticket) = self.pick(key, sticky, tried, permit) {
            return Ok(ticket);
        }
        Box::pin(self.wait(key, sticky, tried, permit)).await
    }

    async fn wait(
        self: &Arc<Self>,
        key: Option<u64>,
        sticky: Option<u64>,
        tried: &[u64],
        permit: Permit,
    ) -> Result<Ticket, Refused> {
        if self.endpoints.load().is_empty() && self.absence.load().is_some() {
            return Err(Refused::Absent);
        }
        let deadline = Instant::now() + Duration::from_millis(self.spec.breaker.pending_ms);
        loop {
            let turn = self.queue()?;
            if tokio::time::timeout_at(deadline.into(), turn)
                .await
                .is_err()
            {
                self.forget_closed();
                return Err(if self.endpoints.load().is_empty() {
                    Refused::Empty
                } else {
                    Refused::Busy
                });
            }
            if let Some(ticket) = self.pick(key, sticky, tried, permit) {
                return Ok(ticket);
            }
        }
    }

    fn admit(&self) -> Result<Permit, Refused> {
        let Some(breaker) = &self.breaker else {
            return Ok(Permit::Normal);
        };
        let mut breaker = breaker.lock().unwrap_or_else(PoisonError::into_inner);
        match breaker.admit(clock::now_ms()) {
            Permit::Refused { retry_after_ms } => Err(Refused::Open { retry_after_ms }),
            permit @ (Permit::Normal | Permit::Probe) => Ok(permit),
        }
    }

    /// `Some`: nobody is there and nobody is to be waited for.
    pub fn set_absence(&self, why: Option<String>) {
        self.absence.store(why.map(Arc::new));
    }

    pub fn absence(&self) -> Option<Arc<String>> {
        self.absence.load_full()
    }

    /// A request to the endpoint was given up for lack of an answer.
    pub fn timed_out(&self, endpoint: &Endpoint, after: Duration) {
        let now_us = clock::now_us();
        let after_us = u64::try_from(after.as_micros()).unwrap_or(u64::MAX);
        endpoint.load.failed(after_us, now_us);
        self.judge(endpoint, Permit::Normal, false, now_us / 1000);
    }

    fn judge(&self, endpoint: &Endpoint, permit: Permit, succeeded: bool, now_ms: u64) {
        endpoint.count(!succeeded);
        if let Some(breaker) = &self.breaker {
            let mut breaker = breaker.lock().unwrap_or_else(PoisonError::into_inner);
            if breaker.record(permit, succeeded, now_ms) {
                let open = breaker.is_open(now_ms);
                tracing::warn!(upstreams = %self.name, open, "the circuit breaker has changed");
            }
        }
        let Some(outlier) = &self.outlier else {
            return;
        };
        if succeeded {
            endpoint.ejection.succeeded();
            return;
        }
        let endpoints = self.endpoints.load();
        let _one_at_a_time = self.judging.lock().unwrap_or_else(PoisonError::into_inner);
        let group = endpoints.iter().map(|e| &e.ejection);
        if let Some(until_ms) = outlier.failed(&endpoint.ejection, group, now_ms) {
            let upstream = &endpoint.known.label;
            let for_ms = until_ms.saturating_sub(now_ms);
            tracing::warn!(%upstream, for_ms, "an upstream that keeps failing is left out");
        }
    }

    fn pick(
        self: &Arc<Self>,
        key: Option<u64>,
        sticky: Option<u64>,
        tried: &[u64],
        permit: Permit,
    ) -> Option<Ticket> {
        let now_us = clock::now_us();
        let endpoints = self.endpoints.load();
        let chosen = self.position(&endpoints, key, sticky, tried, now_us)?;
        let endpoint = endpoints[chosen].clone();
        endpoint.load.started(now_us);
        Some(Ticket {
            endpoint,
            group: self.clone(),
            permit,
            begun_us: now_us,
        })
    }

    /// Where a request would go now; nothing is counted.
    pub fn would_pick(&self, key: Option<u64>) -> Option<Arc<Endpoint>> {
        let endpoints = self.endpoints.load();
        let chosen = self.position(&endpoints, key, None, &[], clock::now_us())?;
        endpoints.get(chosen).cloned()
    }

    fn position(
        &self,
        endpoints: &[Arc<Endpoint>],
        key: Option<u64>,
        sticky: Option<u64>,
        tried: &[u64],
        now_us: u64,
    ) -> Option<usize> {
        let now_ms = now_us / 1000;
        let max = self.spec.breaker.max_requests.unwrap_or(u32::MAX);
        let free = |e: &Endpoint| e.is_available(now_ms) && e.load.in_flight() < max;
        sticky
            .filter(|id| !tried.contains(id))
            .and_then(|id| endpoints.iter().position(|e| e.id == id && free(e)))
            .or_else(|| {
                let backups = !endpoints
                    .iter()
                    .any(|e| !e.known.backup && free(e) && !tried.contains(&e.id));
                let view = View {
                    group: self,
                    now_ms,
                    max,
                    backups,
                    tried,
                };
                self.choose(endpoints, view, key, now_us)
            })
            .or_else(|| {
                // Better one that failed a moment ago than none.
                endpoints.iter().position(|e| free(e))
            })
    }

    fn choose<'p>(
        &self,
        endpoints: &'p [Arc<Endpoint>],
        view: View<'p>,
        key: Option<u64>,
        now_us: u64,
    ) -> Option<usize> {
        if let [only] = endpoints {
            return view.takes(only).then_some(0);
        }
        let see = |endpoint: &'p Arc<Endpoint>| Seen { endpoint, view };
        self.balancer
            .pick_seen(endpoints, see, key, fastrand::u64(..), now_us)
    }

    fn queue(&self) -> Result<oneshot::Receiver<()>, Refused> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() >= self.spec.breaker.max_pending as usize {
            return Err(Refused::QueueFull);
        }
        let (turn, taken) = oneshot::channel();
        waiting.push_back(turn);
        self.queued
            .store(u32::try_from(waiting.len()).unwrap_or(u32::MAX), Relaxed);
        Ok(taken)
    }

    fn forget_closed(&self) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.retain(|turn| !turn.is_closed());
        self.queued
            .store(u32::try_from(waiting.len()).unwrap_or(u32::MAX), Relaxed);
    }

    /// One that waits may look again.
    pub fn wake_one(&self) {
        if self.queued.load(Relaxed) == 0 {
            return;
        }
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(turn) = waiting.pop_front() {
            if turn.send(()).is_ok() {
                break;
            }
        }
        self.queued
            .store(u32::try_from(waiting.len()).unwrap_or(u32::MAX), Relaxed);
    }

    /// All may look again: something about the endpoints has changed.
    pub fn wake_all(&self) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        for turn in waiting.drain(..) {
            // Whoever gave up meanwhile is not told.
            let _ = turn.send(());
        }
        self.queued.store(0, Relaxed);
    }
}

/// What keys are made from.
#[derive(Clone, Copy, Debug)]
pub struct KeySource<'r> {
    pub ip: std::net::IpAddr,
    pub path: &'r str,
    pub query: Option<&'r str>,
    pub headers: &'r http::HeaderMap,
}

/// How one pick sees the endpoints.
#[derive(Clone, Copy)]
struct View<'p> {
    group: &'p Group,
    now_ms: u64,
    max: u32,
    backups: bool,
    tried: &'p [u64],
}

impl View<'_> {
    fn takes(&self, endpoint: &Endpoint) -> bool {
        endpoint.known.backup == self.backups
            && endpoint.is_available(self.now_ms)
            && endpoint.load.in_flight() < self.max
            && !self.tried.contains(&endpoint.id)
    }
}

#[derive(Clone, Copy)]
struct Seen<'p> {
    endpoint: &'p Endpoint,
    view: View<'p>,
}

impl balance::Member for Seen<'_> {
    fn id(&self) -> u64 {
        self.endpoint.id
    }
    fn available(&self) -> bool {
        self.view.takes(self.endpoint)
    }
    fn weight(&self) -> u32 {
        self.endpoint.known.weight
    }
    fn warmth(&self) -> u32 {
        let since = self.endpoint.since_ms.load(Relaxed);
        let age = self.view.now_ms.saturating_sub(since);
        balance::warmth(age, self.view.group.spec.slow_start_ms)
    }
    fn in_flight(&self) -> u32 {
        self.endpoint.load.in_flight()
    }
    fn latency_us(&self, now_us: u64) -> u64 {
        self.endpoint.load.latency_us(now_us)
    }
    fn wait_us(&self, now_us: u64) -> u64 {
        self.endpoint.wait_us(now_us)
    }
}

fn has_tls(spec: &Upstreams) -> bool {
    let Target::Addresses(upstreams) = &spec.target else {
        return false;
    };
    upstreams
        .iter()
        .any(|upstream| matches!(upstream.protocol, Protocol::Https | Protocol::H2))
}

fn policy(balance: &Balance) -> Policy {
    match balance {
        Balance::PeakEwma => Policy::PeakEwma,
        Balance::RoundRobin => Policy::RoundRobin,
        Balance::LeastConnections => Policy::LeastConnections,
        Balance::Random => Policy::Random,
        Balance::TwoChoices => Policy::TwoChoices,
        Balance::IpHash => Policy::IpHash,
        Balance::RingHash(_) => Policy::RingHash,
    }
}
