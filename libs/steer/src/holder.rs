//! Who has an address: socket tables give inodes, and /proc/PID/fd says who holds those.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::path::Path;

use crate::diag::{self, TcpSocket};
use crate::error::Holder;
use crate::proc_net;

/// Processes looked at, and descriptors of each: twice what Linux allows by default.
const MAX_PROCESSES: usize = 1 << 16;
const MAX_DESCRIPTORS: usize = 1 << 20;

/// Characters of a command line that a message shows.
const MAX_NAME: usize = 80;

/// The process that keeps a TCP address from being listened on: a listener on it or on an address
/// that covers it, otherwise a connection that uses it as its local end. The lowest PID if several
/// processes hold the socket. `None` if nobody has it, or if the holder's descriptors may not be
/// read (another user's process, asked without root).
///
/// Looks through all of /proc: for an error message, not for a loop.
#[must_use]
pub fn holder(addr: SocketAddr) -> Option<Holder> {
    let mut listeners = tcp_listeners(Some(addr.port()));
    listeners.retain(|socket| conflicts(socket.local, addr));
    // The very address before one that merely covers it.
    listeners.sort_by_key(|socket| socket.local != addr);
    listeners
        .iter()
        .find_map(|socket| holder_of(socket.inode))
        .or_else(|| {
            let connections = proc_net::tcp_connections(addr.port());
            let mut conflicting = connections
                .iter()
                .filter(|socket| conflicts(socket.local, addr));
            conflicting.find_map(|socket| holder_of(socket.inode))
        })
}

/// The TCP addresses that these processes listen on, in order, each once. Reads all of their
/// descriptors: about a microsecond for each.
#[must_use]
pub fn listening_ports(pids: &[u32]) -> Vec<SocketAddr> {
    let inodes: BTreeSet<u64> = pids.iter().flat_map(|&pid| socket_inodes(pid)).collect();
    let listeners = tcp_listeners(None);
    let held = listeners
        .iter()
        .filter(|socket| inodes.contains(&socket.inode));
    let addresses: BTreeSet<SocketAddr> = held.map(|socket| socket.local).collect();
    addresses.into_iter().collect()
}

/// The listening TCP sockets of this network namespace, of one port or of all.
fn tcp_listeners(port: Option<u16>) -> Vec<TcpSocket> {
    diag::tcp_listeners(port).unwrap_or_else(|_| proc_net::tcp_listeners())
}

/// A socket that listens on exactly this address and is none of ours.
pub(crate) fn stranger<'fd>(
    addr: SocketAddr,
    ours: impl Iterator<Item = BorrowedFd<'fd>>,
) -> Option<TcpSocket> {
    let ours: BTreeSet<u64> = ours
        .filter_map(|socket| rustix::fs::fstat(socket).ok())
        .map(|stat| stat.st_ino)
        .collect();
    let listeners = tcp_listeners(Some(addr.port()));
    listeners
        .into_iter()
        .find(|socket| socket.local == addr && !ours.contains(&socket.inode))
}

/// Whether listening on one address is in the way of the other: they are equal, or one is a
/// wildcard that covers the other. `::` is taken to be dual-stack; the tables do not tell.
fn conflicts(one: SocketAddr, other: SocketAddr) -> bool {
    let (a, b) = (one.ip().to_canonical(), other.ip().to_canonical());
    one.port() == other.port()
        && (a == b
            || (a.is_unspecified() && (a.is_ipv6() || b.is_ipv4()))
            || (b.is_unspecified() && (b.is_ipv6() || a.is_ipv4())))
}

/// The lowest PID that holds the socket.
pub(crate) fn holder_of(inode: u64) -> Option<Holder> {
    // What no process holds has no inode: TIME_WAIT, or a connection not accepted yet.
    if inode == 0 {
        return None;
    }
    let pids = fs::read_dir("/proc")
        .ok()?
        .take(MAX_PROCESSES)
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let pid = pids
        .filter(|&pid| socket_inodes(pid).any(|held| held == inode))
        .min()?;
    Some(Holder {
        pid,
        name: process_name(pid),
    })
}

/// The inodes of the sockets that a process holds; none if it may not be looked into.
fn socket_inodes(pid: u32) -> impl Iterator<Item = u64> {
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten();
    descriptors.take(MAX_DESCRIPTORS).filter_map(|descriptor| {
        let target = fs::read_link(descriptor.ok()?.path()).ok()?;
        socket_inode(&target)
    })
}

/// `socket:[17243]`
fn socket_inode(link: &Path) -> Option<u64> {
    link.to_str()?
        .strip_prefix("socket:[")?
        .strip_suffix(']')?
        .parse()
        .ok()
}

/// The command line, or the bare name of a process without one. Its words are whatever the
/// process wrote there, so no control characters reach the terminal.
fn process_name(pid: u32) -> String {
    let read = |file: &str| fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let printable = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes).replace(|c: char| c.is_control(), " ");
        let text = text.trim();
        match text.char_indices().nth(MAX_NAME) {
            Some((end, _)) => format!("{}...", &text[..end]),
            None => text.to_owned(),
        }
    };
    let command_line = printable(&read("cmdline"));
    if command_line.is_empty() {
        printable(&read("comm"))
    } else {
        command_line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_conflict_with_what_they_cover() {
        let conflicts = |one: &str, other: &str| {
            let (one, other) = (one.parse().unwrap(), other.parse().unwrap());
            assert_eq!(
                conflicts(one, other),
                conflicts(other, one),
                "{one} {other}"
            );
            conflicts(one, other)
        };
        assert!(conflicts("127.0.0.1:80", "127.0.0.1:80"));
        assert!(conflicts("127.0.0.1:80", "0.0.0.0:80"));
        assert!(conflicts("127.0.0.1:80", "[::]:80"));
        assert!(conflicts("127.0.0.1:80", "[::ffff:127.0.0.1]:80"));
        assert!(conflicts("0.0.0.0:80", "[::]:80"));
        assert!(conflicts("[::1]:80", "[::]:80"));
        assert!(!conflicts("[::1]:80", "0.0.0.0:80"));
        assert!(!conflicts("127.0.0.1:80", "127.0.0.2:80"));
        assert!(!conflicts("0.0.0.0:80", "0.0.0.0:81"));
    }

    #[test]
    fn only_sockets_have_socket_inodes() {
        assert_eq!(socket_inode(Path::new("socket:[17243]")), Some(17243));
        for link in [
            "/dev/null",
            "pipe:[17243]",
            "socket:[]",
            "anon_inode:[eventpoll]",
        ] {
            assert_eq!(socket_inode(Path::new(link)), None, "{link}");
        }
    }
}
