//! The gateway as a process: its threads, its configuration, and what keeps both up to date.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use gateway_spec::link::{AppEndpoints, ConfigOutcome, Purge};
use gateway_spec::{GatewaySpec, ListenAddress, Target, Upstreams};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::access_log::AccessLog;
use crate::acme::{self, Acme};
use crate::cache::{self, Store};
use crate::route::Build;
use crate::routing::Routing;
use crate::serve::accept::{ORDERS_MAX, Order};
use crate::serve::{Incoming, Listening, run_thread};
use crate::shared::{Config, Shared, Thread};
use crate::tls::{Certificates, FileSource};
use crate::trace::Tracer;
use crate::upstream::{Group, app, health, resolve};

/// Between two looks at certificate files.
const CERTIFICATES_EVERY: Duration = Duration::from_secs(5);
/// After its limit a drain waits no longer than this for the threads.
const LAST_WAIT: Duration = Duration::from_millis(200);

/// What the last spans may take.
pub const LAST_SPANS: Duration = Duration::from_secs(2);

/// A gateway that runs. Made and driven on the control thread, within a tokio runtime.
pub struct Gateway {
    spec: GatewaySpec,
    shared: Arc<Shared>,
    threads: Vec<Worker>,
    groups: Vec<(Arc<Group>, Tasks)>,
    certificates: Arc<Certificates>,
    acme: Acme,
    /// Where what must last is kept.
    state: PathBuf,
    files: Arc<dyn FileSource>,
    /// What the supervisor last said of each app.
    apps: HashMap<String, AppEndpoints>,
    _background: JoinSet<()>,
}

struct Worker {
    orders: mpsc::Sender<Order>,
    thread: JoinHandle<()>,
}

/// What runs for one group; ends with it.
type Tasks = JoinSet<()>;

impl Gateway {
    /// Starts the threads; nothing is listened on yet.
    pub fn new(spec: GatewaySpec, files: Arc<dyn FileSource>, state: PathBuf) -> io::Result<Self> {
        let count = threads(&spec);
        let certificates = Certificates::new(files.clone());
        let nothing = Config {
            routing: Routing::default(),
            access_log: Arc::new(AccessLog::new(&spec.access_log)),
            trusted_proxies: Vec::new(),
            limits: spec.limits.clone(),
            timeouts: spec.timeouts.clone(),
            tracer: None,
            health: None,
            https_port: None,
        };
        let (acme, keeper) = Acme::new(certificates.clone(), files.clone());
        let cache = Store::open(&spec.cache_store);
        let challenges = acme.challenges().clone();
        let shared = Arc::new(Shared::new(nothing, count, cache, challenges));
        let config = crate::tls::server_config(&certificates).map_err(io::Error::other)?;
        shared.tls.store(Some(config));
        let mut background = JoinSet::new();
        background.spawn(keeper.run());
        background.spawn(certificates.clone().watch(CERTIFICATES_EVERY));
        let threads = (0..count)
            .map(|index| Worker::start(&shared, index))
            .collect::<io::Result<_>>()?;
        let mut gateway = Self {
            spec: GatewaySpec::default(),
            shared,
            threads,
            groups: Vec::new(),
            certificates,
            acme,
            state,
            files,
            apps: HashMap::new(),
            _background: background,
        };
        gateway.take(spec);
        Ok(gateway)
    }

    pub fn spec(&self) -> &GatewaySpec {
        &self.spec
    }

    pub fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Changes the configuration under the open connections.
    pub fn apply(&mut self, spec: GatewaySpec) -> ConfigOutcome {
        if spec == self.spec {
            return ConfigOutcome::Unchanged;
        }
        if spec.listen != self.spec.listen
            || spec.threads != self.spec.threads
            || spec.cache_store != self.spec.cache_store
        {
            let why = "listeners, threads or the cache's store have changed".to_owned();
            return ConfigOutcome::NeedsReload { why };
        }
        self.take(spec);
        ConfigOutcome::Applied
    }

