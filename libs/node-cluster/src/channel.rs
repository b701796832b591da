//! The driver: one worker's channel, a unix stream socket over which lines and descriptors go.
//!
//! Non-blocking and without a runtime: register [`Channel`] (it is [`AsFd`]) with epoll for
//! reading, and for writing while [`Channel::wants_write`]. Two rules of Linux shape it:
//!
//! - A descriptor goes with the first byte of its message. So each message is a `sendmsg` of its
//!   own, and what is left of one that was cut goes without the descriptor.
//! - A read ends behind the bytes that carry a descriptor, but may begin with plain bytes before
//!   them. So a descriptor belongs to the line in which the read ended.

use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::cmsg_space;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};

use crate::codec::{Framed, Lines};

/// Bytes that may wait for a worker that does not read.
pub const MAX_QUEUED_BYTES: usize = 4 * 1024 * 1024;

/// Messages that may wait for a worker that does not read.
pub const MAX_QUEUED_MESSAGES: usize = 1024;

/// Bytes of one read.
const READ_BYTES: usize = 64 * 1024;

/// Reads of one call, so that one loud worker does not starve the others.
const MAX_READS_PER_CALL: usize = 16;

/// Messages sent in one call, as many as a channel holds with default buffers and to spare.
const MAX_SENDS_PER_FLUSH: usize = 2 * MAX_QUEUED_MESSAGES;

/// The parent's end of one worker's channel.
#[derive(Debug)]
pub struct Channel {
    socket: OwnedFd,
    queue: VecDeque<Message>,
    queued_bytes: usize,
    wants_write: bool,
    lines: Lines,
    /// The descriptor of the line that is not finished yet.
    received: Option<OwnedFd>,
    has_more: bool,
    buffer: Box<[u8]>,
}

#[derive(Debug)]
struct Message {
    line: Vec<u8>,
    sent: usize,
    fd: Option<Arc<OwnedFd>>,
}

/// The worker does not read its channel: [`MAX_QUEUED_BYTES`] or [`MAX_QUEUED_MESSAGES`] wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{messages} messages ({bytes} bytes) wait for a worker that does not read its channel")]
pub struct QueueFull {
    /// That wait.
    pub messages: usize,
    /// That wait.
    pub bytes: usize,
}

/// How far a flush came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flush {
    /// Nothing waits.
    Done,
    /// Something waits: for the socket if [`Channel::wants_write`], else for a timer.
    Blocked,
}

/// Whether more can come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadState {
    /// The worker may write again.
    Open,
    /// All that was written has been read, and no more can come.
    Closed,
}

/// What a worker sent.
#[derive(Debug)]
pub enum Incoming<'a> {
    /// One line without its newline, and the descriptor that came with it.
    Line(&'a [u8], Option<OwnedFd>),
    /// A line above [`MAX_LINE_BYTES`](crate::MAX_LINE_BYTES) was thrown away, with its
    /// descriptor.
    Oversized {
        /// Its length.
        bytes: u64,
    },
}

