//! Message framing of HTTP/1 requests, checked before hyper reads them.
//!
//! hyper takes some messages that another parser behind us might read in another way (bare LF,
//! two equal `Content-Length`s). The guard follows the byte stream of one connection and lets
//! through only requests whose framing has one meaning (RFC 9112 sections 2.2, 5.1, 6.1, 6.3, 7.1):
//!
//! ```text
//!   idle -> head -> (held, if it asks for an upgrade) -> body | chunks -> idle
//!   held -> through (upgraded: no HTTP any more)      any -> failed
//! ```
//!
//! Names, values and the request line's characters are left to hyper's parser, which is strict
//! about them. Pure: bytes in, how many of them are good out.

use memchr::{memchr, memchr_iter, memmem};

use crate::upstream::content_length;

/// A chunk's size line with extensions, and one line of trailers.
const MAX_CHUNK_LINE: usize = 4096;
/// Trailers of one body.
const MAX_TRAILER_BYTES: usize = 16 * 1024;
/// Empty lines before a request (RFC 9112 section 2.2 asks for at least one).
const MAX_EMPTY_LINES: usize = 2;

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    BareLineFeed,
    Folded,
    Host,
    Length,
    LengthAndEncoding,
    Encoding,
    HeadTooLarge,
    TooManyHeaders,
    Chunk,
    Version,
}

/// Where in a message the stream stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Between two requests.
    Idle,
    /// Some bytes of a head are here, not all.
    Head,
    /// In a body.
    Body,
    /// A request asked for an upgrade: nothing more passes until the answer is known.
    Held,
    /// Upgraded.
    Through,
    Failed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Head,
    Length(u64),
    ChunkSize,
    ChunkData(u64),
    /// The CRLF after a chunk's data.
    ChunkEnd,
    Trailers(usize),
    Held,
    Through,
    Failed,
}

/// What follows a head.
struct Framing {
    next: State,
    upgrade: bool,
}

/// The guard of one connection.
#[derive(Debug)]
pub struct Guard {
    state: State,
    after_hold: State,
    max_head: usize,
    max_headers: usize,
    /// Bytes of the present head that have come and were not let through.
    partial: bool,
}

/// The first `good` bytes may go on; the rest must be shown again with more behind it, unless
/// there is a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checked {
    pub good: usize,
    pub fault: Option<Fault>,
    /// A request's head ended within the good bytes.
    pub began: bool,
}

impl Guard {
    pub fn new(max_head: usize, max_headers: usize) -> Self {
        Self {
            state: State::Head,
            after_hold: State::Head,
            max_head,
            max_headers,
            partial: false,
        }
    }

    pub fn phase(&self) -> Phase {
        match self.state {
            State::Head if self.partial => Phase::Head,
            State::Head => Phase::Idle,
            State::Held => Phase::Held,
            State::Through => Phase::Through,
            State::Failed => Phase::Failed,
            State::Length(_)
            | State::ChunkSize
            | State::ChunkData(_)
            | State::ChunkEnd
            | State::Trailers(_) => Phase::Body,
        }
    }

    /// The answer to a request for an upgrade was sent.
    pub fn release(&mut self, upgraded: bool) {
        if self.state == State::Held {
            self.state = if upgraded {
                State::Through
            } else {
                self.after_hold
            };
        }
    }

    /// Looks at the stream's next bytes; `bytes` begins where the last good ones ended.
    pub fn check(&mut self, bytes: &[u8]) -> Checked {
        let mut good = 0;
        let mut began = false;
        loop {
            let rest = &bytes[good..];
            let was_head = self.state == State::Head;
            let step = match self.state {
                State::Through => Ok(rest.len()),
                State::Held => Ok(0),
                State::Failed => Ok(0),
                State::Head => self.head(rest),
                State::Length(left) => Ok(self.skip(rest, left, State::Head)),
                State::ChunkData(left) => Ok(self.skip(rest, left, State::ChunkEnd)),
                State::ChunkSize => self.chunk_size(rest),
                State::ChunkEnd => self.chunk_end(rest),
                State::Trailers(seen) => self.trailer(rest, seen),
            };
            match step {
                Err(fault) => {
                    self.state = State::Failed;
                    return Checked {
                        good,
                        fault: Some(fault),
                        began,
                    };
                }
                Ok(0) => {
                    self.partial = self.state == State::Head && !rest.is_empty();
                    return Checked {
                        good,
                        fault: None,
                        began,
                    };
                }
                Ok(n) => {
                    began |= was_head;
                    good += n;
                }
            }
        }
    }

