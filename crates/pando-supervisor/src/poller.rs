//! One epoll set with small numbers for tokens: the hub's only way to wait.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::epoll;
use rustix::event::{EventfdFlags, Timespec, eventfd};

/// Events taken from the kernel at once.
const EVENTS_AT_ONCE: usize = 128;

pub struct Poller {
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
}

#[derive(Clone, Copy, Debug)]
pub struct Ready {
    pub token: u64,
    pub readable: bool,
    pub writable: bool,
}

impl Poller {
    pub fn new() -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        Ok(Self {
            epoll,
            events: Vec::with_capacity(EVENTS_AT_ONCE),
        })
    }

    /// Watches `fd` for input (level-triggered), and for room to write if `write`.
    pub fn add(&self, fd: impl AsFd, token: u64, write: bool) -> io::Result<()> {
        epoll::add(
            &self.epoll,
            fd,
            epoll::EventData::new_u64(token),
            flags(write),
        )?;
        Ok(())
    }

    pub fn modify(&self, fd: impl AsFd, token: u64, write: bool) -> io::Result<()> {
        epoll::modify(
            &self.epoll,
            fd,
            epoll::EventData::new_u64(token),
            flags(write),
        )?;
        Ok(())
    }

    /// Must be called before the descriptor is closed where others hold a copy of it.
    pub fn remove(&self, fd: impl AsFd) -> io::Result<()> {
        epoll::delete(&self.epoll, fd)?;
        Ok(())
    }

    /// Waits for at most `timeout_ms`; an interrupted wait is an empty one.
    pub fn wait(&mut self, timeout_ms: u64) -> io::Result<Vec<Ready>> {
        let timeout = Timespec::try_from(Duration::from_millis(timeout_ms))
            .map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        self.events.clear();
        let spare = rustix::buffer::spare_capacity(&mut self.events);
        match epoll::wait(&self.epoll, spare, Some(&timeout)) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok(Vec::new()),
            Err(errno) => return Err(errno.into()),
        }
        let closed = epoll::EventFlags::HUP | epoll::EventFlags::ERR | epoll::EventFlags::RDHUP;
        Ok(self
            .events
            .iter()
            .map(|event| {
                // The struct is packed: no references into it.
                let (flags, data) = (event.flags, event.data);
                Ready {
                    token: data.u64(),
                    readable: flags.intersects(epoll::EventFlags::IN | closed),
                    writable: flags.contains(epoll::EventFlags::OUT),
                }
            })
            .collect())
    }
}

fn flags(write: bool) -> epoll::EventFlags {
    let read = epoll::EventFlags::IN | epoll::EventFlags::RDHUP;
    if write {
        read | epoll::EventFlags::OUT
    } else {
        read
    }
}

/// Lets other threads wake the hub.
pub fn wake_fd() -> io::Result<OwnedFd> {
    Ok(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?)
}

/// Adds one to an eventfd. A full counter wakes as well, so nothing is lost.
pub fn wake(fd: impl AsFd) {
    match rustix::io::write(fd, &1u64.to_ne_bytes()) {
        Ok(_) | Err(rustix::io::Errno::AGAIN) => {}
        Err(errno) => tracing::error!(%errno, "cannot wake the hub"),
    }
}

/// Empties an eventfd's counter.
pub fn drain_wake(fd: impl AsFd) {
    let mut count = [0u8; 8];
    match rustix::io::read(fd, &mut count) {
        Ok(_) | Err(rustix::io::Errno::AGAIN) => {}
        Err(errno) => tracing::error!(%errno, "cannot read the hub's wake counter"),
    }
}
