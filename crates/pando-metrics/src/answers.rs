//! Answers over time: series of points and endpoints over a span, out of memory and of the disk.

use std::collections::{BTreeMap, BTreeSet};

use monitor_spec::ask::{Query, Series};
use monitor_spec::metric::Metric;
use monitor_spec::now::{Endpoint, Source};

use crate::engine::{endpoint_parts, endpoint_rows};
use crate::history::block::Block;
use crate::history::points::{Plan, Points, is_coarse, wants};
use crate::history::tier::Tier;
use crate::history::{History, Hot};
use crate::row::{Scope, is_latency};
use crate::store::Store;
use crate::totals::Endpoint as Requests;

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
            let prefix = Scope::worker_keys(app);
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
            let mut label = String::new();
            if let (Scope::Worker(_, instance), true) = (&scope, several) {
                label = format!("worker {instance}");
            }
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
            let prefix = Scope::endpoint_keys(&self.app);
            let known = store.scopes(tier, &prefix, self.from_s - tier.block_s());
            for scope in known.map_err(unreadable)? {
                if let Scope::Endpoint(_, name) = scope {
                    self.parts.entry(name).or_default();
                }
            }
        }
        let mut rows = Vec::new();
        let mut seconds = BTreeSet::new();
        for (name, hot) in std::mem::take(&mut self.parts) {
            let mut sum = Requests::default();
            if let Some(store) = store {
                let scope = Scope::Endpoint(self.app.clone(), name.clone());
                let read = self.from_s - tier.block_s()..self.hot_from_s;
                let span = self.from_s..self.to_s.min(self.hot_from_s);
                for (start_s, bytes) in store.blocks(tier, &scope, read).map_err(unreadable)? {
                    add_slots(&mut sum, &mut seconds, (tier, start_s, &bytes), &span);
                }
            }
            let span = self.from_s.max(self.hot_from_s)..self.to_s;
            for (tier, start_s, bytes) in &hot {
                add_slots(&mut sum, &mut seconds, (*tier, *start_s, bytes), &span);
            }
            if !sum.is_empty() {
                rows.push((endpoint_parts(&name), sum));
            }
        }
        let known_s = (seconds.len().max(1) * 10) as f64;
        Ok(endpoint_rows(rows, self.source, known_s))
    }
}

/// Adds the slots of a block that lie in a span to `sum`, and their seconds, by tens, to
/// `seconds`.
fn add_slots(
    sum: &mut Requests,
    seconds: &mut BTreeSet<i64>,
    (tier, start_s, bytes): (Tier, i64, &[u8]),
    span: &std::ops::Range<i64>,
) {
    let Some(block) = Block::decode(bytes, |_| true, true) else {
        return;
    };
    let value = |metric: Metric, place: usize| {
        let value = block.values.get(&metric)?.get(place).copied();
        value.filter(|value| !value.is_nan()).map(f64::from)
    };
    for (place, latency) in &block.latency {
        let at = start_s + i64::from(*place) * tier.step_s();
        if !span.contains(&at) {
            continue;
        }
        seconds.extend((0..tier.step_s() / 10).map(|n| at / 10 + n));
        sum.latency.merge(latency);
        let place = usize::from(*place);
        let rate = value(Metric::Rate, place).filter(|rate| *rate > 0.0);
        let Some(rate) = rate else { continue };
        // Kept are rates; as shares of the exact count they are counts again.
        let count = latency.count() as f64;
        let errors = |metric| (value(metric, place).unwrap_or(0.0) / rate * count).round() as u64;
        sum.errors_5xx += errors(Metric::Errors5xx);
        sum.errors_4xx += errors(Metric::Errors4xx);
    }
}
