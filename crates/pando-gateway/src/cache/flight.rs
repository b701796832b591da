//! One fetch for many: who fetches an address now, and who waits for it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use http::HeaderMap;
use tokio::sync::watch;

use super::entry::Entry;
use super::fill::Fill;

/// Requests that wait for one fetch; further ones go on alone.
const MAX_WAITERS: usize = 4096;
/// Fetches that are waited for at a time; further ones are not shared.
const MAX_FLIGHTS: usize = 16 * 1024;

/// How far the fetch has come.
#[derive(Clone)]
pub(super) enum Phase {
    Asked,
    /// The head is there, and the answer is one to share.
    Filling(Arc<Fill>, Arc<Entry>),
    Stored(Arc<Entry>),
    /// Everybody goes on alone: it is not to be shared, or the origin failed.
    Passed,
    /// Whoever fetched is gone; one of those who wait takes over.
    Abandoned,
}

#[derive(Default)]
pub(super) struct Flights {
    table: Mutex<HashMap<u64, Flight>>,
}

struct Flight {
    /// When it began, in the order of purges.
    moment: u64,
    phase: watch::Receiver<Phase>,
    waiters: Arc<AtomicUsize>,
}

/// What joining gave.
pub(super) enum Joined {
    Lead(Lead),
    Wait(Waiter),
    /// Too many wait already.
    Alone,
}

/// The one that fetches; going away without a word counts as [`Phase::Abandoned`].
pub(super) struct Lead {
    flights: Arc<Flights>,
    key: u64,
    waiters: Arc<AtomicUsize>,
    phase: watch::Sender<Phase>,
    told: bool,
}

pub(super) struct Waiter {
    phase: watch::Receiver<Phase>,
    waiters: Arc<AtomicUsize>,
}

impl Flights {
    /// `moment` is now; `outdated` says of an earlier one whether what was asked for then may have
    /// been purged since: such a flight is not joined, but followed by another.
    pub(super) fn join(
        self: &Arc<Self>,
        key: u64,
        moment: u64,
        outdated: impl Fn(u64) -> bool,
    ) -> Joined {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let known = table.get(&key);
        if let Some(flight) =
            known.filter(|flight| flight.moment == moment || !outdated(flight.moment))
        {
            if flight.waiters.fetch_add(1, Ordering::Relaxed) >= MAX_WAITERS {
                flight.waiters.fetch_sub(1, Ordering::Relaxed);
                return Joined::Alone;
            }
            return Joined::Wait(Waiter {
                phase: flight.phase.clone(),
                waiters: flight.waiters.clone(),
            });
        }
        if table.len() >= MAX_FLIGHTS {
            return Joined::Alone;
        }
        let (sender, phase) = watch::channel(Phase::Asked);
        let waiters: Arc<AtomicUsize> = Arc::default();
        let flight = Flight {
            moment,
            phase,
            waiters: waiters.clone(),
        };
        table.insert(key, flight);
        Joined::Lead(Lead {
            flights: self.clone(),
            key,
            waiters,
            phase: sender,
            told: false,
        })
    }
}

impl Lead {
    /// Readers are let in while the body still comes.
    pub(super) fn filling(&self, fill: Arc<Fill>, head: Arc<Entry>) {
        self.phase.send_replace(Phase::Filling(fill, head));
    }

    pub(super) fn stored(self, entry: Arc<Entry>) {
        self.tell(Phase::Stored(entry));
    }

    pub(super) fn pass(self) {
        self.tell(Phase::Passed);
    }

    fn tell(mut self, phase: Phase) {
        self.told = true;
        self.leave();
        self.phase.send_replace(phase);
    }

    fn leave(&self) {
        let mut table = self
            .flights
            .table
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        // After a purge another flight may have taken its place.
        if table
            .get(&self.key)
            .is_some_and(|flight| Arc::ptr_eq(&flight.waiters, &self.waiters))
        {
            table.remove(&self.key);
        }
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        if !self.told {
            self.leave();
            self.phase.send_replace(Phase::Abandoned);
        }
    }
}

impl Waiter {
    /// The next phase that is of use to this request: an entry, a body to read along when it is
    /// this request's variant, or the end.
    pub(super) async fn outcome(&mut self, scope: u64, request: &HeaderMap) -> Phase {
        loop {
            let phase = self.phase.borrow_and_update().clone();
            match &phase {
                Phase::Asked => {}
                Phase::Filling(fill, head) => {
                    if !head.matches(scope, request) {
                        return Phase::Passed;
                    }
                    if fill.length.is_some() {
                        return phase;
                    }
                }
                Phase::Stored(_) | Phase::Passed | Phase::Abandoned => return phase,
            }
            if self.phase.changed().await.is_err() {
                return Phase::Abandoned;
            }
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.waiters.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::entry::tests::{entry, fields};

    fn joined(flights: &Arc<Flights>) -> (Lead, Waiter) {
        let Joined::Lead(lead) = flights.join(7, 0, |_| false) else {
            panic!("nobody else leads")
        };
        let Joined::Wait(waiter) = flights.join(7, 0, |_| false) else {
            panic!("there is a leader")
        };
        (lead, waiter)
    }

    fn outcome(mut waiter: Waiter) -> Phase {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(waiter.outcome(1, &fields(&[("foo", "1")])))
    }

    #[test]
    fn a_stored_entry_reaches_who_waits_and_ends_the_flight() {
        let flights = Arc::new(Flights::default());
        let (lead, waiter) = joined(&flights);
        lead.stored(entry("", &fields(&[]), "x").into());
        assert!(matches!(outcome(waiter), Phase::Stored(_)));
        assert!(matches!(flights.join(7, 0, |_| false), Joined::Lead(_)));
    }

    #[test]
    fn a_leader_that_vanishes_is_followed_by_another() {
        let flights = Arc::new(Flights::default());
        let (lead, waiter) = joined(&flights);
        drop(lead);
        assert!(matches!(outcome(waiter), Phase::Abandoned));
        assert!(matches!(flights.join(7, 0, |_| false), Joined::Lead(_)));
    }

    #[test]
    fn what_was_asked_for_before_a_purge_is_not_waited_for_after_it() {
        let flights = Arc::new(Flights::default());
        let (early, waiter) = joined(&flights);
        let Joined::Lead(_late) = flights.join(7, 1, |moment| moment < 1) else {
            panic!("the early one is outdated")
        };
        early.stored(entry("", &fields(&[]), "x").into());
        assert!(matches!(outcome(waiter), Phase::Stored(_)));
        let again = flights.join(7, 1, |moment| moment < 1);
        assert!(matches!(again, Joined::Wait(_)), "the late one goes on");
    }

    #[test]
    fn another_variant_is_not_waited_for() {
        let flights = Arc::new(Flights::default());
        let (lead, waiter) = joined(&flights);
        let budget = Arc::new(crate::cache::fill::Budget::new(10));
        let fill = Fill::new(Some(1), budget).unwrap();
        lead.filling(fill, entry("foo", &fields(&[("foo", "2")]), "").into());
        assert!(matches!(outcome(waiter), Phase::Passed));
    }
}
