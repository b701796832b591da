//! What limits remember, for the life of the process: configurations come and go, buckets stay.

use std::collections::BTreeMap;
use std::hash::RandomState;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use gateway_spec::{ConnectionLimit, Limit, Secret};

use super::concurrency::Concurrency;
use super::shared::Shared;
use super::zone::Zone;

/// Zones by what defines them. A zone lives as long as some [`Limits`](super::Limits) use it: in
/// a change of the configuration build the new ones before the old ones are dropped.
#[derive(Default)]
pub struct LimitStore {
    /// Of keys in all tables.
    pub(super) hash: RandomState,
    zones: Mutex<BTreeMap<String, Weak<Zone>>>,
    concurrencies: Mutex<BTreeMap<String, Weak<Concurrency>>>,
    redis: Mutex<Option<(Secret, Arc<Shared>)>>,
}

impl LimitStore {
    /// Where limits with `shared = true` count from now on, those included that are there
    /// already. The same address keeps its connection.
    ///
    /// # Errors
    /// The address cannot be understood: shared limits count on this machine alone.
    pub fn redis(&self, url: Option<&Secret>) -> Result<(), String> {
        let mut redis = lock(&self.redis);
        if redis.as_ref().map(|(url, _)| url) == url {
            return Ok(());
        }
        *redis = None;
        let Some(url) = url else {
            return Ok(());
        };
        let shared = Arc::new(Shared::new(url).map_err(|error| error.to_string())?);
        shared.warm();
        *redis = Some((url.clone(), shared));
        Ok(())
    }

    pub(super) fn shared(&self) -> Option<Arc<Shared>> {
        lock(&self.redis).as_ref().map(|(_, shared)| shared.clone())
    }

    /// The zone of this definition.
    pub(super) fn zone(&self, definition: &str) -> Arc<Zone> {
        find(&mut lock(&self.zones), definition, Zone::new)
    }

    pub(super) fn concurrency(&self, scope: &str, limit: &ConnectionLimit) -> Arc<Concurrency> {
        let definition = format!("{scope} {:?}", limit.per);
        find(
            &mut lock(&self.concurrencies),
            &definition,
            Concurrency::default,
        )
    }
}

/// What makes two limits one zone: key and rate, and the name, or else the place. The burst is
/// not among it, as in nginx.
pub(super) fn definition(scope: &str, limit: &Limit) -> String {
    let (kind, name) = match &limit.zone {
        Some(zone) => ("zone", zone.as_str()),
        None => ("route", scope),
    };
    let Limit {
        per,
        rate,
        period_ms,
        ..
    } = limit;
    format!("{kind} {name:?} {per:?} {rate}/{period_ms}")
}

fn find<T>(
    all: &mut BTreeMap<String, Weak<T>>,
    definition: &str,
    new: impl FnOnce() -> T,
) -> Arc<T> {
    if let Some(known) = all.get(definition).and_then(Weak::upgrade) {
        return known;
    }
    all.retain(|_, known| known.strong_count() > 0);
    let made = Arc::new(new());
    all.insert(definition.to_owned(), Arc::downgrade(&made));
    made
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
