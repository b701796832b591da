//! The counters of [`Totals`]: they only grow, by bounded rows.

use std::collections::BTreeMap;

use monitor_spec::agent;
use monitor_spec::edge;
use monitor_spec::{MAX_ENDPOINTS, OTHER};

use super::thread::add_gc;
use crate::totals::{
    EdgeKey, EdgeRoute, Endpoint, EndpointKey, Outgoing, OutgoingKey, Totals, Worker, WorkerKey,
};

/// Rows of (app, kind) of events.
const EVENT_ROWS_MAX: usize = 2_000;

#[derive(Debug)]
pub(crate) struct Counts {
    pub totals: Totals,
    /// Rows of each app, endpoints and peers.
    rows: BTreeMap<String, (usize, usize)>,
}

impl Counts {
    pub fn new(since_ms: i64) -> Self {
        Self {
            totals: Totals {
                since_ms,
                ..Totals::default()
            },
            rows: BTreeMap::new(),
        }
    }

    pub fn route(&mut self, app: &str, route: &agent::Route) {
        let mut key = EndpointKey {
            app: app.to_owned(),
            method: route.method.clone(),
            route: route.route.clone(),
        };
        if !self.totals.endpoints.contains_key(&key) {
            let rows = self.rows.entry(app.to_owned()).or_default();
            if rows.0 < MAX_ENDPOINTS {
                rows.0 += 1;
            } else {
                key.method = String::new();
                key.route = OTHER.to_owned();
            }
        }
        let row: &mut Endpoint = self.totals.endpoints.entry(key).or_default();
        row.add(&route.into());
    }

    pub fn outgoing(&mut self, app: &str, out: &agent::Outgoing) {
        let mut key = OutgoingKey {
            app: app.to_owned(),
            kind: out.kind.clone(),
            peer: out.peer.clone(),
        };
        if !self.totals.outgoing.contains_key(&key) {
            let rows = self.rows.entry(app.to_owned()).or_default();
            if rows.1 < MAX_ENDPOINTS {
                rows.1 += 1;
            } else {
                key.kind = String::new();
                key.peer = OTHER.to_owned();
            }
        }
        let row: &mut Outgoing = self.totals.outgoing.entry(key).or_default();
        row.errors = row.errors.saturating_add(out.errors);
        row.latency.merge(&out.latency);
    }

    pub fn worker(&mut self, app: &str, instance: u32, more: &Worker) {
        let key = WorkerKey {
            app: app.to_owned(),
            instance,
        };
        let row = self.totals.workers.entry(key).or_default();
        row.cpu_us = row.cpu_us.saturating_add(more.cpu_us);
        row.cpu_wait_us = row.cpu_wait_us.saturating_add(more.cpu_wait_us);
        row.context_switches = row.context_switches.saturating_add(more.context_switches);
        add_gc(&mut row.gc, more.gc, u64::MAX);
    }

    pub fn edge(&mut self, report: &edge::Report) {
        let gateway = &mut self.totals.gateway;
        for (sum, more) in [
            (&mut gateway.bytes_in, report.bytes_in),
            (&mut gateway.bytes_out, report.bytes_out),
            (&mut gateway.cache_hits, report.cache_hits),
            (&mut gateway.cache_misses, report.cache_misses),
            (&mut gateway.limited, report.limited),
            (&mut gateway.retries, report.retries),
            (&mut gateway.tls_failures, report.tls_failures),
        ] {
            *sum = sum.saturating_add(more);
        }
        for route in &report.routes {
            let mut key = EdgeKey {
                site: route.site.clone(),
                route: route.route.clone(),
            };
            let full = self.totals.edge.len() >= edge::MAX_ROWS;
            if full && !self.totals.edge.contains_key(&key) {
                key = EdgeKey {
                    site: String::new(),
                    route: OTHER.to_owned(),
                };
            }
            let row: &mut EdgeRoute = self.totals.edge.entry(key).or_default();
            row.app.clone_from(&route.app);
            for (sum, more) in row.classes.iter_mut().zip(route.classes) {
                *sum = sum.saturating_add(more);
            }
            row.aborted = row.aborted.saturating_add(route.aborted);
            row.bytes_out = row.bytes_out.saturating_add(route.bytes_out);
            row.latency.merge(&route.latency);
            row.upstream.merge(&route.upstream);
        }
    }

    pub fn event(&mut self, app: &str, kind: &str) {
        let key = (app.to_owned(), kind.to_owned());
        let events = &mut self.totals.events;
        if events.len() < EVENT_ROWS_MAX || events.contains_key(&key) {
            *events.entry(key).or_default() += 1;
        }
    }

    /// An app has been deleted.
    pub fn forget(&mut self, app: &str) {
        self.rows.remove(app);
        self.totals.endpoints.retain(|key, _| key.app != app);
        self.totals.outgoing.retain(|key, _| key.app != app);
        self.totals.workers.retain(|key, _| key.app != app);
        self.totals.events.retain(|(of, _), _| of != app);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_request_is_lost_to_the_bound() {
        let mut counts = Counts::new(0);
        for n in 0..1_000 {
            let mut route = agent::Route {
                method: "GET".into(),
                route: format!("/{n}"),
                errors_5xx: 1,
                ..agent::Route::default()
            };
            route.latency.record(5);
            counts.route("api", &route);
            counts.route("other", &route);
        }
        let totals = &counts.totals;
        assert_eq!(totals.endpoints.len(), 2 * (MAX_ENDPOINTS + 1));
        let errors: u64 = totals.endpoints.values().map(|row| row.errors_5xx).sum();
        assert_eq!(errors, 2_000);
        counts.forget("api");
        assert_eq!(counts.totals.endpoints.len(), MAX_ENDPOINTS + 1);
    }
}
