//! One try at one endpoint.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, Version, request, response};
use http_body::{Body as _, Frame, SizeHint};
use tokio::time::Sleep;

use super::head::{self, Length, Onward, Upgrade};
use super::spool::Spooled;
use super::{Call, Served, Upgrading, tunnel};
use crate::body::{Body, BodyError};
use crate::clock;
use crate::upstream::endpoint::Kept;
use crate::upstream::{Endpoint, Ticket, connect, h1, h2};

pub struct Attempt<'c> {
    pub call: &'c Call,
    pub ticket: Ticket,
    pub parts: &'c request::Parts,
    pub traceparent: Option<&'c str>,
}

pub enum Outcome {
    /// With the endpoint's id.
    Answer(Response<Body>, u64),
    Failed {
        trouble: Trouble,
        /// No program can have read the request.
        undelivered: bool,
        ticket: Ticket,
    },
}

#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    #[error("{0}")]
    Exchange(h1::Problem),
    #[error("HTTP/2: {0}")]
    H2(hyper::Error),
    #[error("no answer in time")]
    Timeout,
    #[error("the client's body: {0}")]
    Client(BodyError),
}

impl Trouble {
    /// For traces: few different ones.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Connect(_) => "connect",
            Self::Exchange(h1::Problem::Closed | h1::Problem::Io(_)) => "closed",
            Self::Exchange(_) | Self::H2(_) => "invalid_answer",
            Self::Timeout => "timeout",
            Self::Client(_) => "request_body",
        }
    }

    /// What the client is told: no addresses.
    pub fn public(&self) -> &'static str {
        match self {
            Self::Connect(_) => "the upstream cannot be reached",
            Self::Exchange(h1::Problem::Closed | h1::Problem::Io(_)) => {
                "the upstream closed the connection without an answer"
            }
            Self::Exchange(_) | Self::H2(_) => "the upstream's answer is not valid",
            Self::Timeout => "the upstream did not answer in time",
            Self::Client(_) => "the request's body broke off",
        }
    }
}

/// Puts a connection back to its endpoint.
struct Keep {
    endpoint: Arc<Endpoint>,
    thread: usize,
    idle: usize,
    idle_ms: u64,
}

impl h1::Keeper for Keep {
    fn keep(&self, mut conn: h1::Conn) {
        conn.keep_until_ms =
            clock::now_ms() + conn.keep_alive_ms.unwrap_or(u64::MAX).min(self.idle_ms);
        let mut kept = self.endpoint.kept(self.thread);
        if kept.idle.len() < self.idle {
            kept.idle.push(conn);
        }
    }
}

enum Line {
    H1(h1::Conn),
    H2(h2::Shared),
}

