//! Which files there are, and which of them is to go first.

use std::collections::{BTreeMap, HashMap};

use http::HeaderMap;
use http_cache::Vary;

use crate::cache::entry::{Entry, MAX_VARIANTS};
use crate::cache::purge::Purge;

/// One file.
#[derive(Debug)]
pub(in crate::cache) struct Record {
    pub(super) id: u64,
    pub(in crate::cache) address: Box<str>,
    scope: u64,
    vary: Vary,
    vary_key: Vec<u8>,
    keys: Box<[Box<str>]>,
    bytes: u64,
    /// When it was used last, in uses.
    used: u64,
    /// It is in its place.
    written: bool,
}

impl Record {
    pub(super) fn new(address: &str, entry: &Entry, bytes: u64) -> Self {
        Self {
            id: 0,
            address: address.into(),
            scope: entry.scope,
            vary: entry.vary.clone(),
            vary_key: entry.vary_key.clone(),
            keys: entry.surrogate_keys.clone(),
            bytes,
            used: 0,
            written: false,
        }
    }

    pub(in crate::cache) fn is_variant_of(&self, entry: &Entry) -> bool {
        self.scope == entry.scope && self.vary_key == entry.vary_key && self.vary == entry.vary
    }

    fn is_replaced_by(&self, new: &Self) -> bool {
        self.address == new.address
            && self.scope == new.scope
            && (new.vary.is_empty() || (self.vary == new.vary && self.vary_key == new.vary_key))
    }
}

/// All files; never more than so many bytes.
pub(super) struct Index {
    max_bytes: u64,
    bytes: u64,
    by_hash: HashMap<u64, Vec<Record>>,
    /// Use to address; and to the file among those of the address.
    by_use: BTreeMap<u64, (u64, u64)>,
    by_id: HashMap<u64, u64>,
    next_use: u64,
    next_id: u64,
    doomed: Vec<u64>,
}

