//! An upstream that records what it is asked, byte for byte, and answers what a test says.
//!
//! It reads requests more strictly than any server does: whatever two servers might read in two
//! ways is a [`Seen::problem`].

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

const MAX_HEAD_BYTES: usize = 1 << 20;
const MAX_BODY_BYTES: usize = 64 << 20;
/// An idle connection is given up after this; no test takes so long.
const IDLE: Duration = Duration::from_secs(120);

/// One request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    pub method: String,
    pub target: String,
    /// Names in lower case, as they came.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub trailers: Vec<(String, String)>,
    /// What is ambiguous or wrong about it.
    pub problem: Option<String>,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(n, _)| n == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// Writes the answer; `Ok(true)` keeps the connection.
type Answer = dyn Fn(&Seen, &mut TcpStream) -> io::Result<bool> + Send + Sync;

pub struct Origin {
    pub port: u16,
    seen: Arc<Mutex<Vec<Seen>>>,
    stop: Arc<AtomicBool>,
}

impl Origin {
    /// Answers everything with 200 and `ok`.
    pub fn start() -> io::Result<Self> {
        Self::answering(|_, stream| ok(stream))
    }

    pub fn answering(
        answer: impl Fn(&Seen, &mut TcpStream) -> io::Result<bool> + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let origin = Self {
            port,
            seen: Arc::clone(&seen),
            stop: Arc::clone(&stop),
        };
        let answer: Arc<Answer> = Arc::new(answer);
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let (seen, answer) = (Arc::clone(&seen), Arc::clone(&answer));
                // Ends with its connection.
                std::thread::spawn(move || drop(serve(stream, &seen, answer.as_ref())));
            }
        });
        Ok(origin)
    }

    /// All requests so far.
    pub fn seen(&self) -> Vec<Seen> {
        lock(&self.seen).clone()
    }

    /// Those whose target contains `part`.
    pub fn seen_at(&self, part: &str) -> Vec<Seen> {
        let mut seen = self.seen();
        seen.retain(|seen| seen.target.contains(part));
        seen
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Wakes accept.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

fn lock(seen: &Mutex<Vec<Seen>>) -> MutexGuard<'_, Vec<Seen>> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

/// 200, `ok`, kept.
pub fn ok(stream: &mut TcpStream) -> io::Result<bool> {
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
    Ok(true)
}

fn serve(mut stream: TcpStream, all: &Mutex<Vec<Seen>>, answer: &Answer) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(IDLE))?;
    let mut input = Input {
        stream: stream.try_clone()?,
        bytes: Vec::new(),
    };
    loop {
        if input.bytes.is_empty() && input.more()? == 0 {
            return Ok(());
        }
        let seen = read_request(&mut input);
        let wrong = seen.problem.is_some();
        lock(all).push(seen.clone());
        if wrong || !answer(&seen, &mut stream)? {
            return Ok(());
        }
    }
}

struct Input {
    stream: TcpStream,
    bytes: Vec<u8>,
}

impl Input {
    fn more(&mut self) -> io::Result<usize> {
        let mut buffer = [0; 16 << 10];
        let read = self.stream.read(&mut buffer)?;
        self.bytes.extend_from_slice(&buffer[..read]);
        Ok(read)
    }

