//! A small HTTP server for those who watch from outside: Prometheus, load balancers, probes.
//!
//! One thread with its own runtime, started when an address is first asked for. It never touches
//! what is measured: once a second it is given a [`Health`], and `/metrics` asks the metrics'
//! thread as any other client does. GET and HEAD only; one request a connection; no TLS and no
//! authentication, so addresses are loopback or a private network's.

mod answer;
mod health;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use monitor_spec::Handle;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

pub use health::Health;

/// Connections at a time; further ones are closed.
const MAX_CONNECTIONS: usize = 64;
const HEAD_LIMIT: Duration = Duration::from_secs(5);
/// Of a connection, from its accept to the last byte of the answer.
const CONNECTION_LIMIT: Duration = Duration::from_secs(30);
/// The most that hyper takes as a bound of its buffer's kind.
const MAX_BUFFER_BYTES: usize = 16 * 1024;
/// An address in use is tried again, first after this, then after twice that each time.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LONGEST_RETRY: Duration = Duration::from_secs(30);
/// After an `accept` that failed for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What the server's tasks share.
struct Shared {
    handle: Handle,
    health: Mutex<Arc<Health>>,
    /// Addresses that cannot be had, and why.
    problems: Mutex<BTreeMap<SocketAddr, String>>,
    connections: Semaphore,
    /// One exposition is made at a time.
    exposing: Semaphore,
}

impl Shared {
    fn health(&self) -> Arc<Health> {
        lock(&self.health).clone()
    }
}

/// A lock that a panic poisoned guards whole values all the same.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub struct Listen {
    shared: Arc<Shared>,
    /// `None` until there is an address.
    addresses: Option<watch::Sender<Vec<SocketAddr>>>,
}

impl Listen {
    pub fn new(handle: Handle) -> Self {
        let shared = Shared {
            handle,
            health: Mutex::default(),
            problems: Mutex::default(),
            connections: Semaphore::new(MAX_CONNECTIONS),
            exposing: Semaphore::new(1),
        };
        Self {
            shared: Arc::new(shared),
            addresses: None,
        }
    }

    /// Listens there from now on and nowhere else. Does not wait: an address that cannot be had is
    /// one of [`Listen::problems`] and tried again.
    pub fn set(&mut self, addresses: &[SocketAddr]) {
        match &self.addresses {
            Some(sender) => {
                sender.send_if_modified(|now| {
                    let new = now.as_slice() != addresses;
                    now.clear();
                    now.extend_from_slice(addresses);
                    new
                });
            }
            None if addresses.is_empty() => {}
            None => self.start(addresses),
        }
    }

    fn start(&mut self, addresses: &[SocketAddr]) {
        let (sender, receiver) = watch::channel(addresses.to_vec());
        let shared = self.shared.clone();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let started = runtime.and_then(|runtime| {
            std::thread::Builder::new()
                .name("metrics-http".into())
                .spawn(move || runtime.block_on(serve(shared, receiver)))
        });
        match started {
            Ok(_) => self.addresses = Some(sender),
            Err(error) => {
                tracing::error!(%error, "/metrics is not served: its thread cannot be started");
                let why = format!("its thread cannot be started: {error}");
                let mut problems = lock(&self.shared.problems);
                problems.extend(addresses.iter().map(|address| (*address, why.clone())));
            }
        }
    }

    pub fn is_on(&self) -> bool {
        self.addresses.is_some()
    }

    /// Once a second.
    pub fn publish(&self, health: Health) {
        *lock(&self.shared.health) = Arc::new(health);
    }

    pub fn problems(&self) -> Vec<String> {
        let problems = lock(&self.shared.problems);
        let sentence = |(address, why): (&SocketAddr, &String)| {
            format!("/metrics is not served at {address}: {why}; it is tried again")
        };
        problems.iter().map(sentence).collect()
    }
}

/// Until the [`Listen`] is dropped.
async fn serve(shared: Arc<Shared>, mut wanted: watch::Receiver<Vec<SocketAddr>>) {
    let mut listening: BTreeMap<SocketAddr, JoinSet<()>> = BTreeMap::new();
    loop {
        let addresses = wanted.borrow_and_update().clone();
        // A set that is dropped ends its tasks; the answers in flight are cut with it.
        listening.retain(|address, _| addresses.contains(address));
        lock(&shared.problems).retain(|address, _| addresses.contains(address));
        for address in addresses {
            listening.entry(address).or_insert_with(|| {
                let mut tasks = JoinSet::new();
                tasks.spawn(listen(address, shared.clone()));
                tasks
            });
        }
        if wanted.changed().await.is_err() {
            return;
        }
    }
}

async fn listen(address: SocketAddr, shared: Arc<Shared>) {
    let mut pause = FIRST_RETRY;
    let listener = loop {
        match TcpListener::bind(address).await {
            Ok(listener) => break listener,
            Err(error) => {
                let why = error.to_string();
                if lock(&shared.problems).insert(address, why).is_none() {
                    tracing::warn!(%address, %error, "/metrics is not served there; it is tried again");
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_RETRY);
            }
        }
    };
    lock(&shared.problems).remove(&address);
    tracing::info!(%address, "/metrics is served");
    let mut connections = JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let shared = shared.clone();
                connections.spawn(connection(stream, shared));
            }
            Err(error) => {
                tracing::warn!(%address, %error, "a client of /metrics could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn connection(stream: TcpStream, shared: Arc<Shared>) {
    let Ok(_place) = shared.connections.try_acquire() else {
        return;
    };
    let service = service_fn(|request| answer::answer(request, &shared));
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_LIMIT)
        .max_buf_size(MAX_BUFFER_BYTES)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    match tokio::time::timeout(CONNECTION_LIMIT, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a client of /metrics went"),
        Err(_) => tracing::debug!("a client of /metrics was too slow"),
    }
}

#[cfg(test)]
mod tests;
