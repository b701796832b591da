//! GET and HEAD: from the store, along with another request, or from the origin.

use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::time::Duration;

use http::header::{AGE, AUTHORIZATION, CACHE_CONTROL, CONTENT_LENGTH, PRAGMA, RANGE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use http_cache::{Forward, Report, RequestControl, Usable, Vary, strip_conditions};
use tokio::time::{Instant, timeout_at};

use super::entry::{Entry, Slot};
use super::fill::Fill;
use super::flight::{Joined, Phase};
use super::origin::{Answer, Errand, go, missed, ttl};
use super::outcome::CacheStatus;
use super::route::{Route, path};
use super::{now_ms, serve};
use crate::body::Body;

/// How long a request waits for another's answer before it goes on alone.
const COLLAPSE_WAIT: Duration = Duration::from_secs(5);
/// How often it waits for a further leader when the one before went away.
const MAX_LEADERS: usize = 3;

/// What is known of a request that memory alone does not answer.
pub(super) struct Search {
    hash: u64,
    address: String,
    asked: RequestControl,
    slot: Option<Arc<Slot>>,
    entry: Option<Arc<Entry>>,
}

/// A hit in memory, without waiting for anything.
pub(super) fn in_memory<F, Fut>(
    route: &Arc<Route>,
    scheme: &str,
    host: &str,
    parts: &Parts,
    fetch: &F,
) -> Result<Answer, Search>
where
    F: Fn(Request<Body>) -> Fut + Send + Sync + Clone + 'static,
    Fut: Future<Output = Response<Body>> + Send + 'static,
{
    let asked = control(&parts.headers);
    let address = route.address(scheme, host, path(&parts.uri));
    let hash = address.hash(&route.store.hasher);
    let slot = route.store.slot(hash, &address);
    let found = slot
        .as_ref()
        .and_then(|slot| slot.find(route.scope, &parts.headers));
    if let Some(entry) = found
        && let Some(answer) = at_once(entry, parts, &asked)
    {
        if answer.1 == CacheStatus::Updating {
            let (text, slot, fetch) = (address.text(), slot.as_deref(), fetch.clone());
            revalidate_behind(route, hash, text, parts, entry.clone(), slot, fetch);
        }
        return Ok(answer);
    }
    Err(Search {
        hash,
        address: address.text(),
        asked,
        entry: found.cloned(),
        slot,
    })
}

/// From disk, along with another request, or from the origin.
pub(super) async fn beyond_memory<F, Fut>(
    route: Arc<Route>,
    search: Search,
    parts: Parts,
    body: Body,
    fetch: F,
) -> Answer
where
    F: Fn(Request<Body>) -> Fut + Send + Sync + Clone + 'static,
    Fut: Future<Output = Response<Body>> + Send + 'static,
{
    let Search {
        hash,
        address,
        asked,
        slot,
        mut entry,
    } = search;
    if entry.is_none() {
        let store = &route.store;
        entry = store
            .fetch_from_disk(hash, &address, route.scope, &parts.headers)
            .await;
        let stored = entry.as_ref();
        if let Some(answer) = stored.and_then(|entry| at_once(entry, &parts, &asked)) {
            return answer;
        }
    }
    if asked.only_if_cached {
        let report = missed(Forward::UriMiss);
        return (serve::absent(report), CacheStatus::Absent);
    }
    let errand = Errand {
        forward: match (&entry, &slot) {
            (Some(_), _) if asked.no_cache => Forward::Request,
            (Some(_), _) => Forward::Stale,
            (None, Some(slot)) if !slot.entries.is_empty() => Forward::VaryMiss,
            (None, _) => Forward::UriMiss,
        },
        hash,
        address,
        parts,
        entry,
        asked,
        lead: None,
    };
    if shares(&errand, slot.as_deref()) {
        return join(&route, errand, slot.as_deref(), body, fetch).await;
    }
    go(route, errand, body, fetch).await
}

/// Cache-Control is rare in requests: nothing is parsed without it.
fn control(headers: &HeaderMap) -> RequestControl {
    if headers.contains_key(CACHE_CONTROL) || headers.contains_key(PRAGMA) {
        return RequestControl::parse(headers);
    }
    RequestControl::default()
}

/// Whether a request may wait for another's answer, or others for its.
fn shares(errand: &Errand, slot: Option<&Slot>) -> bool {
    errand.parts.method == Method::GET
        && !errand.asked.no_cache
        && !errand.asked.no_store
        && !errand.parts.headers.contains_key(AUTHORIZATION)
        && !errand.parts.headers.contains_key(RANGE)
        && slot.is_none_or(|slot| slot.pass_until_ms <= now_ms())
        && errand.entry.as_ref().is_none_or(|entry| is_for_many(entry))
}

/// Whether an entry, once validated, serves more than the one request that it was validated for.
fn is_for_many(entry: &Entry) -> bool {
    !entry.freshness.always_validate && entry.freshness.lifetime_ms > 0
}

/// What needs no one else.
fn at_once(entry: &Arc<Entry>, parts: &Parts, asked: &RequestControl) -> Option<Answer> {
    let now_ms = now_ms();
    let status = match entry.freshness.usable(asked, now_ms) {
        Usable::Fresh => CacheStatus::Hit,
        Usable::Stale => CacheStatus::Stale,
        Usable::WhileRevalidating => CacheStatus::Updating,
        Usable::AfterValidation => return None,
    };
    let report = Report {
        ttl: Some(ttl(&entry.freshness, now_ms)),
        ..Report::default()
    };
    let answer = serve::answer(entry, &parts.method, &parts.headers, report, now_ms);
    Some((answer, status))
}

fn revalidate_behind<F, Fut>(
    route: &Arc<Route>,
    hash: u64,
    address: String,
    parts: &Parts,
    entry: Arc<Entry>,
    slot: Option<&Slot>,
    fetch: F,
) where
    F: Fn(Request<Body>) -> Fut + Send + Sync + Clone + 'static,
    Fut: Future<Output = Response<Body>> + Send + 'static,
{
    let key = flight_key(route, hash, &parts.headers, slot);
    let Joined::Lead(lead) = route.store.join(key, &address) else {
        return;
    };
    let mut parts = parts.clone();
    parts.method = Method::GET;
    parts.headers.remove(RANGE);
    strip_conditions(&mut parts.headers);
    let errand = Errand {
        hash,
        address,
        parts,
        entry: Some(entry),
        asked: RequestControl::default(),
        forward: Forward::Stale,
        lead: Some(lead),
    };
    tokio::spawn(go(route.clone(), errand, Body::Empty, fetch));
}

/// One flight for all requests that, as far as is known, get the same answer.
fn flight_key(route: &Route, hash: u64, request: &HeaderMap, slot: Option<&Slot>) -> u64 {
    let mut hasher = route.store.hasher.build_hasher();
    hasher.write_u64(hash);
    hasher.write_u64(route.scope);
    let newest = slot.and_then(|slot| slot.entries.iter().find(|entry| entry.scope == route.scope));
    match newest {
        Some(entry) => hasher.write(&entry.vary.key(request)),
        None => {
            let vary = Vary::of_with(&HeaderMap::new(), &route.key_headers);
            hasher.write(&vary.unwrap_or_default().key(request));
        }
    }
    hasher.finish()
}

async fn join<F, Fut>(
    route: &Arc<Route>,
    mut errand: Errand,
    slot: Option<&Slot>,
    body: Body,
    fetch: F,
) -> Answer
where
    F: Fn(Request<Body>) -> Fut + Send + Sync + Clone + 'static,
    Fut: Future<Output = Response<Body>> + Send + 'static,
{
    let key = flight_key(route, errand.hash, &errand.parts.headers, slot);
    let deadline = Instant::now() + COLLAPSE_WAIT;
    for _ in 0..MAX_LEADERS {
        let mut waiter = match route.store.join(key, &errand.address) {
            Joined::Lead(lead) => {
                errand.lead = Some(lead);
                break;
            }
            Joined::Wait(waiter) => waiter,
            Joined::Alone => break,
        };
        let outcome = waiter.outcome(route.scope, &errand.parts.headers);
        match timeout_at(deadline, outcome).await {
            Ok(Phase::Filling(fill, head)) => return along(&fill, &head, &errand.parts),
            Ok(Phase::Stored(entry)) if entry.matches(route.scope, &errand.parts.headers) => {
                let Some((mut response, _)) = at_once(&entry, &errand.parts, &errand.asked) else {
                    break;
                };
                relabel(response.headers_mut(), errand.forward);
                return (response, CacheStatus::Collapsed);
            }
            Ok(Phase::Abandoned) => {}
            Ok(Phase::Stored(_) | Phase::Asked | Phase::Passed) | Err(_) => break,
        }
    }
    go(route.clone(), errand, body, fetch).await
}

/// The body as it streams in for somebody else.
fn along(fill: &Arc<Fill>, head: &Entry, parts: &Parts) -> Answer {
    let now_ms = now_ms();
    let mut headers = head.headers.clone();
    headers.insert(AGE, HeaderValue::from(head.freshness.age_ms(now_ms) / 1000));
    relabel(&mut headers, Forward::UriMiss);
    let received_ms = head.freshness.received_ms;
    if serve::condition_holds(head.status, &parts.headers, &head.headers, received_ms) {
        return (serve::unchanged(headers), CacheStatus::Collapsed);
    }
    if let Some(length) = fill.length {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    (
        serve::response(head.status, headers, fill.reader()),
        CacheStatus::Collapsed,
    )
}

fn relabel(headers: &mut HeaderMap, forward: Forward) {
    headers.remove("cache-status");
    let report = Report {
        collapsed: true,
        ..missed(forward)
    };
    report.write(headers);
}
