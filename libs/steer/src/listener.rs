//! One listening TCP socket: made, checked, accepted from. What seats and single listeners share.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketFlags, SocketType, ipproto, sockopt};

use crate::error::OpenError;
use crate::holder;

/// Connections that may wait in one accept queue; the kernel caps it by net.core.somaxconn.
/// A Node worker that gets the socket calls `listen` again, with its own backlog (511 unless the
/// app says otherwise), which then holds.
pub(crate) const BACKLOG: i32 = 4096;

/// How many connections that broke while waiting one `accept` passes over.
const MAX_BROKEN_IN_A_ROW: usize = 64;

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bind {
    Tcp {
        /// `None`: `::`, both families at once, or 0.0.0.0 where IPv6 is off, as Node does.
        host: Option<IpAddr>,
        /// 0: the kernel picks one.
        port: u16,
        /// IPv6 alone, even for `::`. No fallback to 0.0.0.0 then. Ignored for IPv4 hosts.
        ipv6_only: bool,
    },
}

impl Bind {
    /// The addresses to try, in order: the next only if the machine does not have the one before.
    fn candidates(&self) -> Vec<SocketAddr> {
        let Self::Tcp {
            host,
            port,
            ipv6_only,
        } = self;
        let hosts: &[IpAddr] = match host {
            Some(host) => &[*host],
            None if *ipv6_only => &[IpAddr::V6(Ipv6Addr::UNSPECIFIED)],
            None => &[
                IpAddr::V6(Ipv6Addr::UNSPECIFIED),
                IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            ],
        };
        hosts
            .iter()
            .map(|host| SocketAddr::new(*host, *port))
            .collect()
    }

    fn ipv6_only(&self) -> bool {
        let Self::Tcp { ipv6_only, .. } = self;
        *ipv6_only
    }
}

/// When to set SO_REUSEPORT.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sharing {
    /// Never.
    Alone,
    /// After bind and before listen: the address is claimed as by a socket that shares nothing,
    /// so whoever listens there is EADDRINUSE even if it set SO_REUSEPORT itself, and yet later
    /// seats may join. The kernel compares the options as they are at the time of each bind
    /// (`inet_bind_conflict` in net/ipv4/inet_connection_sock.c). Between a probing socket and
    /// the real one there would be a moment in which anybody could come in.
    First,
    /// Before bind.
    Join,
}

/// Listens on the first of the addresses that this machine has.
pub(crate) fn open(bind: &Bind, sharing: Sharing) -> Result<(OwnedFd, SocketAddr), OpenError> {
    let candidates = bind.candidates();
    let (last, others) = candidates
        .split_last()
        .expect("there is always a candidate");
    for addr in others {
        match listen_on(*addr, bind.ipv6_only(), sharing) {
            Err(errno) if is_unavailable(errno) => {}
            result => return opened(result, *addr),
        }
    }
    opened(listen_on(*last, bind.ipv6_only(), sharing), *last)
}

/// Listens as a further seat on the address that the first seat has.
pub(crate) fn join(bind: &Bind, addr: SocketAddr) -> Result<OwnedFd, OpenError> {
    let (socket, _) = opened(listen_on(addr, bind.ipv6_only(), Sharing::Join), addr)?;
    Ok(socket)
}

fn opened(
    result: Result<OwnedFd, Errno>,
    addr: SocketAddr,
) -> Result<(OwnedFd, SocketAddr), OpenError> {
    let socket = result.map_err(|errno| open_error(errno, addr))?;
    let bound = local_addr(socket.as_fd()).map_err(|source| io_error(addr, source))?;
    Ok((socket, bound))
}

fn listen_on(addr: SocketAddr, ipv6_only: bool, sharing: Sharing) -> Result<OwnedFd, Errno> {
    let family = if addr.is_ipv6() {
        AddressFamily::INET6
    } else {
        AddressFamily::INET
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = net::socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))?;
    if addr.is_ipv6() {
        // Said explicitly: net.ipv6.bindv6only changes the default.
        sockopt::set_ipv6_v6only(&socket, ipv6_only)?;
    }
    // Connections in TIME_WAIT or left over from earlier workers must not keep us out.
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if sharing == Sharing::Join {
        sockopt::set_socket_reuseport(&socket, true)?;
    }
    net::bind(&socket, &addr)?;
    if sharing == Sharing::First {
        sockopt::set_socket_reuseport(&socket, true)?;
    }
    net::listen(&socket, BACKLOG)?;
    Ok(socket)
}

