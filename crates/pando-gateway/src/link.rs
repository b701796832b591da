//! The gateway's link to its supervisor: the gateway is a cluster worker like any other, and gets
//! its listening sockets, its configuration and the state of its upstream workers over the channel
//! that every worker has.
//!
//! ```text
//! channel ── Driver (a task) ──Event──> the serving core
//!                 ^──────── Handle ────────┘
//! ```
//! [`Driver`] never waits for the core to take an event: the bounded channel is followed by a
//! bounded backlog, in which states of the same app replace each other. So the core may wait for
//! [`Handle::open`] while it handles an event. A supervisor that dies is nothing to the gateway:
//! root holds the other end of the channel until the next one comes.

mod driver;
mod files;
mod places;
mod protocol;

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use gateway_spec::link::{Answer, AppEndpoints, Ask, ConfigOutcome, FromGateway};
use gateway_spec::{GatewaySpec, Listen};
use monitor_spec::edge::Report;
use tokio::sync::{mpsc, oneshot};

pub use driver::Driver;
pub use files::LinkFiles;
pub use places::Places;

/// Events between the driver and the core.
const EVENTS_MAX: usize = 64;
/// Words of the core that the driver has not sent.
const WORDS_MAX: usize = 256;
/// How long a caller that blocks waits for a descriptor.
const OPEN_LIMIT: Duration = Duration::from_secs(5);
/// The environment variable with the channel's number, as Node's.
const CHANNEL_ENV: &str = "NODE_CHANNEL_FD";

/// What the supervisor wants, in its order.
#[derive(Debug)]
pub enum Event {
    /// Be this. Answer with [`Handle::config_result`]. The first one comes before anything else.
    Config {
        id: u64,
        spec: Box<GatewaySpec>,
        /// Directory for what the gateway keeps; to be asked for by [`Handle::open`].
        state: PathBuf,
    },
    /// A listening socket: non-blocking, already listening. Others share its queue: the supervisor
    /// accepts from it while this gateway stalls or drains.
    Listener {
        index: usize,
        socket: OwnedFd,
        listen: Listen,
    },
    /// An address of the first configuration cannot be listened on: there is nothing to serve.
    ListenFailed { listen: Listen, error: io::Error },
    /// A connection that the supervisor accepted for the listener `listener`: non-blocking,
    /// nothing was read from it.
    Connection { listener: usize, socket: OwnedFd },
    /// These apps are now so. Nothing is said of others.
    Apps(Vec<AppEndpoints>),
    /// Answer with [`Handle::answer`].
    Ask { id: u64, ask: Ask },
    /// Accept nothing more; answer what is open and say `Connection: close`; then
    /// [`Handle::drained`]. `quick`: no successor waits, so close idle connections at once.
    Drain { quick: bool },
    /// End as soon as what is open allows; the supervisor ends the process after its time.
    Disconnect,
    /// The channel has ended for good: no supervisor will come. End.
    Closed,
}

/// Takes the descriptor that was asked for.
type Opened = Box<dyn FnOnce(io::Result<OwnedFd>) + Send>;

/// What the core tells the supervisor.
enum Word {
    Ready,
    Drained,
    Say(FromGateway),
    Open { path: PathBuf, reply: Opened },
}

/// How the core speaks with the supervisor. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Handle {
    words: mpsc::Sender<Word>,
    /// Nothing waits for the supervisor.
    clear: Arc<AtomicBool>,
}

/// Room for a report, see [`Handle::room_for_report`].
pub struct ReportRoom<'h>(mpsc::Permit<'h, Word>);

impl ReportRoom<'_> {
    pub fn send(self, report: Report) {
        self.0
            .send(Word::Say(FromGateway::Report(Box::new(report))));
    }
}

/// The channel's number, if this process was started as a worker.
pub fn channel_number() -> Option<i32> {
    std::env::var(CHANNEL_ENV).ok()?.parse().ok()
}

