//! Listening TCP sockets by netlink (sock_diag(7)): microseconds, where /proc/net/tcp takes
//! milliseconds because the kernel walks its table of connections for it.
//!
//! Asked on the way of every `grow`, so the answer must be quick; a kernel without the module
//! `tcp_diag` answers with an error, and the caller reads /proc instead.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with,
};

/// A TCP socket of this network namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TcpSocket {
    pub(crate) local: SocketAddr,
    pub(crate) listening: bool,
    /// 0 for what no process holds any more, such as TIME_WAIT.
    pub(crate) inode: u64,
}

/// The kernel fills at most 32 kB at once.
const BUFFER_BYTES: usize = 64 << 10;
/// About 400 sockets each.
const MAX_DATAGRAMS: usize = 4096;
/// The kernel answers at once; this only keeps a fault from becoming a hang.
const PATIENCE: Duration = Duration::from_secs(1);

// linux/netlink.h
const HEADER_BYTES: usize = 16;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 0x001;
const NLM_F_DUMP: u16 = 0x300;
// linux/sock_diag.h, linux/inet_diag.h
const SOCK_DIAG_BY_FAMILY: u16 = 20;
/// `struct inet_diag_req_v2`
const REQUEST_BYTES: usize = 56;
const IPPROTO_TCP: u8 = 6;
const TCP_LISTEN: u8 = 10;

/// The listening TCP sockets, of one port or of all.
///
/// # Errors
/// Whatever keeps the kernel from answering in full: no such module, a sandbox without netlink.
pub(crate) fn tcp_listeners(port: Option<u16>) -> io::Result<Vec<TcpSocket>> {
    let families = [AddressFamily::INET, AddressFamily::INET6];
    let mut listeners = Vec::new();
    for family in families {
        dump(family, port, &mut listeners)?;
    }
    Ok(listeners)
}

fn dump(family: AddressFamily, port: Option<u16>, into: &mut Vec<TcpSocket>) -> io::Result<()> {
    let socket = socket_with(
        AddressFamily::NETLINK,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        Some(netlink::SOCK_DIAG),
    )?;
    set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE))?;
    let kernel = SocketAddrNetlink::new(0, 0);
    sendto(&socket, &request(family, port), SendFlags::empty(), &kernel)?;
    let mut buffer = vec![0; BUFFER_BYTES];
    for _ in 0..MAX_DATAGRAMS {
        let (len, _) = recv(&socket, &mut *buffer, RecvFlags::empty())?;
        if read(&buffer[..len], into)? == Progress::Done {
            return Ok(());
        }
    }
    Err(io::Error::other("an endless list of sockets"))
}

