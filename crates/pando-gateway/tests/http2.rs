//! HTTP/2 of clients: trailers, and connections that rest.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use gateway_spec::{Action, GatewaySpec, Listen, PathMatch, Route, Site, Timeouts, Upstreams};
use http::HeaderMap;
use http_body::Frame;
use http_body_util::BodyExt as _;
use pando_gateway::gateway::Gateway;
use pando_gateway::serve::Listening;
use pando_gateway::tls::DirectFiles;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

const PATIENCE: Duration = Duration::from_secs(30);
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const GO_AWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PROTOCOL_ERROR: u32 = 1;

/// An upstream of HTTP/1: tells what it got up to the last chunk, and answers with `answer`.
async fn origin(answer: &'static str) -> (String, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (tell, told) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let tell = tell.clone();
            tokio::spawn(async move {
                let mut got = Vec::new();
                loop {
                    let n = stream.read_buf(&mut got).await.unwrap_or(0);
                    let text = String::from_utf8_lossy(&got).into_owned();
                    let whole = match text.split_once("\r\n\r\n") {
                        Some((head, body)) if head.contains("chunked") => {
                            body.contains("\r\n0\r\n") && body.ends_with("\r\n\r\n")
                        }
                        Some((head, body)) if head.contains("content-length: 4") => body.len() == 4,
                        Some(_) => true,
                        None => false,
                    };
                    if whole {
                        let _ = tell.send(text);
                        let _ = stream.write_all(answer.as_bytes()).await;
                        got.clear();
                    } else if n == 0 {
                        let _ = tell.send(format!("broken off: {text}"));
                        return;
                    }
                }
            });
        }
    });
    (address, told)
}

async fn gateway(upstream: &str) -> (Gateway, String, tempfile::TempDir) {
    with_timeouts(upstream, Timeouts::default()).await
}

async fn with_timeouts(upstream: &str, timeouts: Timeouts) -> (Gateway, String, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = socket.local_addr().unwrap();
    let listen = Listen::plain(at);
    let action = Action::Proxy(Upstreams::addresses([upstream]));
    let held = Route::new(PathMatch::Prefix("/".into()), action);
    let mut streamed = held.clone();
    streamed.matches.path = PathMatch::Prefix("/s".into());
    streamed.buffer_request = false;
    let spec = GatewaySpec {
        listen: vec![listen.clone()],
        sites: vec![Site::new(["*"], vec![streamed, held])],
        threads: Some(1),
        timeouts,
        ..GatewaySpec::default()
    };
    let state = dir.path().to_owned();
    let gateway = Gateway::new(spec, Arc::new(DirectFiles), state).unwrap();
    let socket = socket.into_std().unwrap().into();
    gateway.listen(Listening { listen, socket }).await.unwrap();
    (gateway, at.to_string(), dir)
}

/// A client of HTTP/2 that writes what it likes.
struct Raw(TcpStream);

impl Raw {
    async fn open(address: &str) -> Self {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(PREFACE).await.unwrap();
        let mut raw = Self(stream);
        raw.put(SETTINGS, 0, 0, b"").await;
        raw.put(SETTINGS, 1, 0, b"").await;
        raw
    }

    async fn put(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let mut frame = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        self.0.write_all(&frame).await.unwrap();
    }

    /// The head of a POST and its body, which does not end here.
    async fn post(&mut self, stream: u32, path: &str) {
        // `POST`, `http`, then a path and an authority as literals; the authority enters the table.
        let mut block = vec![0x83, 0x86, 0x04, u8::try_from(path.len()).unwrap()];
        block.extend(path.as_bytes());
        block.extend(b"\x41\x01a");
        self.put(HEADERS, END_HEADERS, stream, &block).await;
        self.put(DATA, 0, stream, b"body").await;
    }

    /// What becomes of a stream: the first byte of its answer's head, or why it was reset.
    async fn outcome(&mut self, of: u32) -> Result<u8, u32> {
        loop {
            let mut head = [0; 9];
            self.0.read_exact(&mut head).await.unwrap();
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; length as usize];
            self.0.read_exact(&mut payload).await.unwrap();
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            match head[3] {
                HEADERS if stream == of => return Ok(payload[0]),
                RESET if stream == of => {
                    return Err(u32::from_be_bytes(payload[..4].try_into().unwrap()));
                }
                GO_AWAY => panic!("the connection ends: {payload:?}"),
                _ => {}
            }
        }
    }
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
/// `:status: 200` in the static table.
const STATUS_200: u8 = 0x88;

