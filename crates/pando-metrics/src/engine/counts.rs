//! The counters of [`Totals`]: they only grow, by bounded rows.

use std::collections::BTreeMap;

use monitor_spec::MAX_ENDPOINTS;
use monitor_spec::agent;
use monitor_spec::edge;

use super::Moment;
use super::endpoints::{Name, other};
use super::room::{Place, Room};
use super::thread::add_gc;
use crate::totals::{
    Counted, EdgeKey, EdgeRoute, Endpoint, EndpointKey, Outgoing, OutgoingKey, Totals, Worker,
    WorkerKey,
};

/// Rows of (app, kind) of events.
const EVENT_ROWS_MAX: usize = 2_000;

#[derive(Debug)]
pub(crate) struct Counts {
    pub totals: Totals,
    now_us: u64,
    now_ms: i64,
    rows: BTreeMap<String, Rooms>,
    edge: Room,
}

/// For the rows of an app.
#[derive(Debug)]
struct Rooms {
    endpoints: Room,
    outgoing: Room,
}

impl Default for Rooms {
    fn default() -> Self {
        Self {
            endpoints: Room::new(MAX_ENDPOINTS),
            outgoing: Room::new(MAX_ENDPOINTS),
        }
    }
}

impl Counts {
    pub fn new(since_ms: i64) -> Self {
        Self {
            totals: Totals {
                since_ms,
                ..Totals::default()
            },
            now_us: 0,
            now_ms: since_ms,
            rows: BTreeMap::new(),
            edge: Room::new(edge::MAX_ROWS),
        }
    }

    /// What is counted from now on is of this second.
    pub fn at(&mut self, at: Moment) {
        self.now_us = at.us;
        self.now_ms = at.time_ms;
    }

    pub fn route(&mut self, app: &str, route: &agent::Route) {
        let requests = Endpoint::from(route);
        let total = row(&mut self.totals.apps, app.to_owned(), self.now_ms);
        add(&mut total.requests, requests.requests());
        add(&mut total.errors_4xx, requests.errors_4xx);
        add(&mut total.errors_5xx, requests.errors_5xx);
        let rooms = self.rows.entry(app.to_owned()).or_default();
        let wanted = (route.method.clone(), route.route.clone());
        let key = |(method, route): Name| EndpointKey {
            app: app.to_owned(),
            method,
            route,
        };
        let (name, gone) = settle(rooms.endpoints.place(self.now_us, &wanted), wanted);
        if let Some(gone) = gone {
            self.totals.endpoints.remove(&key(gone));
        }
        row(&mut self.totals.endpoints, key(name), self.now_ms).add(&requests);
    }

    pub fn outgoing(&mut self, app: &str, out: &agent::Outgoing) {
        let total = row(&mut self.totals.apps, app.to_owned(), self.now_ms);
        add(&mut total.outgoing, out.latency.count());
        add(&mut total.outgoing_errors, out.errors);
        let rooms = self.rows.entry(app.to_owned()).or_default();
        let wanted = (out.kind.clone(), out.peer.clone());
        let key = |(kind, peer): Name| OutgoingKey {
            app: app.to_owned(),
            kind,
            peer,
        };
        let (name, gone) = settle(rooms.outgoing.place(self.now_us, &wanted), wanted);
        if let Some(gone) = gone {
            self.totals.outgoing.remove(&key(gone));
        }
        let row: &mut Outgoing = row(&mut self.totals.outgoing, key(name), self.now_ms);
        add(&mut row.errors, out.errors);
        row.latency.merge(&out.latency);
    }

    pub fn worker(&mut self, app: &str, instance: u32, more: &Worker) {
        let key = WorkerKey {
            app: app.to_owned(),
            instance,
        };
        let row: &mut Worker = row(&mut self.totals.workers, key, self.now_ms);
        add(&mut row.cpu_us, more.cpu_us);
        add(&mut row.cpu_wait_us, more.cpu_wait_us);
        add(&mut row.context_switches, more.context_switches);
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
            add(sum, more);
        }
        for route in &report.routes {
            self.edge_route(route);
        }
    }

    fn edge_route(&mut self, route: &edge::Route) {
        let all = self.totals.gateway.classes.iter_mut();
        for (sum, more) in all.zip(route.classes) {
            add(sum, more);
        }
        let wanted = (route.site.clone(), route.route.clone());
        let key = |(site, route): Name| EdgeKey { site, route };
        let (name, gone) = settle(self.edge.place(self.now_us, &wanted), wanted);
        if let Some(gone) = gone {
            self.totals.edge.remove(&key(gone));
        }
        let shared = name == other();
        let row: &mut EdgeRoute = row(&mut self.totals.edge, key(name), self.now_ms);
        // Those without a row of their own are of several apps.
        row.app = route.app.clone().filter(|_| !shared);
        for (sum, more) in row.classes.iter_mut().zip(route.classes) {
            add(sum, more);
        }
        add(&mut row.aborted, route.aborted);
        add(&mut row.bytes_out, route.bytes_out);
        row.latency.merge(&route.latency);
        row.upstream.merge(&route.upstream);
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
        self.totals.apps.remove(app);
        self.totals.endpoints.retain(|key, _| key.app != app);
        self.totals.outgoing.retain(|key, _| key.app != app);
        self.totals.workers.retain(|key, _| key.app != app);
        self.totals.events.retain(|(of, _), _| of != app);
    }
}

