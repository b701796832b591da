//! Joins the [`Protocol`] to its channel and to the core's queues.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use gateway_spec::link::{AppEndpoints, FromGateway, MAX_LINE_BYTES};
use node_cluster::{Channel, Flush, Incoming, ReadState};
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::mpsc;

use super::protocol::{Act, Protocol, say};
use super::{Event, Opened, Word, gone};

/// Events that wait for the core. The supervisor has at most 12 connections on their way, so more
/// than this is a core that has stopped: nothing more is read then.
const BACKLOG_MAX: usize = 1024;
/// Files asked for and not yet answered.
const OPENS_MAX: usize = 1024;
/// Lines that wait for the supervisor; beyond it the core's words wait too.
const UNSENT_MAX: usize = 256;
/// Until a channel that no event wakes (too many descriptors in flight) is tried again.
const RETRY: Duration = Duration::from_millis(10);

/// The task that owns the channel.
pub struct Driver {
    channel: Option<Channel>,
    state: State,
    events: mpsc::Sender<Event>,
    words: mpsc::Receiver<Word>,
    clear: Arc<AtomicBool>,
}

/// An event for the core, and the connection to ack once the core has it.
type Waiting = (Event, Option<u64>);

#[derive(Default)]
struct State {
    protocol: Protocol,
    backlog: VecDeque<Waiting>,
    opens: BTreeMap<u64, Opened>,
    next_open: u64,
    /// Lines to send, before they are in the channel's queue.
    out: VecDeque<Vec<u8>>,
}

impl Driver {
    pub(super) fn new(
        fd: OwnedFd,
        events: mpsc::Sender<Event>,
        words: mpsc::Receiver<Word>,
        clear: Arc<AtomicBool>,
    ) -> io::Result<Self> {
        let channel = Channel::new(fd)?.with_max_line(MAX_LINE_BYTES);
        Ok(Self {
            channel: Some(channel),
            state: State::default(),
            events,
            words,
            clear,
        })
    }

    /// Runs until the channel ends or the core drops its queue of events.
    pub async fn run(mut self) {
        if let Some(channel) = self.channel.take()
            && let Err(error) = self.serve(channel).await
        {
            tracing::error!(%error, "the link to the supervisor");
        }
        self.words.close();
        for (_, reply) in std::mem::take(&mut self.state.opens) {
            reply(Err(gone()));
        }
        while let Some((event, _)) = self.state.backlog.pop_front() {
            if self.events.send(event).await.is_err() {
                return;
            }
        }
        // A core that is gone knows.
        let _ = self.events.send(Event::Closed).await;
    }

    async fn serve(&mut self, mut channel: Channel) -> io::Result<()> {
        // A second descriptor of the same socket tells when the first can be read and written.
        let readiness = std::os::unix::net::UnixStream::from(channel.as_fd().try_clone_to_owned()?);
        let readiness = UnixStream::from_std(readiness)?;
        let first = self.state.protocol.begin();
        self.state.carry_out(first, None);
        loop {
            let blocked = self.state.flush(&mut channel);
            let waits = channel.wants_write();
            self.clear.store(channel.queued() == 0, Relaxed);
            let reads = self.state.backlog.len() < BACKLOG_MAX;
            let hears = self.state.out.len() + channel.queued() < UNSENT_MAX;
            let interest = match (reads, waits) {
                (true, true) => Interest::READABLE | Interest::WRITABLE,
                (true, false) => Interest::READABLE,
                (false, _) => Interest::WRITABLE,
            };
            tokio::select! {
                ready = readiness.ready(interest), if reads || waits => {
                    let ready = ready?;
                    if ready.is_writable() && waits {
                        self.state.write(&readiness, &mut channel);
                    }
                    if ready.is_readable() && reads
                        && self.state.read(&readiness, &mut channel)? == ReadState::Closed
                    {
                        return Ok(());
                    }
                }
                word = self.words.recv(), if hears => match word {
                    Some(word) => self.state.word(word),
                    // The core has dropped its last handle.
                    None => return Ok(()),
                },
                room = self.events.reserve(), if !self.state.backlog.is_empty() => {
                    let Ok(room) = room else { return Ok(()) };
                    if let Some((event, ack)) = self.state.backlog.pop_front() {
                        room.send(event);
                        if let Some(seq) = ack {
                            let ack = self.state.protocol.ack(seq, true);
                            self.state.carry_out(vec![ack], None);
                        }
                    }
                }
                () = tokio::time::sleep(RETRY), if blocked && !waits => {}
            }
        }
    }
}

impl State {
    /// Sends what can be sent; says whether something still waits.
    fn flush(&mut self, channel: &mut Channel) -> bool {
        while let Some(line) = self.out.pop_front() {
            if channel.queue(line, None).is_err() {
                // The supervisor is not there. Its successor asks again for what it needs.
                tracing::warn!("a line to the supervisor was dropped");
            }
        }
        if channel.queued() == 0 {
            return false;
        }
        match channel.flush() {
            Ok(Flush::Done) => false,
            Ok(Flush::Blocked) => true,
            // Reading tells that the channel has ended.
            Err(error) => {
                tracing::debug!(%error, "link write");
                false
            }
        }
    }

