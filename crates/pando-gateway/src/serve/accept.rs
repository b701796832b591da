//! The threads that serve, and how connections come to them.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use gateway_spec::{Listen, ListenAddress};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::connection::{self, Ready};
use super::io::{ClientStream, Other};
use super::sweep::{self, Connections};
use crate::client::Scheme;
use crate::limits;
use crate::proxy_protocol::{self, Addresses, Prefixed};
use crate::shared::{Shared, Thread};

/// After an error of `accept` that is not the connection's own: too many open files.
const PAUSE: Duration = Duration::from_millis(50);
/// Orders that wait for a thread.
pub const ORDERS_MAX: usize = 1024;
/// Between two looks at a connection that has sent fewer than four bytes.
const PEEK_AGAIN: Duration = Duration::from_millis(5);

const KEEPALIVE_AFTER: Duration = Duration::from_secs(60);
const KEEPALIVE_EVERY: Duration = Duration::from_secs(15);
const KEEPALIVE_TRIES: u32 = 4;

/// A listening socket.
#[derive(Debug)]
pub struct Listening {
    pub listen: Listen,
    pub socket: OwnedFd,
}

/// A connection that somebody else accepted.
#[derive(Debug)]
pub struct Incoming {
    pub listen: Listen,
    pub socket: OwnedFd,
}

/// What a thread is told.
#[derive(Debug)]
pub enum Order {
    Listen(Listening),
    Serve(Incoming),
    /// Accept nothing more, end when the last connection has.
    Drain,
}

/// Serves until it is told to drain and has nothing left.
pub fn run_thread(thread: Arc<Thread>, orders: mpsc::Receiver<Order>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .thread_name("gateway-blocking")
        .max_blocking_threads(64)
        .event_interval(61)
        .build()?;
    runtime.block_on(serve(thread, orders));
    // Files that are still read for somebody who has left are nobody's concern.
    runtime.shutdown_background();
    Ok(())
}

async fn serve(thread: Arc<Thread>, mut orders: mpsc::Receiver<Order>) {
    let connections = Arc::new(Connections::default());
    let sweep = tokio::spawn(sweep::run(connections.clone(), thread.clone()));
    let mut accepting = JoinSet::new();
    let door = Door {
        thread: thread.clone(),
        connections,
    };
    while let Some(order) = orders.recv().await {
        match order {
            Order::Listen(listening) => {
                let door = door.clone();
                accepting.spawn(async move {
                    let address = listening.listen.address.to_string();
                    if let Err(error) = door.accept(listening).await {
                        tracing::error!(%address, %error, "a socket cannot be listened on");
                    }
                });
            }
            Order::Serve(incoming) => door.take_in(incoming),
            Order::Drain => break,
        }
    }
    accepting.shutdown().await;
    while thread.shared.open_connections(thread.index) > 0 || thread.shared.tunnels() > 0 {
        tokio::time::sleep(PAUSE).await;
    }
    sweep.abort();
}

/// Lets connections in to one thread.
#[derive(Clone)]
struct Door {
    thread: Arc<Thread>,
    connections: Arc<Connections>,
}

enum Raw {
    Tcp(TcpStream, SocketAddr),
    Unix(UnixStream),
}

impl Door {
    async fn accept(&self, listening: Listening) -> io::Result<()> {
        let listen = Arc::new(listening.listen);
        match listen.address {
            ListenAddress::Tcp(_) => {
                let listener = std::net::TcpListener::from(listening.socket);
                listener.set_nonblocking(true)?;
                ready_for_clients(SockRef::from(&listener))?;
                let listener = TcpListener::from_std(listener)?;
                loop {
                    match listener.accept().await {
                        Ok((stream, peer)) => self.begin(Raw::Tcp(stream, peer), &listen),
                        Err(error) => pause(&error).await,
                    }
                }
            }
            ListenAddress::Unix(_) => {
                let listener = std::os::unix::net::UnixListener::from(listening.socket);
                listener.set_nonblocking(true)?;
                let listener = UnixListener::from_std(listener)?;
                loop {
                    match listener.accept().await {
                        Ok((stream, _)) => self.begin(Raw::Unix(stream), &listen),
                        Err(error) => pause(&error).await,
                    }
                }
            }
        }
    }

