//! What is kept, for the life of the process and, on disk, beyond it.

use std::collections::VecDeque;
use std::hash::{BuildHasherDefault, Hasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use gateway_spec::CacheStore;
use http::HeaderMap;
use http_cache::has_validator;
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{OptionsBuilder, Weighter};

use super::disk::Disk;
use super::entry::{Entry, Slot};
use super::fill::Budget;
use super::flight::{Flights, Joined};
use super::key::Address;
use super::purge::Purge;
use super::{CacheStatus, now_ms};

/// How long an address whose answer could not be stored is not waited for.
const PASS_MS: u64 = 10_000;
/// Purges that are remembered for fills that began before them.
const MAX_RECENT_PURGES: usize = 1024;
/// What is of use for a shorter time is not written to disk, unless it can be validated ...
const WORTH_A_FILE_MS: u64 = 10_000;
/// ... and not again after it was.
const WORTH_A_NEW_FILE_MS: u64 = 60_000;
/// Locks of writers; readers take none of them.
const WRITE_LOCKS: usize = 64;
/// An answer's size, to begin with.
const ESTIMATED_ENTRY_BYTES: u64 = 8 * 1024;
/// A part of the memory store must hold several large answers.
const MIN_SHARD_BYTES: u64 = 32 * 1024 * 1024;
const MAX_SHARDS: u64 = 16;
/// Bodies on their way may hold half of what the store holds, and at least this.
const MIN_FILLING_BYTES: u64 = 16 * 1024 * 1024;

type Memory =
    Cache<u64, Arc<Slot>, BySize, BuildHasherDefault<Hashed>, DefaultLifecycle<u64, Arc<Slot>>>;

/// Shared by all routes and threads.
pub struct Store {
    memory: Memory,
    pub(super) disk: Option<Arc<Disk>>,
    pub(super) hasher: RandomState,
    flights: Arc<Flights>,
    pub(super) budget: Arc<Budget>,
    writing: [Mutex<()>; WRITE_LOCKS],
    recent: Mutex<Recent>,
    counts: Counts,
}

/// What happened since the start, and what is kept now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Requests by outcome, as the access log names them.
    pub requests: Vec<(&'static str, u64)>,
    pub stored: u64,
    pub purged: u64,
    pub addresses: u64,
    pub memory_bytes: u64,
    pub disk_files: u64,
    pub disk_bytes: u64,
    /// Files that were damaged and are gone.
    pub disk_corrupt: u64,
    /// Reads and writes that failed, or were given up because the disk is too slow.
    pub disk_failures: u64,
}

#[derive(Default)]
struct Counts {
    requests: [AtomicU64; OUTCOMES.len()],
    stored: AtomicU64,
    purged: AtomicU64,
}

const OUTCOMES: [CacheStatus; 9] = [
    CacheStatus::Bypass,
    CacheStatus::Hit,
    CacheStatus::Miss,
    CacheStatus::Revalidated,
    CacheStatus::Expired,
    CacheStatus::Updating,
    CacheStatus::Stale,
    CacheStatus::Collapsed,
    CacheStatus::Absent,
];

/// Purges in their order, so that what was fetched before one is not stored after it.
#[derive(Default)]
struct Recent {
    /// Number of the next purge.
    next: u64,
    purges: VecDeque<(u64, Purge)>,
}

impl Recent {
    /// Purges since a moment; `None` when that is too long ago to be known.
    fn since(&self, moment: u64) -> Option<impl Iterator<Item = &Purge>> {
        let first = self.purges.front().map_or(self.next, |(number, _)| *number);
        let later = self.purges.iter().rev();
        (first <= moment).then(|| {
            later
                .take_while(move |(number, _)| *number >= moment)
                .map(|(_, purge)| purge)
        })
    }
}

#[derive(Clone)]
struct BySize;

impl Weighter<u64, Arc<Slot>> for BySize {
    fn weight(&self, _: &u64, slot: &Arc<Slot>) -> u64 {
        slot.weight()
    }
}

/// The keys are hashes already.
#[derive(Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }
    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

impl Store {
    /// Reads of the disk what an earlier process left, in the background. A disk that cannot be
    /// used is told and done without.
    pub fn open(spec: &CacheStore) -> Arc<Self> {
        let shards = (spec.memory_bytes / MIN_SHARD_BYTES).clamp(1, MAX_SHARDS);
        let items = (spec.memory_bytes / ESTIMATED_ENTRY_BYTES).max(64);
        let mut builder = OptionsBuilder::new();
        builder
            .shards(usize::try_from(shards).unwrap_or(1))
            .estimated_items_capacity(usize::try_from(items).unwrap_or(64))
            .weight_capacity(spec.memory_bytes);
        let memory = match builder.build() {
            Ok(options) => Memory::with_options(
                options,
                BySize,
                BuildHasherDefault::default(),
                DefaultLifecycle::default(),
            ),
            // Both capacities are set, which is all that is asked for.
            Err(_) => Memory::with(
                64,
                spec.memory_bytes,
                BySize,
                BuildHasherDefault::default(),
                DefaultLifecycle::default(),
            ),
        };
        let hasher = RandomState::new();
        Arc::new(Self {
            memory,
            disk: spec
                .disk
                .as_ref()
                .and_then(|disk| Disk::open(disk, hasher.clone())),
            hasher,
            flights: Arc::default(),
            budget: Arc::new(Budget::new((spec.memory_bytes / 2).max(MIN_FILLING_BYTES))),
            writing: [const { Mutex::new(()) }; WRITE_LOCKS],
            recent: Mutex::default(),
            counts: Counts::default(),
        })
    }

    /// Forgets; returns how many addresses and, beside them, files that was.
    pub fn purge(&self, purge: &Purge) -> usize {
        let mut addresses = 0;
        self.remember(purge.clone());
        for (hash, slot) in self.memory.iter() {
            let whole = purge.takes_address(&slot.address);
            if (whole && !slot.entries.is_empty())
                || slot
                    .entries
                    .iter()
                    .any(|entry| purge.takes_key(&entry.surrogate_keys))
            {
                addresses += 1;
                self.change(hash, |slot| {
                    slot.filter(|_| !whole)
                        .map(|slot| slot.keeping(|entry| !purge.takes(&slot.address, entry)))
                });
            }
        }
        let files = self.disk.as_ref().map_or(0, |disk| disk.purge(purge));
        let count = addresses.max(files);
        self.counts
            .purged
            .fetch_add(count as u64, Ordering::Relaxed);
        count
    }

    pub fn statistics(&self) -> Statistics {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let mut statistics = Statistics {
            requests: OUTCOMES
                .iter()
                .zip(&self.counts.requests)
                .map(|(outcome, count)| (outcome.as_str(), load(count)))
                .collect(),
            stored: load(&self.counts.stored),
            purged: load(&self.counts.purged),
            addresses: self.memory.len() as u64,
            memory_bytes: self.memory.weight(),
            ..Statistics::default()
        };
        if let Some(disk) = &self.disk {
            disk.count(&mut statistics);
        }
        statistics
    }

    pub(super) fn counted(&self, outcome: CacheStatus) {
        let at = OUTCOMES.iter().position(|known| *known == outcome);
        if let Some(count) = at.and_then(|at| self.counts.requests.get(at)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// All that is kept in memory of an address.
    pub(super) fn slot(&self, hash: u64, address: &Address<'_>) -> Option<Arc<Slot>> {
        let slot = self.memory.get(&hash)?;
        address.is(&slot.address).then_some(slot)
    }

    /// From disk into memory, if it is there.
    pub(super) async fn fetch_from_disk(
        &self,
        hash: u64,
        address: &str,
        scope: u64,
        request: &HeaderMap,
    ) -> Option<Arc<Entry>> {
        let disk = self.disk.as_ref()?;
        let begun = self.moment();
        let entry = disk.read(hash, address, scope, request).await?;
        self.put(hash, address, entry.clone(), begun)?;
        Some(entry)
    }

    /// A point in the order of purges, to be taken before something is fetched.
    pub(super) fn moment(&self) -> u64 {
        self.recent
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .next
    }

    /// Keeps what was fetched since `moment`, unless it was purged meanwhile.
    pub(super) fn insert(&self, hash: u64, address: &str, entry: Arc<Entry>, moment: u64) -> bool {
        if self.put(hash, address, entry.clone(), moment).is_none() {
            return false;
        }
        self.counts.stored.fetch_add(1, Ordering::Relaxed);
        let lasts = entry.freshness.lasts_ms() >= WORTH_A_FILE_MS;
        if let Some(disk) = &self.disk
            && (lasts || has_validator(&entry.headers))
        {
            disk.write(hash, address, entry);
        }
        true
    }

    /// Keeps what was found unchanged since `moment`. Its file is only written anew when that spares
    /// the origin a question: what is validated at each use would be written at each use.
    pub(super) fn renew(&self, hash: u64, address: &str, entry: Arc<Entry>, moment: u64) {
        let kept = self.put(hash, address, entry.clone(), moment).is_some();
        if let Some(disk) = &self.disk
            && kept
            && entry.freshness.lasts_ms() >= WORTH_A_NEW_FILE_MS
        {
            disk.write(hash, address, entry);
        }
    }

    fn put(&self, hash: u64, address: &str, entry: Arc<Entry>, moment: u64) -> Option<()> {
        self.change(hash, |slot| {
            if self.purged_since(moment, address, &entry) {
                return slot.cloned();
            }
            let same = slot.filter(|slot| *slot.address == *address);
            Some(match same {
                Some(slot) => slot.with(entry.clone()),
                None => Slot::new(address).with(entry.clone()),
            })
        })
        .filter(|slot| slot.entries.iter().any(|kept| Arc::ptr_eq(kept, &entry)))
        .map(drop)
    }

    /// Remembers that requests of this address need not wait for each other.
    pub(super) fn pass(&self, hash: u64, address: &str) {
        self.change(hash, |slot| {
            let same = slot.filter(|slot| *slot.address == *address).cloned();
            let mut slot = same.unwrap_or_else(|| Slot::new(address).weighed());
            slot.pass_until_ms = now_ms() + PASS_MS;
            Some(slot)
        });
    }

    /// Drops one entry that proved wrong.
    pub(super) fn drop_entry(&self, hash: u64, entry: &Arc<Entry>) {
        self.change(hash, |slot| {
            slot.map(|slot| slot.keeping(|kept| !std::ptr::eq(kept, Arc::as_ptr(entry))))
        });
        if let Some(disk) = &self.disk {
            disk.remove(hash, |record| record.is_variant_of(entry));
        }
    }

    /// Drops all of an address.
    pub(super) fn invalidate(&self, hash: u64, address: &str) {
        self.remember(Purge::Url(address.to_owned()));
        self.change(hash, |slot| {
            slot.filter(|slot| *slot.address != *address).cloned()
        });
        if let Some(disk) = &self.disk {
            disk.remove(hash, |record| *record.address == *address);
        }
    }

    fn change(
        &self,
        hash: u64,
        change: impl FnOnce(Option<&Slot>) -> Option<Slot>,
    ) -> Option<Arc<Slot>> {
        let lock = usize::try_from(hash % WRITE_LOCKS as u64).unwrap_or(0);
        let _lock = self.writing[lock]
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let old = self.memory.peek(&hash);
        let new = change(old.as_deref())
            .filter(|slot| !slot.entries.is_empty() || slot.pass_until_ms > 0);
        match new {
            Some(slot) => {
                let slot = Arc::new(slot);
                self.memory.insert(hash, slot.clone());
                Some(slot)
            }
            None => {
                self.memory.remove(&hash);
                None
            }
        }
    }

    fn remember(&self, purge: Purge) {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let number = recent.next;
        recent.next += 1;
        recent.purges.push_back((number, purge));
        if recent.purges.len() > MAX_RECENT_PURGES {
            recent.purges.pop_front();
        }
    }

    /// Joins what is being fetched under that key, or leads.
    pub(super) fn join(&self, key: u64, address: &str) -> Joined {
        let outdated = |moment| {
            let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
            recent.since(moment).is_none_or(|mut purges| {
                // Of what keys an answer has that is not there yet nobody knows.
                purges.any(|purge| matches!(purge, Purge::Key(_)) || purge.takes_address(address))
            })
        };
        self.flights.join(key, self.moment(), outdated)
    }

    fn purged_since(&self, moment: u64, address: &str, entry: &Entry) -> bool {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent
            .since(moment)
            .is_none_or(|mut purges| purges.any(|purge| purge.takes(address, entry)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::entry::tests::{entry, fields};

    fn store() -> Arc<Store> {
        Store::open(&CacheStore {
            memory_bytes: 1024 * 1024,
            disk: None,
        })
    }

    fn put(store: &Store, path: &str, moment: u64) -> bool {
        let address = Address::new("http", "a", path, &[]);
        let stored = entry("", &fields(&[]), "x").into();
        store.insert(address.hash(&store.hasher), &address.text(), stored, moment)
    }

    fn has(store: &Store, path: &str) -> bool {
        let address = Address::new("http", "a", path, &[]);
        store.slot(address.hash(&store.hasher), &address).is_some()
    }

    #[test]
    fn purges() {
        let store = store();
        for path in ["/x", "/x/1", "/x/2", "/y"] {
            assert!(put(&store, path, store.moment()));
        }
        assert_eq!(store.purge(&Purge::url("a/y")), 1);
        assert!(!has(&store, "/y") && has(&store, "/x"));
        assert_eq!(store.purge(&Purge::url("http://a/x/*")), 2);
        assert!(!has(&store, "/x/1") && has(&store, "/x"));
        assert_eq!(store.purge(&Purge::Key("none".into())), 0);
        assert_eq!(store.purge(&Purge::Key("some".into())), 1);
        assert!(!has(&store, "/x"));
        assert_eq!(store.purge(&Purge::All), 0);
        assert_eq!(store.statistics().purged, 4);
    }

    #[test]
    fn what_was_fetched_before_a_purge_is_not_stored_after_it() {
        let store = store();
        let moment = store.moment();
        store.purge(&Purge::url("a/y"));
        assert!(put(&store, "/x", moment));
        assert!(!put(&store, "/y", moment));
        assert!(put(&store, "/y", store.moment()));
        for _ in 0..=MAX_RECENT_PURGES {
            store.purge(&Purge::url("a/other"));
        }
        assert!(!put(&store, "/z", moment), "too long ago to be known");
        let address = Address::new("http", "a", "/y", &[]);
        store.invalidate(address.hash(&store.hasher), "http://a/y");
        assert!(!has(&store, "/y"));
    }

    #[test]
    fn memory_is_bounded() {
        let store = store();
        for n in 0..20_000 {
            put(&store, &format!("/{n}"), store.moment());
        }
        let statistics = store.statistics();
        assert!(statistics.memory_bytes <= 1024 * 1024, "{statistics:?}");
        assert!(statistics.addresses > 500, "{statistics:?}");
    }
}
