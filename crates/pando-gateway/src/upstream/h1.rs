//! HTTP/1.1 to an upstream over one kept connection (RFC 9112).
//!
//! Written here and not taken from hyper's client, for what a gateway must know: how much of a
//! request was sent when it failed (retries), informational answers, and where a body ends with
//! no doubt. See docs/decisions/0008.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Version, header, response};
use http_body::{Body as _, Frame, SizeHint};
use rustix::net::RecvFlags;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::delivery;
use super::framing::{BadFraming, Framing, Piece};
use super::stream::Stream;
use crate::body::{Body, BodyError};

/// The head of an answer.
const MAX_HEAD: usize = 64 * 1024;
const MAX_HEADERS: usize = 128;
/// Informational answers before the final one.
const MAX_INFORMATIONAL: u32 = 8;
const READ_SMALL: usize = 8 * 1024;
/// Reads of a body that has more to come.
const READ_LARGE: usize = 64 * 1024;
/// A frame of a streamed request body is copied behind the head up to this size, else written
/// alone.
const JOIN: usize = 16 * 1024;

/// One connection to an upstream.
pub struct Conn {
    io: Stream,
    read: BytesMut,
    /// Bytes written since it was opened.
    written: u64,
    /// Requests that were answered on it.
    pub served: u32,
    /// Milliseconds on the gateway's clock after which it is not used again.
    pub keep_until_ms: u64,
    /// How long the upstream keeps it idle, as its last answer said.
    pub keep_alive_ms: Option<u64>,
    /// The last answer had no body by rule (HEAD, 204, 304).
    doubtful: bool,
}

