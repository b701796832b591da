//! Rate limits and limits of concurrent requests, and of open connections.
//!
//! A request meets the limits of its route in this order: rate limits counted on this machine,
//! rate limits counted over machines, the wait for its turn where a limit is not `nodelay`, and
//! last the limit of concurrent requests. What one rate limit refuses is counted by no other
//! (but by one in Redis that was asked before).
//!
//! State is in a [`LimitStore`] and survives changes of the configuration: a zone with the same
//! definition keeps its buckets.

mod answer;
mod concurrency;
mod key;
mod shared;
mod store;
mod zone;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use balance::{Bucket, Leaky, Verdict};
use gateway_spec::{ConnectionLimit, Limit};
use http::{HeaderMap, Response};

use crate::body::Body;
use crate::client::Client;
use answer::{Policy, Quota, refusal};
use concurrency::{Concurrency, Place};
pub use concurrency::{Connection, Connections, TooMany};
use key::Key;
pub use store::LimitStore;
use zone::Zone;

/// Between two lines of the log about a limit that only counts.
const DRY_RUN_LOG_MS: u64 = 1_000;
/// What is said to a client that has too many requests under way.
const CONCURRENT_RETRY_MS: u64 = 1_000;

/// The limits of one route.
pub struct Limits {
    /// Those counted on this machine first.
    rules: Vec<Rule>,
    concurrent: Option<Concurrent>,
    store: Arc<LimitStore>,
}

struct Rule {
    leaky: Leaky,
    key: Key,
    definition: String,
    zone: Arc<Zone>,
    shared: bool,
    policy: Policy,
    dry_run: Option<DryRun>,
}

#[derive(Default)]
struct DryRun {
    over: AtomicU64,
    said_ms: AtomicU64,
}

struct Concurrent {
    key: Key,
    max: u64,
    table: Arc<Concurrency>,
}

/// A request that may go on. Keep it until the answer is complete: it holds the request's place
/// among the concurrent ones.
#[derive(Debug, Default)]
pub struct Pass {
    quota: Option<Quota>,
    _place: Option<Place>,
}

impl Pass {
    /// Adds `RateLimit-Limit`, `-Remaining`, `-Reset` and `-Policy` of the limit of which least
    /// is left, if there is one.
    pub fn decorate(&self, headers: &mut HeaderMap) {
        if let Some(quota) = &self.quota {
            quota.decorate(headers);
        }
    }
}

impl Limits {
    /// `scope` tells this route from others and stays the same over changes of the configuration
    /// (site and match): limits without a `zone` count by it.
    #[must_use]
    pub fn new(
        scope: &str,
        limits: &[Limit],
        concurrent: Option<&ConnectionLimit>,
        store: &Arc<LimitStore>,
    ) -> Self {
        let mut rules: Vec<Rule> = limits
            .iter()
            .map(|limit| Rule::new(scope, limit, store))
            .collect();
        rules.sort_by_key(|rule| rule.shared);
        Self {
            rules,
            concurrent: concurrent.map(|limit| Concurrent {
                key: Key::new(&limit.per),
                max: u64::from(limit.max),
                table: store.concurrency(scope, limit),
            }),
            store: store.clone(),
        }
    }

