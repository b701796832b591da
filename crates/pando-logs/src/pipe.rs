//! Looking into a pipe without taking anything out of it (Linux: tee(2), FIONREAD, F_SETPIPE_SZ).

use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::pipe::{PipeFlags, SpliceFlags};

/// What a worker's pipe is raised to, so that it can write on while the pump is away.
pub const WANTED_CAPACITY: usize = 1 << 20;
/// The second best.
const MODEST_CAPACITY: usize = 256 * 1024;
/// Unprivileged users have 64 MiB of pipes by default (pipe-user-pages-soft); past that their new
/// pipes shrink to two pages. So the first pipes get the large size, further ones the second best,
/// and a quarter of the limit is left to everyone else.
const WANTED_BUDGET: usize = 32 << 20;
const MODEST_BUDGET: usize = 48 << 20;

pub enum Peek {
    /// Nothing there now.
    Empty,
    /// Nothing there and no writer left.
    End,
    /// This many bytes are in the buffer, and still in the pipe.
    Data(usize),
}

/// The pipe through which others are looked into. It is empty between calls.
pub struct Scratch {
    read: OwnedFd,
    write: OwnedFd,
    capacity: usize,
}

impl Scratch {
    pub fn new() -> rustix::io::Result<Self> {
        let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // Without the raise a look sees 64 KiB at a time, which is slower and right.
        let capacity = raise_capacity(&write, 0);
        Ok(Self {
            read,
            write,
            capacity,
        })
    }

    /// What one look surely sees: its pages may be as empty as half.
    pub fn reach(&self) -> usize {
        self.capacity / 2
    }

    /// Copies the head of `source` into `buf`.
    pub fn peek(&self, source: impl AsFd, buf: &mut [u8]) -> rustix::io::Result<Peek> {
        let teed = loop {
            match rustix::pipe::tee(&source, &self.write, buf.len(), SpliceFlags::NONBLOCK) {
                Ok(0) => return Ok(Peek::End),
                Ok(n) => break n,
                Err(Errno::AGAIN) => return Ok(Peek::Empty),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        };
        let mut have = 0;
        while have < teed {
            match rustix::io::read(&self.read, &mut buf[have..teed]) {
                Ok(0) => return Err(Errno::IO),
                Ok(n) => have += n,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Peek::Data(teed))
    }
}

/// Bytes in the pipe now.
pub fn available(pipe: impl AsFd) -> usize {
    let bytes = rustix::io::ioctl_fionread(pipe).unwrap_or(0);
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// Raises the pipe's capacity as far as the user's limit and our budget allow and returns it.
/// `raised` is what the other pipes have.
pub fn raise_capacity(pipe: impl AsFd, raised: usize) -> usize {
    let has = rustix::pipe::fcntl_getpipe_size(&pipe).unwrap_or(64 * 1024);
    for (wanted, budget) in [
        (WANTED_CAPACITY, WANTED_BUDGET),
        (MODEST_CAPACITY, MODEST_BUDGET),
    ] {
        if has >= wanted {
            return has;
        }
        if raised + wanted <= budget
            && let Ok(now) = rustix::pipe::fcntl_setpipe_size(&pipe, wanted)
        {
            return now;
        }
    }
    has
}