impl Channel {
    /// Over the parent's end of a unix stream socket pair, which becomes non-blocking and
    /// close-on-exec.
    pub fn new(fd: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&fd, true)?;
        let flags = rustix::io::fcntl_getfd(&fd)?;
        rustix::io::fcntl_setfd(&fd, flags | rustix::io::FdFlags::CLOEXEC)?;
        Ok(Self {
            socket: fd,
            queue: VecDeque::new(),
            queued_bytes: 0,
            wants_write: false,
            lines: Lines::new(),
            received: None,
            has_more: false,
            buffer: vec![0; READ_BYTES].into_boxed_slice(),
        })
    }

    /// Keeps lines of up to `bytes` that come in, in place of
    /// [`MAX_LINE_BYTES`](crate::MAX_LINE_BYTES). Before the first read.
    pub fn with_max_line(mut self, bytes: usize) -> Self {
        self.lines = Lines::with_max(bytes);
        self
    }

    /// A channel and the worker's end, both close-on-exec: clear the flag in the child only, and
    /// name the number in `NODE_CHANNEL_FD`.
    pub fn pair() -> io::Result<(Self, OwnedFd)> {
        let (ours, theirs) = stream_pair()?;
        Ok((Self::new(ours)?, theirs))
    }

    /// Adds a message to the queue; [`flush`](Self::flush) sends. The descriptor is kept until
    /// the message is sent.
    pub fn queue(&mut self, line: Vec<u8>, fd: Option<Arc<OwnedFd>>) -> Result<(), QueueFull> {
        let full = QueueFull {
            messages: self.queue.len(),
            bytes: self.queued_bytes,
        };
        if line.is_empty() {
            return Ok(());
        }
        if self.queue.len() >= MAX_QUEUED_MESSAGES
            || self.queued_bytes + line.len() > MAX_QUEUED_BYTES
        {
            return Err(full);
        }
        self.queued_bytes += line.len();
        self.queue.push_back(Message { line, sent: 0, fd });
        Ok(())
    }

    /// Messages that wait.
    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Sends what waits, as far as the socket takes it. An error means that the worker is gone
    /// (EPIPE, ECONNRESET); what it has written can still be read.
    pub fn flush(&mut self) -> io::Result<Flush> {
        self.wants_write = false;
        for _ in 0..MAX_SENDS_PER_FLUSH {
            let Some(message) = self.queue.front_mut() else {
                return Ok(Flush::Done);
            };
            match send_some(&self.socket, message) {
                Ok(sent) => {
                    message.sent += sent;
                    message.fd = None;
                    self.queued_bytes -= sent;
                    if message.sent == message.line.len() {
                        self.queue.pop_front();
                    }
                }
                Err(Errno::AGAIN) => {
                    self.wants_write = true;
                    return Ok(Flush::Blocked);
                }
                Err(Errno::TOOMANYREFS) => return Ok(Flush::Blocked),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        self.wants_write = !self.queue.is_empty();
        Ok(if self.wants_write {
            Flush::Blocked
        } else {
            Flush::Done
        })
    }

    /// Whether to wait until the socket is writable and flush then. It is false while messages
    /// wait for the reason that too many descriptors of this user are on their way (ETOOMANYREFS):
    /// the socket is writable all the while, so flush again after some milliseconds.
    pub fn wants_write(&self) -> bool {
        self.wants_write
    }

    /// Gives every whole line to `on`, up to 1 MiB a call. If it stopped before the socket was
    /// empty, [`has_more`](Self::has_more): level-triggered callers need not care.
    pub fn read(&mut self, on: &mut dyn FnMut(Incoming<'_>)) -> io::Result<ReadState> {
        self.has_more = false;
        for _ in 0..MAX_READS_PER_CALL {
            match self.receive() {
                Ok((0, _)) | Err(Errno::CONNRESET) => return Ok(ReadState::Closed),
                Ok((length, fd)) => self.cut(length, fd, on),
                Err(Errno::AGAIN) => return Ok(ReadState::Open),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        self.has_more = true;
        Ok(ReadState::Open)
    }

    /// Whether the last read stopped for its bound.
    pub fn has_more(&self) -> bool {
        self.has_more
    }

    /// The socket itself, to be kept by whoever outlives this process. What is queued or half
    /// read is lost: hand over between [`Flush::Done`] and the next line.
    pub fn into_fd(self) -> OwnedFd {
        self.socket
    }

    fn receive(&mut self) -> Result<(usize, Option<OwnedFd>), Errno> {
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut slices = [IoSliceMut::new(&mut self.buffer)];
        let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
        let message = recvmsg(&self.socket, &mut slices, &mut control, flags)?;
        let mut fds = control.drain().filter_map(|message| {
            if let RecvAncillaryMessage::ScmRights(fds) = message {
                Some(fds)
            } else {
                None
            }
        });
        // All but the first are closed: a message has one.
        let fd = fds.by_ref().flatten().next();
        fds.for_each(drop);
        Ok((message.bytes, fd))
    }

    fn cut(&mut self, length: usize, fd: Option<OwnedFd>, on: &mut dyn FnMut(Incoming<'_>)) {
        let read = &self.buffer[..length];
        let ends_line = read.last() == Some(&b'\n');
        self.lines.push(read);
        let mut fd = fd;
        let mut left = memchr::memchr_iter(b'\n', read).count();
        while let Some(line) = self.lines.next_line() {
            left -= 1;
            let mut own = self.received.take();
            if left == 0 && ends_line {
                own = own.or(fd.take());
            }
            match line {
                Framed::Line(line) => on(Incoming::Line(line, own)),
                Framed::Oversized { bytes } => on(Incoming::Oversized { bytes }),
            }
        }
        if self.received.is_none() {
            self.received = fd;
        }
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// A socket for [`Attach::Dummy`](crate::Attach::Dummy): one serves all pings, for it is
/// duplicated on its way.
pub fn dummy() -> io::Result<OwnedFd> {
    stream_pair().map(|(one, _)| one)
}

fn stream_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )?)
}

fn send_some(socket: &OwnedFd, message: &Message) -> Result<usize, Errno> {
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let fds = message.fd.as_ref().map(|fd| [fd.as_fd()]);
    if let Some(fds) = &fds {
        let fits = control.push(SendAncillaryMessage::ScmRights(fds));
        debug_assert!(fits, "the space is that of one descriptor");
    }
    let slices = [IoSlice::new(&message.line[message.sent..])];
    sendmsg(
        socket,
        &slices,
        &mut control,
        SendFlags::NOSIGNAL | SendFlags::DONTWAIT,
    )
}