    /// Nothing is limited.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty() && self.concurrent.is_none()
    }

    /// Counts a request; returns when its turn has come. `now_ms` is of a clock that never goes
    /// back, the same for all limits of a store.
    ///
    /// # Errors
    /// The answer to a request that is refused: 429 with `Retry-After`.
    pub async fn check(
        &self,
        client: &Client,
        head: &http::request::Parts,
        now_ms: u64,
    ) -> Result<Pass, Response<Body>> {
        let mut pass = Pass::default();
        let mut delay_ms = 0;
        // What to take back if a later rule refuses.
        let mut counted: Vec<(&Rule, u64)> = Vec::new();
        for (index, rule) in self.rules.iter().enumerate() {
            let Some(key) = rule.key.local(&self.store.hash, client, head) else {
                continue;
            };
            let (verdict, bucket) = self.decide(rule, key, client, head, now_ms).await;
            match verdict {
                Verdict::Pass => {}
                Verdict::Delay(ms) if rule.dry_run.is_none() => delay_ms = delay_ms.max(ms),
                Verdict::Reject { retry_after_ms } if rule.dry_run.is_none() => {
                    counted
                        .iter()
                        .for_each(|(rule, key)| rule.refund(*key, now_ms));
                    let quota = Quota::of(&rule.policy, &rule.leaky, &bucket, now_ms);
                    return Err(refusal(Some(&quota), retry_after_ms));
                }
                Verdict::Delay(_) | Verdict::Reject { .. } => rule.over(now_ms),
            }
            // One rule alone, the usual case, allocates nothing.
            if verdict.passes() && index + 1 < self.rules.len() {
                counted.push((rule, key));
            }
            if rule.dry_run.is_none() {
                let quota = Quota::of(&rule.policy, &rule.leaky, &bucket, now_ms);
                let least = pass
                    .quota
                    .as_ref()
                    .is_none_or(|q| quota.remaining < q.remaining);
                pass.quota = if least { Some(quota) } else { pass.quota };
            }
        }
        if delay_ms > 0 {
            tokio::time::sleep(Duration::from_millis(delay_ms)).await;
        }
        if let Some(concurrent) = &self.concurrent
            && let Some(key) = concurrent.key.local(&self.store.hash, client, head)
        {
            let place = concurrent.table.enter(key, concurrent.max);
            pass._place = Some(place.ok_or_else(|| refusal(None, CONCURRENT_RETRY_MS))?);
        }
        Ok(pass)
    }

    /// Counts a request by one rule; the bucket is as it is afterwards.
    async fn decide(
        &self,
        rule: &Rule,
        key: u64,
        client: &Client,
        head: &http::request::Parts,
        now_ms: u64,
    ) -> (Verdict, Bucket) {
        // Asked each time: a route may outlive a change of the Redis.
        let Some(shared) = rule.shared.then(|| self.store.shared()).flatten() else {
            return rule.decide_here(key, now_ms);
        };
        let copy = rule.zone.with(key, &rule.leaky, now_ms, |bucket| *bucket);
        let verdict = rule.leaky.peek(&copy, now_ms);
        if !verdict.passes() {
            return (verdict, copy);
        }
        let name = rule.key.shared(&rule.definition, client, head);
        let Some(level) = shared.pour(&name, &rule.leaky).await else {
            return rule.decide_here(key, now_ms);
        };
        // What Redis said, said again here: the same numbers, the same verdict.
        rule.zone.with(key, &rule.leaky, now_ms, |bucket| {
            *bucket = Bucket {
                level,
                last_ms: now_ms,
            };
            (rule.leaky.check(bucket, now_ms), *bucket)
        })
    }
}

impl Rule {
    fn new(scope: &str, limit: &Limit, store: &LimitStore) -> Self {
        let leaky = Leaky {
            rate: limit.rate,
            period_ms: limit.period_ms,
            burst: limit.burst,
            nodelay: limit.nodelay,
        };
        let definition = store::definition(scope, limit);
        Self {
            leaky,
            key: Key::new(&limit.per),
            zone: store.zone(&definition),
            definition,
            shared: limit.shared,
            policy: Policy::new(&leaky),
            dry_run: limit.dry_run.then(DryRun::default),
        }
    }

    fn decide_here(&self, key: u64, now_ms: u64) -> (Verdict, Bucket) {
        self.zone.with(key, &self.leaky, now_ms, |bucket| {
            (self.leaky.check(bucket, now_ms), *bucket)
        })
    }

    /// Takes a request back that was counted. Redis is not asked a second time: there a request
    /// that a later limit refuses stays counted.
    fn refund(&self, key: u64, now_ms: u64) {
        if !self.shared {
            let refund = |bucket: &mut Bucket| self.leaky.refund(bucket);
            self.zone.with(key, &self.leaky, now_ms, refund);
        }
    }

    /// A request over a limit that only counts: said once in a while, with their number.
    fn over(&self, now_ms: u64) {
        let Some(dry_run) = &self.dry_run else {
            return;
        };
        let over = dry_run.over.fetch_add(1, Relaxed) + 1;
        let said_ms = dry_run.said_ms.load(Relaxed);
        let due = over == 1 || now_ms.saturating_sub(said_ms) >= DRY_RUN_LOG_MS;
        let mine = |_| due.then_some(now_ms);
        if due && dry_run.said_ms.fetch_update(Relaxed, Relaxed, mine) == Ok(said_ms) {
            tracing::info!(
                limit = self.definition,
                over,
                "requests over a limit that only counts (dry_run)"
            );
        }
    }
}
