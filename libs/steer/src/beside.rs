//! A private door: a listener on one loopback address (127.x.y.z) beside listeners on the same
//! port's wildcard address. The kernel looks for the most specific address first
//! (`__inet_lookup_listener` in net/ipv4/inet_hashtables.c), so connections to it come here,
//! whatever the group at the wildcard address is steered to.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::net::sockopt;

use crate::error::OpenError;
use crate::holder;
use crate::listener::{self, Bind, Sharing};

/// One listening socket on an address of its own.
#[derive(Debug)]
pub struct Beside {
    addr: SocketAddr,
    socket: Arc<OwnedFd>,
}

impl Beside {
    /// Binds the first of the hosts that nobody listens on at this port, and listens. `others` are
    /// the caller's sockets at the port's wildcard address: one that does not share its address is
    /// made to for the moment of the bind, which is when the kernel compares.
    ///
    /// # Errors
    /// That of the last host; [`OpenError::InUse`] when there is no host at all.
    pub fn open(
        hosts: impl IntoIterator<Item = Ipv4Addr>,
        port: u16,
        others: &[BorrowedFd<'_>],
    ) -> Result<Self, OpenError> {
        let mut last = None;
        for host in hosts {
            let addr = SocketAddr::from((host, port));
            // The bind alone would not tell: two sockets of one user that both share an address
            // may have the very same one.
            if port != 0 && holder::stranger(addr, std::iter::empty()).is_some() {
                last = Some(OpenError::InUse { addr, holder: None });
                continue;
            }
            match open_at(host, port, others) {
                Ok((socket, addr)) => {
                    return Ok(Self {
                        addr,
                        socket: Arc::new(socket),
                    });
                }
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or(OpenError::InUse {
            addr: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            holder: None,
        }))
    }

    /// The listener again from its socket, which a predecessor opened.
    ///
    /// # Errors
    /// [`OpenError::Adopt`] if it is not a listening TCP socket.
    pub fn adopt(socket: OwnedFd) -> Result<Self, OpenError> {
        let addr =
            listener::check(socket.as_fd()).map_err(|why| OpenError::Adopt { seat: 0, why })?;
        Ok(Self {
            addr,
            socket: Arc::new(socket),
        })
    }

    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// The listening socket, to keep or to watch elsewhere.
    #[must_use]
    pub fn share(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.socket)
    }

    /// Takes one connection, as [`crate::Group::accept`].
    ///
    /// # Errors
    /// EMFILE and the like, upon which the connection keeps waiting.
    pub fn accept(&self) -> io::Result<Option<(OwnedFd, SocketAddr)>> {
        listener::accept(self.socket.as_fd())
    }
}

fn open_at(
    host: Ipv4Addr,
    port: u16,
    others: &[BorrowedFd<'_>],
) -> Result<(OwnedFd, SocketAddr), OpenError> {
    let alone: Vec<BorrowedFd<'_>> = others
        .iter()
        .copied()
        .filter(|other| sockopt::socket_reuseport(other) == Ok(false))
        .collect();
    let share = |on: bool| {
        for other in &alone {
            // One that cannot be changed makes the bind fail, which says why.
            let _ = sockopt::set_socket_reuseport(other, on);
        }
    };
    share(true);
    let bind = Bind::Tcp {
        host: Some(host.into()),
        port,
        ipv6_only: false,
    };
    let opened = listener::open(&bind, Sharing::Join);
    share(false);
    opened
}
