//! One site whose certificate is kept.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};

use super::Options;
use super::account::blocking;
use super::failure::{Failure, Kind};
use super::order::Issued;
use super::schedule::{Tries, renew_at};
use super::site;
use super::store::Store;
use crate::problem::Problem;
use crate::tls::{Certificate, Stamp};

pub(super) struct Watched {
    pub names: Vec<String>,
    pub certificate: Option<Arc<Certificate>>,
    /// Of other hosts, served until there is one.
    nearest: Option<Arc<Certificate>>,
    pub tries: Tries,
    /// What no order can mend.
    lasting: Option<Problem>,
    /// Of the stored certificate; the outer `None` is before the first look.
    stamp: Option<Option<Stamp>>,
    /// This process has not tried yet.
    fresh: bool,
    random: f64,
}

impl Watched {
    pub fn new(hosts: &[String], random: f64) -> Self {
        let (names, lasting) = site::names(hosts);
        if let Some(problem) = &lasting {
            tracing::warn!("{problem}");
        }
        Self {
            names,
            certificate: None,
            nearest: None,
            tries: Tries::default(),
            lasting,
            stamp: None,
            fresh: true,
            random,
        }
    }

    /// Reads what changed in the storage; whether there is something to show. Blocks.
    pub fn refresh(&mut self, store: &Store, options: &Options) -> bool {
        if self.names.is_empty() {
            return self.stamp.replace(None).is_none();
        }
        let tries = store.tries(&self.names);
        let tried = tries != self.tries;
        self.tries = tries;
        let stamp = store.stamp(&self.names);
        if self.stamp == Some(stamp) {
            return tried;
        }
        let first = self.stamp.replace(stamp).is_none();
        match store.certificate(&self.names) {
            Some(Ok(certificate)) => self.certificate = Some(Arc::new(certificate)),
            Some(Err(error)) => {
                let names = self.names.join(", ");
                let storage = options.storage.display();
                tracing::warn!("the certificate for {names} in {storage} is damaged: {error}");
            }
            None if first => self.nearest = store.nearest(&self.names, SystemTime::now()),
            None => {}
        }
        true
    }

    /// What to serve; `None` leaves what is served.
    pub fn served(&self) -> Option<Arc<Certificate>> {
        self.certificate.clone().or_else(|| self.nearest.clone())
    }

    /// When the next order may be placed; `None` is never.
    pub fn due_at(&self, options: &Options) -> Option<SystemTime> {
        if self.names.is_empty() {
            return None;
        }
        let try_at = self.tries.next(&options.pace, self.random, self.fresh);
        let renew_at = self.certificate.as_ref().map(|certificate| {
            renew_at(
                certificate.not_before,
                certificate.not_after,
                spread(certificate),
            )
        });
        Some(renew_at.map_or(try_at, |renew_at| renew_at.max(try_at)))
    }

    pub fn take(&mut self, issued: &Issued) {
        match Certificate::from_pem(issued.chain.as_bytes(), issued.key.as_bytes()) {
            Ok(certificate) => self.certificate = Some(Arc::new(certificate)),
            Err(error) => tracing::error!("the authority's certificate is unusable: {error}"),
        }
    }

    pub fn tried_here(&mut self) {
        self.fresh = false;
    }

    pub async fn save_tries(&self, store: &Store) -> Result<(), Failure> {
        let (store, names, tries) = (store.clone(), self.names.clone(), self.tries.clone());
        blocking(move || store.save_tries(&names, &tries))
            .await?
            .map_err(|error| Failure::refused(error.to_string()))
    }

    /// What a person should know: lasting things first.
    pub fn problem(&self, options: &Options) -> Option<Problem> {
        if self.lasting.is_some() || self.tries.failures == 0 {
            return self.lasting.clone();
        }
        let name = self.names.first().map_or("?", String::as_str);
        let at = self.tries.next(&options.pace, self.random, self.fresh);
        let at = httpdate::fmt_http_date(at + Duration::from_secs(1));
        let advice = match self.tries.kind {
            Kind::Refused => format!(
                "let {name} in the public DNS lead here and ports 80 and 443 be reachable from there"
            ),
            Kind::Unreachable => format!("look whether this machine reaches {}", options.directory),
            Kind::Limited => "the authority's limits are on its own pages".to_owned(),
        };
        let what = match &self.certificate {
            Some(_) => "cannot renew the certificate",
            None => "cannot get a certificate",
        };
        let fix = format!("{advice}; the next try is at {at}");
        Some(Problem::new(
            format!("site {name}"),
            what,
            &self.tries.why,
            fix,
        ))
    }
}

/// In 0..1, the same for the same certificate.
fn spread(certificate: &Certificate) -> f64 {
    let Some(first) = certificate.key.cert.first() else {
        return 0.0;
    };
    let hash = Sha256::digest(first);
    f64::from(u16::from_be_bytes([hash[0], hash[1]])) / f64::from(u16::MAX)
}
