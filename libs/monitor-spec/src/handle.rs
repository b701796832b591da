//! How words reach the metrics' own thread: one bounded queue. Who tells never waits; a queue that
//! is full costs a second of pictures and no more.

use std::os::fd::OwnedFd;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use crate::ask::{Answer, Ask};
use crate::state::{Event, State};
use crate::{edge, settings};

/// Words that wait for the metrics' thread.
const QUEUE_MAX: usize = 4096;

/// What the metrics' thread is told.
pub enum Word {
    /// The apps as they are.
    State(Box<State>),
    /// A worker's socket for reports of its preload, non-blocking. It is read until it ends.
    Agent {
        app: String,
        /// Unique for the life of the daemon.
        worker: u32,
        instance: u32,
        socket: OwnedFd,
    },
    Event(Event),
    Edge(Box<edge::Report>),
    Ask {
        ask: Ask,
        reply: Box<dyn Replier>,
    },
    /// Write what is not on disk yet and end.
    End,
}

/// Who asked.
pub trait Replier: Send {
    /// One of several answers. False: nobody reads any more.
    fn push(&self, answer: Answer) -> bool;
    /// The last or only answer.
    fn done(self: Box<Self>, answer: Answer);
    /// A sentence that says what is wrong.
    fn failed(self: Box<Self>, why: String);
}

#[derive(Clone)]
pub struct Handle(SyncSender<Word>);

pub struct Inbox(Receiver<Word>);

/// Both ends of a queue of [`QUEUE_MAX`] words.
pub fn channel() -> (Handle, Inbox) {
    let (sender, receiver) = sync_channel(QUEUE_MAX);
    (Handle(sender), Inbox(receiver))
}

impl Handle {
    /// Never waits.
    ///
    /// # Errors
    /// The word is given back: the queue is full or nobody reads it.
    pub fn tell(&self, word: Word) -> Result<(), Word> {
        use std::sync::mpsc::TrySendError::{Disconnected, Full};
        self.0.try_send(word).map_err(|error| match error {
            Full(word) | Disconnected(word) => word,
        })
    }
}

/// What an [`Inbox`] gives.
pub enum Heard {
    Word(Word),
    Nothing,
    /// No handle is left.
    Closed,
}

impl Inbox {
    /// The next word, waiting at most this long.
    pub fn next(&self, wait: Duration) -> Heard {
        match self.0.recv_timeout(wait) {
            Ok(word) => Heard::Word(word),
            Err(RecvTimeoutError::Timeout) => Heard::Nothing,
            Err(RecvTimeoutError::Disconnected) => Heard::Closed,
        }
    }
}

impl From<settings::MonitorSpec> for Ask {
    fn from(spec: settings::MonitorSpec) -> Self {
        Self::Configure(Box::new(spec))
    }
}
