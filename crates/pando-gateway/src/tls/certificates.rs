//! All certificates of the gateway, for the life of the process.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use gateway_spec::{Site, Tls};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::certificate::Certificate;
use super::fallback::self_signed;
use super::files::FileSource;
use super::server::ACME_ALPN;
use super::slot::{Look, Slot};
use super::table::{Entry, Table};
use crate::problem::Problem;

/// How often files are looked at, unless told otherwise.
pub const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// Answers a TLS-ALPN-01 validation of a host.
pub type ChallengeAnswers = dyn Fn(&str) -> Option<Arc<CertifiedKey>> + Send + Sync;

/// What a host is served with.
#[derive(Clone, Debug)]
pub struct CertificateStatus {
    pub host: String,
    /// Path of the certificate's file, or `acme`.
    pub source: String,
    /// `None` while a self-signed certificate stands in.
    pub not_after: Option<SystemTime>,
    pub problem: Option<Problem>,
}

pub struct Certificates {
    files: Arc<dyn FileSource>,
    table: ArcSwap<Table>,
    answers: OnceLock<Box<ChallengeAnswers>>,
    /// Held while files are read; no handshake and no async task waits for it.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    sites: Vec<Served>,
    files: HashMap<(PathBuf, PathBuf), Slot>,
    /// By the site's hosts.
    issued: HashMap<Vec<String>, Issued>,
    self_signed: HashMap<Vec<String>, Arc<CertifiedKey>>,
}

#[derive(Clone)]
struct Served {
    hosts: Vec<String>,
    tls: Tls,
}

#[derive(Clone, Default)]
struct Issued {
    certificate: Option<Arc<Certificate>>,
    problem: Option<Problem>,
}

impl Certificates {
    /// Without sites; every handshake is refused until [`Self::apply`].
    pub fn new(files: Arc<dyn FileSource>) -> Arc<Self> {
        Arc::new(Self {
            files,
            table: ArcSwap::default(),
            answers: OnceLock::new(),
            state: Mutex::default(),
        })
    }

    /// Serves the certificates of `sites` from now on. Reads files, so not on a thread that serves.
    /// Never fails: what does not work is logged, returned, and in [`Self::status`].
    pub fn apply(&self, sites: &[Site]) -> Vec<Problem> {
        let served = sites.iter().filter_map(|site| {
            let tls = site.tls.clone()?;
            let hosts = site.hosts.clone();
            Some(Served { hosts, tls })
        });
        let mut state = self.state();
        state.sites = served.collect();
        state.carry_over();
        state.forget_what_no_site_has();
        state.look(&*self.files, SystemTime::now());
        self.publish(&mut state);
        let slots = state.files.values();
        slots.filter_map(|slot| slot.problem.clone()).collect()
    }

    /// Looks whether files changed. Reads files, so not on a thread that serves.
    pub fn look(&self) {
        let mut state = self.state();
        if state.look(&*self.files, SystemTime::now()) {
            self.publish(&mut state);
        }
    }

    /// Looks at the files every `interval`, for ever.
    pub async fn watch(self: Arc<Self>, interval: Duration) {
        loop {
            tokio::time::sleep(interval).await;
            let certificates = self.clone();
            // A look that panicked is not the end of looking.
            let _ = tokio::task::spawn_blocking(move || certificates.look()).await;
        }
    }

    /// What the certificate authority gave for the site with these hosts, or why it did not. A
    /// certificate stays until the next one.
    pub fn install(
        &self,
        hosts: &[String],
        certificate: Option<Arc<Certificate>>,
        problem: Option<Problem>,
    ) {
        let mut state = self.state();
        let issued = state.issued.entry(hosts.to_vec()).or_default();
        if certificate.is_some() {
            issued.certificate = certificate;
        }
        issued.problem = problem;
        self.publish(&mut state);
    }

    /// Whether the site with these hosts has a certificate from the authority.
    pub fn has_issued(&self, hosts: &[String]) -> bool {
        let state = self.state();
        let issued = state.issued.get(hosts);
        issued.is_some_and(|issued| issued.certificate.is_some())
    }

    /// Who answers TLS-ALPN-01 validations; set once.
    pub fn answer_challenges(&self, answers: Box<ChallengeAnswers>) {
        let _ = self.answers.set(answers);
    }

    /// Every host with TLS, in the order of the file.
    pub fn status(&self, now: SystemTime) -> Vec<CertificateStatus> {
        let table = self.table.load();
        let of = |entry: &Entry| -> Vec<CertificateStatus> {
            let status = |host: &String| CertificateStatus {
                host: host.clone(),
                source: entry.source.clone(),
                not_after: entry.not_after,
                problem: problem_of(entry, host, now),
            };
            entry.hosts.iter().map(status).collect()
        };
        table.entries.iter().flat_map(|entry| of(entry)).collect()
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(&self, state: &mut State) {
        let now = SystemTime::now();
        let sites = std::mem::take(&mut state.sites);
        let entries = sites.iter().filter_map(|site| state.entry(site, now));
        let table = Table::new(entries.map(Arc::new).collect());
        state.sites = sites;
        self.table.store(Arc::new(table));
    }
}

impl State {
    /// A site whose hosts changed, or that had files before, is served with what there was for most of
    /// its hosts until the authority has given the new one.
    fn carry_over(&mut self) {
        for site in &self.sites {
            if site.tls != Tls::Auto || self.issued.contains_key(&site.hosts) {
                continue;
            }
            let slots = self.files.values().map(|slot| &slot.current);
            let issued = self.issued.values().map(|issued| &issued.certificate);
            let known = slots.chain(issued).flatten();
            if let Some(certificate) = Certificate::best_for(&site.hosts, known) {
                let issued = Issued {
                    certificate: Some(certificate.clone()),
                    problem: None,
                };
                self.issued.insert(site.hosts.clone(), issued);
            }
        }
    }