/// The machine lacks the address or its family; Node's fallback from `::` to 0.0.0.0.
fn is_unavailable(errno: Errno) -> bool {
    [
        Errno::AFNOSUPPORT,
        Errno::ADDRNOTAVAIL,
        Errno::PROTONOSUPPORT,
        Errno::INVAL,
    ]
    .contains(&errno)
}

fn open_error(errno: Errno, addr: SocketAddr) -> OpenError {
    if errno == Errno::ADDRINUSE {
        return OpenError::InUse {
            addr,
            holder: holder::holder(addr),
        };
    }
    let first_unprivileged = first_unprivileged_port();
    // From there on it is a security module that refuses, and the ports are not why.
    if errno == Errno::ACCESS && addr.port() < first_unprivileged {
        return OpenError::Denied {
            addr,
            first_unprivileged,
        };
    }
    if errno == Errno::ADDRNOTAVAIL || errno == Errno::AFNOSUPPORT {
        return OpenError::NotAvailable { addr };
    }
    io_error(addr, errno.into())
}

pub(crate) fn io_error(addr: SocketAddr, source: io::Error) -> OpenError {
    OpenError::Io {
        at: addr.to_string(),
        source,
    }
}

fn first_unprivileged_port() -> u16 {
    const DEFAULT: u16 = 1024;
    fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start")
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(DEFAULT)
}

/// Checks that a socket handed over is a listening TCP socket, and makes it non-blocking.
pub(crate) fn check(socket: BorrowedFd<'_>) -> Result<SocketAddr, &'static str> {
    if sockopt::socket_type(socket) != Ok(SocketType::STREAM) {
        return Err("is not a stream socket");
    }
    if sockopt::socket_acceptconn(socket) != Ok(true) {
        return Err("is not listening");
    }
    let addr = local_addr(socket).map_err(|_| "has no internet address")?;
    fcntl_getfl(socket)
        .and_then(|flags| fcntl_setfl(socket, flags | OFlags::NONBLOCK))
        .map_err(|_| "cannot be made non-blocking")?;
    Ok(addr)
}

pub(crate) fn local_addr(socket: BorrowedFd<'_>) -> io::Result<SocketAddr> {
    Ok(net::getsockname(socket)?.try_into()?)
}

/// Takes one waiting connection, non-blocking and close-on-exec; `None` when none waits. The
/// address is as the kernel gives it: on a dual-stack socket an IPv4 client is
/// `::ffff:a.b.c.d`.
pub(crate) fn accept(socket: BorrowedFd<'_>) -> io::Result<Option<(OwnedFd, SocketAddr)>> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    for _ in 0..MAX_BROKEN_IN_A_ROW {
        match net::acceptfrom_with(socket, flags) {
            Ok((connection, Some(peer))) => return Ok(Some((connection, peer.try_into()?))),
            Err(errno) if errno == Errno::AGAIN => return Ok(None),
            Err(errno) if !is_broken_connection(errno) => return Err(errno.into()),
            // Gone while it waited: the next one may be well.
            Ok((_, None)) | Err(_) => {}
        }
    }
    Ok(None)
}

/// Errors of the connection that waited, not of the listener (accept(2), "Error handling").
fn is_broken_connection(errno: Errno) -> bool {
    [
        Errno::CONNABORTED,
        Errno::INTR,
        Errno::PROTO,
        Errno::NETDOWN,
        Errno::NOPROTOOPT,
        Errno::HOSTDOWN,
        Errno::NONET,
        Errno::HOSTUNREACH,
        Errno::NETUNREACH,
    ]
    .contains(&errno)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(host: Option<&str>, ipv6_only: bool) -> Vec<String> {
        let host = host.map(|host| host.parse().unwrap());
        let bind = Bind::Tcp {
            host,
            port: 3000,
            ipv6_only,
        };
        bind.candidates().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn no_host_is_dual_stack_with_a_fallback() {
        assert_eq!(candidates(None, false), ["[::]:3000", "0.0.0.0:3000"]);
        assert_eq!(candidates(None, true), ["[::]:3000"]);
        assert_eq!(candidates(Some("127.0.0.1"), false), ["127.0.0.1:3000"]);
        assert_eq!(candidates(Some("::"), false), ["[::]:3000"]);
    }

    #[test]
    fn only_a_missing_address_falls_back() {
        assert!(
            is_unavailable(Errno::AFNOSUPPORT),
            "a kernel with ipv6.disable=1"
        );
        assert!(is_unavailable(Errno::ADDRNOTAVAIL));
        assert!(
            !is_unavailable(Errno::ADDRINUSE),
            "a taken port must not move to IPv4"
        );
        assert!(!is_unavailable(Errno::ACCESS));
    }
}