#[tokio::test]
async fn malformed_trailers_reset_their_stream_and_nothing_else() {
    let (upstream, mut told) = origin(OK).await;
    let (_gateway, address, _dir) = gateway(&upstream).await;
    let mut client = Raw::open(&address).await;
    let (last, mut stream) = (END_STREAM | END_HEADERS, 1);
    let malformed: [&[u8]; 7] = [
        // `:path: /`; `:method: x`; `:status: 200`.
        b"\x84",
        b"\x02\x01x",
        b"\x88",
        // The authority out of the dynamic table; behind an ordinary field.
        b"\xbe",
        b"\x00\x01y\x01x\x84",
        b"\x00\x0aconnection\x05close",
        b"\x00\x11transfer-encoding\x07chunked",
    ];
    for path in ["/held", "/s/streamed"] {
        for trailers in malformed {
            client.post(stream, path).await;
            client.put(HEADERS, last, stream, trailers).await;
            let outcome = tokio::time::timeout(PATIENCE, client.outcome(stream));
            assert_eq!(
                outcome.await.unwrap(),
                Err(PROTOCOL_ERROR),
                "{path} {trailers:x?}"
            );
            stream += 2;
        }
        // In the second of two frames, with the change of a table's size before both.
        client.post(stream, path).await;
        client
            .put(HEADERS, END_STREAM, stream, b"\x3f\xe1\x1f")
            .await;
        client.put(CONTINUATION, END_HEADERS, stream, b"\x84").await;
        assert_eq!(client.outcome(stream).await, Err(PROTOCOL_ERROR));
        stream += 2;
        // The connection serves on, good trailers and none.
        client.post(stream, path).await;
        client
            .put(HEADERS, last, stream, b"\x00\x05x-sum\x011")
            .await;
        assert_eq!(client.outcome(stream).await, Ok(STATUS_200));
        client.post(stream + 2, path).await;
        client.put(DATA, END_STREAM, stream + 2, b"").await;
        assert_eq!(client.outcome(stream + 2).await, Ok(STATUS_200));
        stream += 4;
        let mut whole = 0;
        while whole < 2 {
            let got = tokio::time::timeout(PATIENCE, told.recv())
                .await
                .unwrap()
                .unwrap();
            if got.starts_with("broken off") {
                assert!(
                    path.starts_with("/s") && !got.contains("\r\n0\r\n"),
                    "{got}"
                );
            } else {
                whole += 1;
            }
        }
    }
}

/// A stream error is asked for; the library ends the connection, which is stricter.
#[tokio::test]
async fn a_name_that_cannot_be_ends_the_connection() {
    let (upstream, mut told) = origin(OK).await;
    let (_gateway, address, _dir) = gateway(&upstream).await;
    for trailers in [&b"\x00\x05X-Sum\x011"[..], b"\x00\x02:p\x01x"] {
        let mut client = Raw::open(&address).await;
        client.post(1, "/").await;
        client
            .put(HEADERS, END_STREAM | END_HEADERS, 1, trailers)
            .await;
        let mut rest = Vec::new();
        let read = client.0.read_to_end(&mut rest);
        tokio::time::timeout(PATIENCE, read).await.unwrap().unwrap();
        assert!(!rest.windows(2).any(|pair| pair == b"ok"));
    }
    assert!(told.try_recv().is_err(), "an upstream has got a request");
}

async fn h2(address: &str) -> hyper::client::conn::http2::SendRequest<Sent> {
    let stream = TcpStream::connect(address).await.unwrap();
    let stream = hyper_util::rt::TokioIo::new(stream);
    let executor = hyper_util::rt::TokioExecutor::new();
    let (sender, connection) = hyper::client::conn::http2::handshake(executor, stream)
        .await
        .unwrap();
    tokio::spawn(connection);
    sender
}

type Sent = http_body_util::combinators::BoxBody<bytes::Bytes, std::convert::Infallible>;

/// Of no known length.
fn with_trailers(fields: &[(&'static str, &'static str)]) -> Sent {
    let trailers: HeaderMap = fields
        .iter()
        .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
        .collect();
    let body = bytes::Bytes::from_static(b"body");
    Frames([Frame::data(body), Frame::trailers(trailers)].into()).boxed()
}

struct Frames(VecDeque<Frame<bytes::Bytes>>);