    /// `try_io` forgets a readiness that has proved to be none.
    fn write(&self, readiness: &UnixStream, channel: &mut Channel) {
        let written = readiness.try_io(Interest::WRITABLE, || match channel.flush()? {
            Flush::Blocked => Err(io::ErrorKind::WouldBlock.into()),
            Flush::Done => Ok(()),
        });
        if let Err(error) = written.or_else(passed) {
            tracing::debug!(%error, "link write");
        }
    }

    fn read(&mut self, readiness: &UnixStream, channel: &mut Channel) -> io::Result<ReadState> {
        let mut lines = Vec::new();
        let mut state = ReadState::Open;
        let read = readiness.try_io(Interest::READABLE, || {
            state = channel.read(&mut |incoming| match incoming {
                Incoming::Line(line, fd) => lines.push((line.to_vec(), fd)),
                Incoming::Oversized { bytes } => {
                    tracing::error!(bytes, "the supervisor wrote a line that is too long");
                }
            })?;
            if channel.has_more() {
                Ok(())
            } else {
                Err(io::ErrorKind::WouldBlock.into())
            }
        });
        read.or_else(passed)?;
        for (line, fd) in lines {
            let garbage = self.protocol.garbage;
            let acts = self.protocol.receive(&line, fd.is_some());
            if self.protocol.garbage > garbage {
                tracing::warn!("the supervisor wrote a line that cannot be read");
            }
            self.carry_out(acts, fd);
        }
        Ok(state)
    }

    fn carry_out(&mut self, acts: Vec<Act>, mut fd: Option<OwnedFd>) {
        for act in acts {
            match act {
                Act::Say(line) => self.out.push_back(line),
                Act::Config { id, spec, state } => self.tell(Event::Config { id, spec, state }),
                Act::Listener { index } => {
                    let listen = self.protocol.listen(index).cloned();
                    if let (Some(socket), Some(listen)) = (fd.take(), listen) {
                        self.tell(Event::Listener {
                            index,
                            socket,
                            listen,
                        });
                    }
                }
                Act::ListenFailed { index, errno } => {
                    if let Some(listen) = self.protocol.listen(index).cloned() {
                        let error = io::Error::from_raw_os_error(errno);
                        self.tell(Event::ListenFailed { listen, error });
                    }
                }
                Act::Connection { listener, seq } => {
                    if let Some(socket) = fd.take() {
                        let event = Event::Connection { listener, socket };
                        self.backlog.push_back((event, Some(seq)));
                    }
                }
                Act::Apps(apps) => self.apps(apps),
                Act::Opened { id, error } => self.opened(id, error, fd.take()),
                Act::Ask { id, ask } => self.tell(Event::Ask { id, ask }),
                Act::Drain { quick } => self.tell(Event::Drain { quick }),
                Act::Disconnect => self.tell(Event::Disconnect),
            }
        }
    }

    fn tell(&mut self, event: Event) {
        self.backlog.push_back((event, None));
    }

    /// What waits already is brought up to date: the core needs no history.
    fn apps(&mut self, new: Vec<AppEndpoints>) {
        let waiting = self
            .backlog
            .iter_mut()
            .find(|(event, _)| matches!(event, Event::Apps(_)));
        let Some((Event::Apps(apps), _)) = waiting else {
            return self.tell(Event::Apps(new));
        };
        for app in new {
            match apps.iter_mut().find(|old| old.app == app.app) {
                Some(old) => *old = app,
                None => apps.push(app),
            }
        }
    }

    fn opened(&mut self, id: u64, error: Option<String>, fd: Option<OwnedFd>) {
        let Some(reply) = self.opens.remove(&id) else {
            return;
        };
        let result = match (error, fd) {
            (Some(why), _) => Err(io::Error::other(why)),
            (None, Some(fd)) => Ok(fd),
            (None, None) => Err(io::Error::other("the descriptor did not arrive")),
        };
        reply(result);
    }

    fn word(&mut self, word: Word) {
        match word {
            Word::Ready => {
                let acts = self.protocol.ready();
                self.carry_out(acts, None);
            }
            Word::Drained => self.carry_out(vec![self.protocol.drained()], None),
            Word::Say(say_this) => self.say(&say_this),
            Word::Open { path, reply } => {
                if self.opens.len() >= OPENS_MAX {
                    return reply(Err(io::Error::other("too many files are asked for")));
                }
                let id = self.next_open;
                self.next_open += 1;
                self.opens.insert(id, reply);
                self.say(&FromGateway::Open { id, path });
            }
        }
    }

    fn say(&mut self, word: &FromGateway) {
        self.carry_out(say(word).into_iter().collect(), None);
    }
}

/// That there was nothing more to read or no more room is no error.
fn passed(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::WouldBlock {
        Ok(())
    } else {
        Err(error)
    }
}
