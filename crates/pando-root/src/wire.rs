//! Messages on a SOCK_SEQPACKET socket: `J` and the JSON text in one datagram, or `M` and the
//! text in a sealed memfd that is the first of the datagram's fds.
//!
//! Nothing here allocates more than one datagram for a message that is sent: what does not fit
//! is written into the memfd as it is serialized.

use std::fs::File;
use std::io::{self, BufReader, ErrorKind, IoSlice, IoSliceMut, Read, Seek, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::proto::{MAX_FDS, MAX_MESSAGE_BYTES};

/// A message up to this size travels in its datagram.
pub const MAX_DATAGRAM: usize = 32 * 1024;

const INLINE: u8 = b'J';
const IN_MEMFD: u8 = b'M';
/// The fds of the message and the body's.
const CONTROL_BYTES: usize = rustix::cmsg_space!(ScmRights(MAX_FDS + 1));

/// A message ready to be sent.
#[derive(Debug)]
pub struct Encoded {
    datagram: Vec<u8>,
    body: Option<OwnedFd>,
}

/// Serializes a message.
///
/// # Errors
/// No memfd could be made, or the message is larger than [`MAX_MESSAGE_BYTES`].
pub fn encode<T: Serialize>(message: &T) -> io::Result<Encoded> {
    let mut out = Spill {
        head: vec![INLINE],
        body: None,
        written: 0,
    };
    serde_json::to_writer(&mut out, message)?;
    out.flush()?;
    let Some(mut body) = out.body else {
        return Ok(Encoded {
            datagram: out.head,
            body: None,
        });
    };
    body.rewind()?;
    rustix::fs::fcntl_add_seals(&body, seals())?;
    Ok(Encoded {
        datagram: vec![IN_MEMFD],
        body: Some(body.into()),
    })
}

/// Sends it with its fds, which stay the caller's.
///
/// # Errors
/// `WouldBlock` when the socket is full (or too many fds are in flight); it was not sent.
pub fn send(socket: BorrowedFd<'_>, message: &Encoded, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    if fds.len() > MAX_FDS {
        return Err(io::Error::new(
            ErrorKind::InvalidInput,
            "more than 200 fds in one message",
        ));
    }
    let mut all = [socket; MAX_FDS + 1];
    let mut count = 0;
    for (place, fd) in all.iter_mut().zip(
        message
            .body
            .iter()
            .map(AsFd::as_fd)
            .chain(fds.iter().copied()),
    ) {
        *place = fd;
        count += 1;
    }
    let rights = all.get(..count).unwrap_or_default();
    let mut space = [MaybeUninit::uninit(); CONTROL_BYTES];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !rights.is_empty() && !control.push(SendAncillaryMessage::ScmRights(rights)) {
        return Err(io::Error::other("the fds do not fit their buffer"));
    }
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    loop {
        match rustix::net::sendmsg(
            socket,
            &[IoSlice::new(&message.datagram)],
            &mut control,
            flags,
        ) {
            Ok(_) => return Ok(()),
            // A reset is told once; the next try says EPIPE.
            Err(rustix::io::Errno::INTR | rustix::io::Errno::CONNRESET) => {}
            Err(rustix::io::Errno::TOOMANYREFS) => return Err(ErrorKind::WouldBlock.into()),
            Err(error) => return Err(error.into()),
        }
    }
}

/// What [`receive`] found.
#[derive(Debug)]
pub enum Received<T> {
    Message(T, Vec<OwnedFd>),
    /// A datagram that is no message: dropped with its fds.
    Malformed(String),
    Blocked,
    /// The other end is closed and everything it sent has been read.
    Closed,
}

/// Receives one message without waiting. `buffer` is [`MAX_DATAGRAM`] long.
///
/// # Errors
/// Those of recvmsg(2) that are not `Blocked` or `Closed`.
pub fn receive<T: DeserializeOwned>(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
) -> io::Result<Received<T>> {
    let mut space = [MaybeUninit::uninit(); CONTROL_BYTES];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let got = loop {
        match rustix::net::recvmsg(socket, &mut [IoSliceMut::new(buffer)], &mut control, flags) {
            Ok(got) => break got,
            // A reset is told once, before what the other end had sent: read on.
            Err(rustix::io::Errno::INTR | rustix::io::Errno::CONNRESET) => {}
            Err(rustix::io::Errno::AGAIN) => return Ok(Received::Blocked),
            Err(error) => return Err(error.into()),
        }
    };
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    if got.bytes == 0 && fds.is_empty() {
        return Ok(Received::Closed);
    }
    if got.flags.contains(ReturnFlags::CTRUNC) {
        return Ok(Received::Malformed(
            "fds were lost: too many are open".into(),
        ));
    }
    if got.flags.contains(ReturnFlags::TRUNC) {
        return Ok(Received::Malformed(
            "a datagram was longer than allowed".into(),
        ));
    }
    let text = buffer.get(..got.bytes).unwrap_or_default();
    Ok(decode(text, fds).unwrap_or_else(|error| Received::Malformed(error.to_string())))
}

fn decode<T: DeserializeOwned>(datagram: &[u8], mut fds: Vec<OwnedFd>) -> io::Result<Received<T>> {
    match datagram.split_first() {
        Some((&INLINE, text)) => Ok(Received::Message(serde_json::from_slice(text)?, fds)),
        Some((&IN_MEMFD, [])) if !fds.is_empty() => {
            let message = read_body(File::from(fds.remove(0)))?;
            Ok(Received::Message(message, fds))
        }
        Some(_) | None => Err(io::Error::new(
            ErrorKind::InvalidData,
            "not a message of this link",
        )),
    }
}