    fn need_more(&mut self) -> io::Result<()> {
        match self.more()? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// Up to and with `mark`.
    fn until(&mut self, mark: &[u8], limit: usize) -> io::Result<Vec<u8>> {
        loop {
            if let Some(at) = self.bytes.windows(mark.len()).position(|w| w == mark) {
                return Ok(self.bytes.drain(..at + mark.len()).collect());
            }
            if self.bytes.len() > limit {
                return Err(io::Error::other("too long"));
            }
            self.need_more()?;
        }
    }

    fn exactly(&mut self, count: usize) -> io::Result<Vec<u8>> {
        if count > MAX_BODY_BYTES {
            return Err(io::Error::other("too long"));
        }
        while self.bytes.len() < count {
            self.need_more()?;
        }
        Ok(self.bytes.drain(..count).collect())
    }
}

fn read_request(input: &mut Input) -> Seen {
    let mut seen = Seen::default();
    if let Err(error) = read_parts(input, &mut seen) {
        seen.problem.get_or_insert(format!("cut: {error}"));
    }
    seen
}

fn read_parts(input: &mut Input, seen: &mut Seen) -> io::Result<()> {
    let head = input.until(b"\r\n\r\n", MAX_HEAD_BYTES)?;
    parse_head(&head[..head.len() - 4], seen);
    let lengths = seen.headers.iter().filter(|(n, _)| n == "content-length");
    let lengths: Vec<String> = lengths.map(|(_, value)| value.clone()).collect();
    let codings = seen
        .headers
        .iter()
        .filter(|(n, _)| n == "transfer-encoding");
    let codings: Vec<String> = codings.map(|(_, value)| value.clone()).collect();
    match (lengths.as_slice(), codings.as_slice()) {
        ([], []) => Ok(()),
        ([length], []) if !length.is_empty() && length.bytes().all(|b| b.is_ascii_digit()) => {
            let length = length.parse().unwrap_or(usize::MAX);
            seen.body = input.exactly(length)?;
            Ok(())
        }
        ([], [coding]) if coding == "chunked" => read_chunks(input, seen),
        _ => {
            seen.problem = Some(format!("framed by {lengths:?} and {codings:?}"));
            Ok(())
        }
    }
}

fn parse_head(head: &[u8], seen: &mut Seen) {
    let odd = |byte: &u8| *byte == 0 || *byte == b'\n' || *byte == b'\r';
    let text = String::from_utf8_lossy(head).into_owned();
    let mut lines = text.split("\r\n");
    let first = lines.next().unwrap_or("");
    let words: Vec<&str> = first.split(' ').collect();
    if let [method, target, "HTTP/1.1"] = words.as_slice() {
        (seen.method, seen.target) = ((*method).to_owned(), (*target).to_owned());
    } else {
        seen.problem = Some(format!("request line {first:?}"));
    }
    for line in lines {
        match line.split_once(':') {
            Some((name, value)) if is_name(name) && !value.bytes().any(|b| odd(&b)) => {
                let value = value.trim_matches([' ', '\t']).to_owned();
                seen.headers.push((name.to_ascii_lowercase(), value));
            }
            Some(_) | None => seen.problem = Some(format!("header line {line:?}")),
        }
    }
    if seen
        .headers
        .iter()
        .filter(|(name, _)| name == "host")
        .count()
        != 1
    {
        seen.problem = Some("not one Host".into());
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.!#$%&'*+^`|~".contains(&b))
}

fn read_chunks(input: &mut Input, seen: &mut Seen) -> io::Result<()> {
    loop {
        let line = input.until(b"\r\n", MAX_HEAD_BYTES)?;
        let line = String::from_utf8_lossy(&line[..line.len() - 2]).into_owned();
        let hex = !line.is_empty() && line.bytes().all(|b| b.is_ascii_hexdigit());
        let Some(size) = hex.then(|| usize::from_str_radix(&line, 16).ok()).flatten() else {
            seen.problem = Some(format!("chunk size {line:?}"));
            return Ok(());
        };
        if size == 0 {
            break;
        }
        seen.body.extend(input.exactly(size)?);
        if input.exactly(2)? != b"\r\n" {
            seen.problem = Some("chunk without its end".into());
            return Ok(());
        }
    }
    loop {
        let line = input.until(b"\r\n", MAX_HEAD_BYTES)?;
        let line = String::from_utf8_lossy(&line[..line.len() - 2]).into_owned();
        match line.split_once(':') {
            None if line.is_empty() => return Ok(()),
            None => seen.problem = Some(format!("trailer {line:?}")),
            Some((name, value)) => {
                seen.trailers
                    .push((name.to_ascii_lowercase(), value.trim().to_owned()));
            }
        }
    }
}
