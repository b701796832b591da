//! The client's side. One connection per call.
//!
//! A supervisor may be replaced at any moment. Calls that only read go on with the next one and
//! nobody notices; a call that changes something is not sent twice, for it may have been done.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::address::socket_path;
use crate::api::{API_VERSION, Answer, Frame, Problem, Request};
use crate::resume::Resume;
use crate::server::VERSION_HEADER;

/// How long a connection is tried while the socket is there and nobody accepts.
pub const CONNECT_PATIENCE: Duration = Duration::from_secs(3);
/// How long a reading call looks for the next supervisor.
pub const RETRY_PATIENCE: Duration = Duration::from_secs(5);
const RETRY_PAUSE: Duration = Duration::from_millis(25);
/// One frame; the largest is an answer with every spec.
const MAX_FRAME_BYTES: usize = 64 * 1024 * 1024;
/// The body of a refusal.
const MAX_REFUSAL_BYTES: usize = 64 * 1024;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("no Pando daemon runs for {home}")]
    NoDaemon { home: String },
    #[error("the Pando daemon's socket {path} belongs to another user")]
    Denied { path: String },
    #[error("the Pando daemon's socket {path} cannot be used: {error}")]
    Io { path: String, error: io::Error },
}

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The daemon says why; [`Problem::exit_code`] is what the command should end with.
    #[error("{}: {}", .0.place, .0.what)]
    Failed(Box<Problem>),
    /// The connection broke during a call that changes something: it may or may not have been
    /// done. `pando ls` shows what is so.
    #[error("the supervisor was replaced while it worked on this")]
    Broken,
    #[error("the daemon speaks version {daemon} of the control API, this program {API_VERSION}")]
    Version { daemon: u32 },
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("the daemon's answer is not understood: {0}")]
    Protocol(String),
}

/// A client of the daemon of one home directory.
#[derive(Debug)]
pub struct Client {
    home: PathBuf,
    /// The connection that [`Client::connect`] made, for the first call.
    fresh: Option<UnixStream>,
}

impl Client {
    /// Connects to the daemon of `home`, waiting up to [`CONNECT_PATIENCE`] while its socket is
    /// there and nobody accepts.
    ///
    /// # Errors
    /// [`ConnectError::NoDaemon`] at once if there is no socket.
    pub async fn connect(home: &Path) -> Result<Self, ConnectError> {
        Self::connect_within(home, CONNECT_PATIENCE).await
    }

    /// As [`Client::connect`] with another patience; zero tries once.
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub async fn connect_within(home: &Path, patience: Duration) -> Result<Self, ConnectError> {
        let fresh = Some(connect(home, Instant::now() + patience).await?);
        Ok(Self {
            home: home.to_owned(),
            fresh,
        })
    }

    /// Makes a call. `on_frame` gets every frame but the last one, which is the result. Dropping
    /// the future ends the call; the daemon notices.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn call(
        &mut self,
        request: Request,
        mut on_frame: impl FnMut(Frame),
    ) -> Result<Answer, CallError> {
        let repeatable = is_read(&request);
        let mut resume = Resume::default();
        let mut deadline = Instant::now() + RETRY_PATIENCE;
        let mut next = request.clone();
        loop {
            let mut heard = false;
            let each = |frame: Frame| {
                heard = true;
                if is_news(&mut resume, &request, &frame) {
                    on_frame(frame);
                }
            };
            let ended = match self.stream(deadline).await {
                Ok(stream) => exchange(stream, &next, each).await,
                Err(error) => Err(Ended::Error(CallError::Connect(error))),
            };
            if heard {
                deadline = Instant::now() + RETRY_PATIENCE;
            }
            match ended {
                Ok(answer) => return Ok(answer),
                Err(Ended::Error(error)) => return Err(error),
                Err(Ended::Broken) if !repeatable || Instant::now() >= deadline => {
                    return Err(CallError::Broken);
                }
                Err(Ended::Broken) => {}
            }
            sleep(RETRY_PAUSE).await;
            if let Request::Logs { query } = &request {
                next = Request::Logs {
                    query: resume.resumed(query),
                };
            }
        }
    }

    async fn stream(&mut self, deadline: Instant) -> Result<UnixStream, ConnectError> {
        match self.fresh.take() {
            Some(stream) => Ok(stream),
            None => connect(&self.home, deadline).await,
        }
    }
}

/// Calls that change nothing and may be made again.
fn is_read(request: &Request) -> bool {
    match request {
        Request::Version
        | Request::List { .. }
        | Request::Env { .. }
        | Request::Specs { .. }
        | Request::Logs { .. }
        | Request::Events => true,
        Request::Monitor { ask } => !matches!(ask, monitor_spec::ask::Ask::Configure(_)),
        Request::Start { .. }
        | Request::StartKnown { .. }
        | Request::Stop { .. }
        | Request::Restart { .. }
        | Request::Reload { .. }
        | Request::Configure { .. }
        | Request::Delete { .. }
        | Request::Scale { .. }
        | Request::Signal { .. }
        | Request::Gateway { .. }
        | Request::Upgrade { .. }
        | Request::Kill => false,
    }
}

fn is_news(resume: &mut Resume, request: &Request, frame: &Frame) -> bool {
    match (request, frame) {
        (Request::Logs { query }, Frame::Log(line)) if query.follow => resume.is_new(line),
        _ => true,
    }
}

