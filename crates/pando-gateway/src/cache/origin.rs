//! To the origin and back: what is asked, and what becomes of the answer.

use std::sync::Arc;

use http::header::{AGE, CONTENT_TYPE, RANGE, SET_COOKIE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_cache::{
    CAPABILITY, Forward, Freshness, NotStored, Report, RequestControl, Vary, assess, condition,
    freshen, has_validator, strip_conditions,
};

use super::entry::{Entry, surrogate_keys};
use super::flight::Lead;
use super::outcome::{CacheStatus, FetchFailed};
use super::pump::Target;
use super::route::{Route, asked};
use super::{now_ms, serve};
use crate::body::Body;

/// With its status for the log.
pub(super) type Answer = (Response<Body>, CacheStatus);

/// A request that goes on to the origin.
pub(super) struct Errand {
    pub(super) hash: u64,
    pub(super) address: String,
    pub(super) parts: Parts,
    /// What is stored, to be validated, or to stand in when the origin fails.
    pub(super) entry: Option<Arc<Entry>>,
    pub(super) asked: RequestControl,
    pub(super) forward: Forward,
    pub(super) lead: Option<Lead>,
}

/// To the origin; once more, without asking about what is stored, when a 304 did not fit that.
pub(super) async fn go<F, Fut>(route: Arc<Route>, errand: Errand, body: Body, fetch: F) -> Answer
where
    F: Fn(Request<Body>) -> Fut + Send + Sync + Clone + 'static,
    Fut: Future<Output = Response<Body>> + Send + 'static,
{
    let again = match attempt(&route, errand, body, &fetch).await {
        Ok(answer) => return answer,
        Err(again) => again,
    };
    match attempt(&route, *again, Body::Empty, &fetch).await {
        Ok(answer) => answer,
        // Nothing was asked about: a 304 to that is the client's.
        Err(_) => (serve::absent(missed(Forward::Stale)), CacheStatus::Absent),
    }
}

/// What is known of a request once it is with the origin.
struct Sent {
    method: Method,
    /// The client's fields, before they were made ours.
    client: HeaderMap,
    /// To ask again with, when it is about what is stored.
    again: Option<Parts>,
    /// The answer may be stored.
    keeps: bool,
    sent_ms: u64,
    moment: u64,
}

/// `Err` is what to ask instead.
async fn attempt<F, Fut>(
    route: &Arc<Route>,
    mut errand: Errand,
    body: Body,
    fetch: &F,
) -> Result<Answer, Box<Errand>>
where
    F: Fn(Request<Body>) -> Fut,
    Fut: Future<Output = Response<Body>>,
{
    let client = errand.parts.headers.clone();
    let validates = prepare(&mut errand);
    let parts = std::mem::replace(&mut errand.parts, Request::new(()).into_parts().0);
    let sent = Sent {
        keeps: parts.method == Method::GET && !parts.headers.contains_key(RANGE),
        method: parts.method.clone(),
        again: validates.then(|| parts.clone()),
        client,
        sent_ms: now_ms(),
        moment: route.store.moment(),
    };
    let response = fetch(Request::from_parts(parts, body)).await;
    let now_ms = now_ms();
    match errand.entry.clone() {
        Some(entry) if is_failure(&response) && entry.freshness.after_error(now_ms) => Ok(
            in_its_stead(errand, &sent, &entry, response.status(), now_ms),
        ),
        Some(entry) if validates && response.status() == StatusCode::NOT_MODIFIED => {
            validated(route, errand, sent, &entry, &response, now_ms)
        }
        Some(_) | None => {
            let (response, status) = brought(route, errand, &sent, response, now_ms);
            Ok((
                serve::all_as_part(response, &sent.method, &sent.client),
                status,
            ))
        }
    }
}

/// The origin failed: what is stored will do.
fn in_its_stead(
    errand: Errand,
    sent: &Sent,
    entry: &Entry,
    status: StatusCode,
    now_ms: u64,
) -> Answer {
    if let Some(lead) = errand.lead {
        lead.pass();
    }
    let report = Report {
        forward_status: Some(status),
        ttl: Some(ttl(&entry.freshness, now_ms)),
        ..missed(errand.forward)
    };
    let answer = serve::answer(entry, &sent.method, &sent.client, report, now_ms);
    (answer, CacheStatus::Stale)
}

/// 304 to a question of ours.
fn validated(
    route: &Arc<Route>,
    errand: Errand,
    sent: Sent,
    entry: &Arc<Entry>,
    response: &Response<Body>,
    now_ms: u64,
) -> Result<Answer, Box<Errand>> {
    let Some(entry) = renewed(route, entry, &sent, response, now_ms) else {
        route.store.drop_entry(errand.hash, entry);
        let mut parts = sent.again.unwrap_or(errand.parts);
        parts.headers = sent.client;
        return Err(Box::new(Errand {
            parts,
            entry: None,
            ..errand
        }));
    };
    let report = Report {
        forward_status: Some(StatusCode::NOT_MODIFIED),
        stored: true,
        ..missed(errand.forward)
    };
    let mut answer = serve::answer(&entry, &sent.method, &sent.client, report, now_ms);
    if !entry.headers.contains_key(SET_COOKIE) {
        for cookie in response.headers().get_all(SET_COOKIE) {
            answer.headers_mut().append(SET_COOKIE, cookie.clone());
        }
    }
    let store = &route.store;
    store.renew(errand.hash, &errand.address, entry.clone(), sent.moment);
    if let Some(lead) = errand.lead {
        lead.stored(entry);
    }
    Ok((answer, CacheStatus::Revalidated))
}

/// An answer of the origin's own, to be stored or not.
fn brought(
    route: &Arc<Route>,
    errand: Errand,
    sent: &Sent,
    response: Response<Body>,
    now_ms: u64,
) -> Answer {
    let report = missed(errand.forward);
    let status = match &errand.entry {
        Some(_) => CacheStatus::Expired,
        None => CacheStatus::Miss,
    };
    let asked = asked(&sent.client, errand.asked.no_store);
    let head = response.headers();
    let assessed = match sent.keeps && !is_stream(head) {
        true => assess(
            &route.rules,
            asked,
            response.status(),
            head,
            sent.sent_ms,
            now_ms,
        ),
        false => Err(NotStored::Status),
    };
    let why = match assessed {
        Ok(freshness) => {
            let target = Target {
                hash: errand.hash,
                address: errand.address,
                moment: sent.moment,
            };
            let response = route.fill(
                target,
                &sent.client,
                response,
                freshness,
                errand.lead,
                report,
            );
            return (response, status);
        }
        Err(why) => why,
    };
    if let Some(lead) = errand.lead {
        lead.pass();
    }
    if sent.keeps && !errand.asked.no_store {
        let entry = errand.entry.as_ref();
        outdated(route, errand.hash, &errand.address, entry, &response, why);
    }
    (
        unstored(&sent.client, response, report, sent.keeps, now_ms),
        status,
    )
}

/// Makes the client's request ours; whether it asks if what is stored is still right.
fn prepare(errand: &mut Errand) -> bool {
    let headers = &mut errand.parts.headers;
    // Players of media begin so: the whole is asked for, which can be stored.
    if errand.parts.method == Method::GET && serve::asks_for_all(headers) {
        headers.remove(RANGE);
    }
    let (name, value) = CAPABILITY;
    headers.append(name, value);
    let validated = errand
        .entry
        .as_ref()
        .filter(|entry| has_validator(&entry.headers));
    match validated {
        Some(entry) => {
            headers.remove(RANGE);
            condition(headers, &entry.headers);
            true
        }
        // A part is the origin's to cut out: as long as nothing is stored, it passes by.
        None if errand.parts.method == Method::GET && !headers.contains_key(RANGE) => {
            if !errand.asked.no_store {
                strip_conditions(headers);
            }
            false
        }
        None => false,
    }
}

/// The stored answer with a 304's fields; `None` when it is about another, or the answer is not to
/// be kept any longer.
fn renewed(
    route: &Route,
    entry: &Arc<Entry>,
    sent: &Sent,
    response: &Response<Body>,
    now_ms: u64,
) -> Option<Arc<Entry>> {
    let mut update = response.headers().clone();
    if !entry.headers.contains_key(SET_COOKIE) {
        // It is for the client that asked, not for what is stored.
        update.remove(SET_COOKIE);
    }
    let mut headers = freshen(&entry.headers, &update).ok()?;
    if let Some(age) = response.headers().get(AGE) {
        headers.insert(AGE, age.clone());
    }
    let asked = asked(&sent.client, false);
    let freshness = assess(
        &route.rules,
        asked,
        entry.status,
        &headers,
        sent.sent_ms,
        now_ms,
    )
    .ok()?;
    headers.remove(AGE);
    let vary = Vary::of_with(&headers, &route.key_headers)?;
    Some(Arc::new(Entry {
        scope: entry.scope,
        vary_key: if vary == entry.vary {
            entry.vary_key.clone()
        } else {
            vary.key(&sent.client)
        },
        vary,
        status: entry.status,
        surrogate_keys: surrogate_keys(&headers, &route.surrogate_header),
        headers,
        body: entry.body.clone(),
        freshness,
    }))
}

/// What is stored is not what the origin now says; and whether to wait for such answers at all.
fn outdated(
    route: &Route,
    hash: u64,
    address: &str,
    entry: Option<&Arc<Entry>>,
    response: &Response<Body>,
    why: NotStored,
) {
    if response.status().is_server_error() || why == NotStored::Authorization {
        return;
    }
    // Other statuses may be about this client, or this moment: 401, 429.
    let status = response.status();
    let definite =
        status.is_success() || status.is_redirection() || [404, 410].contains(&status.as_u16());
    if let Some(entry) = entry
        && definite
    {
        route.store.drop_entry(hash, entry);
    }
    route.store.pass(hash, address);
}

/// To the client as it is, or 304 where the client's condition was kept from the origin.
fn unstored(
    client: &HeaderMap,
    mut response: Response<Body>,
    report: Report,
    stripped: bool,
    now_ms: u64,
) -> Response<Body> {
    report.write(response.headers_mut());
    let status = response.status();
    if stripped && serve::condition_holds(status, client, response.headers(), now_ms) {
        let (parts, _) = response.into_parts();
        return serve::unchanged(parts.headers);
    }
    response
}

fn is_failure(response: &Response<Body>) -> bool {
    // The statuses of RFC 5861 section 4.
    response.extensions().get::<FetchFailed>().is_some()
        || matches!(response.status().as_u16(), 500 | 502 | 503 | 504)
}

fn is_stream(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    kind.and_then(|kind| kind.get(..17))
        .is_some_and(|kind| kind.eq_ignore_ascii_case(b"text/event-stream"))
}

pub(super) fn missed(forward: Forward) -> Report {
    Report {
        forward: Some(forward),
        ..Report::default()
    }
}

/// Seconds of freshness left; negative when stale.
pub(super) fn ttl(freshness: &Freshness, now_ms: u64) -> i64 {
    let seconds = |ms: u64| i64::try_from(ms / 1000).unwrap_or(i64::MAX);
    match freshness.remaining_ms(now_ms) {
        0 => -seconds(
            freshness
                .age_ms(now_ms)
                .saturating_sub(freshness.lifetime_ms),
        ),
        left => seconds(left),
    }
}
