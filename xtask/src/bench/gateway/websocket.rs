//! WebSocket upgrades behind an upstream that answers at once: none may be torn down, no byte
//! lost. The upstream sends its first bytes in one packet with its 101, then echoes.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use e2e::local;

use super::Lab;
use super::peer::{Plan, Proxy};
use crate::bench::table;

const UPGRADES: usize = 9_000;
const CLIENT_THREADS: usize = 8;
/// Each waits in accept.
const UPSTREAM_THREADS: usize = 16;
const TIMEOUT: Duration = Duration::from_secs(10);
/// An unmasked text frame of "hi", as a server sends it (RFC 6455 section 5.2).
const GREETING: [u8; 4] = [0x81, 0x02, b'h', b'i'];
/// A masked text frame of "echo", as a client sends it, the mask being zero.
const QUESTION: [u8; 10] = [0x81, 0x84, 0, 0, 0, 0, b'e', b'c', b'h', b'o'];
const MAX_HEAD_BYTES: usize = 16 << 10;

pub fn run(lab: &Lab) -> anyhow::Result<()> {
    let upstream = Upstream::start()?;
    let mut rows = Vec::new();
    for peer in &lab.peers {
        let upstreams = [upstream.port];
        let plan = Plan {
            upstreams: &upstreams,
            files: None,
            threads: 2,
            core: None,
            ready: "/",
        };
        let mut proxy = Proxy::start(lab, *peer, plan)?;
        let (whole, errors) = upgrades(proxy.http);
        proxy.check()?;
        rows.push(vec![
            peer.name().to_owned(),
            format!("{whole} of {UPGRADES}"),
            errors.join("; "),
        ]);
    }
    table::print(
        "WebSocket upgrades",
        "Proxies with two threads; the upstream's first frame comes with its 101, then an echo; all bytes compared.",
        &["", "whole", "else"],
        &rows,
    );
    Ok(())
}

/// How many were as they should be, and what was wrong with the first others.
fn upgrades(port: u16) -> (usize, Vec<String>) {
    let next = AtomicUsize::new(0);
    let whole = AtomicUsize::new(0);
    let errors = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..CLIENT_THREADS {
            scope.spawn(|| {
                while next.fetch_add(1, Ordering::Relaxed) < UPGRADES {
                    match upgrade(port) {
                        Ok(()) => drop(whole.fetch_add(1, Ordering::Relaxed)),
                        Err(error) => {
                            let mut errors = errors.lock().unwrap_or_else(PoisonError::into_inner);
                            if errors.len() < 3 {
                                errors.push(error.to_string());
                            }
                        }
                    }
                }
            });
        }
    });
    (
        whole.into_inner(),
        errors.into_inner().unwrap_or_else(PoisonError::into_inner),
    )
}

fn upgrade(port: u16) -> io::Result<()> {
    let mut stream = TcpStream::connect(local(port))?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_nodelay(true)?;
    stream.write_all(
        b"GET /socket HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
          Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    )?;
    let (head, rest) = read_head(&mut stream)?;
    if !head.starts_with("HTTP/1.1 101") {
        return Err(io::Error::other(
            head.lines().next().unwrap_or("").to_owned(),
        ));
    }
    expect(&mut stream, rest, &GREETING)?;
    stream.write_all(&QUESTION)?;
    expect(&mut stream, Vec::new(), &QUESTION)
}

fn expect(stream: &mut TcpStream, mut got: Vec<u8>, wanted: &[u8]) -> io::Result<()> {
    let mut rest = vec![0; wanted.len().saturating_sub(got.len())];
    stream.read_exact(&mut rest)?;
    got.extend(rest);
    if got == wanted {
        Ok(())
    } else {
        Err(io::Error::other("other bytes"))
    }
}

/// Up to the empty line, and what came behind it.
fn read_head(stream: &mut TcpStream) -> io::Result<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        if let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            let rest = bytes.split_off(end + 4);
            return Ok((String::from_utf8_lossy(&bytes).into_owned(), rest));
        }
        let read = stream.read(&mut buffer)?;
        if read == 0 || bytes.len() > MAX_HEAD_BYTES {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        bytes.extend_from_slice(&buffer[..read]);
    }
}

struct Upstream {
    port: u16,
    stop: Arc<AtomicBool>,
}

impl Upstream {
    fn start() -> anyhow::Result<Self> {
        let listener = Arc::new(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?);
        let port = listener.local_addr()?.port();
        let stop = Arc::new(AtomicBool::new(false));
        for _ in 0..UPSTREAM_THREADS {
            let (listener, stop) = (Arc::clone(&listener), Arc::clone(&stop));
            std::thread::spawn(move || {
                while let Ok((stream, _)) = listener.accept() {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    // Ends with an error when the other side is done, as it should.
                    let _ = serve(stream);
                }
            });
        }
        Ok(Self { port, stop })
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for _ in 0..UPSTREAM_THREADS {
            let _ = TcpStream::connect(local(self.port));
        }
    }
}

fn serve(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    let (head, _) = read_head(&mut stream)?;
    if !head.to_ascii_lowercase().contains("upgrade: websocket") {
        return stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
    }
    let mut answer =
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
            .to_vec();
    answer.extend(GREETING);
    stream.write_all(&answer)?;
    let mut buffer = [0; 4096];
    loop {
        let read = stream.read(&mut buffer)?;
        if read == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..read])?;
    }
}