    fn take_in(&self, incoming: Incoming) {
        let taken = match incoming.listen.address {
            ListenAddress::Tcp(_) => {
                let stream = std::net::TcpStream::from(incoming.socket);
                ready_for_clients(SockRef::from(&stream))
                    .and_then(|()| stream.set_nonblocking(true))
                    .and_then(|()| TcpStream::from_std(stream))
                    .and_then(|stream| {
                        let peer = stream.peer_addr()?;
                        Ok(Raw::Tcp(stream, peer))
                    })
            }
            ListenAddress::Unix(_) => {
                let stream = std::os::unix::net::UnixStream::from(incoming.socket);
                stream
                    .set_nonblocking(true)
                    .and_then(|()| UnixStream::from_std(stream))
                    .map(Raw::Unix)
            }
        };
        match taken {
            Ok(raw) => self.begin(raw, &Arc::new(incoming.listen)),
            Err(error) => tracing::debug!(%error, "a connection that was handed over had ended"),
        }
    }

    fn begin(&self, raw: Raw, listen: &Arc<Listen>) {
        let ip = match &raw {
            Raw::Tcp(_, peer) => peer.ip().to_canonical(),
            Raw::Unix(_) => unspecified().ip(),
        };
        let place = match Place::take(&self.thread.shared, self.thread.index, ip) {
            Ok(place) => place,
            Err(full) => {
                self.thread.shared.say_full(ip, &full);
                return;
            }
        };
        let (door, listen) = (self.clone(), listen.clone());
        tokio::spawn(async move {
            let _place = place;
            let limit = door.thread.shared.config.load().timeouts.handshake_ms;
            let limit = Duration::from_millis(limit);
            // Boxed and done with: what a handshake needs is not kept for the connection's life.
            let greeting = Box::pin(door.greet(raw, &listen));
            let greeted = tokio::time::timeout(limit, greeting).await;
            match greeted {
                Ok(Ok(ready)) => {
                    connection::serve(ready, door.thread.clone(), door.connections.clone()).await;
                }
                Ok(Err(error)) => tracing::debug!(%error, "a connection did not get to HTTP"),
                Err(_) => tracing::debug!("a connection did not get to HTTP in time"),
            }
        });
    }

    /// PROXY header, TLS, and which HTTP.
    async fn greet(&self, raw: Raw, listen: &Listen) -> io::Result<Ready> {
        let (mut stream, mut peer, mut local): (ClientStream, _, _) = match raw {
            Raw::Tcp(stream, peer) => {
                let local = stream.local_addr()?;
                (ClientStream::Tcp(stream), peer, local)
            }
            Raw::Unix(stream) => (
                ClientStream::Other(Box::new(stream)),
                unspecified(),
                unspecified(),
            ),
        };
        if listen.proxy_protocol {
            let read;
            (stream, read) = self.proxy_header(stream, peer).await?;
            if let Some((from, to)) = read {
                (peer, local) = (from, to);
            }
        }
        if listen.tls {
            return self.tls(stream, peer, local).await;
        }
        let is_h2;
        (stream, is_h2) = sniff(stream).await?;
        Ok(Ready {
            stream,
            peer,
            local,
            scheme: Scheme::Http,
            tls_version: "",
            is_h2,
        })
    }

    async fn proxy_header(
        &self,
        stream: ClientStream,
        peer: SocketAddr,
    ) -> io::Result<(ClientStream, Option<(SocketAddr, SocketAddr)>)> {
        let config = self.thread.shared.config.load_full();
        let mut stream = stream.into_other();
        let from = (peer.port() != 0).then(|| peer.ip());
        let (addresses, rest) =
            proxy_protocol::read_header(&mut stream, from, &config.trusted_proxies)
                .await
                .map_err(io::Error::other)?;
        let read = match addresses {
            Addresses::Of {
                source,
                destination,
            } => Some((source, destination)),
            Addresses::Unknown => None,
        };
        let stream = ClientStream::Other(Box::new(Prefixed::new(stream, rest)));
        Ok((stream, read))
    }

