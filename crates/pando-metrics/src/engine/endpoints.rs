//! Rows by name (endpoints, peers) over the last minute, in slots of [`SLOT_S`] seconds; bounded:
//! what finds no room is one row, [`OTHER`].

use std::collections::{BTreeMap, VecDeque};

use monitor_spec::now::ENDPOINT_WINDOW_S;
use monitor_spec::{MAX_ENDPOINTS, OTHER, agent};

use crate::totals::Endpoint as Requests;

/// The length of a slot; the store keeps endpoints at this.
pub(crate) const SLOT_S: u64 = 10;
/// Slots that are over and still in the window.
const SLOTS: usize = (ENDPOINT_WINDOW_S / SLOT_S) as usize - 1;

/// Method and route, or kind and peer.
pub(crate) type Name = (String, String);

#[derive(Clone, Debug, Default)]
pub(crate) struct Rows {
    rows: BTreeMap<Name, Row>,
    /// How long the present slot and those before were, the present one last.
    spans: VecDeque<f64>,
}

#[derive(Clone, Debug, Default)]
struct Row {
    current: Requests,
    /// The latest last.
    past: VecDeque<Requests>,
}

impl Row {
    fn all(&self) -> Requests {
        let mut all = self.current.clone();
        self.past.iter().for_each(|slot| all.add(slot));
        all
    }
}

/// The row of all that have no own.
pub(crate) fn other() -> Name {
    (String::new(), OTHER.to_owned())
}

impl Rows {
    pub fn add(&mut self, first: &str, second: &str, requests: &Requests) {
        if requests.is_empty() {
            return;
        }
        let mut name = (first.to_owned(), second.to_owned());
        if self.rows.len() >= MAX_ENDPOINTS && !self.rows.contains_key(&name) {
            name = other();
        }
        self.rows.entry(name).or_default().current.add(requests);
    }

    /// What was asked of a peer.
    pub fn outgoing(&mut self, out: &agent::Outgoing) {
        let requests = Requests {
            errors_5xx: out.errors,
            latency: out.latency.clone(),
            ..Requests::default()
        };
        self.add(&out.kind, &out.peer, &requests);
    }

    /// Time goes on in the present slot.
    pub fn pass(&mut self, seconds: f64) {
        match self.spans.back_mut() {
            Some(span) => *span += seconds,
            None => self.spans.push_back(seconds),
        }
    }

    /// The present slot is over: its rows. Those that were empty for the whole window are
    /// forgotten, so the bound is of a minute's names.
    pub fn turn(&mut self) -> Vec<(Name, Requests)> {
        self.spans.push_back(0.0);
        while self.spans.len() > SLOTS + 1 {
            self.spans.pop_front();
        }
        let mut done = Vec::new();
        self.rows.retain(|name, row| {
            let slot = std::mem::take(&mut row.current);
            if !slot.is_empty() {
                done.push((name.clone(), slot.clone()));
            }
            row.past.push_back(slot);
            while row.past.len() > SLOTS {
                row.past.pop_front();
            }
            row.past.iter().any(|slot| !slot.is_empty())
        });
        done
    }

    /// All of the window, and how many seconds that is.
    pub fn window(&self) -> (Vec<(&Name, Requests)>, f64) {
        let rows = self.rows.iter().map(|(name, row)| (name, row.all()));
        let rows = rows.filter(|(_, requests)| !requests.is_empty());
        (rows.collect(), self.spans.iter().sum())
    }

    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requests(count: u64) -> Requests {
        let mut requests = Requests::default();
        requests.latency.record_many(7, count);
        requests
    }

    fn count(rows: &Rows) -> u64 {
        let (rows, _) = rows.window();
        rows.iter()
            .map(|(_, requests)| requests.latency.count())
            .sum()
    }

    #[test]
    fn slots_pass_and_are_forgotten() {
        let mut rows = Rows::default();
        for n in 1..=20u64 {
            rows.add("GET", "/a", &requests(n));
            rows.pass(10.0);
            let done = rows.turn();
            assert_eq!(done[0].1.latency.count(), n);
        }
        // 16 to 20, in 50 seconds.
        assert_eq!(count(&rows), 16 + 17 + 18 + 19 + 20);
        assert_eq!(rows.window().1, 50.0);
        for _ in 0..SLOTS {
            rows.pass(10.0);
            assert!(rows.turn().is_empty());
        }
        assert!(rows.is_empty());
    }

    #[test]
    fn names_are_bounded_and_no_request_is_lost() {
        let mut rows = Rows::default();
        for n in 0..10_000 {
            rows.add("GET", &format!("/{n}"), &requests(1));
        }
        assert_eq!(rows.rows.len(), MAX_ENDPOINTS + 1);
        assert_eq!(count(&rows), 10_000);
        let other = &rows.rows[&other()];
        assert_eq!(
            other.current.latency.count() as usize,
            10_000 - MAX_ENDPOINTS
        );
    }
}