impl Attempt<'_> {
    pub async fn run(self, body: &mut Spooled, upgrade: &mut Option<Upgrading>) -> Outcome {
        let line = match self.kept_line() {
            Some(line) => Ok(line),
            None => Box::pin(self.new_line()).await,
        };
        let line = match line {
            Ok(line) => line,
            Err(error) => return self.fail(Trouble::Connect(error), true),
        };
        match line {
            Line::H1(conn) => self.over_h1(conn, body, upgrade).await,
            Line::H2(shared) => Box::pin(self.over_h2(shared, body)).await,
        }
    }

    fn fail(self, trouble: Trouble, undelivered: bool) -> Outcome {
        Outcome::Failed {
            trouble,
            undelivered,
            ticket: self.ticket,
        }
    }

    /// A connection that waits for its next request.
    fn kept_line(&self) -> Option<Line> {
        let endpoint = &self.ticket.endpoint;
        let thread = self.call.thread.index;
        {
            let kept = endpoint.kept(thread);
            if let Some(shared) = kept.h2.as_ref().filter(|h2| !h2.is_closed()) {
                return Some(Line::H2(shared.clone()));
            }
        }
        endpoint.checkout(thread, clock::now_ms()).map(Line::H1)
    }

    async fn new_line(&self) -> io::Result<Line> {
        let endpoint = &self.ticket.endpoint;
        let thread = self.call.thread.index;
        let client = &self.call.client;
        let addresses = Some((client.peer, client.local));
        let (stream, is_h2) = connect::connect(&self.ticket.group, endpoint, addresses).await?;
        if !is_h2 {
            return Ok(Line::H1(h1::Conn::new(stream)));
        }
        let shared = h2::Shared::open(stream).await.map_err(io::Error::other)?;
        if self.ticket.group.spec.proxy_protocol.is_some() {
            return Ok(Line::H2(shared));
        }
        let mut kept = endpoint.kept(thread);
        let Kept { h2, .. } = &mut *kept;
        Ok(Line::H2(h2.insert(shared).clone()))
    }

    fn onward<'o>(
        &'o self,
        target: &'o str,
        host: &'o [u8],
        length: Length,
        upgrade: Option<Upgrade<'o>>,
    ) -> Onward<'o> {
        // An extended CONNECT goes on as the GET that it stands for (RFC 8441 section 5).
        let method = match upgrade {
            Some(_) => &http::Method::GET,
            None => &self.parts.method,
        };
        Onward {
            method,
            target,
            host,
            headers: &self.parts.headers,
            client: &self.call.client,
            trusted: self.call.trusted,
            request_id: self.call.ids.request_id(),
            traceparent: self.traceparent,
            trace_continues: self.call.ids.is_continued(),
            length,
            upgrade,
        }
    }

    /// What the upstream is told that it is.
    fn host(&self) -> &str {
        if self.ticket.group.spec.preserve_host {
            return &self.call.host;
        }
        &self.ticket.endpoint.known.host
    }

    async fn over_h1(
        self,
        conn: h1::Conn,
        body: &mut Spooled,
        upgrade: &mut Option<Upgrading>,
    ) -> Outcome {
        let key = upgrade
            .as_ref()
            .filter(|u| u.extended)
            .map(|_| tunnel::websocket_key());
        let asked = upgrade.as_ref().map(|u| Upgrade {
            protocol: &u.protocol,
            key: key.as_deref(),
        });
        let target = self
            .parts
            .uri
            .path_and_query()
            .map_or("/", |pq| pq.as_str());
        let length = body.length();
        let host = self.host().as_bytes();
        let head = self.onward(target, host, length, asked).encode();
        let request = h1::Outgoing {
            head,
            body: body.send(),
            chunked: length == Length::Chunked,
            is_head: self.parts.method == http::Method::HEAD,
            upgrade: upgrade.is_some(),
        };
        let keeper = self.keeper();
        let call = self.call;
        let mut informational =
            |status: StatusCode, headers: &HeaderMap| call.informational(status, headers);
        match h1::exchange(conn, request, keeper, &mut informational).await {
            Ok(h1::Answer::Response(response)) => self.answer_h1(response),
            Ok(h1::Answer::Upgraded(parts, conn)) => self.upgraded(parts, conn, upgrade),
            Err(failed) => {
                let trouble = match failed.problem {
                    h1::Problem::RequestBody(error) => Trouble::Client(error),
                    problem @ (h1::Problem::Io(_)
                    | h1::Problem::Closed
                    | h1::Problem::Parse(_)
                    | h1::Problem::Framing(_)) => Trouble::Exchange(problem),
                };
                let undelivered = failed.undelivered && !failed.answered;
                self.fail(trouble, undelivered)
            }
        }
    }

    fn keeper(&self) -> Arc<dyn h1::Keeper> {
        let spec = &self.ticket.group.spec;
        let pool = &spec.pool;
        // A PROXY header speaks for one client: its connection is nobody else's.
        let idle = if spec.proxy_protocol.is_some() {
            0
        } else {
            pool.idle as usize
        };
        Arc::new(Keep {
            endpoint: self.ticket.endpoint.clone(),
            thread: self.call.thread.index,
            idle,
            idle_ms: pool.idle_ms,
        })
    }

    fn answer_h1(self, response: Response<h1::AnswerBody>) -> Outcome {
        let (mut parts, mut body) = response.into_parts();
        let id = self.answered(&mut parts);
        let body = match body.take_whole() {
            Some(whole) => whole.into(),
            None if body.is_end_stream() => Body::Empty,
            None => Body::new(Guarded::new(body, self.ticket)),
        };
        Outcome::Answer(Response::from_parts(parts, body), id)
    }

    /// Records the answer and readies its head for the client.
    fn answered(&self, parts: &mut response::Parts) -> u64 {
        // 500 is the app's own word and would be the same from another worker.
        let failed = matches!(parts.status.as_u16(), 502..=504);
        self.ticket.answered(failed);
        head::clean_answer(&mut parts.headers, parts.version);
        parts.version = Version::HTTP_11;
        let endpoint = &self.ticket.endpoint;
        parts.extensions.insert(Served {
            upstream: Some(endpoint.known.label.clone()),
            worker: endpoint.known.worker.clone(),
            ..Served::default()
        });
        endpoint.id
    }

    fn upgraded(
        self,
        mut parts: response::Parts,
        conn: h1::Conn,
        upgrade: &mut Option<Upgrading>,
    ) -> Outcome {
        let Some(upgrading) = upgrade.take() else {
            let problem = h1::Problem::Parse("101 that nobody asked for");
            return self.fail(Trouble::Exchange(problem), false);
        };
        let id = self.answered(&mut parts);
        let response = tunnel::start(parts, conn, upgrading, self.ticket, &self.call.thread);
        Outcome::Answer(response, id)
    }

    async fn over_h2(self, mut shared: h2::Shared, body: &mut Spooled) -> Outcome {
        let request = match self.h2_request(body) {
            Ok(request) => request,
            Err(error) => return self.fail(Trouble::Connect(io::Error::other(error)), true),
        };
        match shared.send(request).await {
            Ok(response) => {
                let (mut parts, incoming) = response.into_parts();
                let id = self.answered(&mut parts);
                let body = if incoming.is_end_stream() {
                    Body::Empty
                } else {
                    Body::new(Guarded::new(Body::from(incoming), self.ticket))
                };
                Outcome::Answer(Response::from_parts(parts, body), id)
            }
            Err((error, unsent)) => self.fail(Trouble::H2(error), unsent.is_some()),
        }
    }

    fn h2_request(&self, body: &mut Spooled) -> http::Result<Request<Body>> {
        let target = self
            .parts
            .uri
            .path_and_query()
            .map_or("/", |pq| pq.as_str());
        let host = self.host();
        let headers = self
            .onward(target, host.as_bytes(), body.length(), None)
            .amend();
        let tls = !matches!(
            self.ticket.endpoint.known.protocol,
            gateway_spec::Protocol::H2c
        );
        let uri = http::Uri::builder()
            .scheme(if tls { "https" } else { "http" })
            .authority(host)
            .path_and_query(target)
            .build()?;
        let mut request = Request::builder()
            .method(self.parts.method.clone())
            .uri(uri)
            .version(Version::HTTP_2)
            .body(body.send())?;
        *request.headers_mut() = headers;
        Ok(request)
    }
}

/// An answer's body that holds its place at the endpoint, with a limit between two reads.
struct Guarded<B> {
    body: B,
    limit: Duration,
    /// Made only where a read has to wait.
    timer: Option<Pin<Box<Sleep>>>,
    _ticket: Ticket,
}

impl<B> Guarded<B> {
    fn new(body: B, ticket: Ticket) -> Self {
        Self {
            body,
            limit: Duration::from_millis(ticket.group.spec.pool.read_ms),
            timer: None,
            _ticket: ticket,
        }
    }
}

impl<B> http_body::Body for Guarded<B>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: Into<BodyError>,
{
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) {
            this.timer = None;
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let timer = this
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(this.limit)));
        match timer.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Some(Err("the upstream went silent".into()))),
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
