//! A request to an upstream and its answer back: choosing, connecting, sending, trying again.

mod attempt;
pub mod head;
mod spool;
mod tunnel;

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderMap, Method, Request, Response, StatusCode, header, request};
use hyper::upgrade::OnUpgrade;

use crate::body::Body;
use crate::cache::FetchFailed;
use crate::client::Client;
use crate::clock;
use crate::ids::{Ids, Recorded};
use crate::reply;
use crate::route::Route;
use crate::serve::conn::ConnState;
use crate::shared::Thread;
use crate::trace::{AttemptSpan, Tracer};
use crate::upstream::group::KeySource;
use crate::upstream::{Group, Refused, Ticket};
use attempt::{Attempt, Outcome, Trouble};
use spool::Spooled;

/// Everything about one request that is not in its head or body. Cheap to clone.
#[derive(Clone)]
pub struct Call {
    pub thread: Arc<Thread>,
    pub route: Arc<Route>,
    pub group: Arc<Group>,
    pub client: Client,
    /// The peer is a trusted proxy.
    pub trusted: bool,
    pub ids: Arc<Ids>,
    /// Who takes spans, if this request is recorded.
    pub tracer: Option<Arc<Tracer>>,
    /// The host the client asked for, with its port.
    pub host: Arc<str>,
    /// The HTTP/1.1 connection that takes informational answers.
    pub early: Option<Arc<ConnState>>,
}

impl Call {
    /// Passes 103 (RFC 8297) on to a client of HTTP/1.1. hyper's server cannot send one, so it is
    /// written beside it; over HTTP/2 there is no such way, and it is dropped.
    fn informational(&self, status: StatusCode, headers: &HeaderMap) {
        let Some(conn) = self.early.as_ref().filter(|_| status.as_u16() == 103) else {
            return;
        };
        let mut text = b"HTTP/1.1 103 Early Hints\r\n".to_vec();
        for (name, value) in headers {
            if !head::is_hop_by_hop(name) && *name != header::CONTENT_LENGTH {
                text.extend_from_slice(name.as_str().as_bytes());
                text.extend_from_slice(b": ");
                text.extend_from_slice(value.as_bytes());
                text.extend_from_slice(b"\r\n");
            }
        }
        text.extend_from_slice(b"\r\n");
        conn.push_early(text.into());
    }
}

/// What became of a request, for the log; in the answer's extensions.
#[derive(Clone, Debug, Default)]
pub struct Served {
    pub upstream: Option<Arc<str>>,
    pub worker: Option<Arc<str>>,
    pub retries: u32,
    pub queue: Duration,
    pub upstream_time: Duration,
}

/// A request that asks to leave HTTP, and the client's connection.
pub struct Upgrading {
    pub on: OnUpgrade,
    /// The protocol, `websocket`.
    pub protocol: Vec<u8>,
    /// It came by an extended CONNECT (RFC 8441).
    pub extended: bool,
}

/// Sends a request on. Never fails: an error is an answer.
pub async fn forward(
    call: &Call,
    request: Request<Body>,
    upgrade: Option<Upgrading>,
) -> Response<Body> {
    let begun = Instant::now();
    let (parts, body) = request.into_parts();
    let body = match prepare(call, &parts, body, upgrade.is_some()).await {
        Ok(body) => body,
        Err(refusal) => return refusal,
    };
    call.group.budget.request(clock::now_ms());
    let mut run = Run {
        call,
        sticky: sticky(call, &parts.headers),
        tried: Vec::new(),
        retries: 0,
        waited: begun,
        queue: Duration::ZERO,
    };
    run.all(&parts, body, upgrade).await
}

async fn prepare(
    call: &Call,
    parts: &request::Parts,
    body: Body,
    upgrade: bool,
) -> Result<Spooled, Response<Body>> {
    if upgrade {
        return Ok(Spooled::Empty);
    }
    let streams = !call.route.buffer_request || is_grpc(&parts.headers);
    spool::take(
        body,
        &parts.headers,
        call.route.body_bytes,
        streams,
        call.thread.shared.body_ms(),
    )
    .await
    .map_err(|error| reply::error(error.status(), error.why(), &call.ids))
}

