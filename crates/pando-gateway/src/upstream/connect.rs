//! A new connection to an endpoint.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use gateway_spec::{Protocol, ProxyVersion};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UnixStream};

use super::endpoint::{Address, Endpoint};
use super::group::Group;
use super::stream::Stream;
use crate::proxy_protocol;

/// Connects, within the group's time. The second value says that ALPN chose HTTP/2 (or that it
/// was known before).
pub async fn connect(
    group: &Group,
    endpoint: &Endpoint,
    client: Option<(SocketAddr, SocketAddr)>,
) -> io::Result<(Stream, bool)> {
    let limit = Duration::from_millis(group.spec.pool.connect_ms);
    tokio::time::timeout(limit, open(group, endpoint, client))
        .await
        .unwrap_or_else(|_| {
            let why = format!("no connection within {} ms", limit.as_millis());
            Err(io::Error::new(io::ErrorKind::TimedOut, why))
        })
}

async fn open(
    group: &Group,
    endpoint: &Endpoint,
    client: Option<(SocketAddr, SocketAddr)>,
) -> io::Result<(Stream, bool)> {
    let header = match (group.spec.proxy_protocol, client) {
        (Some(version), Some((from, to))) => Some(proxy_header(version, from, to)),
        (Some(_) | None, _) => None,
    };
    let mut stream = match &endpoint.known.address {
        Address::Tcp(address) => {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Stream::Tcp(stream)
        }
        Address::Unix(path) => Stream::Unix(UnixStream::connect(path).await?),
    };
    if let Some(header) = header {
        stream.write_all(header.as_ref()).await?;
    }
    let over_tls = match endpoint.known.protocol {
        Protocol::Http1 => return Ok((stream, false)),
        Protocol::H2c => return Ok((stream, true)),
        Protocol::Https | Protocol::H2 => group.tls(endpoint.known.protocol)?,
    };
    let Stream::Tcp(tcp) = stream else {
        return Err(io::Error::other("TLS over a unix socket is not supported"));
    };
    handshake(group, endpoint, over_tls, tcp).await
}

async fn handshake(
    group: &Group,
    endpoint: &Endpoint,
    config: Arc<rustls::ClientConfig>,
    tcp: TcpStream,
) -> io::Result<(Stream, bool)> {
    let name = crate::tls::client::server_name(&group.spec.tls, &endpoint.known.host)
        .map_err(io::Error::other)?;
    let tls = tokio_rustls::TlsConnector::from(config)
        .connect(name, tcp)
        .await?;
    let h2 = tls.get_ref().1.alpn_protocol() == Some(b"h2");
    if endpoint.known.protocol == Protocol::H2 && !h2 {
        return Err(io::Error::other("it does not speak HTTP/2"));
    }
    Ok((Stream::Tls(Box::new(tls)), h2))
}

fn proxy_header(version: ProxyVersion, from: SocketAddr, to: SocketAddr) -> proxy_protocol::Header {
    match version {
        ProxyVersion::V1 => proxy_protocol::write_v1(from, to),
        ProxyVersion::V2 => proxy_protocol::write_v2(from, to),
    }
}
