//! The header from the start of a connection.

use std::net::IpAddr;

use bytes::{Bytes, BytesMut};
use ipnet::IpNet;
use tokio::io::{AsyncRead, AsyncReadExt};

use super::parse::{Addresses, Error, MAX_HEADER_BYTES, parse};

/// Any header without TLVs comes with one read, and often what follows it too.
const FIRST_READ_BYTES: usize = 512;

/// Reads the header that `stream` must begin with. Returns what it says and the bytes read beyond it,
/// for a [`super::Prefixed`]. With a list of trusted proxies only they may send one; without a list
/// (and on unix sockets, which have no address) anybody who reaches the listener. The caller sets
/// the deadline.
pub async fn read_header<S: AsyncRead + Unpin>(
    stream: &mut S,
    peer: Option<IpAddr>,
    trusted: &[IpNet],
) -> Result<(Addresses, Bytes), Error> {
    if let Some(peer) = peer.map(|peer| peer.to_canonical())
        && !trusted.is_empty()
        && !trusted.iter().any(|net| net.contains(&peer))
    {
        return Err(Error::Untrusted(peer));
    }
    let mut buffer = BytesMut::with_capacity(FIRST_READ_BYTES);
    // Each turn reads at least a byte, and `parse` asks for at most MAX_HEADER_BYTES.
    while buffer.len() <= MAX_HEADER_BYTES {
        buffer.reserve(1);
        if stream.read_buf(&mut buffer).await? == 0 {
            return Err(match buffer.is_empty() {
                true => Error::Missing,
                false => Error::Ended,
            });
        }
        if let Some((addresses, length)) = parse(&buffer)? {
            return Ok((addresses, buffer.split_off(length).freeze()));
        }
    }
    Err(Error::TooLong)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(bytes: &[u8], peer: &str, trusted: &[&str]) -> Result<(Addresses, Bytes), Error> {
        let trusted: Vec<IpNet> = trusted.iter().map(|net| net.parse().unwrap()).collect();
        // Every byte alone, as the worst network would bring it.
        let (mut ours, mut theirs) = tokio::io::duplex(1);
        let bytes = bytes.to_vec();
        let writer = tokio::spawn(async move {
            let _ = tokio::io::AsyncWriteExt::write_all(&mut theirs, &bytes).await;
        });
        let result = read_header(&mut ours, Some(peer.parse().unwrap()), &trusted).await;
        writer.abort();
        result
    }

    #[tokio::test]
    async fn a_header_may_come_byte_by_byte() {
        let line = b"PROXY TCP4 192.0.2.1 192.0.2.2 1 443\r\nGET /";
        let (addresses, rest) = read(line, "10.0.0.1", &[]).await.unwrap();
        assert!(matches!(addresses, Addresses::Of { source, .. } if source.port() == 1));
        assert!(rest.is_empty(), "nothing was there to read beyond");
    }

    #[tokio::test]
    async fn what_came_with_it_is_given_back() {
        let mut bytes = &b"PROXY UNKNOWN\r\n\x16\x03\x01"[..];
        let (addresses, rest) = read_header(&mut bytes, None, &[]).await.unwrap();
        assert_eq!(addresses, Addresses::Unknown);
        assert_eq!(&rest[..], b"\x16\x03\x01");
    }

    #[tokio::test]
    async fn only_trusted_peers_are_believed() {
        let line = b"PROXY UNKNOWN\r\n";
        assert!(read(line, "10.0.0.1", &["10.0.0.0/8"]).await.is_ok());
        assert!(read(line, "::ffff:10.0.0.1", &["10.0.0.0/8"]).await.is_ok());
        let refused = read(line, "192.0.2.9", &["10.0.0.0/8"]).await;
        assert!(matches!(refused, Err(Error::Untrusted(_))));
    }

    #[tokio::test]
    async fn a_connection_without_a_header_is_refused_at_its_first_byte() {
        let refused = read(b"GET / HTTP/1.1\r\n\r\n", "10.0.0.1", &[]).await;
        assert!(matches!(refused, Err(Error::Missing)));
        assert!(matches!(
            read(b"", "10.0.0.1", &[]).await,
            Err(Error::Missing)
        ));
        let refused = read(b"PROXY TCP4 1", "10.0.0.1", &[]).await;
        assert!(matches!(refused, Err(Error::Ended)));
    }
}
