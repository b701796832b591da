//! The gateway as it reports itself.

use std::collections::{BTreeMap, VecDeque};

use histogram::Histogram;
use monitor_spec::edge::{Certificate, MAX_ROWS, Report, Upstream};
use monitor_spec::metric::Metric;
use monitor_spec::now::{self, EdgeRoute, Source};

use super::Moment;
use super::endpoints::Rows;
use super::meter::Window;
use super::requests::Recent;
use super::spark::{self, Point, Sparks};
use crate::row::{Row, Scope, per_second};
use crate::totals::Endpoint as Requests;

/// One that has said nothing for so long is gone.
pub(crate) const GONE_US: u64 = 15_000_000;

#[derive(Debug, Default)]
pub(crate) struct Gateway {
    waiting: VecDeque<Report>,
    last_us: Option<u64>,
    recent: Recent,
    routes: Rows,
    /// Of each (site, route).
    apps: BTreeMap<(String, String), Option<String>>,
    connections: u64,
    in_flight: u64,
    tunnels: u64,
    bytes_in: Window,
    bytes_out: Window,
    hits: Window,
    misses: Window,
    limited: Window,
    retries: Window,
    upstreams: Vec<Upstream>,
    certificates: Vec<Certificate>,
    sparks: Sparks,
}

impl Gateway {
    /// At most `room` wait.
    pub fn report(&mut self, now_us: u64, room: usize, report: Report) {
        if self.waiting.len() < room {
            self.waiting.push_back(report);
        }
        self.last_us = Some(now_us);
    }

    pub fn is_here(&self, now_us: u64) -> bool {
        self.last_us
            .is_some_and(|last| now_us.saturating_sub(last) < GONE_US)
    }

    /// The reports of this second: one, unless more wait.
    pub fn due(&mut self) -> Vec<Report> {
        let take = match self.waiting.len() {
            0 => 0,
            1 => 1,
            more => more - 1,
        };
        self.waiting.drain(..take).collect()
    }

    /// A second with these reports. `None`: there is no gateway.
    pub fn second(&mut self, at: Moment, reports: &[Report]) -> Option<Row> {
        if !self.is_here(at.us) {
            *self = Self::default();
            return None;
        }
        let mut requests = Requests::default();
        let mut sums = [0u64; 6];
        for report in reports {
            self.note(report);
            for route in report.routes.iter().take(MAX_ROWS) {
                let of_route = Requests::from(route);
                self.routes.add(&route.site, &route.route, &of_route);
                requests.add(&of_route);
            }
            for (sum, more) in sums.iter_mut().zip([
                report.bytes_in,
                report.bytes_out,
                report.cache_hits,
                report.cache_misses,
                report.limited,
                report.retries,
            ]) {
                *sum = sum.saturating_add(more);
            }
        }
        self.routes.pass(at.seconds);
        let per_second = |count| per_second(count, at.seconds);
        let windows = [
            &mut self.bytes_in,
            &mut self.bytes_out,
            &mut self.hits,
            &mut self.misses,
            &mut self.limited,
            &mut self.retries,
        ];
        for (window, sum) in windows.into_iter().zip(sums) {
            window.push(Some(per_second(sum)));
        }
        let row = self.row(&requests, sums, at.seconds);
        let mut point = Point::default();
        point.set(spark::RATE, Some(per_second(requests.requests())));
        point.set(spark::P95, requests.latency.quantile(0.95));
        point.set(spark::ERRORS, Some(per_second(requests.errors_5xx)));
        self.sparks.push(point);
        self.recent.push(at.seconds, requests);
        Some(row)
    }

    fn note(&mut self, report: &Report) {
        self.connections = report.connections;
        self.in_flight = report.in_flight;
        self.tunnels = report.tunnels;
        self.upstreams = report.upstreams.iter().take(MAX_ROWS).cloned().collect();
        self.certificates = report.certificates.iter().take(MAX_ROWS).cloned().collect();
        for route in &report.routes {
            let name = (route.site.clone(), route.route.clone());
            if self.apps.len() < MAX_ROWS || self.apps.contains_key(&name) {
                self.apps.insert(name, route.app.clone());
            }
        }
    }

    fn row(&self, requests: &Requests, sums: [u64; 6], seconds: f64) -> Row {
        let per_second = |count| per_second(count, seconds);
        let [bytes_in, bytes_out, hits, misses, limited, retries] = sums;
        let mut row = Row::new(Scope::Gateway);
        row.set_requests(requests, seconds)
            .set(Metric::InFlight, self.in_flight as f64)
            .set(Metric::Connections, self.connections as f64)
            .set(Metric::BytesIn, per_second(bytes_in))
            .set(Metric::BytesOut, per_second(bytes_out))
            .set(Metric::CacheHits, per_second(hits))
            .set(Metric::CacheMisses, per_second(misses))
            .set(Metric::Limited, per_second(limited))
            .set(Metric::Retries, per_second(retries));
        row.latency = some(&requests.latency);
        row
    }

    pub fn turn(&mut self) {
        self.routes.turn();
    }

    pub fn picture(&self, now_us: u64, histories: bool) -> Option<now::Gateway> {
        if !self.is_here(now_us) {
            return None;
        }
        let (rows, seconds) = self.routes.window();
        let mut routes: Vec<EdgeRoute> = rows
            .into_iter()
            .map(|(name, requests)| EdgeRoute {
                site: name.0.clone(),
                route: name.1.clone(),
                app: self.apps.get(name).cloned().flatten(),
                requests: requests.requests(),
                traffic: requests.traffic(Source::Gateway, 0, seconds),
            })
            .collect();
        routes.sort_by_key(|route| std::cmp::Reverse(route.requests));
        let mean = |window: &Window| window.mean().unwrap_or(0.0);
        let (hits, misses) = (mean(&self.hits), mean(&self.misses));
        Some(now::Gateway {
            connections: self.connections,
            tunnels: self.tunnels,
            traffic: self.recent.traffic(Source::Gateway, self.in_flight),
            bytes_in_per_s: mean(&self.bytes_in),
            bytes_out_per_s: mean(&self.bytes_out),
            cache_hit_ratio: (hits + misses > 0.0).then(|| hits / (hits + misses)),
            limited: mean(&self.limited),
            retries: mean(&self.retries),
            routes,
            upstreams: self.upstreams.clone(),
            certificates: self.certificates.clone(),
            history: if histories {
                self.sparks.history()
            } else {
                now::History::default()
            },
        })
    }
}

pub(crate) fn some(histogram: &Histogram) -> Option<Histogram> {
    (!histogram.is_empty()).then(|| histogram.clone())
}
