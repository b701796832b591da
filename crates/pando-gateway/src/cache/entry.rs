//! One stored answer, and all that are stored of one address.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_cache::{Freshness, Vary};

/// Stored answers of one address; of more, the oldest goes.
pub(super) const MAX_VARIANTS: usize = 128;
/// Surrogate keys of one answer that are kept.
const MAX_SURROGATE_KEYS: usize = 256;
/// What an entry, a slot and a field cost beside their bytes.
const ENTRY_OVERHEAD: usize = 400;
const FIELD_OVERHEAD: usize = 64;

/// Never changed once it is shared; a 304 makes a new one with the same body.
#[derive(Debug)]
pub(super) struct Entry {
    /// Which route stored it: routes do not see each other's.
    pub(super) scope: u64,
    /// What it was chosen by, and the request's values of that.
    pub(super) vary: Vary,
    pub(super) vary_key: Vec<u8>,
    pub(super) status: StatusCode,
    /// With `content-length`, without what belongs to a connection.
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) freshness: Freshness,
    pub(super) surrogate_keys: Box<[Box<str>]>,
}

impl Entry {
    /// Bytes of memory, about.
    pub(super) fn weight(&self) -> u64 {
        let fields: usize = self
            .headers
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len() + FIELD_OVERHEAD)
            .sum();
        let keys: usize = self.surrogate_keys.iter().map(|key| key.len() + 16).sum();
        (ENTRY_OVERHEAD + fields + keys + self.vary_key.len() + self.body.len()) as u64
    }

    /// Whether it answers a request of that route with these fields.
    pub(super) fn matches(&self, scope: u64, request: &HeaderMap) -> bool {
        self.scope == scope
            && (self.vary.is_empty()
                || self.vary.key(request) == self.vary_key
                || self.vary.language_fits(request, &self.headers))
    }

    /// The same head, to be shown while the body comes.
    pub(super) fn without_body(&self) -> Self {
        Self {
            scope: self.scope,
            vary: self.vary.clone(),
            vary_key: self.vary_key.clone(),
            status: self.status,
            headers: self.headers.clone(),
            body: Bytes::new(),
            freshness: self.freshness,
            surrogate_keys: Box::default(),
        }
    }

    /// The same variant, or any when this one suits all requests.
    fn replaces(&self, old: &Self) -> bool {
        let same = self.vary == old.vary && self.vary_key == old.vary_key;
        self.scope == old.scope && (same || self.vary.is_empty())
    }
}

/// All of one address, newest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Slot {
    pub(super) address: Box<str>,
    pub(super) entries: Vec<Arc<Entry>>,
    /// Until then requests do not wait for each other: the last answer was not to be stored.
    pub(super) pass_until_ms: u64,
    weight: u64,
}

impl Slot {
    pub(super) fn new(address: &str) -> Self {
        Self {
            address: address.into(),
            ..Self::default()
        }
    }

    pub(super) fn find(&self, scope: u64, request: &HeaderMap) -> Option<&Arc<Entry>> {
        // Most variants differ by the same fields: what the request says of them is put into its
        // form once.
        let mut last: Option<(&Vary, Vec<u8>)> = None;
        self.entries.iter().find(|entry| {
            if entry.scope != scope || entry.vary.is_empty() {
                return entry.scope == scope;
            }
            let known = last.take().filter(|(vary, _)| **vary == entry.vary);
            let (vary, key) = known.unwrap_or_else(|| (&entry.vary, entry.vary.key(request)));
            let found = key == entry.vary_key || entry.vary.language_fits(request, &entry.headers);
            last = Some((vary, key));
            found
        })
    }

    /// With `entry` first, in place of those it replaces.
    pub(super) fn with(&self, entry: Arc<Entry>) -> Self {
        let mut entries = Vec::with_capacity(self.entries.len() + 1);
        let kept = self
            .entries
            .iter()
            .filter(|old| !entry.replaces(old))
            .cloned();
        entries.extend(kept.take(MAX_VARIANTS - 1));
        entries.insert(0, entry);
        Self {
            address: self.address.clone(),
            entries,
            pass_until_ms: 0,
            weight: 0,
        }
        .weighed()
    }

    pub(super) fn keeping(&self, mut keep: impl FnMut(&Entry) -> bool) -> Self {
        let mut slot = self.clone();
        slot.entries.retain(|entry| keep(entry));
        slot.weighed()
    }

    pub(super) fn weight(&self) -> u64 {
        self.weight
    }

    pub(super) fn weighed(mut self) -> Self {
        let entries: u64 = self.entries.iter().map(|entry| entry.weight()).sum();
        self.weight = (ENTRY_OVERHEAD + self.address.len()) as u64 + entries;
        self
    }
}

/// The keys in the field of that name: words between spaces (or commas).
pub(super) fn surrogate_keys(headers: &HeaderMap, field: &str) -> Box<[Box<str>]> {
    let lines = headers
        .get_all(field)
        .iter()
        .filter_map(|line| line.to_str().ok());
    lines
        .flat_map(|line| line.split([' ', ',', '\t']))
        .filter(|key| !key.is_empty())
        .take(MAX_SURROGATE_KEYS)
        .map(Into::into)
        .collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};

    pub(crate) fn fields(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        }
        headers
    }

    pub(crate) fn entry(vary: &'static str, request: &HeaderMap, body: &'static str) -> Entry {
        let headers = fields(&[("vary", vary), ("surrogate-key", "all some")]);
        let vary = Vary::of(&headers).unwrap();
        Entry {
            scope: 1,
            vary_key: vary.key(request),
            vary,
            status: StatusCode::OK,
            surrogate_keys: surrogate_keys(&headers, "surrogate-key"),
            headers,
            body: Bytes::from_static(body.as_bytes()),
            freshness: Freshness {
                received_ms: 1000,
                initial_age_ms: 0,
                lifetime_ms: 60_000,
                stale_while_revalidate_ms: 0,
                stale_if_error_ms: 0,
                always_validate: false,
                must_revalidate: false,
            },
        }
    }

    #[test]
    fn variants_stand_side_by_side_until_the_fields_change() {
        let (one, two) = (fields(&[("foo", "1")]), fields(&[("foo", "2")]));
        let slot = Slot::new("http://a/")
            .with(entry("foo", &one, "one").into())
            .with(entry("foo", &two, "two").into());
        let body = |slot: &Slot, request: &HeaderMap| slot.find(1, request).map(|e| e.body.clone());
        assert_eq!(body(&slot, &one).unwrap(), "one");
        assert_eq!(body(&slot, &two).unwrap(), "two");
        assert_eq!(body(&slot, &fields(&[])), None);
        assert!(slot.find(2, &one).is_none(), "another route's");
        let newer = slot.with(entry("foo", &one, "newer").into());
        assert_eq!(newer.entries.len(), 2);
        assert_eq!(body(&newer, &one).unwrap(), "newer");
        let plain = newer.with(entry("", &one, "plain").into());
        assert_eq!(plain.entries.len(), 1);
        assert!(plain.weight() > 0 && plain.weight() < newer.weight());
    }

    #[test]
    fn there_is_an_end_to_variants() {
        let mut slot = Slot::new("http://a/");
        for n in 0..MAX_VARIANTS + 5 {
            let mut request = HeaderMap::new();
            request.insert("foo", HeaderValue::from_str(&n.to_string()).unwrap());
            slot = slot.with(entry("foo", &request, "x").into());
        }
        assert_eq!(slot.entries.len(), MAX_VARIANTS);
    }
}