    async fn tls(
        &self,
        stream: ClientStream,
        peer: SocketAddr,
        local: SocketAddr,
    ) -> io::Result<Ready> {
        let config = self.thread.shared.tls.load_full();
        let config = config.ok_or_else(|| io::Error::other("no site has a certificate"))?;
        let acceptor = tokio_rustls::TlsAcceptor::from(config);
        let failed = |_: &io::Error| self.thread.counts().tls_failures.add(1);
        let (stream, alpn, version) = match stream {
            ClientStream::Tcp(tcp) => {
                let tls = acceptor.accept(tcp).await.inspect_err(failed)?;
                let session = tls.get_ref().1;
                let (alpn, version) = (is_h2(session)?, session.protocol_version());
                (ClientStream::Tls(Box::new(tls)), alpn, version)
            }
            other @ (ClientStream::Tls(_) | ClientStream::Other(_)) => {
                let accepted = acceptor.accept(other.into_other()).await;
                let tls = accepted.inspect_err(failed)?;
                let session = tls.get_ref().1;
                let (alpn, version) = (is_h2(session)?, session.protocol_version());
                (ClientStream::Other(Box::new(tls)), alpn, version)
            }
        };
        let tls_version = match version {
            Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3",
            Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2",
            Some(_) | None => "TLS",
        };
        Ok(Ready {
            stream,
            peer,
            local,
            scheme: Scheme::Https,
            tls_version,
            is_h2: alpn,
        })
    }
}

/// What accepted connections take over from their listener: no delay of small writes, and a look
/// after clients that have gone without a word.
fn ready_for_clients(socket: SockRef<'_>) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_AFTER)
        .with_interval(KEEPALIVE_EVERY)
        .with_retries(KEEPALIVE_TRIES);
    socket.set_tcp_keepalive(&keepalive)
}

/// An error ends the connection: a certificate authority's validation is over with its handshake.
fn is_h2(session: &rustls::ServerConnection) -> io::Result<bool> {
    if crate::tls::is_challenge(session) {
        return Err(io::Error::other("a certificate authority's validation"));
    }
    Ok(session.alpn_protocol() == Some(b"h2"))
}

fn unspecified() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

async fn pause(error: &io::Error) {
    // Connections that ended in the queue are no reason to wait.
    if error.kind() != io::ErrorKind::ConnectionAborted {
        tracing::warn!(%error, "no connection can be accepted for now");
        tokio::time::sleep(PAUSE).await;
    }
}

/// Whether the client speaks HTTP/2 with prior knowledge; nothing is taken from a TCP stream.
async fn sniff(stream: ClientStream) -> io::Result<(ClientStream, bool)> {
    let mut start = [0; 4];
    match stream {
        ClientStream::Tcp(tcp) => loop {
            let n = tcp.peek(&mut start).await?;
            match is_preface(&start[..n]) {
                Some(is_h2) => return Ok((ClientStream::Tcp(tcp), is_h2)),
                None => tokio::time::sleep(PEEK_AGAIN).await,
            }
        },
        ClientStream::Tls(_) => Ok((stream, false)),
        ClientStream::Other(mut other) => {
            let mut read = Vec::new();
            while is_preface(&read).is_none() {
                let n = tokio::io::AsyncReadExt::read(&mut other, &mut start).await?;
                if n == 0 {
                    break;
                }
                read.extend_from_slice(&start[..n]);
            }
            let is_h2 = is_preface(&read) == Some(true);
            let stream = Prefixed::new(other, Bytes::from(read));
            Ok((ClientStream::Other(Box::new(stream)), is_h2))
        }
    }
}

/// `None` while the bytes could become either. An end of the stream is HTTP/1's to handle.
fn is_preface(bytes: &[u8]) -> Option<bool> {
    const START: &[u8] = b"PRI ";
    let n = bytes.len().min(START.len());
    if bytes[..n] != START[..n] || (bytes.is_empty()) {
        return Some(false);
    }
    (n == START.len()).then_some(true)
}

impl ClientStream {
    fn into_other(self) -> Box<dyn Other> {
        match self {
            Self::Tcp(stream) => Box::new(stream),
            Self::Tls(stream) => stream,
            Self::Other(stream) => stream,
        }
    }
}

/// A connection, counted with its thread.
struct Place {
    shared: Arc<Shared>,
    thread: usize,
    _counted: limits::Connection,
}

impl Place {
    fn take(shared: &Arc<Shared>, thread: usize, ip: IpAddr) -> Result<Self, limits::TooMany> {
        let counted = shared.places.enter(ip)?;
        shared.per_thread[thread].fetch_add(1, Relaxed);
        Ok(Self {
            shared: shared.clone(),
            thread,
            _counted: counted,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.per_thread[self.thread].fetch_sub(1, Relaxed);
    }
}
