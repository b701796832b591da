//! A small HTTP/1.1 client side: a sans-IO response parser and a blocking connection.
//!
//! Absent on purpose: TLS, redirects, pipelining. It must report what the server did, exactly.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// The largest response, head and body, that the parser takes.
pub const MAX_RESPONSE_BYTES: usize = 16 << 20;
const READ_BYTES: usize = 64 << 10;
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// The server said that it closes this connection, or framed the body by closing it.
    pub close: bool,
}

impl Response {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }
}

fn find<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers
        .iter()
        .find(|(n, _)| n == name)
        .map(|(_, v)| v.as_str())
}

/// Collects bytes of one connection and cuts responses out of them.
#[derive(Debug, Default)]
pub struct ResponseParser {
    bytes: Vec<u8>,
}

impl ResponseParser {
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Nothing of a next response has arrived.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The next complete response, if there is one. `eof`: the server has closed its side.
    ///
    /// # Errors
    /// `InvalidData` for bytes that are no HTTP response, `UnexpectedEof` for a cut one.
    pub fn take(&mut self, eof: bool) -> io::Result<Option<Response>> {
        if self.bytes.len() > MAX_RESPONSE_BYTES {
            return Err(bad("response is too large"));
        }
        match parse(&self.bytes, eof)? {
            Some((response, used)) => {
                self.bytes.drain(..used);
                Ok(Some(response))
            }
            None if eof => Err(io::ErrorKind::UnexpectedEof.into()),
            None => Ok(None),
        }
    }
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

fn parse(bytes: &[u8], eof: bool) -> io::Result<Option<(Response, usize)>> {
    let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = std::str::from_utf8(&bytes[..end]).map_err(|_| bad("head is not text"))?;
    let mut lines = head.split("\r\n");
    let status = parse_status(lines.next().unwrap_or(""))?;
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let rest = &bytes[end + 4..];
    let mut close =
        find(&headers, "connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
    let framed = if find(&headers, "transfer-encoding").is_some_and(|v| v.contains("chunked")) {
        dechunk(rest)?
    } else if let Some(length) = find(&headers, "content-length") {
        let length: usize = length
            .parse()
            .map_err(|_| bad("content-length is not a number"))?;
        (rest.len() >= length).then(|| (rest[..length].to_vec(), length))
    } else if status == 204 || status == 304 {
        Some((Vec::new(), 0))
    } else {
        close = true;
        eof.then(|| (rest.to_vec(), rest.len()))
    };
    Ok(framed.map(|(body, used)| {
        (
            Response {
                status,
                headers,
                body,
                close,
            },
            end + 4 + used,
        )
    }))
}

fn parse_status(line: &str) -> io::Result<u16> {
    let mut words = line.split(' ');
    match (words.next(), words.next().map(str::parse)) {
        (Some(version), Some(Ok(status))) if version.starts_with("HTTP/1.") => Ok(status),
        _ => Err(bad("status line is not HTTP/1")),
    }
}

fn dechunk(mut rest: &[u8]) -> io::Result<Option<(Vec<u8>, usize)>> {
    let total = rest.len();
    let mut body = Vec::new();
    loop {
        let Some(line) = rest.windows(2).position(|w| w == b"\r\n") else {
            return Ok(None);
        };
        let size = std::str::from_utf8(&rest[..line])
            .ok()
            .and_then(|text| text.split(';').next())
            .and_then(|text| usize::from_str_radix(text.trim(), 16).ok())
            .filter(|size| *size <= MAX_RESPONSE_BYTES)
            .ok_or_else(|| bad("chunk size is not a number"))?;
        rest = &rest[line + 2..];
        if rest.len() < size + 2 {
            return Ok(None);
        }
        body.extend_from_slice(&rest[..size]);
        rest = &rest[size + 2..];
        if size == 0 {
            return Ok(Some((body, total - rest.len())));
        }
    }
}

/// One blocking connection that can be asked again and again.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    parser: ResponseParser,
}

impl Connection {
    pub fn open(addr: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&addr, DEFAULT_TIMEOUT)?;
        stream.set_read_timeout(Some(DEFAULT_TIMEOUT))?;
        stream.set_write_timeout(Some(DEFAULT_TIMEOUT))?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            parser: ResponseParser::default(),
        })
    }

    pub fn set_timeout(&self, timeout: Duration) -> io::Result<()> {
        self.stream.set_read_timeout(Some(timeout))
    }

    pub fn get(&mut self, path: &str) -> io::Result<Response> {
        self.send(
            &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"),
            b"",
        )
    }

    pub fn post(&mut self, path: &str, content_type: &str, body: &[u8]) -> io::Result<Response> {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {content_type}\r\n\
             Content-Length: {}\r\n\r\n",
            body.len()
        );
        self.send(&head, body)
    }

    /// Sends a request as given and reads its response.
    pub fn send(&mut self, head: &str, body: &[u8]) -> io::Result<Response> {
        self.stream.write_all(head.as_bytes())?;
        self.stream.write_all(body)?;
        self.read_response()
    }

    fn read_response(&mut self) -> io::Result<Response> {
        let mut buffer = vec![0; READ_BYTES];
        loop {
            if let Some(response) = self.parser.take(false)? {
                return Ok(response);
            }
            match self.stream.read(&mut buffer)? {
                0 => {
                    return self
                        .parser
                        .take(true)?
                        .ok_or(io::ErrorKind::UnexpectedEof.into());
                }
                n => self.parser.push(&buffer[..n]),
            }
        }
    }

    pub fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }
}

/// One GET on a connection of its own.
pub fn get(addr: SocketAddr, path: &str) -> io::Result<Response> {
    get_within(addr, path, DEFAULT_TIMEOUT)
}

pub fn get_within(addr: SocketAddr, path: &str, timeout: Duration) -> io::Result<Response> {
    let mut connection = Connection::open(addr)?;
    connection.set_timeout(timeout)?;
    let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    connection.send(&head, b"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_is_whole_only_when_its_body_is() {
        let text = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello";
        let mut parser = ResponseParser::default();
        for byte in &text[..text.len() - 1] {
            parser.push(&[*byte]);
            assert_eq!(parser.take(false).unwrap(), None);
        }
        parser.push(b"o");
        let response = parser.take(false).unwrap().unwrap();
        assert_eq!(
            (response.status, response.text().as_str(), response.close),
            (200, "hello", true)
        );
        assert!(parser.is_empty());
    }

    #[test]
    fn chunks_are_joined() {
        let mut parser = ResponseParser::default();
        parser.push(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
        assert_eq!(parser.take(false).unwrap(), None);
        parser.push(b"2\r\nde\r\n0\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n");
        assert_eq!(parser.take(false).unwrap().unwrap().text(), "abcde");
        assert_eq!(parser.take(false).unwrap().unwrap().status, 204);
    }

    #[test]
    fn a_cut_response_is_an_error() {
        let mut parser = ResponseParser::default();
        parser.push(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel");
        assert_eq!(
            parser.take(true).unwrap_err().kind(),
            io::ErrorKind::UnexpectedEof
        );
    }
}
