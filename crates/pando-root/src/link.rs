//! The supervisor's end of the link to root. Non-blocking, to be put into any event loop: wait
//! for readable, and for writable while [`Link::wants_write`].
//!
//! When [`Link::recv`] says `UnexpectedEof` and no `Upgrading` came before, root is dead. Workers
//! die with it (PR_SET_PDEATHSIG), but not their children, and the supervisor lives on so that it
//! can clear up: call [`crate::kill_leftovers`] and exit. That call does nothing while any root
//! holds the home, so it is safe in every other case too.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use crate::inherit;
use crate::proto::{FromRoot, MAX_FDS, ToRoot};
use crate::wire::{self, Encoded, MAX_DATAGRAM, Received};

/// The environment variable that holds the supervisor's fd number.
pub const LINK_ENV: &str = "PANDO_ROOT_FD";
/// Orders that wait for room in the socket.
pub const MAX_QUEUED: usize = 4096;

/// The link. Dropping it does not end root; root starts another supervisor.
#[derive(Debug)]
pub struct Link {
    socket: OwnedFd,
    queue: VecDeque<(Encoded, Vec<OwnedFd>)>,
    buffer: Vec<u8>,
}

impl Link {
    /// Takes the fd that root gave this process. Once per process.
    ///
    /// # Errors
    /// `NotFound` when this process was not started by root.
    pub fn from_env() -> io::Result<Self> {
        let number = std::env::var(LINK_ENV)
            .ok()
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| io::Error::new(ErrorKind::NotFound, "not started by a pando root"))?;
        Ok(Self::new(inherit::adopt(number)?))
    }

    /// A link over one end of a SOCK_SEQPACKET pair.
    pub fn new(socket: OwnedFd) -> Self {
        Self {
            socket,
            queue: VecDeque::new(),
            buffer: vec![0; MAX_DATAGRAM],
        }
    }

    /// A link and the end that root would hold, for tests of what uses a link.
    ///
    /// # Errors
    /// Those of socketpair(2).
    pub fn pair() -> io::Result<(Self, OwnedFd)> {
        let (root, ours) = link_pair()?;
        Ok((Self::new(ours), root))
    }

    /// Sends an order; keeps it (and duplicates of its fds) when the socket is full.
    ///
    /// # Errors
    /// `InvalidInput` for fds that do not fit the order, `QuotaExceeded` when [`MAX_QUEUED`]
    /// orders wait already, `BrokenPipe` when root is gone. The order was then not sent.
    pub fn send(&mut self, order: &ToRoot, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        if fds.len() != order.fds() || fds.len() > MAX_FDS {
            return Err(io::Error::new(
                ErrorKind::InvalidInput,
                "fds do not fit the order",
            ));
        }
        let message = wire::encode(order)?;
        if self.flush()? {
            match wire::send(self.socket.as_fd(), &message, fds) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                done => return done,
            }
        }
        if self.queue.len() >= MAX_QUEUED {
            return Err(io::Error::new(
                ErrorKind::QuotaExceeded,
                "root does not read its orders",
            ));
        }
        let fds = fds
            .iter()
            .map(BorrowedFd::try_clone_to_owned)
            .collect::<io::Result<_>>()?;
        self.queue.push_back((message, fds));
        Ok(())
    }

    /// Sends what waits. True when nothing waits any more.
    ///
    /// # Errors
    /// `BrokenPipe` when root is gone.
    pub fn flush(&mut self) -> io::Result<bool> {
        while let Some((message, fds)) = self.queue.front() {
            let borrowed: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
            match wire::send(self.socket.as_fd(), message, &borrowed) {
                Ok(()) => drop(self.queue.pop_front()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Whether to wait for the socket to be writable.
    pub fn wants_write(&self) -> bool {
        !self.queue.is_empty()
    }

    /// The next message with its fds (close-on-exec). `None` when there is none yet.
    ///
    /// # Errors
    /// `UnexpectedEof` when root is gone (or said `Upgrading` before); `InvalidData` for a
    /// message that this version does not understand, after which the next one can be read.
    pub fn recv(&mut self) -> io::Result<Option<(FromRoot, Vec<OwnedFd>)>> {
        match wire::receive(self.socket.as_fd(), &mut self.buffer)? {
            Received::Message(message, fds) => Ok(Some((message, fds))),
            Received::Blocked => Ok(None),
            Received::Malformed(why) => Err(io::Error::new(ErrorKind::InvalidData, why)),
            Received::Closed => Err(ErrorKind::UnexpectedEof.into()),
        }
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Root's end and the supervisor's end.
pub(crate) fn link_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        flags,
        None,
    )?)
}

impl ToRoot {
    /// How many fds travel with it.
    pub fn fds(&self) -> usize {
        match self {
            Self::Spawn(spec) => spec.fds.len(),
            Self::Store { .. } => 1,
            Self::Hello
            | Self::Signal { .. }
            | Self::Forget { .. }
            | Self::Drop { .. }
            | Self::Put { .. }
            | Self::Upgrade { .. }
            | Self::Shutdown { .. } => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_wait_when_the_socket_is_full_and_none_is_lost() {
        let (mut link, root) = Link::pair().unwrap();
        let total = 1000;
        for n in 0..total {
            let order = ToRoot::Put {
                name: n.to_string(),
                value: Some("x".repeat(5_000)),
            };
            link.send(&order, &[]).unwrap();
        }
        assert!(link.wants_write());
        let mut buffer = vec![0; MAX_DATAGRAM];
        let mut seen = 0;
        while seen < total {
            match wire::receive::<ToRoot>(root.as_fd(), &mut buffer).unwrap() {
                Received::Message(ToRoot::Put { name, .. }, _) => {
                    assert_eq!(name, seen.to_string());
                    seen += 1;
                }
                Received::Blocked => drop(link.flush().unwrap()),
                other @ (Received::Message(..) | Received::Malformed(_) | Received::Closed) => {
                    panic!("{other:?}")
                }
            }
        }
        assert!(!link.wants_write());
    }

    #[test]
    fn the_queue_is_bounded_and_root_s_end_is_told() {
        let (mut link, root) = Link::pair().unwrap();
        let refused = (0..2 * MAX_QUEUED)
            .find_map(|_| link.send(&ToRoot::Hello, &[]).err())
            .expect("the queue is bounded");
        assert_eq!(refused.kind(), ErrorKind::QuotaExceeded);
        let store = ToRoot::Store { name: "x".into() };
        assert_eq!(
            link.send(&store, &[]).unwrap_err().kind(),
            ErrorKind::InvalidInput
        );
        drop(root);
        assert_eq!(link.recv().unwrap_err().kind(), ErrorKind::UnexpectedEof);
    }
}
