//! Which certificate a name gets: exact, then `*.parent`, then the default. Built at changes, only
//! read by handshakes.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::sign::CertifiedKey;

use crate::problem::Problem;

/// The certificate of one site.
#[derive(Debug)]
pub(super) struct Entry {
    pub hosts: Vec<String>,
    /// Path of the file, or `acme`.
    pub source: String,
    pub key: Arc<CertifiedKey>,
    /// `None` while a self-signed certificate stands in.
    pub not_after: Option<SystemTime>,
    /// Hosts that the certificate does not name.
    pub uncovered: Vec<String>,
    pub problem: Option<Problem>,
}

#[derive(Debug, Default)]
pub(super) struct Table {
    exact: HashMap<String, Arc<Entry>>,
    /// By what follows `*.`.
    wildcard: HashMap<String, Arc<Entry>>,
    /// Of the site `*`.
    any: Option<Arc<Entry>>,
    pub entries: Vec<Arc<Entry>>,
}

impl Table {
    /// Of two sites with the same host the first counts.
    pub fn new(entries: Vec<Arc<Entry>>) -> Self {
        let mut table = Self::default();
        for entry in &entries {
            for host in &entry.hosts {
                let host = host.as_str();
                if host == "*" {
                    table.any.get_or_insert_with(|| entry.clone());
                } else if let Some(parent) = host.strip_prefix("*.") {
                    let slot = table.wildcard.entry(parent.to_owned());
                    slot.or_insert_with(|| entry.clone());
                } else {
                    let slot = table.exact.entry(host.to_owned());
                    slot.or_insert_with(|| entry.clone());
                }
            }
        }
        table.entries = entries;
        table
    }

    /// `name` is in lower case, as rustls gives it. Without a name (clients that connect to an
    /// address) it is the site `*`, else the first; an unknown name gets the site `*` or nothing.
    pub fn find(&self, name: Option<&str>) -> Option<&Arc<CertifiedKey>> {
        let Some(name) = name else {
            let entry = self.any.as_ref().or(self.entries.first())?;
            return Some(&entry.key);
        };
        let parent = || self.wildcard.get(name.split_once('.')?.1);
        let entry = self.exact.get(name).or_else(parent).or(self.any.as_ref());
        entry.map(|entry| &entry.key)
    }
}
