//! The client's configurations of one group of upstreams, made anew when their files change.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use gateway_spec::{Protocol, UpstreamTls};
use rustls::ClientConfig;

use super::connector;
use crate::problem::Problem;
use crate::tls::files::{FileSource, Stamp};

/// Handshakes take what is there and read no file. A file that is missing or damaged leaves the
/// former configuration; without a former one handshakes fail with the problem.
pub struct Connectors {
    tls: UpstreamTls,
    files: Arc<dyn FileSource>,
    made: ArcSwap<Made>,
    /// Of the files when they were read last, absent ones too.
    seen: Mutex<Vec<Option<Stamp>>>,
}

type Config = Result<Arc<ClientConfig>, Problem>;

struct Made {
    https: Config,
    h2: Config,
}

impl Made {
    fn new(tls: &UpstreamTls, files: &dyn FileSource) -> Self {
        Self {
            https: connector(tls, Protocol::Https, files),
            h2: connector(tls, Protocol::H2, files),
        }
    }
}

impl Connectors {
    /// Reads the files of `tls`.
    pub fn new(tls: UpstreamTls, files: Arc<dyn FileSource>) -> Arc<Self> {
        let seen = stamps(&tls, &*files);
        let made = Made::new(&tls, &*files);
        if let Err(problem) = &made.https {
            tracing::warn!("{problem}");
        }
        Arc::new(Self {
            tls,
            files,
            made: ArcSwap::from_pointee(made),
            seen: Mutex::new(seen),
        })
    }

    /// For `https://` and `h2://`; the others, which have no TLS, get the first.
    pub fn get(&self, protocol: Protocol) -> Result<Arc<ClientConfig>, Problem> {
        let made = self.made.load();
        match protocol {
            Protocol::H2 => made.h2.clone(),
            Protocol::Https | Protocol::Http1 | Protocol::H2c => made.https.clone(),
        }
    }

    /// Reads the files again if they changed or were not usable. Not on a thread that serves.
    pub fn look(&self) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let now = stamps(&self.tls, &*self.files);
        let had = self.made.load().https.is_ok();
        if *seen == now && had {
            return;
        }
        let made = Made::new(&self.tls, &*self.files);
        match &made.https {
            Ok(_) => tracing::info!("upstream: loaded its certificates again"),
            // Said once for each state of the files.
            Err(problem) if *seen != now => tracing::warn!("{problem}"),
            Err(_) => {}
        }
        *seen = now;
        if made.https.is_ok() || !had {
            self.made.store(Arc::new(made));
        }
    }

    /// Looks every `interval`, for ever; returns at once if there are no files to look at.
    pub async fn watch(self: Arc<Self>, interval: Duration) {
        if paths(&self.tls).is_empty() {
            return;
        }
        loop {
            tokio::time::sleep(interval).await;
            let connectors = self.clone();
            let _ = tokio::task::spawn_blocking(move || connectors.look()).await;
        }
    }
}

impl std::fmt::Debug for Connectors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connectors")
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}

fn paths(tls: &UpstreamTls) -> Vec<&PathBuf> {
    let client = tls.client.iter().flat_map(|(cert, key)| [cert, key]);
    tls.ca.iter().chain(client).collect()
}

fn stamps(tls: &UpstreamTls, files: &dyn FileSource) -> Vec<Option<Stamp>> {
    let paths = paths(tls).into_iter();
    paths.map(|path| files.stamp(path).ok()).collect()
}
