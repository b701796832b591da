//! A plain listener, for accepting here and handing the connections over.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use crate::error::OpenError;
use crate::listener::{self, Bind, Sharing};
use crate::sockopt as options;

/// One listening socket that shares its address with nobody.
#[derive(Debug)]
pub struct Single {
    bind: Bind,
    addr: SocketAddr,
    socket: Arc<OwnedFd>,
}

impl Single {
    /// Binds and listens.
    ///
    /// # Errors
    /// [`OpenError::InUse`] and the like.
    pub fn open(bind: &Bind) -> Result<Self, OpenError> {
        let (socket, addr) = listener::open(bind, Sharing::Alone)?;
        Ok(Self {
            bind: bind.clone(),
            addr,
            socket: Arc::new(socket),
        })
    }

    /// The listener again from its socket, which a predecessor opened.
    ///
    /// # Errors
    /// [`OpenError::Adopt`] if it is not a listening TCP socket.
    pub fn adopt(bind: Bind, socket: OwnedFd) -> Result<Self, OpenError> {
        let addr =
            listener::check(socket.as_fd()).map_err(|why| OpenError::Adopt { seat: 0, why })?;
        Ok(Self {
            bind,
            addr,
            socket: Arc::new(socket),
        })
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

    /// The listening socket.
    #[must_use]
    pub fn socket(&self) -> &OwnedFd {
        &self.socket
    }

    /// The listening socket, to keep or to watch elsewhere.
    #[must_use]
    pub fn share(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.socket)
    }

    /// How many connections wait in the accept queue.
    ///
    /// # Errors
    /// None are known for a listening TCP socket.
    pub fn queued(&self) -> io::Result<u32> {
        options::accept_queue_len(self.socket.as_fd())
    }

    /// Takes one connection, as [`crate::Group::accept`].
    ///
    /// # Errors
    /// EMFILE and the like, upon which the connection keeps waiting.
    pub fn accept(&self) -> io::Result<Option<(OwnedFd, SocketAddr)>> {
        listener::accept(self.socket.as_fd())
    }
}
