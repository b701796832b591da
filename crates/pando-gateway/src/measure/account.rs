//! What is known of one request, from its head until its answer has gone or its client has:
//! however that ends, it is counted, logged and traced once.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant, SystemTime};

use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Request, Version, header};
use hyper::body::Incoming;

use super::Done;
use crate::access_log::{AccessLog, Entry};
use crate::client::Client;
use crate::clock;
use crate::forward::Served;
use crate::forward::head::TRACESTATE;
use crate::ids::Ids;
use crate::route::Route;
use crate::routing::Site;
use crate::serve::conn::ConnState;
use crate::shared::Thread;
use crate::trace::{self, Tracer};

/// The status in the log of a request whose client went before there was an answer.
const NO_ANSWER: u16 = 499;

/// See the module. Its thread is the one that it is dropped on.
pub struct Account {
    pub thread: Arc<Thread>,
    pub conn: Arc<ConnState>,
    pub begun: Instant,
    pub method: Method,
    /// As the client wrote it; `None` of a CONNECT, or of `*`.
    target: Option<PathAndQuery>,
    pub client: Client,
    pub host: Arc<str>,
    pub ids: Arc<Ids>,
    pub site: Option<Arc<Site>>,
    pub route: Option<Arc<Route>>,
    /// 0 until there is an answer.
    pub status: u16,
    pub served: Served,
    pub cache: &'static str,
    /// Whom authentication found.
    pub user: Option<Arc<str>>,
    /// It is not traffic: nothing is counted or written of it.
    pub quiet: bool,
    /// `None`: it is not logged. Until there is an answer it is: who went before is of interest.
    pub log: Option<Arc<AccessLog>>,
    /// Who takes its span, if it is recorded.
    pub tracer: Option<Arc<Tracer>>,
    details: Option<Details>,
    sent: u64,
    end: End,
}

/// How an answer's body stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// With what is still to come, if that is known.
    Open(Option<u64>),
    Complete,
    /// It broke off here or behind us.
    Broken,
}

/// What only the log and spans say.
struct Details {
    time: SystemTime,
    version: Version,
    bytes_in: u64,
    user_agent: Option<HeaderValue>,
    referer: Option<HeaderValue>,
    trace_state: Option<HeaderValue>,
}

impl Details {
    fn of(request: &Request<Incoming>) -> Self {
        let headers = request.headers();
        Self {
            time: SystemTime::now(),
            version: request.version(),
            bytes_in: http_body::Body::size_hint(request.body()).lower(),
            user_agent: headers.get(header::USER_AGENT).cloned(),
            referer: headers.get(header::REFERER).cloned(),
            trace_state: headers.get(TRACESTATE).cloned(),
        }
    }
}

impl Account {
    /// Opens it at a request's head. `detailed`: for a log or a span.
    pub fn open(
        thread: &Arc<Thread>,
        conn: &Arc<ConnState>,
        (host, ids): (&Arc<str>, &Arc<Ids>),
        (request, client): (&Request<Incoming>, Client),
        (begun, detailed): (Instant, bool),
    ) -> Box<Self> {
        conn.request_begins();
        thread.counts().begun.add(1);
        Box::new(Self {
            thread: thread.clone(),
            conn: conn.clone(),
            begun,
            method: request.method().clone(),
            target: request.uri().path_and_query().cloned(),
            client,
            host: host.clone(),
            ids: ids.clone(),
            site: None,
            route: None,
            status: 0,
            served: Served::default(),
            cache: "",
            user: None,
            quiet: false,
            log: None,
            tracer: None,
            details: detailed.then(|| Details::of(request)),
            sent: 0,
            end: End::Open(None),
        })
    }

    /// The head of the answer is known, and how long its body will be if that is known.
    pub fn answered(&mut self, status: u16, length: Option<u64>) {
        self.status = status;
        // What has no body by rule is never asked for it.
        let bodiless = self.method == Method::HEAD || matches!(status, 101 | 204 | 304);
        self.end = match length {
            Some(0) => End::Complete,
            Some(_) | None if bodiless => End::Complete,
            length => End::Open(length),
        };
    }

    pub fn sends(&mut self, bytes: u64) {
        self.sent += bytes;
        if let End::Open(Some(left)) = &mut self.end {
            *left = left.saturating_sub(bytes);
            if *left == 0 {
                self.end = End::Complete;
            }
        }
    }

    pub fn body_ends(&mut self, broken: bool) {
        if self.end != End::Complete {
            self.end = if broken { End::Broken } else { End::Complete };
        }
    }

    /// Without the query.
    pub fn path(&self) -> &str {
        self.target.as_ref().map_or("", |target| target.path())
    }

    /// The client went away before its answer was complete.
    fn is_aborted(&self) -> bool {
        matches!(self.end, End::Open(_))
    }

    fn count(&self, total: Duration) {
        let site = self.site.as_ref().map(|site| &site.name);
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let upstream = self.served.upstream.as_ref();
        self.thread.measure.shard().record(&Done {
            site,
            route: self.route.as_ref(),
            method: &self.method,
            path: self.path(),
            status: self.status,
            aborted: self.is_aborted(),
            bytes_out: self.sent,
            latency_us: micros(total).max(1),
            upstream_us: upstream.map(|_| micros(self.served.upstream_time)),
        });
    }

    fn write(&self, log: &AccessLog, details: &Details, total: Duration) {
        let path = self.target.as_ref().map_or("*", |pq| pq.as_str());
        log.record(&Entry {
            time: details.time + total,
            client: self.client.ip,
            method: &self.method,
            host: &self.host,
            path,
            version: details.version,
            status: if self.status == 0 {
                NO_ANSWER
            } else {
                self.status
            },
            aborted: self.is_aborted(),
            bytes_in: details.bytes_in,
            bytes_out: self.sent,
            site: self.site.as_ref().map_or("", |site| &site.name),
            route: self.route.as_ref().map_or("", |route| &route.name),
            upstream: self.served.upstream.as_deref().unwrap_or(""),
            worker: self.served.worker.as_deref().unwrap_or(""),
            queue: self.served.queue,
            upstream_time: self.served.upstream_time,
            total,
            retries: self.served.retries,
            cache: self.cache,
            request_id: self.ids.request_id(),
            trace_id: self.ids.trace_id(),
            user: self.user.as_deref().unwrap_or(""),
            user_agent: details.user_agent.as_ref().map_or(b"", |v| v.as_bytes()),
            referer: details.referer.as_ref().map_or(b"", |v| v.as_bytes()),
            tls: self.conn.tls_version,
        });
    }
}

impl Account {
    fn trace(&self, tracer: &Tracer, details: &Details, total: Duration) {
        let state = details.trace_state.clone();
        let told = trace::Told {
            start: details.time,
            took: total,
            version: details.version,
            user_agent: details.user_agent.as_ref(),
            state: state.filter(|_| self.ids.is_continued()),
            aborted: self.is_aborted(),
            sent: self.sent,
        };
        if let Some(span) = trace::server_span(self, told) {
            tracer.push(span);
        }
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let now = Instant::now();
        self.conn.request_ends(clock::ms_at(now));
        self.thread.counts().ended.add(1);
        if self.quiet {
            return;
        }
        let total = now.saturating_duration_since(self.begun);
        let total = total.max(Duration::from_micros(1));
        if self.thread.shared.reports.load(Relaxed) {
            self.count(total);
        }
        if let (Some(log), Some(details)) = (&self.log, &self.details) {
            self.write(log, details, total);
        }
        if let (Some(tracer), Some(details)) = (&self.tracer, &self.details) {
            self.trace(tracer, details, total);
        }
    }
}