    fn take(&mut self, spec: GatewaySpec) {
        // It logs what it cannot load.
        self.certificates.apply(&spec.sites);
        let acme = acme::Options::new(&spec.acme, &spec.listen, &self.state.join("acme"));
        self.acme.apply(acme, &spec.sites);
        if let Err(why) = self.shared.limits.redis(spec.redis.as_ref()) {
            tracing::warn!(why, "shared limits count on this machine alone");
        }
        let limits = &spec.limits;
        self.shared
            .places
            .change(limits.connections, limits.connections_per_ip);
        let mut old = std::mem::take(&mut self.groups);
        let mut groups: Vec<(Arc<Group>, Tasks)> = Vec::new();
        let (count, files) = (self.threads.len(), &self.files);
        let mut group = |upstreams: &Upstreams| {
            if let Some((group, _)) = groups.iter().find(|(g, _)| g.spec == *upstreams) {
                return group.clone();
            }
            let kept = old.iter().position(|(g, _)| g.spec == *upstreams);
            let entry = match kept {
                Some(at) => old.swap_remove(at),
                None => begin(Group::new(upstreams.clone(), count, files.clone())),
            };
            let group = entry.0.clone();
            groups.push(entry);
            group
        };
        let before = self.shared.config.load_full();
        let mut build = Build {
            group: &mut group,
            old: &before.routing,
            files: &self.files,
            cache: &self.shared.cache,
            limits: &self.shared.limits,
        };
        let routing = Routing::new(&spec, &mut build);
        let access_log = if spec.access_log == self.spec.access_log {
            before.access_log.clone()
        } else {
            Arc::new(AccessLog::new(&spec.access_log))
        };
        let tracer = if spec.otlp == self.spec.otlp {
            before.tracer.clone()
        } else {
            spec.otlp.as_ref().and_then(Tracer::start)
        };
        self.shared
            .groups
            .store(Arc::new(groups.iter().map(|(g, _)| g.clone()).collect()));
        self.groups = groups;
        self.shared.config.store(Arc::new(Config {
            routing,
            access_log,
            trusted_proxies: spec.trusted_proxies.clone(),
            limits: spec.limits.clone(),
            timeouts: spec.timeouts.clone(),
            tracer,
            health: spec.health.as_deref().map(Into::into),
            https_port: https_port(&spec),
        }));
        self.spec = spec;
        for app in self.apps.values() {
            self.tell_groups(app);
        }
    }

    /// There is no supervisor, so there are no apps: requests to one are answered at once.
    pub fn say_no_apps(&self) {
        for (group, _) in &self.groups {
            if let Target::App(app) = &group.spec.target {
                let why = format!("the app {app} is run by a supervisor, and there is none here");
                tracing::error!("{why}: `pando up` runs the gateway and the apps of the file");
                group.set_absence(Some(why));
            }
        }
    }

    /// Opens the access log's file again, after somebody has moved it away.
    pub fn reopen_logs(&self) {
        self.shared.config.load().access_log.reopen();
    }

    /// News of the supervisor's apps.
    pub fn apps(&mut self, apps: Vec<AppEndpoints>) {
        for app in apps {
            self.tell_groups(&app);
            self.apps.insert(app.app.clone(), app);
        }
    }

    fn tell_groups(&self, news: &AppEndpoints) {
        for (group, _) in &self.groups {
            if matches!(&group.spec.target, Target::App(name) if *name == news.app) {
                app::set(group, news);
            }
        }
    }

    /// Every thread accepts from the socket.
    pub async fn listen(&self, listening: Listening) -> io::Result<()> {
        for worker in &self.threads {
            let socket = listening.socket.try_clone()?;
            let order = Order::Listen(Listening {
                listen: listening.listen.clone(),
                socket,
            });
            worker.send(order).await;
        }
        Ok(())
    }

    /// A connection that was accepted elsewhere goes to the thread with the fewest.
    pub async fn serve(&self, incoming: Incoming) {
        let threads = self.threads.iter().enumerate();
        let least = threads.min_by_key(|(index, _)| self.shared.open_connections(*index));
        if let Some((_, worker)) = least {
            worker.send(Order::Serve(incoming)).await;
        }
    }