fn add(sum: &mut u64, more: u64) {
    *sum = sum.saturating_add(more);
}

/// The row that a name counts in, and the one that goes for it.
fn settle(place: Place, wanted: Name) -> (Name, Option<Name>) {
    match place {
        Place::Own { gone } => (wanted, gone),
        Place::Shared => (other(), None),
    }
}

fn row<K: Ord, T: Default>(rows: &mut BTreeMap<K, Counted<T>>, key: K, now_ms: i64) -> &mut T {
    let row = rows.entry(key).or_insert_with(|| Counted {
        since_ms: now_ms,
        counts: T::default(),
    });
    &mut row.counts
}

#[cfg(test)]
mod tests {
    use monitor_spec::OTHER;

    use super::super::room::IDLE_US;
    use super::*;

    fn at(us: u64) -> Moment {
        Moment {
            time_ms: 1_000 + i64::try_from(us / 1_000).unwrap(),
            us,
            seconds: 1.0,
        }
    }

    fn route(n: u64) -> agent::Route {
        let mut route = agent::Route {
            method: "GET".into(),
            route: format!("/{n}"),
            errors_5xx: 1,
            ..agent::Route::default()
        };
        route.latency.record(5);
        route
    }

    fn named(totals: &Totals, route: &str) -> Option<(i64, u64)> {
        let of = |key: &&EndpointKey| key.app == "api" && key.route == route;
        let key = totals.endpoints.keys().find(of)?;
        let row = &totals.endpoints[key];
        Some((row.since_ms, row.counts.requests()))
    }

    #[test]
    fn no_request_is_lost_to_the_bound() {
        let mut counts = Counts::new(0);
        for n in 0..1_000 {
            counts.route("api", &route(n));
            counts.route("other", &route(n));
        }
        let totals = &counts.totals;
        assert_eq!(totals.endpoints.len(), 2 * (MAX_ENDPOINTS + 1));
        let errors = totals.endpoints.values().map(|row| row.counts.errors_5xx);
        assert_eq!(errors.sum::<u64>(), 2_000);
        let api = &totals.apps["api"].counts;
        assert_eq!((api.requests, api.errors_5xx), (1_000, 1_000));
        counts.forget("api");
        assert_eq!(counts.totals.endpoints.len(), MAX_ENDPOINTS + 1);
        assert!(!counts.totals.apps.contains_key("api"));
    }

    #[test]
    fn what_nobody_uses_makes_room_and_stays_in_the_total() {
        let mut counts = Counts::new(0);
        counts.at(at(0));
        for n in 0..250 {
            counts.route("api", &route(n));
        }
        assert_eq!(named(&counts.totals, OTHER), Some((1_000, 50)));
        // One is used all the time.
        counts.at(at(IDLE_US - 1));
        counts.route("api", &route(7));
        counts.route("api", &route(500));
        assert_eq!(named(&counts.totals, OTHER), Some((1_000, 51)));
        let now = at(IDLE_US);
        counts.at(now);
        for n in 1_000..1_199 {
            counts.route("api", &route(n));
        }
        let totals = &counts.totals;
        assert_eq!(totals.endpoints.len(), MAX_ENDPOINTS + 1);
        assert_eq!(named(totals, OTHER), Some((1_000, 51)), "never goes back");
        assert_eq!(named(totals, "/7"), Some((1_000, 2)), "is in use");
        assert_eq!(named(totals, "/8"), None);
        assert_eq!(named(totals, "/1000"), Some((now.time_ms, 1)));
        assert_eq!(totals.apps["api"].counts.requests, 250 + 2 + 199);
        // One that comes back is a new series.
        counts.at(at(3 * IDLE_US));
        counts.route("api", &route(8));
        let since_ms = at(3 * IDLE_US).time_ms;
        assert_eq!(named(&counts.totals, "/8"), Some((since_ms, 1)));
    }

    #[test]
    fn peers_and_the_gateways_routes_make_room_too() {
        let mut counts = Counts::new(0);
        for round in 0..3u64 {
            counts.at(at(round * IDLE_US));
            for n in 0..2 * edge::MAX_ROWS as u64 {
                let mut out = agent::Outgoing {
                    kind: "http".into(),
                    peer: format!("{round}-{n}:80"),
                    errors: 1,
                    ..agent::Outgoing::default()
                };
                out.latency.record(1);
                counts.outgoing("api", &out);
                counts.edge_route(&edge::Route {
                    site: "s".into(),
                    route: format!("/{round}-{n}"),
                    app: Some("api".into()),
                    classes: [0, 1, 0, 0, 0],
                    ..edge::Route::default()
                });
            }
        }
        let totals = &counts.totals;
        assert_eq!(totals.outgoing.len(), MAX_ENDPOINTS + 1);
        assert_eq!(totals.edge.len(), edge::MAX_ROWS + 1);
        let newest = totals.edge.keys().filter(|k| k.route.starts_with("/2-"));
        assert_eq!(newest.count(), edge::MAX_ROWS);
        let all = 3 * 2 * edge::MAX_ROWS as u64;
        let api = &totals.apps["api"].counts;
        assert_eq!((api.outgoing, api.outgoing_errors), (all, all));
        assert_eq!(totals.gateway.classes, [0, all, 0, 0, 0]);
        let shared = totals.edge.iter().find(|(key, _)| key.route == OTHER);
        assert_eq!(shared.unwrap().1.counts.app, None);
    }
}
