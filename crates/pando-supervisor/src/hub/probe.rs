//! Health and readiness probes: a GET on a connection of its own, a look at a port or at what a
//! process tree listens on.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use node_cluster::{ConnId, WorkerId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{Hub, Mail};
use crate::core::Probe;

/// Of an answer, enough for its status line.
const HEAD_MAX: usize = 1024;

impl Hub {
    pub(super) fn probe(&mut self, worker: WorkerId, probe: Probe, timeout_ms: u64) {
        let limit = Duration::from_millis(timeout_ms);
        match probe {
            Probe::Path { conn, path } => match loopback_pair() {
                Ok((ours, theirs)) => {
                    self.conns.insert(conn, Arc::new(theirs));
                    let get = get_on(ours, path, "localhost".to_owned());
                    self.run_probe(worker, Some(conn), limit, get);
                }
                Err(error) => {
                    let why = format!("no loopback connection: {error}");
                    self.probe_done(worker, Some(conn), Err(why));
                }
            },
            Probe::Url { url } => self.run_probe(worker, None, limit, get_url(url)),
            Probe::Port { port } => self.run_probe(worker, None, limit, look_at_port(port)),
            Probe::Listening { pid } => {
                let tree = super::usage::tree(pid);
                let listens = steer::listening_ports(&tree)
                    .into_iter()
                    .map(|addr| {
                        if addr.ip().is_unspecified() {
                            format!(":{}", addr.port())
                        } else {
                            addr.to_string()
                        }
                    })
                    .collect();
                self.probe_done(worker, None, Ok(listens));
            }
        }
    }

    fn run_probe(
        &self,
        worker: WorkerId,
        conn: Option<ConnId>,
        limit: Duration,
        probe: impl Future<Output = Result<(), String>> + Send + 'static,
    ) {
        let mailbox = self.mailbox.clone();
        self.control.runtime.spawn(async move {
            let result = match timeout(limit, probe).await {
                Ok(result) => result.map(|()| Vec::new()),
                Err(_) => Err(format!("no answer within {} ms", limit.as_millis())),
            };
            mailbox.post(Mail::Probe {
                worker,
                conn,
                result,
            });
        });
    }
}

/// Both ends of a new TCP connection over loopback. A real one, so that the app sees an address.
fn loopback_pair() -> io::Result<(std::net::TcpStream, OwnedFd)> {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let ours = std::net::TcpStream::connect(listener.local_addr()?)?;
    let own = ours.local_addr()?;
    // A stranger may have been faster at this port.
    loop {
        let (theirs, peer) = listener.accept()?;
        if peer == own {
            ours.set_nonblocking(true)?;
            theirs.set_nonblocking(true)?;
            return Ok((ours, theirs.into()));
        }
    }
}

async fn get_on(stream: std::net::TcpStream, path: String, host: String) -> Result<(), String> {
    let stream = TcpStream::from_std(stream).map_err(|error| error.to_string())?;
    get(stream, &path, &host).await
}

/// `http://host[:port][/path]`.
async fn get_url(url: String) -> Result<(), String> {
    let rest = url
        .strip_prefix("http://")
        .ok_or("only http:// URLs are asked")?;
    let (host, path) = match rest.find('/') {
        Some(at) => (&rest[..at], &rest[at..]),
        None => (rest, "/"),
    };
    let address = if host
        .rsplit(']')
        .next()
        .is_some_and(|tail| tail.contains(':'))
    {
        host.to_owned()
    } else {
        format!("{host}:80")
    };
    let stream = TcpStream::connect(&address)
        .await
        .map_err(|error| format!("cannot connect to {address}: {error}"))?;
    get(stream, path, host).await
}

async fn get(mut stream: TcpStream, path: &str, host: &str) -> Result<(), String> {
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: pando-health\r\n\
         Connection: close\r\n\r\n"
    );
    stream
        .write_all(request.as_bytes())
        .await
        .map_err(|error| error.to_string())?;
    let mut head = Vec::with_capacity(HEAD_MAX);
    while !head.contains(&b'\n') && head.len() < HEAD_MAX {
        let read = stream
            .read_buf(&mut head)
            .await
            .map_err(|error| error.to_string())?;
        if read == 0 {
            return Err("the connection was closed without an answer".to_owned());
        }
    }
    let line = String::from_utf8_lossy(&head);
    let line = line.lines().next().unwrap_or_default();
    match line
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse::<u16>().ok())
    {
        Some(200..=299) => Ok(()),
        Some(code) => Err(format!("GET {path} answered {code}")),
        None => Err(format!("GET {path} answered no HTTP: {line:?}")),
    }
}

async fn look_at_port(port: u16) -> Result<(), String> {
    let v4 = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let v6 = SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, port));
    match TcpStream::connect(v4).await {
        Ok(_) => Ok(()),
        Err(error) => match TcpStream::connect(v6).await {
            Ok(_) => Ok(()),
            Err(_) => Err(error.to_string()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer_with(text: &'static str) -> String {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let url = format!("http://{}/healthz", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            use std::io::{Read, Write};
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 512];
            let read = stream.read(&mut request).unwrap();
            assert!(request[..read].starts_with(b"GET /healthz HTTP/1.1\r\n"));
            stream.write_all(text.as_bytes()).unwrap();
        });
        url
    }

    fn ask(url: String) -> Result<(), String> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(get_url(url))
    }

    #[test]
    fn two_hundreds_are_well_and_all_else_says_what_came() {
        assert_eq!(ask(answer_with("HTTP/1.1 204 No Content\r\n\r\n")), Ok(()));
        let why = ask(answer_with("HTTP/1.1 503 Busy\r\n\r\n")).unwrap_err();
        assert_eq!(why, "GET /healthz answered 503");
        let why = ask(answer_with("220 smtp ready\r\n")).unwrap_err();
        assert_eq!(why, "GET /healthz answered no HTTP: \"220 smtp ready\"");
        assert!(ask(answer_with("")).unwrap_err().contains("closed"));
    }

    #[test]
    fn a_loopback_pair_is_connected() {
        use std::io::{Read, Write};
        let (mut ours, theirs) = loopback_pair().unwrap();
        let mut theirs = std::net::TcpStream::from(theirs);
        theirs.set_nonblocking(false).unwrap();
        ours.write_all(b"x").unwrap();
        let mut byte = [0];
        theirs.read_exact(&mut byte).unwrap();
        assert_eq!(&byte, b"x");
    }
}