    /// Accepts nothing more and waits until all is answered, within the limit.
    pub async fn drain(&self) {
        self.shared.leaving.store(true, Relaxed);
        self.begin_drain().await;
        let limit = Duration::from_millis(self.spec.timeouts.drain_ms) + LAST_WAIT;
        let done = async {
            while !self.is_drained() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        if tokio::time::timeout(limit, done).await.is_err() {
            let open = self.shared.places.open();
            tracing::warn!(open, "connections that did not end in time are closed");
        }
        self.flush(LAST_WAIT);
        self.flush_spans(LAST_SPANS).await;
    }

    /// Accepts nothing more; what is open ends as soon as it is answered.
    pub async fn begin_drain(&self) {
        self.shared.draining.store(true, Relaxed);
        for worker in &self.threads {
            worker.send(Order::Drain).await;
        }
    }

    /// After [`Gateway::begin_drain`]: nothing is open any more.
    pub fn is_drained(&self) -> bool {
        self.threads
            .iter()
            .all(|worker| worker.thread.is_finished())
    }

    /// Lets the access log go out.
    pub fn flush(&self, limit: Duration) {
        self.shared.config.load().access_log.flush(limit);
    }

    /// Lets spans go out, as far as the collector takes them within the limit.
    pub async fn flush_spans(&self, limit: Duration) {
        let tracer = self.shared.config.load().tracer.clone();
        if let Some(tracer) = tracer {
            tracer.flush(limit).await;
        }
    }

    /// Drops cached answers; how many.
    pub fn purge(&self, what: &Purge) -> u64 {
        let what = match what {
            Purge::All => cache::Purge::All,
            Purge::Url(text) => cache::Purge::url(text),
            Purge::Key(key) => cache::Purge::Key(key.clone()),
        };
        u64::try_from(self.shared.cache.purge(&what)).unwrap_or(u64::MAX)
    }

    /// Numbers for a person or a metric.
    pub fn stats(&self) -> serde_json::Value {
        let upstreams = self.groups.iter().map(|(group, _)| group.stats());
        let cache = self.shared.cache.statistics();
        let requests: BTreeMap<&str, u64> = cache.requests.iter().copied().collect();
        serde_json::json!({
            "connections": self.shared.places.open(),
            "certificates": self.certificate_stats(),
            "cache": {
                "requests": requests,
                "stored": cache.stored,
                "purged": cache.purged,
                "addresses": cache.addresses,
                "memory_bytes": cache.memory_bytes,
                "disk_files": cache.disk_files,
                "disk_bytes": cache.disk_bytes,
                "disk_corrupt": cache.disk_corrupt,
                "disk_failures": cache.disk_failures,
            },
            "tunnels": self.shared.tunnels(),
            "upstreams": upstreams.collect::<Vec<_>>(),
        })
    }

    /// Of each host with TLS, those with a problem first.
    pub fn certificates(&self) -> Vec<monitor_spec::edge::Certificate> {
        let status = self.certificates.status(SystemTime::now()).into_iter();
        let one = |status: crate::tls::CertificateStatus| monitor_spec::edge::Certificate {
            host: status.host,
            not_after_s: status.not_after.map(seconds),
            problem: status.problem.map(|problem| problem.to_string()),
        };
        let mut all: Vec<_> = status.map(one).collect();
        all.sort_by_key(|certificate| certificate.problem.is_none());
        all
    }

    /// Of each host with TLS; times in seconds since 1970, absent while a stand-in is served.
    fn certificate_stats(&self) -> Vec<serde_json::Value> {
        let now = SystemTime::now();
        let status = self.certificates.status(now).into_iter();
        let one = |status: crate::tls::CertificateStatus| {
            serde_json::json!({
                "host": status.host,
                "source": status.source,
                "not_after": status.not_after.map(seconds),
                "problem": status.problem.map(|problem| problem.to_string()),
            })
        };
        status.map(one).collect()
    }
}

impl Worker {
    fn start(shared: &Arc<Shared>, index: usize) -> io::Result<Self> {
        let (orders, received) = mpsc::channel(ORDERS_MAX);
        let thread = Arc::new(Thread {
            shared: shared.clone(),
            index,
            measure: shared.measures[index].clone(),
        });
        let thread = std::thread::Builder::new()
            .name(format!("gateway-{index}"))
            .spawn(move || {
                if let Err(error) = run_thread(thread, received) {
                    tracing::error!(%error, "a serving thread cannot run");
                }
            })?;
        Ok(Self { orders, thread })
    }

    async fn send(&self, order: Order) {
        if self.orders.send(order).await.is_err() {
            tracing::error!("a serving thread has ended");
        }
    }
}

/// Since 1970.
fn seconds(at: SystemTime) -> u64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}

/// Starts what keeps a group up to date.
fn begin(group: Group) -> (Arc<Group>, Tasks) {
    let group = Arc::new(group);
    let mut tasks = JoinSet::new();
    resolve::set_fixed(&group);
    if let Some(connectors) = &group.connectors {
        tasks.spawn(connectors.clone().watch(CERTIFICATES_EVERY));
    }
    if resolve::has_names(&group) {
        tasks.spawn(resolve::run(group.clone()));
    }
    if let Some(health) = group.spec.health.clone() {
        tasks.spawn(health::run(group.clone(), health));
    }
    (group, tasks)
}

/// Serving threads of a gateway.
pub fn threads(spec: &GatewaySpec) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    spec.threads.map_or(cores, |n| n as usize).clamp(1, 256)
}

fn https_port(spec: &GatewaySpec) -> Option<u16> {
    let mut tls = spec.listen.iter().filter(|listen| listen.tls);
    tls.find_map(|listen| match &listen.address {
        ListenAddress::Tcp(address) => Some(address.port()),
        ListenAddress::Unix(_) => None,
    })
}
