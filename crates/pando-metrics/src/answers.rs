//! Answers over time: series of points and endpoints over a span, out of memory and of the disk.

use std::collections::{BTreeMap, BTreeSet};

use histogram::Histogram;
use monitor_spec::MAX_ENDPOINTS;
use monitor_spec::ask::{Query, Series};
use monitor_spec::metric::Metric;
use monitor_spec::now::{Endpoint, Source, Traffic};

use crate::engine::latency;
use crate::history::block::Block;
use crate::history::points::{Plan, Points, is_coarse, wants};
use crate::history::tier::Tier;
use crate::history::{History, Hot};
use crate::row::{Scope, is_latency};
use crate::store::Store;

/// A question about series, with what memory has for it.
pub struct SeriesRead {
    plan: Plan,
    metric: Metric,
    now_s: i64,
    hot_from_s: i64,
    /// Each worker of this app is asked for, also those that only the disk knows.
    of_app: Option<String>,
    parts: Vec<(Scope, Vec<Hot>)>,
}

fn scope_of(query: &Query) -> Scope {
    match (&query.endpoint, query.worker) {
        (Some(endpoint), _) => Scope::Endpoint(query.app.clone(), endpoint.clone()),
        (None, Some(worker)) => Scope::Worker(query.app.clone(), worker),
        (None, None) if !query.app.is_empty() => Scope::App(query.app.clone()),
        (None, None) if is_of_host(query.metric) => Scope::Host,
        (None, None) => Scope::Gateway,
    }
}

fn is_of_host(metric: Metric) -> bool {
    [
        Metric::HostCpu,
        Metric::HostLoad,
        Metric::HostMemoryAvailable,
    ]
    .contains(&metric)
}

impl SeriesRead {
    pub fn new(query: &Query, history: &History, now_s: i64) -> Self {
        let by_worker = query.by_worker && query.endpoint.is_none() && query.worker.is_none();
        let scopes = if by_worker {
            let app = &query.app;
            history.scopes(|scope| matches!(scope, Scope::Worker(known, _) if known == app))
        } else {
            vec![scope_of(query)]
        };
        let coarse = if by_worker {
            is_latency(query.metric)
        } else {
            is_coarse(query.metric, &scope_of(query))
        };
        let parts = scopes.into_iter().map(|scope| {
            let hot = history.hot(&scope);
            (scope, hot)
        });
        Self {
            plan: Plan::new(query, now_s, coarse),
            metric: query.metric,
            now_s,
            hot_from_s: history.hot_from_s().unwrap_or(now_s),
            of_app: by_worker.then(|| query.app.clone()),
            parts: parts.collect(),
        }
    }

    /// # Errors
    /// One sentence: the store cannot be read.
    pub fn answer(mut self, store: Option<&Store>) -> Result<Vec<Series>, String> {
        let store = store.filter(|_| self.plan.from_s < self.hot_from_s);
        if let (Some(store), Some(app)) = (store, &self.of_app) {
            let prefix = format!("worker\u{1f}{app}\u{1f}");
            let known = store.scopes(self.plan.tier, &prefix, self.plan.from_s);
            for scope in known.map_err(unreadable)? {
                if !self.parts.iter().any(|(known, _)| *known == scope) {
                    self.parts.push((scope, Vec::new()));
                }
            }
            self.parts.sort_by(|a, b| a.0.cmp(&b.0));
        }
        let parts = std::mem::take(&mut self.parts);
        let several = self.of_app.is_some();
        let mut all = Vec::new();
        for (scope, hot) in parts {
            let (any, values) = self.points(store, &scope, &hot)?;
            let label = match &scope {
                Scope::Worker(_, instance) if several => format!("worker {instance}"),
                Scope::Worker(..)
                | Scope::Host
                | Scope::Gateway
                | Scope::App(_)
                | Scope::Endpoint(..) => String::new(),
            };
            if any || !several {
                all.push(Series {
                    label,
                    unit: self.metric.unit().into(),
                    start_ms: self.plan.from_s * 1_000,
                    step_ms: self.plan.step_s * 1_000,
                    values,
                });
            }
        }
        Ok(all)
    }

    fn points(
        &self,
        store: Option<&Store>,
        scope: &Scope,
        hot: &[Hot],
    ) -> Result<(bool, Vec<Option<f64>>), String> {
        let mut points = Points::new(self.plan, self.metric);
        let tier = self.plan.tier.max(Tier::finest(scope));
        if let Some(store) = store {
            let from_s = self.plan.from_s - tier.block_s();
            let blocks = store.blocks(tier, scope, from_s..self.hot_from_s.min(self.now_s));
            for (start_s, bytes) in blocks.map_err(unreadable)? {
                if let Some(block) = decode(&bytes, self.metric) {
                    points.add(tier, start_s, &block, i64::MIN..self.hot_from_s);
                }
            }
        }
        for (tier, start_s, bytes) in hot {
            if let Some(block) = decode(bytes, self.metric) {
                points.add(*tier, *start_s, &block, self.hot_from_s..i64::MAX);
            }
        }
        Ok((points.any, points.finish()))
    }
}

fn decode(bytes: &[u8], metric: Metric) -> Option<Block> {
    Block::decode(bytes, wants(metric), is_latency(metric))
}

/// For whoever asked.
pub fn unreadable(error: rusqlite::Error) -> String {
    format!("the store cannot be read: {error}")
}

