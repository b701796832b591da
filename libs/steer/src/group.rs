//! A listen address with several seats, and the filter that steers between them.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::net::sockopt;

use crate::bpf::{self, MAX_SEATS};
use crate::error::{OpenError, SteerError};
use crate::holder;
use crate::listener::{self, Bind, Sharing};
use crate::sockopt as options;

/// The seats of one address, 0..n. See the crate's documentation for what the kernel does.
///
/// Dropping it closes this process's descriptors; the kernel's group lives until the last
/// duplicate anywhere is closed.
#[derive(Debug)]
pub struct Group {
    bind: Bind,
    addr: SocketAddr,
    /// Position = seat = the socket's index in the kernel's group. Only ever appended to.
    seats: Vec<Arc<OwnedFd>>,
    /// What the last successful `steer` asked for, in order; empty before the first.
    steered: Vec<usize>,
}

impl Group {
    /// Binds and listens on `seats` sockets (at least one), in seat order. With port 0 the first
    /// seat picks and the others join it.
    ///
    /// Until the first [`Group::steer`] the kernel spreads connections over all seats by a hash
    /// of the addresses.
    ///
    /// # Errors
    /// [`OpenError::InUse`] if anybody listens there already, even with SO_REUSEPORT set;
    /// otherwise as the system says.
    pub fn open(bind: &Bind, seats: usize) -> Result<Self, OpenError> {
        let (first, addr) = listener::open(bind, Sharing::First)?;
        let mut group = Self {
            bind: bind.clone(),
            addr,
            seats: vec![Arc::new(first)],
            steered: Vec::new(),
        };
        group.grow(seats)?;
        Ok(group)
    }

    /// The group again from its sockets, which a predecessor opened, in seat order. The filter
    /// that the predecessor set still steers.
    ///
    /// # Errors
    /// [`OpenError::Adopt`] if a socket does not listen, has another address than the first or
    /// no SO_REUSEPORT, or if there are none or too many.
    pub fn adopt(bind: Bind, sockets: Vec<OwnedFd>) -> Result<Self, OpenError> {
        let refused = |seat: usize, why: &'static str| OpenError::Adopt { seat, why };
        let mut addr = None;
        for (seat, socket) in sockets.iter().enumerate() {
            let own = listener::check(socket.as_fd()).map_err(|why| refused(seat, why))?;
            if *addr.get_or_insert(own) != own {
                return Err(refused(seat, "has another address than the first seat"));
            }
            if sockopt::socket_reuseport(socket) != Ok(true) {
                return Err(refused(seat, "does not share its port"));
            }
        }
        let addr = addr.ok_or_else(|| refused(0, "is missing"))?;
        if sockets.len() > MAX_SEATS {
            return Err(OpenError::TooManySeats {
                addr,
                seats: sockets.len(),
            });
        }
        let seats = sockets.into_iter().map(Arc::new).collect();
        Ok(Self {
            bind,
            addr,
            seats,
            steered: Vec::new(),
        })
    }

    /// Appends seats until there are `seats`; never fewer than before. A filter that is set
    /// keeps steering as it does: the new seats get nothing until they are steered to.
    ///
    /// # Errors
    /// As [`Group::open`]; the group is then as it was. [`OpenError::InUse`] also when somebody else has joined the kernel's group (SO_REUSEPORT lets any process of the
    /// same user do so): behind a stranger's socket our seats would not be where we count them.
    pub fn grow(&mut self, seats: usize) -> Result<(), OpenError> {
        if seats > MAX_SEATS {
            return Err(OpenError::TooManySeats {
                addr: self.addr,
                seats,
            });
        }
        if seats <= self.seats.len() {
            return Ok(());
        }
        self.refuse_strangers()?;
        let before = self.seats.len();
        // Once more afterwards, for one that came in the meantime.
        let result = self
            .append_until(seats)
            .and_then(|()| self.refuse_strangers());
        if result.is_err() {
            // All gaps are behind the seats that stay, so the kernel renumbers none of those.
            self.seats.truncate(before);
        }
        result
    }

    fn append_until(&mut self, seats: usize) -> Result<(), OpenError> {
        while self.seats.len() < seats {
            let socket = listener::join(&self.bind, self.addr)?;
            self.seats.push(Arc::new(socket));
        }
        Ok(())
    }

    fn refuse_strangers(&self) -> Result<(), OpenError> {
        match holder::stranger(self.addr, self.seats.iter().map(|seat| seat.as_fd())) {
            Some(stranger) => Err(OpenError::InUse {
                addr: self.addr,
                holder: holder::holder_of(stranger.inode),
            }),
            None => Ok(()),
        }
    }

    /// The address as bound, with the port that the kernel picked if it was asked to.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// What was asked for.
    #[must_use]
    pub fn bind(&self) -> &Bind {
        &self.bind
    }

    /// How many seats there are.
    #[must_use]
    pub fn seats(&self) -> usize {
        self.seats.len()
    }

    /// The seat's listening socket.
    #[must_use]
    pub fn socket(&self, seat: usize) -> Option<&OwnedFd> {
        self.seats.get(seat).map(|socket| &**socket)
    }

    /// The seat's listening socket, to keep or to watch elsewhere.
    #[must_use]
    pub fn share(&self, seat: usize) -> Option<Arc<OwnedFd>> {
        self.seats.get(seat).map(Arc::clone)
    }

    /// Sends new connections to these seats only, each with the same probability. Order and
    /// repetition do not matter; an empty list leaves the filter as it is, so that connections
    /// wait in the queues rather than be refused.
    ///
    /// Atomic for each SYN. A handshake that began before ends at the seat where it began: look
    /// into the queue of a seat that was steered away from until a round trip later at least.
    ///
    /// # Errors
    /// [`SteerError`]; the filter before stays.
    pub fn steer(&mut self, seats: &[usize]) -> Result<(), SteerError> {
        let seats: BTreeSet<usize> = seats.iter().copied().collect();
        let Some(&last) = seats.last() else {
            return Ok(());
        };
        if last >= self.seats.len() {
            return Err(SteerError::NoSuchSeat {
                seat: last,
                seats: self.seats.len(),
            });
        }
        let seats = Vec::from_iter(seats);
        options::attach_reuseport_program(self.seats[0].as_fd(), &bpf::program(&seats))
            .map_err(SteerError::Attach)?;
        self.steered = seats;
        Ok(())
    }

    /// The seats of the last successful [`Group::steer`] through this value, in order. Empty
    /// before the first, also when a predecessor's filter is in place.
    #[must_use]
    pub fn steered(&self) -> &[usize] {
        &self.steered
    }

    /// How many connections wait in the seat's accept queue.
    ///
    /// # Errors
    /// `InvalidInput` for a seat that does not exist.
    pub fn queued(&self, seat: usize) -> io::Result<u32> {
        options::accept_queue_len(self.seat(seat)?)
    }

    /// Takes one connection from the seat's queue, non-blocking and close-on-exec; `None` when
    /// none waits. An IPv4 client of a dual-stack socket is `::ffff:a.b.c.d`.
    ///
    /// # Errors
    /// `InvalidInput` for a seat that does not exist; EMFILE and the like, upon which the
    /// connection keeps waiting.
    pub fn accept(&self, seat: usize) -> io::Result<Option<(OwnedFd, SocketAddr)>> {
        listener::accept(self.seat(seat)?)
    }

    fn seat(&self, seat: usize) -> io::Result<BorrowedFd<'_>> {
        let socket = self.socket(seat).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("there is no seat {seat}"),
            )
        })?;
        Ok(socket.as_fd())
    }
}
