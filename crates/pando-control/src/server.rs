//! The server's side: a unix listener, bounded connections, each request a [`Call`] on one
//! bounded channel.

use std::convert::Infallible;
use std::fs::Permissions;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::address::prepare_parent;
use monitor_spec::ask as monitor;

use crate::api::{API_VERSION, Answer, Frame, Problem, Request};
use crate::body::ReplyBody;
use crate::call::{Call, Reply};
use crate::routes::{Route, bad_call, route};

/// A request's body: one spec with a large environment is 100 KB.
pub const MAX_BODY_BYTES: usize = 8 * 1024 * 1024;
/// Connections at a time. A follower of logs holds one.
pub const MAX_CONNECTIONS: usize = 256;
/// Connections above that which are told so by a 503; further ones are closed.
const MAX_TURNED_AWAY: usize = 16;
/// The answer's header that carries [`API_VERSION`].
pub const VERSION_HEADER: &str = "pando-api";

const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a call may wait for its handler to take it.
const HANDLER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long answers in flight may go on after a stop was asked for.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);
/// Of a request's head, and of what is buffered for one connection.
const MAX_BUFFER_BYTES: usize = 64 * 1024;
/// Prometheus' text format.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";
/// After an `accept` that failed for want of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The limits that tests shorten.
#[derive(Clone, Copy, Debug)]
pub struct ServeOptions {
    pub header_timeout: Duration,
    pub body_timeout: Duration,
    pub max_connections: usize,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self {
            header_timeout: HEADER_TIMEOUT,
            body_timeout: BODY_TIMEOUT,
            max_connections: MAX_CONNECTIONS,
        }
    }
}

/// Binds the control socket at `path` with mode 0600 and listens. What was there is replaced in one
/// step, so `path` never names a socket that others may open. The caller holds the home's lock: no
/// other daemon is asked whether it still listens.
///
/// # Errors
/// The directory or the socket cannot be made.
pub fn bind(path: &Path) -> io::Result<std::os::unix::net::UnixListener> {
    prepare_parent(path)?;
    let mut making = path.as_os_str().to_owned();
    making.push(".new");
    match std::fs::remove_file(&making) {
        Ok(()) => {}
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(e),
    }
    let listener = std::os::unix::net::UnixListener::bind(&making)?;
    std::fs::set_permissions(&making, Permissions::from_mode(0o600))?;
    std::fs::rename(&making, path)?;
    Ok(listener)
}

/// The listener from a descriptor that survived a restart of the supervisor.
///
/// # Errors
/// It is not a listening unix socket.
pub fn listener_from_fd(fd: OwnedFd) -> io::Result<std::os::unix::net::UnixListener> {
    let listener = std::os::unix::net::UnixListener::from(fd);
    listener.local_addr()?;
    if rustix::net::sockopt::socket_acceptconn(&listener)? {
        return Ok(listener);
    }
    Err(io::Error::new(
        io::ErrorKind::InvalidInput,
        "not a listening unix socket",
    ))
}

/// Serves until the receiver of `calls` is dropped. Call it inside a tokio runtime.
///
/// # Errors
/// The listener cannot be registered with the runtime.
pub async fn serve(
    listener: std::os::unix::net::UnixListener,
    calls: mpsc::Sender<Call>,
) -> io::Result<()> {
    let never = std::future::pending();
    serve_until(listener, calls, ServeOptions::default(), never).await
}