/// Over the worker's end of a channel. The driver must be polled ([`Driver::run`], as a task of a
/// runtime with I/O) for anything to happen.
///
/// # Errors
/// The descriptor is no socket that can be made non-blocking.
pub fn connect(channel: OwnedFd) -> io::Result<(Driver, Handle, mpsc::Receiver<Event>)> {
    let (events, received) = mpsc::channel(EVENTS_MAX);
    let (words, said) = mpsc::channel(WORDS_MAX);
    let clear = Arc::new(AtomicBool::new(false));
    let driver = Driver::new(channel, events, said, clear.clone())?;
    Ok((driver, Handle { words, clear }, received))
}

impl Handle {
    /// The core serves its first configuration: connections may come.
    pub async fn ready(&self) {
        self.word(Word::Ready).await;
    }

    pub async fn config_result(&self, id: u64, outcome: ConfigOutcome) {
        self.word(Word::Say(FromGateway::Config { id, outcome }))
            .await;
    }

    pub async fn answer(&self, id: u64, result: Result<Answer, String>) {
        self.word(Word::Say(FromGateway::Answer { id, result }))
            .await;
    }

    /// Something worth telling a person: a kind (`certificate`, `upstream-down`) and one line.
    /// Dropped if 256 words wait.
    pub fn event(&self, kind: &str, text: impl Into<String>) {
        let event = FromGateway::Event {
            kind: kind.to_owned(),
            text: text.into(),
        };
        if self.words.try_send(Word::Say(event)).is_err() {
            tracing::warn!(kind, "an event was not told");
        }
    }

    /// Room for a report where the supervisor takes what is said to it; `None` while it does not,
    /// or while much else waits: what is measured is better kept than queued.
    pub fn room_for_report(&self) -> Option<ReportRoom<'_>> {
        let clear = self.clear.load(Relaxed);
        let permit = self.words.try_reserve().ok().filter(|_| clear)?;
        Some(ReportRoom(permit))
    }

    /// All that was open is answered.
    pub async fn drained(&self) {
        self.word(Word::Drained).await;
    }

    /// The descriptor of a path that the configuration names, opened by the supervisor with its
    /// rights: a file for reading (or adding to, the access log), a directory as itself.
    ///
    /// # Errors
    /// The supervisor's: not named, not there, not allowed; or there is none any more.
    pub async fn open(&self, path: &Path) -> io::Result<OwnedFd> {
        let (reply, opened) = oneshot::channel();
        let path = path.to_owned();
        // One that does not wait any more lets the descriptor be closed.
        let reply = Box::new(|result| drop(reply.send(result)));
        self.word(Word::Open { path, reply }).await;
        opened.await.unwrap_or_else(|_| Err(gone()))
    }

    /// As [`Handle::open`], for threads that may block, but not the driver's own.
    ///
    /// # Errors
    /// As [`Handle::open`]; no answer within 5 s (the supervisor is being replaced).
    pub fn open_blocking(&self, path: &Path) -> io::Result<OwnedFd> {
        let (reply, opened) = sync_channel(1);
        let path = path.to_owned();
        let reply = Box::new(move |result| drop(reply.try_send(result)));
        self.words
            .try_send(Word::Open { path, reply })
            .map_err(|_| gone())?;
        opened
            .recv_timeout(OPEN_LIMIT)
            .unwrap_or_else(|_| Err(gone()))
    }

    async fn word(&self, word: Word) {
        // A driver that has ended has told `Closed`.
        let _ = self.words.send(word).await;
    }
}

/// Takes each line of `input` as the supervisor's, with a descriptor where its first byte is odd;
/// how many acts follow. For fuzzing: no line may panic.
#[doc(hidden)]
pub fn replay(input: &[u8]) -> usize {
    let mut protocol = protocol::Protocol::default();
    let first = protocol.begin().len();
    let lines = input.split(|byte| *byte == b'\n');
    let acts = lines.map(|line| {
        let fd = line.first().is_some_and(|byte| byte % 2 == 1);
        protocol.receive(line, fd).len()
    });
    first + acts.sum::<usize>() + protocol.ready().len()
}

fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "there is no supervisor to ask")
}

#[cfg(test)]
mod tests;