    fn skip(&mut self, rest: &[u8], left: u64, then: State) -> usize {
        let n = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
        let left = left - n as u64;
        self.state = match then {
            _ if left == 0 => then,
            State::ChunkEnd => State::ChunkData(left),
            State::Head
            | State::Length(_)
            | State::ChunkSize
            | State::ChunkData(_)
            | State::Trailers(_)
            | State::Held
            | State::Through
            | State::Failed => State::Length(left),
        };
        n
    }

    /// One whole head, or nothing yet.
    fn head(&mut self, rest: &[u8]) -> Result<usize, Fault> {
        let start = leading_empty_lines(rest);
        let Some(end) = memmem::find(&rest[start..], b"\r\n\r\n") else {
            // Say what is wrong as soon as it is: the end may never come.
            let head = &rest[start..];
            let is_bare = |at: usize| at == 0 || head[at - 1] != b'\r';
            if memchr_iter(b'\n', head).any(is_bare) {
                return Err(Fault::BareLineFeed);
            }
            return if rest.len() > self.max_head {
                Err(Fault::HeadTooLarge)
            } else {
                Ok(0)
            };
        };
        let head = &rest[start..start + end + 2];
        if head.len() > self.max_head {
            return Err(Fault::HeadTooLarge);
        }
        let framing = framing(head, self.max_headers)?;
        if framing.upgrade {
            self.after_hold = framing.next;
            self.state = State::Held;
        } else {
            self.state = framing.next;
        }
        Ok(start + end + 4)
    }

    fn chunk_size(&mut self, rest: &[u8]) -> Result<usize, Fault> {
        let Some(line) = line(rest, MAX_CHUNK_LINE).map_err(|()| Fault::Chunk)? else {
            return Ok(0);
        };
        let digits = line
            .iter()
            .position(|b| !b.is_ascii_hexdigit())
            .unwrap_or(line.len());
        if digits == 0 || digits > 15 {
            return Err(Fault::Chunk);
        }
        let extension = &line[digits..];
        let clean = extension.iter().all(|&b| b == b'\t' || b >= b' ');
        let begins = extension.iter().find(|&&b| b != b' ' && b != b'\t');
        if !clean
            || !matches!(begins, None | Some(b';'))
            || (begins.is_none() && !extension.is_empty())
        {
            return Err(Fault::Chunk);
        }
        let size = line[..digits]
            .iter()
            .fold(0u64, |size, &b| size * 16 + u64::from(hex(b)));
        self.state = if size == 0 {
            State::Trailers(0)
        } else {
            State::ChunkData(size)
        };
        Ok(line.len() + 2)
    }

    fn chunk_end(&mut self, rest: &[u8]) -> Result<usize, Fault> {
        match rest {
            [b'\r', b'\n', ..] => {
                self.state = State::ChunkSize;
                Ok(2)
            }
            [] | [b'\r'] => Ok(0),
            _ => Err(Fault::Chunk),
        }
    }

