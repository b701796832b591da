//! Buckets by key, in memory: nginx's `limit_req_zone`.
//!
//! A zone is bounded. Keys whose bucket has run empty are forgotten, two at every new key, which
//! loses nothing; in a zone that is full the emptiest of a few that were longest unused makes
//! room. Whoever is held back now is therefore not the first to be forgotten.
//!
//! Each shard is a list in order of use, threaded through a vector by index, with a map into it.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Mutex, PoisonError};

use balance::{Bucket, Leaky};

/// Keys of one zone; about 8 MB. nginx's `10m` is 160,000 of IPv4.
pub(super) const ZONE_KEYS_MAX: usize = 128 * 1024;
/// Locks of one zone, so that threads seldom meet.
const SHARDS: usize = 16;
/// Keys looked at for the emptiest.
const EVICT_LOOKS: usize = 8;
/// Keys that have run empty and are forgotten at each new one.
const EXPIRE_LOOKS: usize = 2;
/// No slot.
const NONE: u32 = u32::MAX;

pub(super) struct Zone {
    shards: [Mutex<Shard>; SHARDS],
}

/// Keys are hashes already.
#[derive(Default)]
pub(super) struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }
    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }
}

pub(super) type ByKey<V> = HashMap<u64, V, BuildHasherDefault<AsIs>>;

struct Shard {
    by_key: ByKey<u32>,
    slots: Vec<Slot>,
    /// Slots without a key.
    free: Vec<u32>,
    newest: u32,
    oldest: u32,
    max: usize,
}

struct Slot {
    key: u64,
    bucket: Bucket,
    newer: u32,
    older: u32,
}

impl Zone {
    pub(super) fn new() -> Self {
        Self::bounded(ZONE_KEYS_MAX)
    }

    fn bounded(keys_max: usize) -> Self {
        let max = keys_max.div_ceil(SHARDS);
        Self {
            shards: std::array::from_fn(|_| Mutex::new(Shard::new(max))),
        }
    }

    /// Does something to the bucket of `key`, which is an empty one for a new key. `limit` says
    /// how fast buckets of this zone leak.
    pub(super) fn with<R>(
        &self,
        key: u64,
        limit: &Leaky,
        now_ms: u64,
        change: impl FnOnce(&mut Bucket) -> R,
    ) -> R {
        // The upper bits: the map uses the lower ones.
        let shard = &self.shards[(key >> 32) as usize % SHARDS];
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        change(shard.bucket(key, limit, now_ms))
    }
}

impl Shard {
    fn new(max: usize) -> Self {
        Self {
            by_key: ByKey::default(),
            slots: Vec::new(),
            free: Vec::new(),
            newest: NONE,
            oldest: NONE,
            max: max.clamp(1, NONE as usize - 1),
        }
    }

    fn bucket(&mut self, key: u64, limit: &Leaky, now_ms: u64) -> &mut Bucket {
        let slot = match self.by_key.get(&key) {
            Some(&slot) => {
                self.unlink(slot);
                slot
            }
            None => self.insert(key, limit, now_ms),
        };
        self.link(slot);
        &mut self.slots[slot as usize].bucket
    }