/// A request, ready for the wire.
pub struct Outgoing {
    /// First line and headers with the empty line.
    pub head: BytesMut,
    pub body: Body,
    /// The body's coding.
    pub chunked: bool,
    pub is_head: bool,
    /// The head asks for a protocol change.
    pub upgrade: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum Problem {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("the connection was closed before an answer")]
    Closed,
    #[error("the answer is no valid HTTP: {0}")]
    Parse(&'static str),
    #[error("the answer is ambiguous: {0}")]
    Framing(#[from] BadFraming),
    #[error("the request's body failed: {0}")]
    RequestBody(BodyError),
}

/// An exchange that got no answer.
#[derive(Debug)]
pub struct Failed {
    pub problem: Problem,
    /// No program on the other side can have read the request.
    pub undelivered: bool,
    /// Some of the request's body was taken from its source.
    pub body_begun: bool,
    /// Bytes of an answer had come.
    pub answered: bool,
}

/// What comes of an exchange.
pub enum Answer {
    Response(Response<AnswerBody>),
    /// 101: the connection with what was read beyond the head.
    Upgraded(response::Parts, Conn),
}

/// What to do with an informational answer other than 100 and 101.
pub type OnInformational<'f> = &'f mut (dyn FnMut(StatusCode, &HeaderMap) + Send);

/// Whoever gets a connection back that can serve again.
pub trait Keeper: Send + Sync {
    fn keep(&self, conn: Conn);
}

impl Conn {
    pub fn new(io: Stream) -> Self {
        Self {
            io,
            read: BytesMut::new(),
            written: 0,
            served: 0,
            keep_until_ms: u64::MAX,
            keep_alive_ms: None,
            doubtful: false,
        }
    }

    /// Nothing has come since it was put by, its end included. Costs no system call while
    /// nothing has happened, but after an answer that had no body by rule: who sends one all the
    /// same does so a moment later, and it must not be the next request's answer.
    pub fn is_quiet(&mut self) -> bool {
        if !self.read.is_empty() || (self.doubtful && self.has_more()) {
            return false;
        }
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let mut space = [0; 1];
        let mut buf = ReadBuf::new(&mut space);
        Pin::new(&mut self.io)
            .poll_read(&mut cx, &mut buf)
            .is_pending()
    }

    /// Asks the kernel; true for an end too.
    fn has_more(&self) -> bool {
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        let seen = self
            .io
            .tcp()
            .map(|fd| rustix::net::recv(fd, &mut [0_u8; 1], flags));
        !matches!(seen, None | Some(Err(rustix::io::Errno::AGAIN)))
    }

    /// The stream and what was read and not used.
    pub fn into_parts(self) -> (Stream, Bytes) {
        (self.io, self.read.freeze())
    }

    /// The stream itself, for what is sent before the first request.
    pub fn stream_mut(&mut self) -> &mut Stream {
        &mut self.io
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>, size: usize) -> Poll<io::Result<usize>> {
        self.read.reserve(size);
        tokio_util::io::poll_read_buf(Pin::new(&mut self.io), cx, &mut self.read)
    }
}

/// What is still to be written of a request.
struct Sending {
    bytes: BytesMut,
    /// A frame that was too large to copy.
    frame: Bytes,
    body: Option<Body>,
    chunked: bool,
    begun: bool,
}

impl Sending {
    fn new(request: Outgoing) -> Self {
        let mut bytes = request.head;
        let mut body = Some(request.body);
        let mut begun = false;
        match &mut body {
            Some(Body::Empty) => body = None,
            // One write for a small request.
            Some(Body::Full(full)) if !request.chunked => {
                if let Some(data) = full.as_ref().filter(|data| data.len() <= JOIN) {
                    bytes.extend_from_slice(data);
                    begun = true;
                    body = None;
                }
            }
            Some(Body::Full(_) | Body::Incoming(_) | Body::Boxed(_)) | None => {}
        }
        Self {
            bytes,
            frame: Bytes::new(),
            body,
            chunked: request.chunked,
            begun,
        }
    }

    fn is_done(&self) -> bool {
        self.bytes.is_empty() && self.frame.is_empty() && self.body.is_none()
    }

    /// Writes all there is; ready when nothing more is to come.
    fn poll(&mut self, conn: &mut Conn, cx: &mut Context<'_>) -> Poll<Result<(), Problem>> {
        loop {
            while !self.bytes.is_empty() || !self.frame.is_empty() {
                let first = if self.bytes.is_empty() {
                    &self.frame[..]
                } else {
                    &self.bytes[..]
                };
                let n = ready!(Pin::new(&mut conn.io).poll_write(cx, first))?;
                if n == 0 {
                    return Poll::Ready(Err(io::Error::from(io::ErrorKind::WriteZero).into()));
                }
                conn.written += n as u64;
                if self.bytes.is_empty() {
                    self.frame.advance(n);
                } else {
                    self.bytes.advance(n);
                }
            }
            let Some(body) = &mut self.body else {
                return Pin::new(&mut conn.io).poll_flush(cx).map_err(Into::into);
            };
            match Pin::new(body).poll_frame(cx) {
                Poll::Pending => {
                    // What was written so far must not wait in a TLS buffer for the rest.
                    ready!(Pin::new(&mut conn.io).poll_flush(cx))?;
                    return Poll::Pending;
                }
                Poll::Ready(Some(Ok(frame))) => self.take(frame),
                Poll::Ready(Some(Err(error))) => {
                    return Poll::Ready(Err(Problem::RequestBody(error)));
                }
                Poll::Ready(None) => {
                    if self.chunked {
                        self.bytes.extend_from_slice(b"0\r\n\r\n");
                    }
                    self.body = None;
                }
            }
        }
    }

    fn take(&mut self, frame: Frame<Bytes>) {
        self.begun = true;
        match frame.into_data() {
            Ok(data) if data.is_empty() => {}
            Ok(data) if self.chunked => {
                let size = format!("{:x}\r\n", data.len());
                self.bytes.extend_from_slice(size.as_bytes());
                self.bytes.extend_from_slice(&data);
                self.bytes.extend_from_slice(b"\r\n");
            }
            Ok(data) => self.frame = data,
            Err(frame) => {
                let Ok(trailers) = frame.into_trailers() else {
                    return;
                };
                if self.chunked {
                    self.bytes.extend_from_slice(b"0\r\n");
                    put_headers(&mut self.bytes, &trailers);
                    self.bytes.extend_from_slice(b"\r\n");
                }
                self.body = None;
            }
        }
    }
}

fn put_headers(bytes: &mut BytesMut, headers: &HeaderMap) {
    for (name, value) in headers {
        bytes.extend_from_slice(name.as_str().as_bytes());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
}

/// Sends a request and reads the head of its answer. `keeper` gets the connection back when the
/// answer's body was read to its end.
pub async fn exchange(
    conn: Conn,
    request: Outgoing,
    keeper: Arc<dyn Keeper>,
    informational: OnInformational<'_>,
) -> Result<Answer, Failed> {
    let is_head = request.is_head;
    let upgrade = request.upgrade;
    let before = conn.written;
    let mut open = Some((conn, Sending::new(request)));
    let mut left = MAX_INFORMATIONAL;
    let head = std::future::poll_fn(|cx| {
        let Some((conn, sending)) = &mut open else {
            return Poll::Ready(Err(Problem::Closed));
        };
        // Kept apart: an answer may come before all of the request was taken.
        let sent = if sending.is_done() {
            Poll::Pending
        } else {
            sending.poll(conn, cx)
        };
        match poll_head(conn, cx, &mut left, informational) {
            Poll::Ready(head) => Poll::Ready(head),
            Poll::Pending => match sent {
                Poll::Ready(Err(problem)) => Poll::Ready(Err(problem)),
                Poll::Ready(Ok(())) | Poll::Pending => Poll::Pending,
            },
        }
    });
    let head = head.await;
    let Some((mut conn, sending)) = open else {
        return Err(Failed::closed());
    };
    match head {
        Err(problem) => Err(failed(problem, &conn, &sending, before)),
        Ok(parts) if parts.status == StatusCode::SWITCHING_PROTOCOLS => {
            if upgrade {
                Ok(Answer::Upgraded(parts, conn))
            } else {
                let problem = Problem::Parse("101 that nobody asked for");
                Err(failed(problem, &conn, &sending, before))
            }
        }
        Ok(parts) => match Framing::of(parts.status, &parts.headers, is_head) {
            Err(bad) => Err(failed(bad.into(), &conn, &sending, before)),
            Ok(framing) => {
                conn.served += 1;
                conn.keep_alive_ms = keep_alive_ms(&parts.headers);
                conn.doubtful = is_head || matches!(parts.status.as_u16(), 204 | 304);
                let mut body = AnswerBody {
                    reusable: is_reusable(&parts, &framing),
                    framing,
                    open: Some(Box::new((conn, sending))),
                    keeper,
                };
                body.end_if_done();
                Ok(Answer::Response(Response::from_parts(parts, body)))
            }
        },
    }
}

impl Failed {
    fn closed() -> Self {
        Self {
            problem: Problem::Closed,
            undelivered: false,
            body_begun: false,
            answered: false,
        }
    }
}

fn failed(problem: Problem, conn: &Conn, sending: &Sending, before: u64) -> Failed {
    // The SYN counts as one byte, and one byte of a request is no request.
    let undelivered = conn.written == before
        || matches!(conn.io, Stream::Tcp(_))
            && conn
                .io
                .tcp()
                .and_then(delivery::acknowledged)
                .is_some_and(|acked| acked <= before + 1);
    Failed {
        problem,
        undelivered,
        body_begun: sending.begun,
        answered: !conn.read.is_empty(),
    }
}

fn is_reusable(parts: &response::Parts, framing: &Framing) -> bool {
    let connection = parts.headers.get(header::CONNECTION);
    let says = |word: &[u8]| {
        connection.is_some_and(|value| {
            let mut words = value.as_bytes().split(|&b| b == b',');
            words.any(|w| w.trim_ascii().eq_ignore_ascii_case(word))
        })
    };
    let kept = match parts.version {
        Version::HTTP_10 => says(b"keep-alive"),
        _ => !says(b"close"),
    };
    kept && !matches!(framing, Framing::UntilClose)
}

/// The upstream closes an idle connection after `Keep-Alive: timeout` seconds; a second earlier
/// it is not used any more, so that no request meets the close.
fn keep_alive_ms(headers: &HeaderMap) -> Option<u64> {
    let words = headers.get("keep-alive")?.to_str().ok()?.split(',');
    let mut named = words.filter_map(|word| word.trim().split_once('='));
    let (_, seconds) = named.find(|(name, _)| name.eq_ignore_ascii_case("timeout"))?;
    let seconds: u64 = seconds.trim().parse().ok()?;
    Some((seconds.saturating_mul(1000).saturating_sub(1000)).max(500))
}

fn poll_head(
    conn: &mut Conn,
    cx: &mut Context<'_>,
    left: &mut u32,
    informational: &mut (dyn FnMut(StatusCode, &HeaderMap) + Send),
) -> Poll<Result<response::Parts, Problem>> {
    loop {
        if let Some(parts) = parse_head(&mut conn.read)? {
            let passes =
                parts.status.is_informational() && parts.status != StatusCode::SWITCHING_PROTOCOLS;
            if !passes {
                return Poll::Ready(Ok(parts));
            }
            *left = left.checked_sub(1).ok_or(Problem::Parse("too many 1xx"))?;
            informational(parts.status, &parts.headers);
            continue;
        }
        if conn.read.len() > MAX_HEAD {
            return Poll::Ready(Err(Problem::Parse("its head is too large")));
        }
        if ready!(conn.poll_fill(cx, READ_SMALL))? == 0 {
            return Poll::Ready(Err(Problem::Closed));
        }
    }
}

fn parse_head(read: &mut BytesMut) -> Result<Option<response::Parts>, Problem> {
    if read.is_empty() {
        return Ok(None);
    }
    let mut space = [const { std::mem::MaybeUninit::uninit() }; MAX_HEADERS];
    let mut parsed = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    let status = config.parse_response_with_uninit_headers(&mut parsed, read, &mut space);
    let length = match status {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err(Problem::Parse("too many headers")),
        Err(_) => return Err(Problem::Parse("its head is malformed")),
    };
    let base = read.as_ptr() as usize;
    let mut spans = [(0usize, 0usize, 0usize, 0usize); MAX_HEADERS];
    let count = parsed.headers.len();
    for (span, header) in spans.iter_mut().zip(parsed.headers.iter()) {
        let name = header.name.as_ptr() as usize - base;
        let value = header.value.as_ptr() as usize - base;
        *span = (name, header.name.len(), value, header.value.len());
    }
    let code = parsed.code.unwrap_or(0);
    let version = if parsed.version == Some(0) {
        Version::HTTP_10
    } else {
        Version::HTTP_11
    };
    let status = StatusCode::from_u16(code).map_err(|_| Problem::Parse("no such status"))?;
    let head = read.split_to(length).freeze();
    let mut headers = HeaderMap::with_capacity(count);
    for &(name_at, name_len, value_at, value_len) in &spans[..count] {
        let name = HeaderName::from_bytes(&head[name_at..name_at + name_len])
            .map_err(|_| Problem::Parse("a header's name"))?;
        let value = HeaderValue::from_maybe_shared(head.slice(value_at..value_at + value_len))
            .map_err(|_| Problem::Parse("a header's value"))?;
        headers.append(name, value);
    }
    let (mut parts, ()) = Response::new(()).into_parts();
    parts.status = status;
    parts.version = version;
    parts.headers = headers;
    Ok(Some(parts))
}

/// For the fuzzer: a head and what of a body follows it. Pieces come from the input and nowhere
/// else.
#[doc(hidden)]
pub fn fuzz_answer(data: &[u8]) {
    let mut read = BytesMut::from(data);
    let Ok(Some(parts)) = parse_head(&mut read) else {
        return;
    };
    let Ok(mut framing) = Framing::of(parts.status, &parts.headers, false) else {
        return;
    };
    let mut left = read.len();
    while let Ok(Piece::Data(piece)) = framing.piece(&mut read) {
        assert!(!piece.is_empty() && piece.len() <= left);
        left -= piece.len();
    }
}

/// The body of an answer, and the rest of the request if the answer came early.
pub struct AnswerBody {
    framing: Framing,
    open: Option<Box<(Conn, Sending)>>,
    reusable: bool,
    keeper: Arc<dyn Keeper>,
}

impl AnswerBody {
    /// Gives the connection back when both directions are through.
    fn end_if_done(&mut self) {
        if !self.framing.is_done() {
            return;
        }
        let Some(open) = self.open.take() else {
            return;
        };
        let (conn, sending) = *open;
        // Bytes beyond the answer are nobody's: such a connection is not used again.
        if self.reusable && sending.is_done() && conn.read.is_empty() {
            self.keeper.keep(conn);
        }
    }

    /// All of the body is here already, so it can be taken as one piece.
    pub fn take_whole(&mut self) -> Option<Bytes> {
        let (conn, _) = self.open.as_deref_mut()?;
        let Framing::Length(length) = self.framing else {
            return None;
        };
        let length = usize::try_from(length).ok()?;
        if conn.read.len() < length {
            return None;
        }
        let data = conn.read.split_to(length).freeze();
        self.framing = Framing::Done;
        self.end_if_done();
        Some(data)
    }
}

impl http_body::Body for AnswerBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        loop {
            let Some((conn, sending)) = this.open.as_deref_mut() else {
                return Poll::Ready(None);
            };
            if !sending.is_done()
                && let Poll::Ready(Err(_)) = sending.poll(conn, cx)
            {
                // It answered and takes no more: the answer counts.
                this.reusable = false;
            }
            let piece = this.framing.piece(&mut conn.read);
            let frame = match piece {
                Err(bad) => {
                    this.open = None;
                    return Poll::Ready(Some(Err(bad.into())));
                }
                Ok(Piece::Data(data)) => Frame::data(data),
                Ok(Piece::Trailers(trailers)) => Frame::trailers(trailers),
                Ok(Piece::End) => {
                    this.end_if_done();
                    return Poll::Ready(None);
                }
                Ok(Piece::Need) => {
                    let size = match this.framing.remaining() {
                        Some(left) if left < READ_LARGE as u64 => {
                            READ_SMALL.max(usize::try_from(left).unwrap_or(READ_LARGE))
                        }
                        Some(_) => READ_LARGE,
                        None => READ_SMALL * 2,
                    };
                    match ready!(conn.poll_fill(cx, size)) {
                        Ok(0) => {
                            let end = this.framing.closed();
                            this.open = None;
                            return Poll::Ready(end.err().map(|bad| Err(bad.into())));
                        }
                        Ok(_) => continue,
                        Err(error) => {
                            this.open = None;
                            return Poll::Ready(Some(Err(error.into())));
                        }
                    }
                }
            };
            this.end_if_done();
            return Poll::Ready(Some(Ok(frame)));
        }
    }

    fn is_end_stream(&self) -> bool {
        self.open.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match (self.framing.remaining(), &self.open) {
            (Some(left), Some(_)) => SizeHint::with_exact(left),
            (_, None) => SizeHint::with_exact(0),
            (None, Some(_)) => SizeHint::default(),
        }
    }
}