fn is_grpc(headers: &HeaderMap) -> bool {
    let media = headers.get(header::CONTENT_TYPE);
    media.is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

/// The endpoint that a client's cookie names.
fn sticky(call: &Call, headers: &HeaderMap) -> Option<u64> {
    let name = call.group.spec.sticky_cookie.as_deref()?;
    u64::from_str_radix(crate::cookie::find(headers, name)?, 16).ok()
}

/// The tries of one request.
struct Run<'c> {
    call: &'c Call,
    sticky: Option<u64>,
    tried: Vec<u64>,
    retries: u32,
    waited: Instant,
    queue: Duration,
}

impl Run<'_> {
    async fn all(
        &mut self,
        parts: &request::Parts,
        mut body: Spooled,
        mut upgrade: Option<Upgrading>,
    ) -> Response<Body> {
        let group = &self.call.group;
        let limit = Duration::from_millis(self.call.route.timeout_ms);
        let deadline = tokio::time::Instant::from_std(self.waited + limit);
        let key = group.key(&KeySource {
            ip: self.call.client.ip,
            path: parts.uri.path(),
            query: parts.uri.query(),
            headers: &parts.headers,
        });
        loop {
            let ticket = match group.acquire(key, self.sticky, &self.tried).await {
                Ok(ticket) => ticket,
                Err(refused) => return self.refused(refused),
            };
            self.queue = self.waited.elapsed();
            let sent = Instant::now();
            let endpoint = ticket.endpoint.clone();
            let attempt = async {
                match self.call.tracer.as_ref().zip(self.call.ids.recorded()) {
                    None => {
                        let traceparent = self.call.ids.traceparent();
                        let attempt = self.attempt(ticket, parts, traceparent);
                        attempt.run(&mut body, &mut upgrade).await
                    }
                    // Boxed: most requests are not recorded.
                    Some(traced) => {
                        let attempt = self.traced(traced, ticket, parts, &mut body, &mut upgrade);
                        Box::pin(attempt).await
                    }
                }
            };
            let Ok(outcome) = tokio::time::timeout_at(deadline, attempt).await else {
                group.timed_out(&endpoint, sent.elapsed());
                return self.error(&Trouble::Timeout, Some(endpoint.known.label.clone()));
            };
            match outcome {
                Outcome::Answer(mut response, ticket_id) => {
                    let failed = group
                        .spec
                        .retry
                        .statuses
                        .contains(&response.status().as_u16());
                    if failed && self.may_retry(parts, &body, false) {
                        self.tried.push(ticket_id);
                        continue;
                    }
                    self.finish(&mut response, sent.elapsed(), ticket_id);
                    return response;
                }
                Outcome::Failed {
                    trouble,
                    undelivered,
                    ticket,
                } => {
                    ticket.failed();
                    let upstream = ticket.endpoint.known.label.clone();
                    tracing::debug!(%upstream, %trouble, undelivered, "an attempt failed");
                    if upgrade.is_some() && !undelivered
                        || !self.may_retry(parts, &body, undelivered)
                    {
                        return self.error(&trouble, Some(upstream));
                    }
                    self.tried.push(ticket.endpoint.id);
                }
            }
        }
    }

    fn attempt<'a>(
        &'a self,
        ticket: Ticket,
        parts: &'a request::Parts,
        traceparent: Option<&'a str>,
    ) -> Attempt<'a> {
        Attempt {
            call: self.call,
            ticket,
            parts,
            traceparent,
        }
    }

    /// One try with its span.
    async fn traced(
        &self,
        (tracer, recorded): (&Arc<Tracer>, &Recorded),
        ticket: Ticket,
        parts: &request::Parts,
        body: &mut Spooled,
        upgrade: &mut Option<Upgrading>,
    ) -> Outcome {
        let target = (&parts.method, &parts.uri);
        let span = AttemptSpan::begin(tracer, recorded, &ticket.endpoint, target, self.retries);
        let attempt = self.attempt(ticket, parts, Some(span.traceparent()));
        let outcome = attempt.run(body, upgrade).await;
        span.end(match &outcome {
            Outcome::Answer(response, _) => Ok(response.status().as_u16()),
            Outcome::Failed { trouble, .. } => Err(trouble.kind()),
        });
        outcome
    }

    /// Whether another try may be made, counted if so.
    fn may_retry(&mut self, parts: &request::Parts, body: &Spooled, undelivered: bool) -> bool {
        let retry = &self.call.group.spec.retry;
        let possible = self.retries < retry.attempts && body.is_replayable();
        let harmless = undelivered || is_idempotent(parts);
        let granted =
            possible && harmless && (undelivered || self.call.group.budget.retry(clock::now_ms()));
        if granted {
            self.retries += 1;
            self.call.thread.counts().retries.add(1);
        }
        granted
    }

    fn finish(&self, response: &mut Response<Body>, upstream_time: Duration, id: u64) {
        let group = &self.call.group;
        if let (Some(name), true) = (&group.spec.sticky_cookie, self.sticky != Some(id)) {
            let secure = match self.call.client.scheme {
                crate::client::Scheme::Https => "; Secure",
                crate::client::Scheme::Http => "",
            };
            let cookie = format!("{name}={id:016x}; Path=/; HttpOnly; SameSite=Lax{secure}");
            if let Ok(cookie) = cookie.parse() {
                response.headers_mut().append(header::SET_COOKIE, cookie);
            }
        }
        if let Some(served) = response.extensions_mut().get_mut::<Served>() {
            served.retries = self.retries;
            served.queue = self.queue;
            served.upstream_time = upstream_time;
        }
    }

    fn refused(&self, refused: Refused) -> Response<Body> {
        let (why, retry_after) = match refused {
            Refused::Empty => ("no upstream is there", 1),
            Refused::Absent => return self.absent(),
            Refused::Busy => ("no upstream was free in time", 1),
            Refused::QueueFull => ("too many requests wait already", 1),
            Refused::Open { retry_after_ms } => (
                "the upstream fails and is given a pause",
                retry_after_ms.div_ceil(1000).max(1),
            ),
        };
        tracing::warn!(upstreams = %self.call.group.name, why, "a request was refused");
        let mut response = reply::error(StatusCode::SERVICE_UNAVAILABLE, why, &self.call.ids);
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, retry_after.into());
        self.mark(response, None)
    }

    /// Nobody is there, and the reason is known.
    fn absent(&self) -> Response<Body> {
        let why = self.call.group.absence();
        let why = why
            .as_ref()
            .map_or("no upstream is there", |why| why.as_str());
        tracing::warn!(upstreams = %self.call.group.name, why, "a request was refused");
        let response = reply::error(StatusCode::SERVICE_UNAVAILABLE, why, &self.call.ids);
        self.mark(response, None)
    }

    fn error(&self, trouble: &Trouble, upstream: Option<Arc<str>>) -> Response<Body> {
        let status = match trouble {
            Trouble::Timeout => StatusCode::GATEWAY_TIMEOUT,
            Trouble::Connect(_) | Trouble::Exchange(_) | Trouble::H2(_) => StatusCode::BAD_GATEWAY,
            Trouble::Client(_) => StatusCode::BAD_REQUEST,
        };
        let name: &str = upstream.as_deref().unwrap_or(&self.call.group.name);
        tracing::warn!(
            upstream = name,
            route = %self.call.route.name,
            request_id = self.call.ids.request_id(),
            retries = self.retries,
            "no answer: {trouble}"
        );
        let response = reply::error(status, trouble.public(), &self.call.ids);
        self.mark(response, upstream)
    }

    fn mark(&self, mut response: Response<Body>, upstream: Option<Arc<str>>) -> Response<Body> {
        response.extensions_mut().insert(FetchFailed);
        response.extensions_mut().insert(Served {
            upstream,
            worker: None,
            retries: self.retries,
            queue: self.queue,
            upstream_time: self.waited.elapsed().saturating_sub(self.queue),
        });
        response
    }
}

/// A second sending does no harm (RFC 9110 section 9.2.1), or the client says so.
fn is_idempotent(parts: &request::Parts) -> bool {
    let safe = matches!(
        parts.method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE
    );
    safe || parts.headers.contains_key("idempotency-key")
}
