//! What can go wrong when listening, in sentences for the person who gave the address.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use rustix::io::Errno;
use thiserror::Error;

/// The process that holds an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    pub pid: u32,
    /// Its command line, shortened; its bare name when it has none.
    pub name: String,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} ({})", self.pid, self.name)
    }
}

/// A listening socket that could not be had.
#[derive(Debug, Error)]
pub enum OpenError {
    /// EADDRINUSE; the holder is unknown when it belongs to another user and we are not root.
    #[error("{addr} is already in use{}", by(holder.as_ref()))]
    InUse {
        addr: SocketAddr,
        holder: Option<Holder>,
    },
    /// EADDRINUSE of a unix path (or abstract name) that somebody listens on.
    #[error("{} is already in use{}", path.display(), by(holder.as_ref()))]
    PathInUse {
        path: PathBuf,
        holder: Option<Holder>,
    },
    /// Something that is no socket lies where a unix socket shall be; it is left alone.
    #[error("{} exists and is not a socket: remove it or choose another path", path.display())]
    NotASocket { path: PathBuf },
    /// EACCES: a port below the first unprivileged one.
    #[error(
        "not permitted to listen on {addr}: ports below {first_unprivileged} need root or the \
         capability CAP_NET_BIND_SERVICE (or lower net.ipv4.ip_unprivileged_port_start)"
    )]
    Denied {
        addr: SocketAddr,
        first_unprivileged: u16,
    },
    /// EADDRNOTAVAIL, EAFNOSUPPORT: no interface has the address, or its family is switched off.
    #[error(
        "cannot listen on {addr}: no interface of this machine has the address {}, or its \
         family is switched off",
        addr.ip()
    )]
    NotAvailable { addr: SocketAddr },
    /// More seats than a steering program can choose among.
    #[error(
        "{seats} seats at {addr} are too many: at most {} can be steered",
        crate::bpf::MAX_SEATS
    )]
    TooManySeats { addr: SocketAddr, seats: usize },
    /// A socket handed to `adopt` that cannot be what it was said to be.
    #[error("the socket handed over for seat {seat} {why}")]
    Adopt { seat: usize, why: &'static str },
    /// Everything else: out of file descriptors, out of memory, a directory that does not exist.
    #[error("cannot listen on {at}: {source}")]
    Io { at: String, source: io::Error },
}

impl OpenError {
    /// The positive errno that `listen` in an app would see, for an answer to it.
    #[must_use]
    pub fn errno(&self) -> i32 {
        match self {
            Self::InUse { .. } | Self::PathInUse { .. } | Self::NotASocket { .. } => {
                Errno::ADDRINUSE.raw_os_error()
            }
            Self::Denied { .. } => Errno::ACCESS.raw_os_error(),
            Self::NotAvailable { .. } => Errno::ADDRNOTAVAIL.raw_os_error(),
            Self::TooManySeats { .. } => Errno::NOBUFS.raw_os_error(),
            Self::Adopt { .. } => Errno::INVAL.raw_os_error(),
            Self::Io { source, .. } => source.raw_os_error().unwrap_or(Errno::IO.raw_os_error()),
        }
    }
}

/// A filter that could not be put in place; the one before still steers.
#[derive(Debug, Error)]
pub enum SteerError {
    #[error("there is no seat {seat}: the group has {seats}")]
    NoSuchSeat { seat: usize, seats: usize },
    #[error("the kernel refused the steering program: {0}")]
    Attach(#[source] io::Error),
}

fn by(holder: Option<&Holder>) -> String {
    holder.map_or_else(String::new, |holder| format!(" by {holder}"))
}
