//! How many of one key there are at the same time: requests (nginx's `limit_conn`), or open
//! connections.

use std::collections::hash_map::Entry;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::zone::ByKey;

/// Locks of one table.
const SHARDS: usize = 16;

/// Counts by key. There are no more entries than there are guards.
#[derive(Default)]
pub(super) struct Concurrency {
    shards: [Mutex<ByKey<u32>>; SHARDS],
}

impl Concurrency {
    /// One more of `key`, unless there are `max` already.
    pub(super) fn enter(self: &Arc<Self>, key: u64, max: u64) -> Option<Place> {
        let mut counts = self.shard(key);
        match counts.entry(key) {
            Entry::Occupied(mut count) if u64::from(*count.get()) < max => *count.get_mut() += 1,
            Entry::Vacant(count) if max > 0 => {
                count.insert(1);
            }
            Entry::Occupied(_) | Entry::Vacant(_) => return None,
        }
        drop(counts);
        Some(Place {
            of: self.clone(),
            key,
        })
    }

    fn shard(&self, key: u64) -> MutexGuard<'_, ByKey<u32>> {
        // The upper bits: the map uses the lower ones.
        self.shards[(key >> 32) as usize % SHARDS]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counted until it is dropped.
pub(super) struct Place {
    of: Arc<Concurrency>,
    key: u64,
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Place")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Entry::Occupied(mut count) = self.of.shard(self.key).entry(self.key) {
            if *count.get() > 1 {
                *count.get_mut() -= 1;
            } else {
                count.remove();
            }
        }
    }
}

/// Open client connections of a gateway: all, and those of one address. Shared by all threads
/// that accept, for the life of the process.
pub struct Connections {
    max: AtomicU64,
    /// `u64::MAX` is no limit.
    max_per_ip: AtomicU64,
    all: Arc<AtomicU64>,
    by_ip: Arc<Concurrency>,
    hash: RandomState,
}

/// Why a connection is closed at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TooMany {
    /// The gateway has all the connections that it may have.
    All,
    /// This address has.
    OfIp,
}

/// An open connection; counted until it is dropped.
#[derive(Debug)]
pub struct Connection {
    all: Arc<AtomicU64>,
    _place: Place,
}

impl Connections {
    /// `max` in all, `max_per_ip` of one address (IPv6 addresses count whole).
    #[must_use]
    pub fn new(max: u64, max_per_ip: Option<u64>) -> Self {
        Self {
            max: AtomicU64::new(max),
            max_per_ip: AtomicU64::new(max_per_ip.unwrap_or(u64::MAX)),
            all: Arc::default(),
            by_ip: Arc::default(),
            hash: RandomState::new(),
        }
    }

    /// New limits for connections to come; those that are open stay and count.
    pub fn change(&self, max: u64, max_per_ip: Option<u64>) {
        self.max.store(max, Relaxed);
        self.max_per_ip
            .store(max_per_ip.unwrap_or(u64::MAX), Relaxed);
    }

    /// Open connections.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.all.load(Relaxed)
    }

    /// Counts a connection that was accepted.
    ///
    /// # Errors
    /// With a limit reached nothing is counted; close the connection.
    pub fn enter(&self, ip: IpAddr) -> Result<Connection, TooMany> {
        let max = self.max.load(Relaxed);
        let more = |open: u64| (open < max).then(|| open + 1);
        if self.all.fetch_update(Relaxed, Relaxed, more).is_err() {
            return Err(TooMany::All);
        }
        let key = self.hash.hash_one(ip.to_canonical());
        match self.by_ip.enter(key, self.max_per_ip.load(Relaxed)) {
            Some(place) => Ok(Connection {
                all: self.all.clone(),
                _place: place,
            }),
            None => {
                self.all.fetch_sub(1, Relaxed);
                Err(TooMany::OfIp)
            }
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.all.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_bounded_and_released() {
        let connections = Connections::new(3, Some(2));
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let one = connections.enter(ip("10.0.0.1")).unwrap();
        let two = connections.enter(ip("::ffff:10.0.0.1")).unwrap();
        assert_eq!(
            connections.enter(ip("10.0.0.1")).unwrap_err(),
            TooMany::OfIp
        );
        assert_eq!(connections.open(), 2);
        let three = connections.enter(ip("10.0.0.2")).unwrap();
        assert_eq!(connections.enter(ip("10.0.0.3")).unwrap_err(), TooMany::All);
        drop(one);
        let again = connections.enter(ip("10.0.0.1")).unwrap();
        connections.change(10, None);
        let more: Vec<_> = (0..7)
            .map(|_| connections.enter(ip("10.0.0.1")).unwrap())
            .collect();
        assert_eq!(connections.open(), 10);
        drop((two, three, again, more));
        assert_eq!(connections.open(), 0);
        assert!(
            connections
                .by_ip
                .shards
                .iter()
                .all(|s| s.lock().unwrap().is_empty())
        );
    }

    #[test]
    fn counts_are_exact_over_threads() {
        let connections = Connections::new(50, Some(8));
        let worst = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for thread in 0..4_u8 {
                let (connections, worst) = (&connections, &worst);
                scope.spawn(move || {
                    let mut open = Vec::new();
                    for n in 0..2000_u32 {
                        open.extend(connections.enter(IpAddr::from([10, 0, 0, thread / 2])));
                        worst.fetch_max(connections.open(), Relaxed);
                        if n % 7 == 0 {
                            open.clear();
                        }
                    }
                });
            }
        });
        assert!(worst.load(Relaxed) <= 50);
        assert_eq!(connections.open(), 0);
    }
}