/// A question about the endpoints of an app, with what memory has for it.
pub struct EndpointsRead {
    app: String,
    source: Source,
    from_s: i64,
    to_s: i64,
    now_s: i64,
    hot_from_s: i64,
    parts: BTreeMap<String, Vec<Hot>>,
}

#[derive(Default)]
struct Sum {
    latency: Histogram,
    errors_5xx: f64,
    errors_4xx: f64,
}

impl EndpointsRead {
    pub fn new(
        app: String,
        span_ms: (i64, i64),
        source: Source,
        history: &History,
        now_s: i64,
    ) -> Self {
        let is_of_app = |scope: &Scope| matches!(scope, Scope::Endpoint(known, _) if *known == app);
        let scopes = history.scopes(is_of_app).into_iter();
        let parts = scopes.filter_map(|scope| {
            let hot = history.hot(&scope);
            match scope {
                Scope::Endpoint(_, name) => Some((name, hot)),
                Scope::Host | Scope::Gateway | Scope::App(_) | Scope::Worker(..) => None,
            }
        });
        let parts = parts.collect();
        let oldest = now_s - Tier::Minutes.keep_s();
        Self {
            app,
            source,
            from_s: span_ms.0.div_euclid(1_000).clamp(oldest, now_s),
            to_s: span_ms.1.div_euclid(1_000).clamp(oldest, now_s + 1),
            now_s,
            hot_from_s: history.hot_from_s().unwrap_or(now_s),
            parts,
        }
    }

    /// # Errors
    /// One sentence: the store cannot be read.
    pub fn answer(mut self, store: Option<&Store>) -> Result<Vec<Endpoint>, String> {
        let tier = if self.now_s - self.from_s <= Tier::Tens.keep_s() {
            Tier::Tens
        } else {
            Tier::Minutes
        };
        let store = store.filter(|_| self.from_s < self.hot_from_s);
        if let Some(store) = store {
            let prefix = format!("endpoint\u{1f}{}\u{1f}", self.app);
            let known = store.scopes(tier, &prefix, self.from_s - tier.block_s());
            for scope in known.map_err(unreadable)? {
                if let Scope::Endpoint(_, name) = scope {
                    self.parts.entry(name).or_default();
                }
            }
        }
        let mut sums: BTreeMap<String, Sum> = BTreeMap::new();
        let mut seconds: BTreeSet<i64> = BTreeSet::new();
        for (name, hot) in std::mem::take(&mut self.parts) {
            let mut sum = Sum::default();
            if let Some(store) = store {
                let scope = Scope::Endpoint(self.app.clone(), name.clone());
                let span = self.from_s - tier.block_s()..self.hot_from_s;
                for (start_s, bytes) in store.blocks(tier, &scope, span).map_err(unreadable)? {
                    let span = self.from_s..self.to_s.min(self.hot_from_s);
                    sum.add(tier, start_s, &bytes, span, &mut seconds);
                }
            }
            for (tier, start_s, bytes) in &hot {
                let span = self.from_s.max(self.hot_from_s)..self.to_s;
                sum.add(*tier, *start_s, bytes, span, &mut seconds);
            }
            if !sum.latency.is_empty() {
                sums.insert(name, sum);
            }
        }
        // Slots of ten seconds, told by each.
        let known_s = (seconds.len().max(1) * 10) as f64;
        Ok(rows(sums, known_s, self.source))
    }
}

impl Sum {
    fn add(
        &mut self,
        tier: Tier,
        start_s: i64,
        bytes: &[u8],
        span: std::ops::Range<i64>,
        seconds: &mut BTreeSet<i64>,
    ) {
        let Some(block) = Block::decode(bytes, |_| true, true) else {
            return;
        };
        let value = |metric: Metric, place: usize| {
            let column = block.values.get(&metric)?;
            column
                .get(place)
                .copied()
                .filter(|v| !v.is_nan())
                .map(f64::from)
        };
        for (place, latency) in &block.latency {
            let at = start_s + i64::from(*place) * tier.step_s();
            if !span.contains(&at) {
                continue;
            }
            seconds.extend((0..tier.step_s() / 10).map(|n| at / 10 + n));
            self.latency.merge(latency);
            let place = usize::from(*place);
            let rate = value(Metric::Rate, place).filter(|rate| *rate > 0.0);
            let Some(rate) = rate else { continue };
            // Kept are rates; as shares of the exact count they are counts again.
            let count = latency.count() as f64;
            let errors = |metric| (value(metric, place).unwrap_or(0.0) / rate * count).round();
            self.errors_5xx += errors(Metric::Errors5xx);
            self.errors_4xx += errors(Metric::Errors4xx);
        }
    }
}

fn rows(sums: BTreeMap<String, Sum>, known_s: f64, source: Source) -> Vec<Endpoint> {
    let all_us: f64 = sums.values().map(|sum| sum.latency.sum() as f64).sum();
    let mut rows: Vec<Endpoint> = sums
        .into_iter()
        .map(|(name, sum)| {
            let (method, route) = name.split_once(' ').unwrap_or(("", &name));
            Endpoint {
                method: method.to_owned(),
                route: route.to_owned(),
                requests: sum.latency.count(),
                time_share: sum.latency.sum() as f64 / all_us.max(1.0),
                traffic: Traffic {
                    source,
                    rate: sum.latency.count() as f64 / known_s,
                    errors_5xx: sum.errors_5xx / known_s,
                    errors_4xx: sum.errors_4xx / known_s,
                    in_flight: 0,
                    latency: latency(&sum.latency),
                },
            }
        })
        .collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.requests));
    rows.truncate(MAX_ENDPOINTS + 1);
    rows
}