    fn forget_what_no_site_has(&mut self) {
        let sites = &self.sites;
        self.files.retain(|(cert, key), _| {
            sites.iter().any(|site| match &site.tls {
                Tls::Files { cert: c, key: k } => c == cert && k == key,
                Tls::Auto => false,
            })
        });
        let auto = |hosts: &[String]| {
            let mut sites = sites.iter();
            sites.any(|site| site.hosts == hosts && site.tls == Tls::Auto)
        };
        self.issued.retain(|hosts, _| auto(hosts));
        self.self_signed
            .retain(|hosts, _| sites.iter().any(|site| site.hosts == *hosts));
    }

    /// Whether anything changed.
    fn look(&mut self, files: &dyn FileSource, now: SystemTime) -> bool {
        let mut changed = false;
        // Sites that share files look once.
        let mut done: HashSet<(&Path, &Path)> = HashSet::new();
        for site in &self.sites {
            let Tls::Files { cert, key } = &site.tls else {
                continue;
            };
            let pair = (cert.as_path(), key.as_path());
            if !done.insert(pair) {
                continue;
            }
            let slot = self.files.entry((cert.clone(), key.clone())).or_default();
            let place = place(&site.hosts);
            let look = slot.look(files, pair, &place, now);
            changed |= look != Look::Same;
            tell(&look, slot, &place, cert);
        }
        changed
    }

    fn entry(&mut self, site: &Served, now: SystemTime) -> Option<Entry> {
        let (source, certificate, problem) = match &site.tls {
            Tls::Files { cert, key } => {
                let slot = self.files.get(&(cert.clone(), key.clone()));
                let certificate = slot.and_then(|slot| slot.current.clone());
                let problem = slot.and_then(|slot| slot.problem.clone());
                (cert.display().to_string(), certificate, problem)
            }
            Tls::Auto => {
                let issued = self.issued.get(&site.hosts).cloned().unwrap_or_default();
                ("acme".to_owned(), issued.certificate, issued.problem)
            }
        };
        let uncovered = |certificate: &Certificate| {
            let hosts = site.hosts.iter();
            let missing = hosts.filter(|host| *host != "*" && !certificate.covers(host));
            missing.cloned().collect()
        };
        let (key, not_after, uncovered) = match &certificate {
            Some(certificate) => (
                certificate.key.clone(),
                Some(certificate.not_after),
                uncovered(certificate),
            ),
            None => (self.stand_in(&site.hosts, now)?, None, Vec::new()),
        };
        Some(Entry {
            hosts: site.hosts.clone(),
            source,
            key,
            not_after,
            uncovered,
            problem,
        })
    }

    fn stand_in(&mut self, hosts: &[String], now: SystemTime) -> Option<Arc<CertifiedKey>> {
        if let Some(key) = self.self_signed.get(hosts) {
            return Some(key.clone());
        }
        let key = self_signed(hosts, now)?;
        self.self_signed.insert(hosts.to_vec(), key.clone());
        Some(key)
    }
}

fn place(hosts: &[String]) -> String {
    let first = hosts.first().map_or("?", String::as_str);
    format!("site {first}")
}

fn tell(look: &Look, slot: &Slot, place: &str, cert: &Path) {
    match (look, &slot.problem) {
        (Look::Failed, Some(problem)) if slot.current.is_some() => {
            tracing::warn!("{problem} (the certificate that was loaded before is still served)");
        }
        (Look::Failed, Some(problem)) => {
            tracing::error!("{problem} (until then a self-signed certificate stands in)");
        }
        (Look::Loaded, _) => {
            tracing::info!("{place}: loaded the certificate {}", cert.display());
        }
        (Look::Failed | Look::Same, _) => {}
    }
}

fn problem_of(entry: &Entry, host: &str, now: SystemTime) -> Option<Problem> {
    let place = || format!("site {host}");
    if let Some(problem) = &entry.problem {
        return Some(problem.clone());
    }
    if entry.not_after.is_some_and(|end| end <= now) {
        return Some(Problem::new(
            place(),
            "clients refuse the certificate",
            "it has expired",
            format!("renew {}", entry.source),
        ));
    }
    entry.uncovered.iter().any(|name| name == host).then(|| {
        Problem::new(
            place(),
            "clients refuse the certificate",
            "it does not name this host",
            "use a certificate that names it, or serve the host as a site of its own",
        )
    })
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        if let Some(mut protocols) = hello.alpn()
            && protocols.next() == Some(ACME_ALPN)
            && protocols.next().is_none()
        {
            return self.answers.get()?(hello.server_name()?);
        }
        self.table.load().find(hello.server_name()).cloned()
    }
}

impl std::fmt::Debug for Certificates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificates")
            .field("table", &self.table.load())
            .finish_non_exhaustive()
    }
}
