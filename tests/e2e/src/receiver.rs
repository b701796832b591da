//! A server that takes whatever is posted to it and keeps it.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(10);
const MAX_HEAD_BYTES: usize = 64 << 10;

/// A path with what was posted there.
pub type Posted = (String, Vec<u8>);

/// Answers 200 to every POST until the test ends.
pub struct Receiver {
    port: u16,
    posted: Arc<Mutex<Vec<Posted>>>,
}

impl Receiver {
    pub fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let posted = Arc::new(Mutex::new(Vec::new()));
        let kept = posted.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let kept = kept.clone();
                std::thread::spawn(move || while let Ok(true) = take(&stream, &kept) {});
            }
        });
        Ok(Self { port, posted })
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What was posted to this path so far.
    pub fn posted(&self, path: &str) -> Vec<Vec<u8>> {
        let all = self.posted.lock().unwrap_or_else(PoisonError::into_inner);
        let here = all.iter().filter(|(to, _)| to == path);
        here.map(|(_, body)| body.clone()).collect()
    }
}

/// One request; false at the connection's end.
fn take(mut stream: &TcpStream, kept: &Mutex<Vec<Posted>>) -> io::Result<bool> {
    stream.set_read_timeout(Some(LIMIT))?;
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") && head.len() < MAX_HEAD_BYTES {
        if stream.read(&mut byte)? == 0 {
            return Ok(false);
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).to_lowercase();
    let length = head.split("content-length:").nth(1);
    let length = length.and_then(|rest| rest.split("\r\n").next()?.trim().parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body)?;
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    kept.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push((path, body));
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")?;
    Ok(true)
}
