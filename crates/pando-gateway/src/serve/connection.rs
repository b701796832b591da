//! One client connection from its first byte to its last: protocol, requests, end.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};

use super::conn::{Command, ConnState};
use super::guard::Guard;
use super::io::{ClientIo, ClientStream};
use super::out::OutBody;
use crate::client::Scheme;
use crate::clock;
use crate::pipeline::{self, Origin};
use crate::serve::sweep::Connections;
use crate::shared::Thread;

const H2_WINDOW: u32 = 1024 * 1024;
const H2_RESETS_PENDING: usize = 32;
/// hyper's read buffer: the largest head and one read of a body.
const READ_BUFFER: usize = 64 * 1024;

/// A stream that is ready to speak HTTP.
pub struct Ready {
    pub stream: ClientStream,
    pub peer: std::net::SocketAddr,
    pub local: std::net::SocketAddr,
    pub scheme: Scheme,
    pub tls_version: &'static str,
    pub is_h2: bool,
}

/// White space around a value makes a request malformed (RFC 9113 section 8.2.1); HTTP/1's parser
/// takes it off by itself.
fn has_padded_value(headers: &http::HeaderMap) -> bool {
    let is_space = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    headers.values().any(|value| {
        let bytes = value.as_bytes();
        is_space(bytes.first()) || is_space(bytes.last())
    })
}

/// Serves a connection to its end.
pub async fn serve(ready: Ready, thread: Arc<Thread>, connections: Arc<Connections>) {
    let limits = thread.shared.config.load().limits.clone();
    let state = Arc::new(ConnState::new(
        ready.peer,
        ready.local,
        ready.scheme,
        ready.tls_version,
        ready.is_h2,
        clock::now_ms(),
    ));
    connections.add(&state);
    let header_bytes = usize::try_from(limits.header_bytes).unwrap_or(READ_BUFFER);
    let headers = limits.headers as usize;
    let guard = (!ready.is_h2).then(|| Guard::new(header_bytes, headers));
    let measure = thread.measure.clone();
    let io = ClientIo::new(ready.stream, guard, state.clone(), measure, headers);
    let origin = Arc::new(Origin {
        conn: state.clone(),
        io: io.clone(),
    });
    let service_thread = thread.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let (thread, origin) = (service_thread.clone(), origin.clone());
        async move {
            if origin.conn.is_h2 && has_padded_value(request.headers()) {
                // hyper resets the stream with this reason.
                return Err(h2::Error::from(h2::Reason::PROTOCOL_ERROR));
            }
            Ok::<Response<OutBody>, h2::Error>(pipeline::answer(thread, origin, request).await)
        }
    });
    let ended = if ready.is_h2 {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .max_concurrent_streams(limits.h2_streams)
            .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
            .max_pending_accept_reset_streams(H2_RESETS_PENDING)
            .initial_stream_window_size(H2_WINDOW)
            .initial_connection_window_size(H2_WINDOW)
            .enable_connect_protocol();
        let stream = io.clone();
        let make = || builder.serve_connection(TokioIo::new(stream.clone()), service.clone());
        let shut_down = |c: Pin<&mut _>| http2::Connection::graceful_shutdown(c);
        Served::new(make, shut_down, &state, io).await
    } else {
        let mut builder = http1::Builder::new();
        builder
            .max_headers(headers.max(1))
            .max_buf_size(header_bytes.max(READ_BUFFER))
            .header_read_timeout(None::<std::time::Duration>)
            .half_close(false);
        let stream = io.clone();
        let make = || {
            let stream = TokioIo::new(stream.clone());
            let connection = builder.serve_connection(stream, service.clone());
            connection.with_upgrades()
        };
        let shut_down = |c: Pin<&mut _>| http1::UpgradeableConnection::graceful_shutdown(c);
        Served::new(make, shut_down, &state, io).await
    };
    if let Err(error) = ended {
        tracing::debug!(client.addr = %state.peer, %error, "a client connection ended");
    }
}

/// hyper's connection, with what the sweep and early answers want of it.
///
/// One that is idle for a while is parked: hyper's half with its buffers (16 KiB and more) is
/// dropped, the stream is kept, and hyper begins anew on it when something comes.
///
/// ```text
///   serving -> parked (idle, nothing buffered)      parked -> serving (readable, or to be closed)
/// ```
struct Served<C, M, F> {
    /// `None` while parked.
    connection: Option<Pin<Box<C>>>,
    make: M,
    shut_down: F,
    state: Arc<ConnState>,
    io: ClientIo,
    told: bool,
    registered: bool,
}

impl<C, M: Fn() -> C, F> Served<C, M, F> {
    fn new(make: M, shut_down: F, state: &Arc<ConnState>, io: ClientIo) -> Self {
        Self {
            connection: Some(Box::pin(make())),
            make,
            shut_down,
            state: state.clone(),
            io,
            told: false,
            registered: false,
        }
    }
}

impl<C, M, F> Future for Served<C, M, F>
where
    C: Future<Output = hyper::Result<()>>,
    M: Fn() -> C + Unpin,
    F: Fn(Pin<&mut C>) + Unpin,
{
    type Output = hyper::Result<()>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if !this.registered {
            // A task's waker is the same for its life.
            this.registered = true;
            this.state.set_waker(cx.waker());
        }
        let command = this.state.command();
        if command == Command::Abort {
            return Poll::Ready(Ok(()));
        }
        if this.state.take_park() && this.state.is_idle() && this.io.is_parkable() {
            this.connection = None;
        }
        if this.connection.is_none() && command == Command::Serve {
            ready!(this.io.poll_readable(cx));
        }
        let make = || Box::pin((this.make)());
        let connection = this.connection.get_or_insert_with(make);
        if command == Command::Shutdown && !this.told {
            this.told = true;
            (this.shut_down)(connection.as_mut());
        }
        if this.state.has_early() {
            while let Some(early) = this.state.take_early() {
                this.io.write_early(cx, early);
            }
        }
        connection.as_mut().poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_around_a_value_is_seen() {
        for (value, padded) in [("a b", false), ("", false), (" a", true), ("a\t", true)] {
            let mut headers = http::HeaderMap::new();
            let value = http::HeaderValue::from_bytes(value.as_bytes()).unwrap();
            headers.insert("x", value);
            assert_eq!(has_padded_value(&headers), padded, "{headers:?}");
        }
    }
}