impl http_body::Body for Frames {
    type Data = bytes::Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<bytes::Bytes>, Self::Error>>> {
        Poll::Ready(self.0.pop_front().map(Ok))
    }
}

#[tokio::test]
async fn a_request_goes_on_with_the_trailers_that_may_stand_there() {
    let (upstream, mut told) = origin(OK).await;
    let (_gateway, address, _dir) = gateway(&upstream).await;
    let mut client = h2(&address).await;
    for (fields, expect) in [
        (
            &[
                ("x-sum", "1"),
                ("content-length", "9"),
                ("x-forwarded-for", "9.9.9.9"),
            ][..],
            "0\r\nx-sum: 1\r\n\r\n",
        ),
        (&[("cookie", "a=b"), ("-", "")], "0\r\n\r\n"),
    ] {
        let request = http::Request::post("http://a/s/x")
            .body(with_trailers(fields))
            .unwrap();
        let answer = client.send_request(request).await.unwrap();
        assert_eq!(answer.status(), 200);
        let got = told.recv().await.unwrap();
        assert!(got.ends_with(&format!("4\r\nbody\r\n{expect}")), "{got}");
    }
}

#[tokio::test]
async fn an_upstreams_trailers_break_no_answer() {
    let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\
                  Keep-Alive: timeout=5\r\nUpgrade: x\r\nTE: gzip\r\nGrpc-Status: 0\r\n\r\n";
    let (upstream, _told) = origin(answer).await;
    let (_gateway, address, _dir) = gateway(&upstream).await;
    let request = http::Request::get("http://a/s/x")
        .body(Sent::default())
        .unwrap();
    let answer = h2(&address).await.send_request(request).await.unwrap();
    let body = answer.into_body().collect().await.unwrap();
    let trailers = body.trailers().cloned().unwrap();
    let expect: HeaderMap = [("grpc-status".parse().unwrap(), "0".parse().unwrap())]
        .into_iter()
        .collect();
    assert_eq!(trailers, expect);
    assert_eq!(body.to_bytes(), "ok");
}

async fn get(client: &mut hyper::client::conn::http2::SendRequest<Sent>) -> u16 {
    let request = http::Request::get("http://a/x")
        .body(Sent::default())
        .unwrap();
    let answer = client.send_request(request).await.unwrap();
    let status = answer.status().as_u16();
    answer.into_body().collect().await.unwrap();
    status
}

/// A head has a limit of its own; a connection that waits for the next request has the idle one.
#[tokio::test]
async fn a_connection_that_rests_is_kept_until_it_is_idle_for_too_long() {
    let (upstream, _told) = origin(OK).await;
    let short = Timeouts {
        header_ms: 100,
        ..Timeouts::default()
    };
    let (_gateway, address, _dir) = with_timeouts(&upstream, short).await;
    let mut client = h2(&address).await;
    assert_eq!(get(&mut client).await, 200);
    // The sweep comes by once a second.
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!(get(&mut client).await, 200);

    let idle = Timeouts {
        idle_ms: 100,
        ..Timeouts::default()
    };
    let (_gateway, address, _dir) = with_timeouts(&upstream, idle).await;
    let stream = hyper_util::rt::TokioIo::new(TcpStream::connect(&address).await.unwrap());
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut client, connection) = hyper::client::conn::http2::handshake(executor, stream)
        .await
        .unwrap();
    let connection = tokio::spawn(connection);
    assert_eq!(get(&mut client).await, 200);
    // Not cut off: it is told to go away.
    let ended = tokio::time::timeout(PATIENCE, connection).await;
    ended.unwrap().unwrap().unwrap();
}

/// A head that never ends, after a request that did.
#[tokio::test]
async fn a_head_that_is_never_whole_has_its_limit() {
    let (upstream, _told) = origin(OK).await;
    let short = Timeouts {
        header_ms: 100,
        ..Timeouts::default()
    };
    let (_gateway, address, _dir) = with_timeouts(&upstream, short).await;
    let mut client = Raw::open(&address).await;
    client.post(1, "/s/x").await;
    client.put(DATA, END_STREAM, 1, b"").await;
    assert_eq!(client.outcome(1).await, Ok(STATUS_200));
    client.put(HEADERS, 0, 3, b"\x83").await;
    let mut rest = Vec::new();
    let read = client.0.read_to_end(&mut rest);
    let read = tokio::time::timeout(PATIENCE, read).await.unwrap();
    // However it is closed.
    drop(read);
}