    /// A slot for a new key, not linked yet.
    fn insert(&mut self, key: u64, limit: &Leaky, now_ms: u64) -> u32 {
        for _ in 0..EXPIRE_LOOKS {
            if self.oldest != NONE && self.reset_ms(self.oldest, limit, now_ms) == 0 {
                self.forget(self.oldest);
            }
        }
        if self.by_key.len() >= self.max {
            self.forget(self.emptiest(limit, now_ms));
        }
        let new = Slot {
            key,
            bucket: Bucket::default(),
            newer: NONE,
            older: NONE,
        };
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot as usize] = new;
                slot
            }
            None => {
                self.slots.push(new);
                // Bounded by `max`, which fits.
                (self.slots.len() - 1) as u32
            }
        };
        self.by_key.insert(key, slot);
        slot
    }

    /// Of those that were longest unused the one that will first be as good as new.
    fn emptiest(&self, limit: &Leaky, now_ms: u64) -> u32 {
        self.walk(self.oldest, |slot| slot.newer)
            .take(EVICT_LOOKS)
            .min_by_key(|slot| self.reset_ms(*slot, limit, now_ms))
            .unwrap_or(self.oldest)
    }

    /// Slots from `from` on, in the direction of `next`.
    fn walk(&self, from: u32, next: fn(&Slot) -> u32) -> impl Iterator<Item = u32> {
        std::iter::successors(Some(from), move |slot| {
            self.slots.get(*slot as usize).map(next)
        })
        .take_while(|slot| *slot != NONE)
    }

    fn reset_ms(&self, slot: u32, limit: &Leaky, now_ms: u64) -> u64 {
        limit.reset_ms(&self.slots[slot as usize].bucket, now_ms)
    }

    fn forget(&mut self, slot: u32) {
        self.unlink(slot);
        self.by_key.remove(&self.slots[slot as usize].key);
        self.free.push(slot);
    }

    fn unlink(&mut self, slot: u32) {
        let Slot { newer, older, .. } = self.slots[slot as usize];
        match self.slots.get_mut(newer as usize) {
            Some(newer) => newer.older = older,
            None => self.newest = older,
        }
        match self.slots.get_mut(older as usize) {
            Some(older) => older.newer = newer,
            None => self.oldest = newer,
        }
    }

    /// Makes it the newest.
    fn link(&mut self, slot: u32) {
        let before = std::mem::replace(&mut self.newest, slot);
        let this = &mut self.slots[slot as usize];
        (this.newer, this.older) = (NONE, before);
        match self.slots.get_mut(before as usize) {
            Some(before) => before.newer = slot,
            None => self.oldest = slot,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMIT: Leaky = Leaky {
        rate: 10,
        period_ms: 1000,
        burst: 5,
        nodelay: true,
    };

    impl Shard {
        /// Keys, the oldest first, read in both directions.
        fn keys(&self) -> Vec<u64> {
            let walk = |from: u32, next: fn(&Slot) -> u32| {
                let slots = self.walk(from, next);
                slots
                    .map(|slot| self.slots[slot as usize].key)
                    .collect::<Vec<_>>()
            };
            let keys = walk(self.oldest, |slot| slot.newer);
            let mut backwards = walk(self.newest, |slot| slot.older);
            backwards.reverse();
            assert_eq!(keys, backwards);
            keys
        }
    }

    proptest! {
        /// Against a plain list in order of use; a bucket that was forgotten was empty or among
        /// the oldest.
        #[test]
        fn is_a_list_in_order_of_use(
            max in 1..20_usize,
            uses in prop::collection::vec((0..30_u64, 0..200_u64), 1..300),
        ) {
            let mut shard = Shard::new(max);
            let mut model: Vec<(u64, Bucket)> = Vec::new();
            let mut now_ms = 0;
            for (key, gap) in uses {
                now_ms += gap;
                let known = model.iter().position(|(other, _)| *other == key);
                let mut bucket = known.map_or(Bucket::default(), |at| model.remove(at).1);
                let verdict = LIMIT.check(shard.bucket(key, &LIMIT, now_ms), now_ms);
                prop_assert_eq!(verdict, LIMIT.check(&mut bucket, now_ms));
                model.push((key, bucket));
                let kept = shard.keys();
                prop_assert!(kept.len() <= max && shard.by_key.len() == kept.len());
                prop_assert!(shard.slots.len() <= max);
                model.retain(|(key, _)| kept.contains(key));
                prop_assert_eq!(kept, model.iter().map(|(key, _)| *key).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn a_full_zone_forgets_the_emptiest_of_the_oldest() {
        let mut shard = Shard::new(4);
        for key in 0..4 {
            let fill = if key == 2 { 1 } else { 6 };
            for _ in 0..fill {
                assert!(LIMIT.check(shard.bucket(key, &LIMIT, 0), 0).passes());
            }
        }
        shard.bucket(9, &LIMIT, 0);
        assert_eq!(shard.keys(), [0, 1, 3, 9]);
        // Whatever has run empty goes first.
        shard.bucket(10, &LIMIT, 10_000);
        assert_eq!(shard.keys(), [3, 9, 10]);
    }

    #[test]
    fn a_flood_of_keys_stays_within_bounds() {
        let zone = Zone::bounded(1000);
        for key in 0..50_000_u64 {
            let key = key.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let check = |bucket: &mut Bucket| LIMIT.check(bucket, 0).passes();
            assert!(zone.with(key, &LIMIT, 0, check));
        }
        let kept: usize = zone
            .shards
            .iter()
            .map(|s| s.lock().unwrap().slots.len())
            .sum();
        assert!(kept <= 1008, "{kept}");
    }
}
