//! Takes a body from the upstream into the store, whether or not anybody reads it meanwhile.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, DATE};
use http::{HeaderMap, HeaderValue, Response};
use http_body::Body as _;
use http_body_util::BodyExt;
use http_cache::{Freshness, Report, RequestControl, Usable, Vary, stored_fields};
use tokio::time::{Instant, timeout};

use super::entry::{Entry, surrogate_keys};
use super::fill::Fill;
use super::flight::Lead;
use super::route::Route;
use super::serve;
use super::store::Store;
use crate::body::Body;

/// Between two pieces of a body that nobody reads any more.
const UNREAD_IDLE: Duration = Duration::from_secs(10);
/// For all of a body that nobody reads any more.
const UNREAD_TOTAL: Duration = Duration::from_secs(120);

/// Where something will be stored.
pub(super) struct Target {
    pub(super) hash: u64,
    pub(super) address: String,
    pub(super) moment: u64,
}

impl Route {
    /// Begins to store an answer; what is returned reads along.
    pub(super) fn fill(
        self: &Arc<Self>,
        target: Target,
        client: &HeaderMap,
        response: Response<Body>,
        freshness: Freshness,
        lead: Option<Lead>,
        mut report: Report,
    ) -> Response<Body> {
        let (mut parts, body) = response.into_parts();
        let length = body.size_hint().exact();
        let vary = Vary::of_with(&parts.headers, &self.key_headers);
        let fits = length.is_none_or(|length| length <= self.max_object_bytes);
        let room = || Fill::new(length, self.store.budget.clone());
        let (Some(vary), true, Some(fill)) = (vary, fits, room()) else {
            self.store.pass(target.hash, &target.address);
            if let Some(lead) = lead {
                lead.pass();
            }
            report.write(&mut parts.headers);
            return Response::from_parts(parts, body);
        };
        report.stored = true;
        let head = Entry {
            scope: self.scope,
            vary_key: vary.key(client),
            vary,
            status: parts.status,
            headers: dated(stored_fields(&parts.headers), freshness.received_ms),
            body: bytes::Bytes::new(),
            freshness,
            surrogate_keys: surrogate_keys(&parts.headers, &self.surrogate_header),
        };
        report.write(&mut parts.headers);
        parts.headers.remove("surrogate-control");
        let unchanged =
            serve::condition_holds(parts.status, client, &head.headers, freshness.received_ms);
        let reader = self.keep(target, head, body, fill, lead);
        if unchanged {
            return serve::unchanged(parts.headers);
        }
        Response::from_parts(parts, reader)
    }

    fn keep(
        self: &Arc<Self>,
        target: Target,
        head: Entry,
        body: Body,
        fill: Arc<Fill>,
        lead: Option<Lead>,
    ) -> Body {
        let fresh = head
            .freshness
            .usable(&RequestControl::default(), head.freshness.received_ms);
        let mut filling = Filling {
            store: self.store.clone(),
            hash: target.hash,
            address: target.address,
            head,
            moment: target.moment,
            max_bytes: self.max_object_bytes,
            lead,
        };
        if let Body::Empty | Body::Full(_) = &body {
            let whole = match body {
                Body::Full(Some(bytes)) => bytes,
                Body::Empty | Body::Full(None) | Body::Incoming(_) | Body::Boxed(_) => {
                    bytes::Bytes::new()
                }
            };
            filling.finish(whole.clone());
            return whole.into();
        }
        if body.is_end_stream() {
            filling.finish(bytes::Bytes::new());
            return body;
        }
        match (filling.lead.take(), fresh) {
            // To be validated before each use: of no use to who waits.
            (Some(lead), Usable::AfterValidation) => lead.pass(),
            (Some(lead), Usable::Fresh | Usable::Stale | Usable::WhileRevalidating) => {
                lead.filling(fill.clone(), Arc::new(filling.head.without_body()));
                filling.lead = Some(lead);
            }
            (None, _) => {}
        }
        let reader = fill.reader();
        tokio::spawn(filling.pump(fill, body));
        reader
    }
}

/// What becomes an entry when its body has come.
pub(super) struct Filling {
    pub(super) store: Arc<Store>,
    pub(super) hash: u64,
    pub(super) address: String,
    /// Without its body.
    pub(super) head: Entry,
    /// When it was asked for, in the order of purges.
    pub(super) moment: u64,
    pub(super) max_bytes: u64,
    pub(super) lead: Option<Lead>,
}

impl Filling {
    /// Keeps a body that is here as a whole.
    pub(super) fn finish(self, body: Bytes) -> Arc<Entry> {
        let entry = Arc::new(with_body(self.head, body));
        self.store
            .insert(self.hash, &self.address, entry.clone(), self.moment);
        if let Some(lead) = self.lead {
            lead.stored(entry.clone());
        }
        entry
    }

    pub(super) async fn pump(self, fill: Arc<Fill>, mut body: Body) {
        let begun = Instant::now();
        loop {
            let frame = match timeout(UNREAD_IDLE, body.frame()).await {
                Ok(frame) => frame,
                Err(_) if fill.is_wanted() => continue,
                Err(_) => return fill.fail(),
            };
            if begun.elapsed() > UNREAD_TOTAL && !fill.is_wanted() {
                return fill.fail();
            }
            match frame {
                None => {
                    let whole = fill.complete();
                    self.finish(whole);
                    return;
                }
                // Whoever waits asks anew: the lead is dropped without a word.
                Some(Err(_)) => return fill.fail(),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => {
                        if !fill.push(&data, self.max_bytes) {
                            self.store.pass(self.hash, &self.address);
                            fill.hand_over(Body::new(Rest::new(data, body)));
                            if let Some(lead) = self.lead {
                                lead.pass();
                            }
                            return;
                        }
                    }
                    Err(frame) => {
                        if let Ok(trailers) = frame.into_trailers() {
                            fill.trailers(trailers);
                        }
                    }
                },
            }
        }
    }
}

fn with_body(mut head: Entry, body: Bytes) -> Entry {
    set_length(&mut head.headers, body.len());
    head.body = body;
    head
}

/// With the time it was received where the origin named none (RFC 9110 section 6.6.1).
fn dated(mut headers: HeaderMap, received_ms: u64) -> HeaderMap {
    if !headers.contains_key(DATE) {
        let date = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_millis(received_ms));
        if let Ok(date) = HeaderValue::from_str(&date) {
            headers.insert(DATE, date);
        }
    }
    headers
}

fn set_length(headers: &mut HeaderMap, length: usize) {
    // A 204 has no body and says nothing of its length (RFC 9110 section 8.6).
    if length > 0 || headers.contains_key(CONTENT_LENGTH) {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
}

/// The piece that did not fit, then what follows it.
struct Rest {
    first: Option<Bytes>,
    body: Body,
}

impl Rest {
    fn new(first: Bytes, body: Body) -> Self {
        Self {
            first: Some(first),
            body,
        }
    }
}

impl http_body::Body for Rest {
    type Data = Bytes;
    type Error = crate::body::BodyError;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        if let Some(first) = self.first.take() {
            return std::task::Poll::Ready(Some(Ok(http_body::Frame::data(first))));
        }
        std::pin::Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.body.is_end_stream()
    }
}