impl Index {
    /// `first_id` is larger than those of earlier processes.
    pub(super) fn new(max_bytes: u64, first_id: u64) -> Self {
        Self {
            max_bytes,
            bytes: 0,
            by_hash: HashMap::new(),
            by_use: BTreeMap::new(),
            by_id: HashMap::new(),
            next_use: 0,
            next_id: first_id,
            doomed: Vec::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn contains(&self, id: u64) -> bool {
        self.by_id.contains_key(&id)
    }

    /// The file for this request; counts as a use.
    pub(super) fn find(
        &mut self,
        hash: u64,
        address: &str,
        scope: u64,
        request: &HeaderMap,
    ) -> Option<u64> {
        let records = self.by_hash.get_mut(&hash)?;
        let record = records.iter_mut().find(|record| {
            record.written
                && record.scope == scope
                && *record.address == *address
                && record.vary.key(request) == record.vary_key
        })?;
        self.by_use.remove(&record.used);
        record.used = self.next_use;
        self.by_use.insert(record.used, (hash, record.id));
        self.next_use += 1;
        Some(record.id)
    }

    /// A file that is about to be written, in place of those it replaces. `None` when it is larger
    /// than all that may be kept.
    pub(super) fn add(&mut self, hash: u64, record: Record) -> Option<u64> {
        if record.bytes > self.max_bytes {
            return None;
        }
        self.remove(hash, |old| old.is_replaced_by(&record));
        let id = self.next_id;
        self.next_id += 1;
        self.put(hash, Record { id, ..record });
        self.shrink();
        Some(id)
    }

    /// A file of an earlier process; doomed when there is a newer one in its stead.
    pub(super) fn take_in(&mut self, hash: u64, id: u64, record: Record) {
        let records = self.by_hash.get(&hash).map_or(&[][..], Vec::as_slice);
        let newer = records
            .iter()
            .any(|known| record.is_replaced_by(known) && known.id > id);
        if newer || self.contains(id) || record.bytes > self.max_bytes {
            self.doomed.push(id);
            return;
        }
        self.remove(hash, |old| old.is_replaced_by(&record));
        self.put(
            hash,
            Record {
                id,
                written: true,
                ..record
            },
        );
        self.shrink();
    }

    pub(super) fn written(&mut self, id: u64, bytes: u64) {
        match self.record(id) {
            Some(record) => {
                record.written = true;
                let before = std::mem::replace(&mut record.bytes, bytes);
                self.bytes = self.bytes - before + bytes;
                self.shrink();
            }
            // Purged while it was being written.
            None => self.doomed.push(id),
        }
    }

    pub(super) fn remove(&mut self, hash: u64, which: impl Fn(&Record) -> bool) -> usize {
        let Some(records) = self.by_hash.get_mut(&hash) else {
            return 0;
        };
        let gone: Vec<Record> = records.extract_if(.., |record| which(record)).collect();
        if records.is_empty() {
            self.by_hash.remove(&hash);
        }
        for record in &gone {
            self.bytes -= record.bytes;
            self.by_use.remove(&record.used);
            self.by_id.remove(&record.id);
            self.doomed.push(record.id);
        }
        gone.len()
    }

    pub(super) fn remove_id(&mut self, id: u64) {
        if let Some(hash) = self.by_id.get(&id).copied() {
            self.remove(hash, |record| record.id == id);
        }
    }

    pub(super) fn purge(&mut self, purge: &Purge) -> usize {
        let takes =
            |record: &Record| purge.takes_address(&record.address) || purge.takes_key(&record.keys);
        let with_some =
            |(hash, records): (&u64, &Vec<Record>)| records.iter().any(takes).then_some(*hash);
        let hashes: Vec<u64> = self.by_hash.iter().filter_map(with_some).collect();
        hashes
            .into_iter()
            .map(|hash| self.remove(hash, takes))
            .sum()
    }

    pub(super) fn has_doomed(&self) -> bool {
        !self.doomed.is_empty()
    }

    /// Files to be deleted now.
    pub(super) fn take_doomed(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.doomed)
    }

    fn record(&mut self, id: u64) -> Option<&mut Record> {
        let hash = self.by_id.get(&id)?;
        self.by_hash
            .get_mut(hash)?
            .iter_mut()
            .find(|record| record.id == id)
    }

    fn put(&mut self, hash: u64, mut record: Record) {
        record.used = self.next_use;
        self.next_use += 1;
        self.bytes += record.bytes;
        self.by_use.insert(record.used, (hash, record.id));
        self.by_id.insert(record.id, hash);
        let records = self.by_hash.entry(hash).or_default();
        records.push(record);
        let oldest = (records.len() > MAX_VARIANTS).then(|| records[0].id);
        if let Some(oldest) = oldest {
            self.remove_id(oldest);
        }
    }

    fn shrink(&mut self) {
        while self.bytes > self.max_bytes {
            let Some((_, (hash, id))) = self.by_use.first_key_value().map(|(n, at)| (*n, *at))
            else {
                return;
            };
            self.remove(hash, |record| record.id == id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::entry::tests::{entry, fields};

    fn record(address: &str, bytes: u64) -> Record {
        Record::new(address, &entry("", &fields(&[]), "x"), bytes)
    }

    #[test]
    fn what_was_not_used_for_longest_goes_first() {
        let mut index = Index::new(30, 100);
        for (hash, address) in [(1, "http://a/1"), (2, "http://a/2"), (3, "http://a/3")] {
            let id = index.add(hash, record(address, 10)).unwrap();
            index.written(id, 10);
        }
        assert!(index.find(1, "http://a/1", 1, &HeaderMap::new()).is_some());
        index.add(4, record("http://a/4", 10)).unwrap();
        assert!(index.find(2, "http://a/2", 1, &HeaderMap::new()).is_none());
        assert!(index.find(1, "http://a/1", 1, &HeaderMap::new()).is_some());
        assert_eq!((index.len(), index.bytes()), (3, 30));
        assert_eq!(index.take_doomed(), [101]);
        assert_eq!(index.add(5, record("http://a/5", 31)), None);
    }

    #[test]
    fn a_new_file_replaces_the_old_and_a_purge_takes_what_is_being_written() {
        let mut index = Index::new(100, 0);
        let old = index.add(1, record("http://a/1", 10)).unwrap();
        let new = index.add(1, record("http://a/1", 10)).unwrap();
        assert_eq!(index.take_doomed(), [old]);
        assert!(
            index.find(1, "http://a/1", 1, &HeaderMap::new()).is_none(),
            "not yet written"
        );
        assert_eq!(index.purge(&Purge::Key("some".into())), 1);
        index.written(new, 10);
        assert_eq!(index.take_doomed(), [new, new]);
        assert_eq!((index.len(), index.bytes()), (0, 0));
    }

    #[test]
    fn an_earlier_process_does_not_win_over_this_one() {
        let mut index = Index::new(100, 50);
        index.add(1, record("http://a/1", 10)).unwrap();
        index.take_in(1, 7, record("http://a/1", 10));
        index.take_in(2, 8, record("http://a/2", 10));
        assert_eq!(index.take_doomed(), [7]);
        assert_eq!(index.find(2, "http://a/2", 1, &HeaderMap::new()), Some(8));
    }
}
