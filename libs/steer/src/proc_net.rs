//! The kernel's socket tables as text: /proc/net/tcp, tcp6 and unix (proc_net_tcp(5)).

use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::ffi::OsStrExt;

use crate::diag::TcpSocket;

/// Lines read of one table; a machine with more sockets has its holders named less surely.
const MAX_LINES: usize = 1 << 21;

/// TCP_LISTEN in the column `st`.
const LISTEN: &str = "0A";

/// All listening TCP sockets of this network namespace: the slow way, by text. Even a table with
/// few lines takes the kernel milliseconds, for it walks its whole table of connections.
pub(crate) fn tcp_listeners() -> Vec<TcpSocket> {
    // The kernel lists listeners before all others (`tcp_get_idx` in net/ipv4/tcp_ipv4.c).
    let listeners = |path| tcp_table(path).take_while(|socket| socket.listening);
    listeners("/proc/net/tcp")
        .chain(listeners("/proc/net/tcp6"))
        .collect()
}

/// All other TCP sockets with this local port.
pub(crate) fn tcp_connections(port: u16) -> Vec<TcpSocket> {
    let connections = |path| {
        tcp_table(path).filter(move |socket| !socket.listening && socket.local.port() == port)
    };
    connections("/proc/net/tcp")
        .chain(connections("/proc/net/tcp6"))
        .collect()
}

/// A table that cannot be read is empty: without IPv6 there is no tcp6.
fn tcp_table(path: &str) -> impl Iterator<Item = TcpSocket> {
    lines(path).filter_map(|line| tcp_line(std::str::from_utf8(&line).ok()?))
}

/// The inodes of the unix sockets bound to this name, as the table writes it.
pub(crate) fn unix_inodes(name: &OsStr) -> Vec<u64> {
    lines("/proc/net/unix")
        .filter_map(|line| unix_line(&line, name.as_bytes()))
        .collect()
}

fn lines(path: &str) -> impl Iterator<Item = Vec<u8>> {
    const HEADING: usize = 1;
    let lines = File::open(path)
        .ok()
        .map(|file| BufReader::new(file).split(b'\n'));
    lines
        .into_iter()
        .flatten()
        .map_while(Result::ok)
        .skip(HEADING)
        .take(MAX_LINES)
}

/// `sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode ...`
fn tcp_line(line: &str) -> Option<TcpSocket> {
    let mut columns = line.split_ascii_whitespace();
    let local = address(columns.nth(1)?)?;
    let listening = columns.nth(1)? == LISTEN;
    let inode = columns.nth(5)?.parse().ok()?;
    Some(TcpSocket {
        local,
        listening,
        inode,
    })
}

/// `0100007F:0BB8`: each 32-bit word of the address is the number that this machine reads from
/// the bytes on the wire; the port is a plain number.
fn address(text: &str) -> Option<SocketAddr> {
    let (host, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |index: usize| -> Option<[u8; 4]> {
        let digits = host.get(8 * index..8 * (index + 1))?;
        Some(u32::from_str_radix(digits, 16).ok()?.to_ne_bytes())
    };
    let ip = match host.len() {
        8 => IpAddr::V4(Ipv4Addr::from(word(0)?)),
        32 => {
            let mut octets = [0; 16];
            for (index, chunk) in octets.chunks_exact_mut(4).enumerate() {
                chunk.copy_from_slice(&word(index)?);
            }
            IpAddr::V6(Ipv6Addr::from(octets))
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

/// `Num RefCount Protocol Flags Type St Inode Path`, the path being the rest of the line.
fn unix_line(line: &[u8], name: &[u8]) -> Option<u64> {
    const COLUMNS_BEFORE_PATH: usize = 7;
    let before = line.strip_suffix(name)?.strip_suffix(b" ")?;
    let columns: Vec<&str> = std::str::from_utf8(before)
        .ok()?
        .split_ascii_whitespace()
        .collect();
    if columns.len() != COLUMNS_BEFORE_PATH {
        return None;
    }
    columns.last()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn reads_a_line_of_each_family() {
        let v4 = "   1: 0100007F:0BB8 00000000:0000 0A 00000000:00000000 00:00000000 00000000  \
                  1000        0 17243 1 0000000000000000 100 0 0 10 0";
        let expected = TcpSocket {
            local: "127.0.0.1:3000".parse().unwrap(),
            listening: true,
            inode: 17243,
        };
        assert_eq!(tcp_line(v4), Some(expected));

        let v6 = "   0: B80D0120000000000000000001000000:01BB 00000000000000000000000000000000:0000 \
                  01 00000000:00000000 00:00000000 00000000     0        0 99 1 0 100 0 0 10 0";
        let expected = TcpSocket {
            local: "[2001:db8::1]:443".parse().unwrap(),
            listening: false,
            inode: 99,
        };
        assert_eq!(tcp_line(v6), Some(expected));
    }

    #[test]
    fn garbage_is_no_socket() {
        for line in [
            "",
            "0:",
            "0: zz:zz 0 0A",
            "0: 0100007F:0BB8",
            "0: 0100:0BB8 x 0A a b c d e 1",
        ] {
            assert_eq!(tcp_line(line), None, "{line:?}");
        }
    }

    #[test]
    fn a_unix_path_may_contain_spaces_but_not_end_another() {
        let line = b"0000000000000000: 00000002 00000000 00010000 0001 01 4711 /run/my app.sock";
        assert_eq!(unix_line(line, b"/run/my app.sock"), Some(4711));
        assert_eq!(unix_line(line, b"app.sock"), None);
        assert_eq!(unix_line(line, b"/run/other.sock"), None);
    }
}