    fn trailer(&mut self, rest: &[u8], seen: usize) -> Result<usize, Fault> {
        let Some(line) = line(rest, MAX_CHUNK_LINE).map_err(|()| Fault::Chunk)? else {
            return Ok(0);
        };
        let seen = seen + line.len();
        if seen > MAX_TRAILER_BYTES || line.first().is_some_and(|&b| b == b' ' || b == b'\t') {
            return Err(Fault::Chunk);
        }
        self.state = if line.is_empty() {
            State::Head
        } else {
            State::Trailers(seen)
        };
        Ok(line.len() + 2)
    }
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

fn leading_empty_lines(bytes: &[u8]) -> usize {
    let empty = bytes.chunks_exact(2).take(MAX_EMPTY_LINES);
    2 * empty.take_while(|pair| *pair == b"\r\n").count()
}

/// A line that ends with CRLF, without it; `None` if it is not all here.
fn line(bytes: &[u8], max: usize) -> Result<Option<&[u8]>, ()> {
    match memchr(b'\n', bytes) {
        Some(at) if at > 0 && bytes[at - 1] == b'\r' && at <= max => {
            let line = &bytes[..at - 1];
            if memchr(b'\r', line).is_some() {
                return Err(());
            }
            Ok(Some(line))
        }
        Some(_) => Err(()),
        None if bytes.len() > max => Err(()),
        None => Ok(None),
    }
}

/// Reads what says where the message ends. `head` ends with the CRLF of its last line.
fn framing(head: &[u8], max_headers: usize) -> Result<Framing, Fault> {
    let mut lines = head_lines(head);
    let first = lines.next().ok_or(Fault::Version)??;
    let old = match first {
        _ if first.ends_with(b" HTTP/1.1") => false,
        _ if first.ends_with(b" HTTP/1.0") => true,
        _ => return Err(Fault::Version),
    };
    let (mut hosts, mut headers) = (0, 0);
    let mut length: Option<u64> = None;
    let (mut chunked, mut upgrade) = (false, false);
    for line in lines {
        let line = line?;
        headers += 1;
        match line.first().map(u8::to_ascii_lowercase) {
            Some(b' ' | b'\t') => return Err(Fault::Folded),
            Some(b'h') => {
                if let Some(value) = value_of(line, b"host:") {
                    hosts += 1;
                    if !is_host(value) {
                        return Err(Fault::Host);
                    }
                }
            }
            Some(b'c') => {
                if let Some(value) = value_of(line, b"content-length:") {
                    let number = content_length(value).ok_or(Fault::Length)?;
                    if length.replace(number).is_some() {
                        return Err(Fault::Length);
                    }
                }
            }
            Some(b't') => {
                if let Some(value) = value_of(line, b"transfer-encoding:") {
                    if chunked || old || !value.eq_ignore_ascii_case(b"chunked") {
                        return Err(Fault::Encoding);
                    }
                    chunked = true;
                }
            }
            Some(b'u') => upgrade |= value_of(line, b"upgrade:").is_some(),
            Some(_) | None => {}
        }
    }
    if headers > max_headers {
        return Err(Fault::TooManyHeaders);
    }
    if hosts > 1 || (hosts == 0 && !old) {
        return Err(Fault::Host);
    }
    let next = match (length, chunked) {
        (Some(_), true) => return Err(Fault::LengthAndEncoding),
        (None, true) => State::ChunkSize,
        (None | Some(0), false) => State::Head,
        (Some(length), false) => State::Length(length),
    };
    Ok(Framing { next, upgrade })
}

/// Lines without their CRLF; an error for one that ends or is broken in another way.
fn head_lines(head: &[u8]) -> impl Iterator<Item = Result<&[u8], Fault>> {
    let mut from = 0;
    memchr_iter(b'\n', head).map(move |at| {
        let start = std::mem::replace(&mut from, at + 1);
        if at > start && head[at - 1] == b'\r' {
            Ok(&head[start..at - 1])
        } else {
            Err(Fault::BareLineFeed)
        }
    })
}

fn value_of<'l>(line: &'l [u8], name: &[u8]) -> Option<&'l [u8]> {
    let (start, value) = line.split_at_checked(name.len())?;
    start.eq_ignore_ascii_case(name).then(|| value.trim_ascii())
}

/// RFC 3986 `host [":" port]`, with the characters that a name, an address or a literal may have.
fn is_host(value: &[u8]) -> bool {
    !value.is_empty()
        && value.iter().all(|b| {
            b.is_ascii_alphanumeric()
                || matches!(
                    b,
                    b'-' | b'.'
                        | b'_'
                        | b'~'
                        | b':'
                        | b'['
                        | b']'
                        | b'%'
                        | b'!'
                        | b'$'
                        | b'&'
                        | b'\''
                        | b'('
                        | b')'
                        | b'*'
                        | b'+'
                        | b';'
                        | b'='
                )
        })
}

#[cfg(test)]
mod tests;