/// How a call ended without an answer.
enum Ended {
    Broken,
    Error(CallError),
}

async fn connect(home: &Path, deadline: Instant) -> Result<UnixStream, ConnectError> {
    let path = socket_path(home);
    loop {
        let error = match UnixStream::connect(&path).await {
            Ok(stream) => return Ok(stream),
            Err(error) => error,
        };
        let kind = error.kind();
        let nobody_listens = kind == io::ErrorKind::ConnectionRefused;
        let queue_is_full = kind == io::ErrorKind::WouldBlock;
        if (nobody_listens || queue_is_full) && Instant::now() < deadline {
            sleep(RETRY_PAUSE).await;
        } else if nobody_listens || kind == io::ErrorKind::NotFound {
            return Err(ConnectError::NoDaemon {
                home: home.display().to_string(),
            });
        } else if kind == io::ErrorKind::PermissionDenied {
            return Err(ConnectError::Denied {
                path: path.display().to_string(),
            });
        } else {
            return Err(ConnectError::Io {
                path: path.display().to_string(),
                error,
            });
        }
    }
}

/// Sends one request and reads its answer to the last frame.
async fn exchange(
    stream: UnixStream,
    request: &Request,
    mut on_frame: impl FnMut(Frame),
) -> Result<Answer, Ended> {
    let body = serde_json::to_vec(request)
        .map_err(|e| Ended::Error(CallError::Protocol(format!("cannot be written: {e}"))))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|_| Ended::Broken)?;
    // Dropping the set ends the connection with this call.
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let http = hyper::Request::post("/v1/call")
        .header(HOST, "pando")
        .header(CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(body)))
        .map_err(|e| Ended::Error(CallError::Protocol(e.to_string())))?;
    let response = sender.send_request(http).await.map_err(|_| Ended::Broken)?;
    check_version(&response)?;
    if response.status() != StatusCode::OK {
        return Err(refusal(response).await);
    }
    let mut body = response.into_body();
    let mut lines = Lines::default();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| Ended::Broken)?.into_data() else {
            continue;
        };
        lines.push(&data);
        while let Some(line) = lines.next_line() {
            match parse_frame(line).map_err(Ended::Error)? {
                Frame::Done(answer) => return Ok(answer),
                Frame::Failed(problem) => {
                    return Err(Ended::Error(CallError::Failed(Box::new(problem))));
                }
                frame @ (Frame::Progress(_)
                | Frame::Log(_)
                | Frame::Event(_)
                | Frame::Monitor(_)) => on_frame(frame),
            }
        }
        if lines.waiting() > MAX_FRAME_BYTES {
            let error = CallError::Protocol(format!("a line is over {MAX_FRAME_BYTES} bytes"));
            return Err(Ended::Error(error));
        }
    }
    Err(Ended::Broken)
}

fn check_version(response: &Response<Incoming>) -> Result<(), Ended> {
    let said = response
        .headers()
        .get(VERSION_HEADER)
        .and_then(|v| v.to_str().ok()?.parse().ok());
    match said {
        Some(daemon) if daemon != API_VERSION => Err(Ended::Error(CallError::Version { daemon })),
        Some(_) | None => Ok(()),
    }
}

fn parse_frame(line: &[u8]) -> Result<Frame, CallError> {
    serde_json::from_slice(line).map_err(|e| CallError::Protocol(e.to_string()))
}

async fn refusal(response: Response<Incoming>) -> Ended {
    let status = response.status();
    let body = http_body_util::Limited::new(response.into_body(), MAX_REFUSAL_BYTES);
    let Ok(body) = body.collect().await else {
        return Ended::Broken;
    };
    match serde_json::from_slice(&body.to_bytes()) {
        Ok(problem) => Ended::Error(CallError::Failed(Box::new(problem))),
        Err(_) => Ended::Error(CallError::Protocol(format!("HTTP status {status}"))),
    }
}

/// Bytes cut into lines.
#[derive(Default)]
struct Lines {
    bytes: Vec<u8>,
    start: usize,
    /// Up to here no line end was found.
    searched: usize,
}

impl Lines {
    fn push(&mut self, data: &[u8]) {
        self.bytes.drain(..self.start);
        self.searched -= self.start;
        self.start = 0;
        self.bytes.extend_from_slice(data);
    }

    fn next_line(&mut self) -> Option<&[u8]> {
        let Some(len) = self.bytes[self.searched..].iter().position(|b| *b == b'\n') else {
            self.searched = self.bytes.len();
            return None;
        };
        let (from, end) = (self.start, self.searched + len);
        self.start = end + 1;
        self.searched = end + 1;
        Some(&self.bytes[from..end])
    }

    fn waiting(&self) -> usize {
        self.bytes.len() - self.start
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found_across_pieces() {
        let mut lines = Lines::default();
        let mut found = Vec::new();
        for piece in ["a\nbb", "b\n", "", "\n", "c"] {
            lines.push(piece.as_bytes());
            while let Some(line) = lines.next_line() {
                found.push(String::from_utf8(line.to_vec()).unwrap());
            }
        }
        assert_eq!(found, ["a", "bbb", ""]);
        assert_eq!(lines.waiting(), 1);
    }
}
