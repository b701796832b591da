//! Bytes to addresses. Pure, bounded, without allocation.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The longest header that is taken. Version 1 needs at most 107 bytes; what exceeds a few dozen in
/// version 2 are TLVs, of which real proxies send some hundred bytes.
pub const MAX_HEADER_BYTES: usize = 4096;
/// Section 2.1: a buffer of 108 bytes holds any version 1 line and a zero.
const MAX_LINE_BYTES: usize = 107;
const LINE_START: &[u8] = b"PROXY ";
/// Section 2.2.
pub(super) const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
const FIXED_BYTES: usize = 16;

/// What a header says of its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addresses {
    /// The client, and where it connected to.
    Of {
        source: SocketAddr,
        destination: SocketAddr,
    },
    /// The proxy's own connection (a health check), or one of an unknown or a unix family: the
    /// addresses of the socket count.
    Unknown,
}

/// Why a connection is refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0} is not among the trusted proxies, and only they may connect to a proxy listener")]
    Untrusted(IpAddr),
    #[error(
        "no PROXY protocol header came first; let the proxy send one (HAProxy: send-proxy-v2, \
         nginx: proxy_protocol on) or take `proxy` off the listener"
    )]
    Missing,
    #[error("malformed PROXY protocol header: {0}")]
    Malformed(&'static str),
    #[error("the PROXY protocol header has more than {MAX_HEADER_BYTES} bytes")]
    TooLong,
    #[error("the connection ended within the PROXY protocol header")]
    Ended,
    #[error("reading the PROXY protocol header: {0}")]
    Io(#[from] std::io::Error),
}

/// The header at the start of `bytes` and its length, or `None` if more bytes are needed. Never asks
/// for more than [`MAX_HEADER_BYTES`].
pub fn parse(bytes: &[u8]) -> Result<Option<(Addresses, usize)>, Error> {
    if begins(bytes, SIGNATURE) {
        return binary(bytes);
    }
    if begins(bytes, LINE_START) {
        return line(bytes);
    }
    Err(Error::Missing)
}

/// Whether `bytes` and `start` agree as far as both go.
fn begins(bytes: &[u8], start: &[u8]) -> bool {
    bytes.iter().zip(start).all(|(byte, wanted)| byte == wanted)
}

/// Section 2.1: `PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n`.
fn line(bytes: &[u8]) -> Result<Option<(Addresses, usize)>, Error> {
    let window = &bytes[..bytes.len().min(MAX_LINE_BYTES)];
    let Some(end) = window.windows(2).position(|pair| pair == b"\r\n") else {
        return match bytes.len() < MAX_LINE_BYTES {
            true => Ok(None),
            false => Err(Error::Malformed("a line without an end")),
        };
    };
    let text = std::str::from_utf8(&window[LINE_START.len()..end])
        .map_err(|_| Error::Malformed("the line is not ASCII"))?;
    let mut words = text.split(' ');
    let family = words.next().unwrap_or_default();
    let addresses = match family {
        "UNKNOWN" => return Ok(Some((Addresses::Unknown, end + 2))),
        "TCP4" => tcp(&mut words, |word| {
            word.parse::<Ipv4Addr>().ok().map(IpAddr::V4)
        })?,
        "TCP6" => tcp(&mut words, |word| {
            word.parse::<Ipv6Addr>().ok().map(IpAddr::V6)
        })?,
        _ => return Err(Error::Malformed("neither TCP4 nor TCP6 nor UNKNOWN")),
    };
    match words.next() {
        None => Ok(Some((addresses, end + 2))),
        Some(_) => Err(Error::Malformed("more words than ports")),
    }
}

fn tcp<'a>(
    words: &mut impl Iterator<Item = &'a str>,
    address: impl Fn(&str) -> Option<IpAddr>,
) -> Result<Addresses, Error> {
    let mut ip = || {
        let word = words.next().unwrap_or_default();
        address(word).ok_or(Error::Malformed("not an address of the family"))
    };
    let (source, destination) = (ip()?, ip()?);
    let mut port = || {
        let word = words.next().unwrap_or_default();
        let plain = word.bytes().all(|byte| byte.is_ascii_digit())
            && (word.len() == 1 || !word.starts_with('0'));
        match word.parse::<u16>() {
            Ok(port) if plain => Ok(port),
            Ok(_) | Err(_) => Err(Error::Malformed("not a port")),
        }
    };
    Ok(Addresses::Of {
        source: SocketAddr::new(source, port()?),
        destination: SocketAddr::new(destination, port()?),
    })
}

/// Section 2.2: signature, version and command, family and transport, length, addresses, TLVs.
fn binary(bytes: &[u8]) -> Result<Option<(Addresses, usize)>, Error> {
    let Some((fixed, rest)) = bytes.split_first_chunk::<FIXED_BYTES>() else {
        return Ok(None);
    };
    let length = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    if FIXED_BYTES + length > MAX_HEADER_BYTES {
        return Err(Error::TooLong);
    }
    let local = match fixed[12] {
        0x20 => true,
        0x21 => false,
        _ => return Err(Error::Malformed("neither version 2 nor a known command")),
    };
    let Some(body) = rest.get(..length) else {
        return Ok(None);
    };
    let addresses = match fixed[13] {
        // Section 2.2: the receiver of LOCAL takes the real connection's addresses.
        _ if local => Addresses::Unknown,
        0x11 | 0x12 => inet(body)?,
        0x21 | 0x22 => inet6(body)?,
        // Unspecified, and unix streams and datagrams.
        0x00 | 0x31 | 0x32 => Addresses::Unknown,
        _ => return Err(Error::Malformed("an unknown family or transport")),
    };
    Ok(Some((addresses, FIXED_BYTES + length)))
}

const SHORT: Error = Error::Malformed("shorter than its addresses");

fn inet(body: &[u8]) -> Result<Addresses, Error> {
    let b = body.first_chunk::<12>().ok_or(SHORT)?;
    Ok(Addresses::Of {
        source: SocketAddr::new(
            Ipv4Addr::new(b[0], b[1], b[2], b[3]).into(),
            u16::from_be_bytes([b[8], b[9]]),
        ),
        destination: SocketAddr::new(
            Ipv4Addr::new(b[4], b[5], b[6], b[7]).into(),
            u16::from_be_bytes([b[10], b[11]]),
        ),
    })
}

fn inet6(body: &[u8]) -> Result<Addresses, Error> {
    let (source, rest) = body.split_first_chunk::<16>().ok_or(SHORT)?;
    let (destination, rest) = rest.split_first_chunk::<16>().ok_or(SHORT)?;
    let ports = rest.first_chunk::<4>().ok_or(SHORT)?;
    Ok(Addresses::Of {
        source: SocketAddr::new(
            Ipv6Addr::from(*source).into(),
            u16::from_be_bytes([ports[0], ports[1]]),
        ),
        destination: SocketAddr::new(
            Ipv6Addr::from(*destination).into(),
            u16::from_be_bytes([ports[2], ports[3]]),
        ),
    })
}

#[cfg(test)]
mod tests;
