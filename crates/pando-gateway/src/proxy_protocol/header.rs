//! Addresses to bytes, for upstreams that want to know the client.

use std::fmt::Write;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use super::parse::SIGNATURE;

/// Room for the longest line of version 1; version 2 needs 52 bytes.
const CAPACITY: usize = 108;

/// A header ready to be written; no allocation.
#[derive(Clone, Copy)]
pub struct Header {
    bytes: [u8; CAPACITY],
    length: usize,
}

/// The version 1 line for a connection from `source` to `destination`.
pub fn write_v1(source: SocketAddr, destination: SocketAddr) -> Header {
    let (source, destination) = same_family(source, destination);
    let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
    let mut header = Header::new();
    let written = write!(
        header,
        "PROXY {family} {} {} {} {}\r\n",
        source.ip(),
        destination.ip(),
        source.port(),
        destination.port()
    );
    debug_assert!(written.is_ok(), "the longest line fits");
    header
}

/// The version 2 header for a connection from `source` to `destination`.
pub fn write_v2(source: SocketAddr, destination: SocketAddr) -> Header {
    let (source, destination) = same_family(source, destination);
    let mut header = Header::new();
    header.push(SIGNATURE);
    match (source.ip(), destination.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            header.push(&[0x21, 0x11, 0, 12]);
            header.push(&from.octets());
            header.push(&to.octets());
        }
        (from, to) => {
            header.push(&[0x21, 0x21, 0, 36]);
            header.push(&mapped(from).octets());
            header.push(&mapped(to).octets());
        }
    }
    header.push(&source.port().to_be_bytes());
    header.push(&destination.port().to_be_bytes());
    header
}

/// The version 2 header of a connection that is the gateway's own, as a health check's.
pub fn write_v2_local() -> Header {
    let mut header = Header::new();
    header.push(SIGNATURE);
    header.push(&[0x20, 0x00, 0, 0]);
    header
}

/// Both addresses in IPv4 if both are (mapped ones too), else both in IPv6.
fn same_family(source: SocketAddr, destination: SocketAddr) -> (SocketAddr, SocketAddr) {
    let (from, to) = (source.ip().to_canonical(), destination.ip().to_canonical());
    let (from, to) = match (from, to) {
        (IpAddr::V4(_), IpAddr::V4(_)) => (from, to),
        (from, to) => (mapped(from).into(), mapped(to).into()),
    };
    (
        SocketAddr::new(from, source.port()),
        SocketAddr::new(to, destination.port()),
    )
}

fn mapped(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}

impl Header {
    fn new() -> Self {
        Self {
            bytes: [0; CAPACITY],
            length: 0,
        }
    }

    /// Appends what fits; all headers do.
    fn push(&mut self, bytes: &[u8]) {
        let end = self.length + bytes.len();
        if let Some(room) = self.bytes.get_mut(self.length..end) {
            room.copy_from_slice(bytes);
            self.length = end;
        }
    }
}

impl Write for Header {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let before = self.length;
        self.push(text.as_bytes());
        match self.length == before + text.len() {
            true => Ok(()),
            false => Err(std::fmt::Error),
        }
    }
}

impl AsRef<[u8]> for Header {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl std::fmt::Debug for Header {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.as_ref().escape_ascii())
    }
}