/// Serves until `stop` is ready or the receiver of `calls` is dropped, then lets the answers in
/// flight go out for at most 2 s: the answer to `kill` is one of them.
///
/// # Errors
/// The listener cannot be registered with the runtime.
pub async fn serve_until(
    listener: std::os::unix::net::UnixListener,
    calls: mpsc::Sender<Call>,
    options: ServeOptions,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = UnixListener::from_std(listener)?;
    let (stopping, stopped) = watch::channel(());
    let mut connections = JoinSet::new();
    tokio::pin!(stop);
    loop {
        let accepted = tokio::select! {
            () = &mut stop => break,
            () = calls.closed() => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) if !is_ours(&stream) => {
                tracing::warn!("a control connection of another user was refused");
            }
            Ok((stream, _)) => {
                let room = connections.len() < options.max_connections;
                if connections.len() < options.max_connections + MAX_TURNED_AWAY {
                    let calls = room.then(|| calls.clone());
                    connections.spawn(connection(stream, calls, options, stopped.clone()));
                }
            }
            Err(error) => {
                tracing::warn!(%error, "the control socket could not accept");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    drop(stopping);
    let _ = timeout(STOP_TIMEOUT, async {
        while connections.join_next().await.is_some() {}
    })
    .await;
    Ok(())
}

/// Mode 0600 keeps others out already; this holds where somebody has opened the mode or the
/// directory.
fn is_ours(stream: &UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    stream
        .peer_cred()
        .is_ok_and(|peer| peer.uid() == own || peer.uid() == 0)
}

/// One connection, one call: a call that follows may last for days, and a new connection to a unix
/// socket costs microseconds. Without `calls` it is one too many, and told so.
async fn connection(
    stream: UnixStream,
    calls: Option<mpsc::Sender<Call>>,
    options: ServeOptions,
    mut stopped: watch::Receiver<()>,
) {
    let service = service_fn(|request| {
        let calls = calls.clone();
        async move {
            Ok::<_, Infallible>(match calls {
                Some(calls) => answer(request, &calls, options).await,
                None => refusal(StatusCode::SERVICE_UNAVAILABLE, &too_many(options)),
            })
        }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(options.header_timeout)
        .max_buf_size(MAX_BUFFER_BYTES)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        _ = stopped.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "a control connection ended");
    }
}

async fn answer(
    request: hyper::Request<Incoming>,
    calls: &mpsc::Sender<Call>,
    options: ServeOptions,
) -> Response<ReplyBody> {
    let query = request.uri().query().unwrap_or_default();
    let request = match route(request.method(), request.uri().path(), query) {
        Route::Call(request) => request,
        Route::Text(request) => return text(request, calls).await,
        Route::Refused(status, problem) => return refusal(status, &problem),
        Route::Body => match read_request(request.into_body(), options.body_timeout).await {
            Ok(request) => request,
            Err((status, problem)) => return refusal(status, &problem),
        },
    };
    let (reply, frames) = Reply::channel();
    match calls
        .send_timeout(Call { request, reply }, HANDLER_TIMEOUT)
        .await
    {
        Ok(()) => {
            let mut response = Response::new(ReplyBody::Frames(frames));
            head(&mut response, "application/x-ndjson");
            response
        }
        Err(_) => refusal(StatusCode::SERVICE_UNAVAILABLE, &busy()),
    }
}

/// The text of a [`Request::Monitor`]'s answer as it is, for those who have curl and no JSON.
async fn text(request: Request, calls: &mpsc::Sender<Call>) -> Response<ReplyBody> {
    let (reply, mut frames) = Reply::channel();
    let call = Call { request, reply };
    if calls.send_timeout(call, HANDLER_TIMEOUT).await.is_err() {
        return refusal(StatusCode::SERVICE_UNAVAILABLE, &busy());
    }
    loop {
        let problem = match timeout(HANDLER_TIMEOUT, frames.next()).await {
            Ok(Some(Frame::Done(Answer::Monitor(answer)))) => match *answer {
                monitor::Answer::Text(text) => {
                    let mut response = Response::new(ReplyBody::Text(Some(Bytes::from(text))));
                    head(&mut response, TEXT_FORMAT);
                    return response;
                }
                monitor::Answer::Now(_)
                | monitor::Answer::Series(_)
                | monitor::Answer::Endpoints(_)
                | monitor::Answer::Events(_)
                | monitor::Answer::Alerts(_)
                | monitor::Answer::Settings(_)
                | monitor::Answer::Done => busy(),
            },
            Ok(Some(Frame::Failed(problem))) => problem,
            Ok(Some(Frame::Progress(_) | Frame::Log(_) | Frame::Event(_) | Frame::Monitor(_))) => {
                continue;
            }
            Ok(Some(Frame::Done(_)) | None) | Err(_) => busy(),
        };
        return refusal(StatusCode::SERVICE_UNAVAILABLE, &problem);
    }
}

async fn read_request(
    body: Incoming,
    limit: Duration,
) -> Result<Request, (StatusCode, Box<Problem>)> {
    let bytes = match timeout(limit, Limited::new(body, MAX_BODY_BYTES).collect()).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(e)) if e.is::<LengthLimitError>() => {
            let why = format!("a request may have {MAX_BODY_BYTES} bytes");
            return Err((
                StatusCode::PAYLOAD_TOO_LARGE,
                bad_call("the request is too large", why),
            ));
        }
        Ok(Err(e)) => {
            let problem = bad_call("the request could not be read", e.to_string());
            return Err((StatusCode::BAD_REQUEST, problem));
        }
        Err(_) => {
            let why = format!("its body did not arrive within {} s", limit.as_secs_f32());
            return Err((
                StatusCode::REQUEST_TIMEOUT,
                bad_call("the request is too slow", why),
            ));
        }
    };
    serde_json::from_slice(&bytes).map_err(|e| {
        (
            StatusCode::BAD_REQUEST,
            bad_call("the request is not understood", e.to_string()),
        )
    })
}

fn busy() -> Problem {
    Problem {
        place: "supervisor".into(),
        what: "the call was not taken".into(),
        why: "the supervisor is stopping, or has not taken a call for 10 s".into(),
        fix: "try again; `pando ls` shows what is so".into(),
        stderr: Vec::new(),
        exit_code: 1,
    }
}

fn too_many(options: ServeOptions) -> Problem {
    Problem {
        place: "control socket".into(),
        what: "too many connections".into(),
        why: format!("{} clients are connected already", options.max_connections),
        fix: "end some that follow logs or events".into(),
        stderr: Vec::new(),
        exit_code: 1,
    }
}

fn refusal(status: StatusCode, problem: &Problem) -> Response<ReplyBody> {
    let mut text = serde_json::to_vec(problem).unwrap_or_default();
    text.push(b'\n');
    let mut response = Response::new(ReplyBody::Text(Some(Bytes::from(text))));
    *response.status_mut() = status;
    head(&mut response, "application/json");
    response
}

fn head(response: &mut Response<ReplyBody>, content_type: &'static str) {
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(VERSION_HEADER, HeaderValue::from(API_VERSION));
}