/// `struct nlmsghdr` and `struct inet_diag_req_v2`: a dump of what listens.
fn request(family: AddressFamily, port: Option<u16>) -> Vec<u8> {
    let len = (HEADER_BYTES + REQUEST_BYTES) as u32;
    let mut bytes = Vec::with_capacity(HEADER_BYTES + REQUEST_BYTES);
    bytes.extend(len.to_ne_bytes());
    bytes.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    bytes.extend((NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
    bytes.extend([0; 8]); // sequence number, port ID
    // Both families fit a byte: the kernel's field is one.
    bytes.extend([family.as_raw() as u8, IPPROTO_TCP, 0, 0]);
    bytes.extend((1_u32 << TCP_LISTEN).to_ne_bytes());
    bytes.extend(port.unwrap_or(0).to_be_bytes());
    bytes.resize(HEADER_BYTES + REQUEST_BYTES, 0);
    bytes
}

#[derive(Debug, PartialEq, Eq)]
enum Progress {
    More,
    Done,
}

/// One datagram: messages, each padded to four bytes.
fn read(mut datagram: &[u8], into: &mut Vec<TcpSocket>) -> io::Result<Progress> {
    let malformed = || io::Error::from(io::ErrorKind::InvalidData);
    while !datagram.is_empty() {
        let len = u32_at(datagram, 0).ok_or_else(malformed)? as usize;
        let message = datagram.get(..len).ok_or_else(malformed)?;
        let body = message.get(HEADER_BYTES..).ok_or_else(malformed)?;
        match u16::from_ne_bytes([message[4], message[5]]) {
            // Both begin with a negative errno; DONE has 0 when all went well.
            kind @ (NLMSG_DONE | NLMSG_ERROR) => {
                let negative = u32_at(body, 0).ok_or_else(malformed)?.cast_signed();
                if kind == NLMSG_DONE && negative == 0 {
                    return Ok(Progress::Done);
                }
                return Err(io::Error::from_raw_os_error(negative.saturating_neg()));
            }
            SOCK_DIAG_BY_FAMILY => into.push(socket(body).ok_or_else(malformed)?),
            _ => {}
        }
        datagram = &datagram[len.next_multiple_of(4).min(datagram.len())..];
    }
    Ok(Progress::More)
}

/// `struct inet_diag_msg`: family, state, timer, retrans; then `struct inet_diag_sockid`: ports
/// and addresses as on the wire; the inode at its end.
fn socket(body: &[u8]) -> Option<TcpSocket> {
    const LOCAL_PORT: usize = 4;
    const LOCAL_IP: usize = 8;
    const INODE: usize = 68;
    let port = u16::from_be_bytes([*body.get(LOCAL_PORT)?, *body.get(LOCAL_PORT + 1)?]);
    let octets: [u8; 16] = body.get(LOCAL_IP..LOCAL_IP + 16)?.try_into().ok()?;
    let ip = if u16::from(body[0]) == AddressFamily::INET.as_raw() {
        IpAddr::V4(Ipv4Addr::new(octets[0], octets[1], octets[2], octets[3]))
    } else {
        IpAddr::V6(Ipv6Addr::from(octets))
    };
    let inode = u64::from(u32_at(body, INODE)?);
    Some(TcpSocket {
        local: SocketAddr::new(ip, port),
        listening: body[1] == TCP_LISTEN,
        inode,
    })
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proc_net;

    /// Two independent ways to the same answer, on real listeners.
    #[test]
    fn agrees_with_proc() {
        let listeners = ["127.0.0.1:0", "0.0.0.0:0", "[::1]:0", "[::]:0"]
            .map(std::net::TcpListener::bind)
            .into_iter()
            .flatten();
        for listener in listeners {
            let local = listener.local_addr().unwrap();
            let found: Vec<_> = proc_net::tcp_listeners()
                .into_iter()
                .filter(|socket| socket.local == local)
                .collect();
            assert_eq!(found.len(), 1, "{local}");
            match tcp_listeners(Some(local.port())) {
                Ok(of_port) => assert!(of_port.contains(&found[0]), "{of_port:?}"),
                Err(error) => return eprintln!("not shown: no sock_diag here: {error}"),
            }
            assert!(tcp_listeners(None).unwrap().contains(&found[0]));
        }
    }

    #[test]
    fn a_truncated_or_foreign_datagram_is_an_error_not_a_panic() {
        let mut message = vec![0; HEADER_BYTES + 72];
        message[..4].copy_from_slice(&(HEADER_BYTES as u32 + 72).to_ne_bytes());
        message[4..6].copy_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
        let mut sockets = Vec::new();
        assert_eq!(read(&message, &mut sockets).unwrap(), Progress::More);
        assert_eq!(sockets.len(), 1);
        for len in 1..message.len() {
            assert!(read(&message[..len], &mut sockets).is_err(), "{len} bytes");
        }
        assert!(
            read(&[0; 64], &mut sockets).is_err(),
            "a length of zero would never end"
        );

        message[4..6].copy_from_slice(&NLMSG_ERROR.to_ne_bytes());
        message[HEADER_BYTES..HEADER_BYTES + 4].copy_from_slice(&(-2_i32).to_ne_bytes());
        assert_eq!(
            read(&message, &mut sockets).unwrap_err().raw_os_error(),
            Some(2)
        );
    }
}
