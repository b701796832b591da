//! Root's end of the link to one supervisor: the hand-over first, then the news, in order.
//!
//! ```text
//! Hello -> Fds* -> Ready -> news
//! ```
//! Memory is bounded: fds are taken from the store when their turn comes, and root stops reading
//! orders while [`MAX_NEWS`] messages wait. The news that no order asked for is at most one exit
//! for each child and one message for each kind of signal.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use crate::proto::{FromRoot, MAX_FDS, ToRoot};
use crate::store::Store;
use crate::wire::{self, MAX_DATAGRAM, Received};

/// News that wait before root stops to read orders.
pub const MAX_NEWS: usize = 1024;
/// A socket may be writable and still refuse (fds in flight): then try again after this time.
const RETRY: Duration = Duration::from_millis(10);

#[derive(Debug)]
enum Stage {
    Hello(Box<FromRoot>),
    Fds(VecDeque<String>),
    News,
}

#[derive(Debug)]
pub struct Peer {
    pub socket: OwnedFd,
    stage: Stage,
    news: VecDeque<FromRoot>,
    buffer: Vec<u8>,
    pub retry_at: Option<Instant>,
}

impl Peer {
    /// A peer that is first told `hello` and the fds it names.
    pub fn new(socket: OwnedFd, hello: FromRoot) -> Self {
        Self::at(socket, Stage::Hello(Box::new(hello)))
    }

    /// The peer of a supervisor that had its hand-over before the re-exec.
    pub fn resumed(socket: OwnedFd) -> Self {
        Self::at(socket, Stage::News)
    }

    fn at(socket: OwnedFd, stage: Stage) -> Self {
        let buffer = vec![0; MAX_DATAGRAM];
        Self {
            socket,
            stage,
            news: VecDeque::new(),
            buffer,
            retry_at: None,
        }
    }

    pub fn tell(&mut self, news: FromRoot) {
        // A signal that already waits is not news, as in the kernel.
        if !matches!(news, FromRoot::Signal { .. }) || !self.news.contains(&news) {
            self.news.push_back(news);
        }
    }

    pub fn takes_orders(&self) -> bool {
        self.news.len() < MAX_NEWS
    }

    pub fn wants_write(&self) -> bool {
        !matches!(self.stage, Stage::News) || !self.news.is_empty()
    }

    /// One order, if there is one.
    pub fn read(&mut self) -> io::Result<Received<ToRoot>> {
        wire::receive(self.socket.as_fd(), &mut self.buffer)
    }

    /// Sends what the socket takes. `writable`: poll says that it takes something.
    ///
    /// # Errors
    /// The link is of no use any more.
    pub fn flush(&mut self, store: &Store, now: Instant, mut writable: bool) -> io::Result<()> {
        self.retry_at = None;
        while self.wants_write() {
            match self.send_next(store) {
                Ok(()) => writable = false,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.retry_at = writable.then_some(now + RETRY);
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn send_next(&mut self, store: &Store) -> io::Result<()> {
        let socket = self.socket.as_fd();
        match &mut self.stage {
            Stage::Hello(hello) => {
                wire::send(socket, &wire::encode(hello)?, &[])?;
                let names = if let FromRoot::Hello { fds, .. } = &mut **hello {
                    std::mem::take(fds)
                } else {
                    Vec::new()
                };
                self.stage = Stage::Fds(names.into());
            }
            Stage::Fds(names) => {
                // A name may have been dropped since `Hello`.
                let batch: Vec<_> = names.iter().take(MAX_FDS).cloned().collect();
                let looked_at = batch.len();
                let (names_sent, fds): (Vec<_>, Vec<_>) = batch
                    .into_iter()
                    .filter_map(|name| store.fds.get(&name).map(|fd| (name, fd.as_fd())))
                    .unzip();
                if looked_at == 0 {
                    wire::send(socket, &wire::encode(&FromRoot::Ready)?, &[])?;
                    self.stage = Stage::News;
                    return Ok(());
                }
                wire::send(
                    socket,
                    &wire::encode(&FromRoot::Fds { names: names_sent })?,
                    &fds,
                )?;
                names.drain(..looked_at);
            }
            Stage::News => {
                if let Some(news) = self.news.front() {
                    wire::send(socket, &wire::encode(news)?, &[])?;
                    self.news.pop_front();
                }
            }
        }
        Ok(())
    }
}