fn read_body<T: DeserializeOwned>(body: File) -> io::Result<T> {
    let invalid = |why| io::Error::new(ErrorKind::InvalidData, why);
    if !rustix::fs::fcntl_get_seals(&body)?.contains(seals()) {
        return Err(invalid("a message's body is not sealed"));
    }
    if body.metadata()?.len() > MAX_MESSAGE_BYTES {
        return Err(invalid("a message is longer than allowed"));
    }
    Ok(serde_json::from_reader(BufReader::new(
        body.take(MAX_MESSAGE_BYTES),
    ))?)
}

fn seals() -> SealFlags {
    SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE
}

/// Collects bytes in one datagram, and moves to a memfd when they outgrow it.
struct Spill {
    head: Vec<u8>,
    body: Option<File>,
    written: u64,
}

impl Write for Spill {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.written = self.written.saturating_add(bytes.len() as u64);
        if self.written > MAX_MESSAGE_BYTES {
            return Err(io::Error::new(
                ErrorKind::InvalidInput,
                "a message of more than 16 MiB",
            ));
        }
        if self.body.is_none() && self.head.len() + bytes.len() > MAX_DATAGRAM {
            let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
            self.body = Some(rustix::fs::memfd_create("pando-message", flags)?.into());
            self.head.remove(0);
        }
        let Some(body) = &mut self.body else {
            self.head.extend_from_slice(bytes);
            return Ok(bytes.len());
        };
        // The head is now only a buffer in front of the file: JSON comes in small pieces.
        if self.head.len() + bytes.len() > MAX_DATAGRAM {
            body.write_all(&self.head)?;
            self.head.clear();
        }
        if bytes.len() > MAX_DATAGRAM {
            body.write_all(bytes)?;
        } else {
            self.head.extend_from_slice(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if let Some(body) = &mut self.body {
            body.write_all(&self.head)?;
            self.head.clear();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    use super::*;

    fn pair() -> (OwnedFd, OwnedFd) {
        socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )
        .unwrap()
    }

    fn buffer() -> Vec<u8> {
        vec![0; MAX_DATAGRAM]
    }

    #[test]
    fn messages_of_every_size_survive() {
        let (a, b) = pair();
        for size in [
            0,
            1,
            MAX_DATAGRAM - 4,
            MAX_DATAGRAM - 3,
            MAX_DATAGRAM - 2,
            300_000,
            4_000_000,
        ] {
            let sent = "x".repeat(size);
            send(a.as_fd(), &encode(&sent).unwrap(), &[]).unwrap();
            let Received::Message(got, fds) = receive::<String>(b.as_fd(), &mut buffer()).unwrap()
            else {
                panic!("no message of {size} bytes")
            };
            assert!(got == sent && fds.is_empty(), "{size}");
        }
        // Many small pieces.
        let sent: Vec<u32> = (0..50_000).collect();
        send(a.as_fd(), &encode(&sent).unwrap(), &[]).unwrap();
        let got = receive::<Vec<u32>>(b.as_fd(), &mut buffer()).unwrap();
        assert!(matches!(got, Received::Message(got, _) if got == sent));
        assert!(encode(&"x".repeat(17 * 1024 * 1024)).is_err());
    }

    #[test]
    fn two_hundred_fds_travel_beside_a_large_message_and_no_more() {
        let (a, b) = pair();
        let large = encode(&"x".repeat(100_000)).unwrap();
        send(a.as_fd(), &large, &[a.as_fd(); MAX_FDS]).unwrap();
        let got = receive::<String>(b.as_fd(), &mut buffer()).unwrap();
        assert!(matches!(got, Received::Message(_, fds) if fds.len() == MAX_FDS));
        assert!(send(a.as_fd(), &large, &[a.as_fd(); MAX_FDS + 1]).is_err());
    }

    #[test]
    fn what_is_no_message_is_told_and_the_end_is_seen() {
        let (a, b) = pair();
        for bytes in [&b"x"[..], b"M", b"J", b"J{", b"M1"] {
            rustix::net::send(&a, bytes, SendFlags::empty()).unwrap();
            let got = receive::<String>(b.as_fd(), &mut buffer()).unwrap();
            assert!(matches!(got, Received::Malformed(_)), "{bytes:?}");
        }
        // A body that its sender could still change.
        let open = rustix::fs::memfd_create("x", MemfdFlags::ALLOW_SEALING).unwrap();
        send(
            a.as_fd(),
            &Encoded {
                datagram: vec![IN_MEMFD],
                body: Some(open),
            },
            &[],
        )
        .unwrap();
        let got = receive::<String>(b.as_fd(), &mut buffer()).unwrap();
        assert!(matches!(got, Received::Malformed(_)));
        assert!(matches!(
            receive::<String>(b.as_fd(), &mut buffer()).unwrap(),
            Received::Blocked
        ));
        send(a.as_fd(), &encode(&"last").unwrap(), &[]).unwrap();
        drop(a);
        let got = receive::<String>(b.as_fd(), &mut buffer()).unwrap();
        assert!(matches!(got, Received::Message(text, _) if text == "last"));
        assert!(matches!(
            receive::<String>(b.as_fd(), &mut buffer()).unwrap(),
            Received::Closed
        ));
    }
}
