//! Certificates from a certificate authority (ACME, RFC 8555), for sites with `tls = "auto"`.
//!
//! ```text
//! apply ──► Keeper (one task a process) ──► order ──► store ──► Certificates
//!              ▲    │ lock file: one process orders at a time
//!              └────┘ wakes at changes, when something is due, and to see what another process stored
//! ```
//!
//! What always holds:
//! 1. Nothing is ordered that is stored and valid, whatever is restarted.
//! 2. Nothing is ordered that could not be stored, and each try is on disk before it begins, so a
//!    gateway that crashes in a loop does not exhaust the authority's limits.
//! 3. Tries after a failure are ever further apart, and never before the authority's `Retry-After`.
//! 4. While there is no certificate the site is served with a stand-in, and its status says why.
//!
//! Absent on purpose: issuance at the first handshake for a name (anybody could make us order),
//! DNS-01 and with it wildcards, revocation, renewal information (RFC 9773).

mod account;
mod challenges;
mod failure;
mod http;
mod keeper;
mod order;
mod schedule;
mod site;
mod store;
mod watched;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use gateway_spec::{Listen, Secret, Site, Tls};
use tokio::sync::watch;

use crate::tls::{Certificates, FileSource};

pub use challenges::{Challenges, PATH_PREFIX};
pub use keeper::Keeper;
pub use schedule::Pace;

/// How the authority convinces itself that a host is ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// It fetches a path over HTTP on port 80 (RFC 8555, section 8.3).
    Http01,
    /// It makes a TLS handshake on port 443 (RFC 8737).
    TlsAlpn01,
}

/// What orders need to know.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    pub directory: String,
    pub email: Option<String>,
    /// PEM file of those who vouch for the directory's own certificate.
    pub root: Option<PathBuf>,
    /// Made with mode 0700.
    pub storage: PathBuf,
    /// Key id and base64url HMAC key.
    pub eab: Option<(String, Secret)>,
    /// Tried in turn, the first first.
    pub methods: Vec<Method>,
    pub pace: Pace,
}

impl Options {
    /// HTTP-01 if anything listens without TLS, and TLS-ALPN-01 if anything listens with it.
    pub fn new(acme: &gateway_spec::Acme, listen: &[Listen], default_storage: &Path) -> Self {
        let plain = listen.iter().any(|listen| !listen.tls);
        let tls = listen.iter().any(|listen| listen.tls);
        let methods = [(plain, Method::Http01), (tls, Method::TlsAlpn01)];
        Self {
            directory: acme.directory.clone(),
            email: acme.email.clone(),
            root: acme.root.clone(),
            storage: acme
                .storage
                .clone()
                .unwrap_or_else(|| default_storage.to_path_buf()),
            eab: acme.eab.clone(),
            methods: methods
                .into_iter()
                .filter_map(|(has, method)| has.then_some(method))
                .collect(),
            pace: Pace::default(),
        }
    }
}

/// What is wanted at the moment.
#[derive(Clone, Debug, Default, PartialEq)]
struct Wanted {
    options: Option<Options>,
    /// Hosts of each site with `tls = "auto"`.
    sites: Vec<Vec<String>>,
}

/// The handle of the process's certificates from an authority; cheap to clone.
#[derive(Clone)]
pub struct Acme {
    challenges: Arc<Challenges>,
    wanted: Arc<watch::Sender<Wanted>>,
}

impl Acme {
    /// Nothing is ordered before [`Self::apply`], and only while [`Keeper::run`] runs. `files` reads
    /// the root of [`Options`].
    pub fn new(certificates: Arc<Certificates>, files: Arc<dyn FileSource>) -> (Self, Keeper) {
        let challenges = Arc::new(Challenges::default());
        let answers = challenges.clone();
        certificates.answer_challenges(Box::new(move |host| answers.handshake(host)));
        let (wanted, seen) = watch::channel(Wanted::default());
        let keeper = Keeper::new(certificates, files, challenges.clone(), seen);
        let acme = Self {
            challenges,
            wanted: Arc::new(wanted),
        };
        (acme, keeper)
    }

    /// What is wanted from now on; returns at once.
    pub fn apply(&self, options: Options, sites: &[Site]) {
        let auto = sites.iter().filter(|site| site.tls == Some(Tls::Auto));
        let wanted = Wanted {
            options: Some(options),
            sites: auto.map(|site| site.hosts.clone()).collect(),
        };
        self.wanted.send_if_modified(|now| {
            let changed = *now != wanted;
            *now = wanted;
            changed
        });
    }

    /// Who answers validations.
    pub fn challenges(&self) -> &Arc<Challenges> {
        &self.challenges
    }
}
