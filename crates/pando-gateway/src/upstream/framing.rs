//! Where an answer's body ends (RFC 9112 section 6.3), and chunked coding (section 7.1), read
//! strictly: what has two meanings is an error.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use memchr::memchr;

use crate::trailers;

const MAX_CHUNK_LINE: usize = 4096;
const MAX_TRAILERS: usize = 64;

#[derive(Debug)]
pub enum Framing {
    /// Nothing more.
    Done,
    Length(u64),
    Chunked(Chunked),
    UntilClose,
}

#[derive(Debug, Default)]
pub struct Chunked {
    state: ChunkState,
    trailers: HeaderMap,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum ChunkState {
    #[default]
    Size,
    Data(u64),
    End,
    Trailers,
}

/// What a body's next bytes are.
#[derive(Debug)]
pub enum Piece {
    Data(Bytes),
    Trailers(HeaderMap),
    /// More must be read first.
    Need,
    /// The body has ended.
    End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadFraming {
    #[error("two lengths, or one that is no number")]
    Length,
    #[error("a length and a transfer coding")]
    LengthAndEncoding,
    #[error("a transfer coding that is not chunked")]
    Encoding,
    #[error("a chunk that is not well formed")]
    Chunk,
    #[error("the connection ended within the body")]
    Short,
}

impl Framing {
    /// Of an answer to a request that was a HEAD or not.
    pub fn of(status: StatusCode, headers: &HeaderMap, head: bool) -> Result<Self, BadFraming> {
        let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
        let length = match (lengths.next(), lengths.next()) {
            (None, _) => None,
            (Some(value), None) => {
                Some(content_length(value.as_bytes()).ok_or(BadFraming::Length)?)
            }
            (Some(_), Some(_)) => return Err(BadFraming::Length),
        };
        let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
        let chunked = match (codings.next(), codings.next()) {
            (None, _) => false,
            (Some(value), None) if value.as_bytes().eq_ignore_ascii_case(b"chunked") => true,
            (Some(_), _) => return Err(BadFraming::Encoding),
        };
        if chunked && length.is_some() {
            return Err(BadFraming::LengthAndEncoding);
        }
        let bodiless = head
            || status.is_informational()
            || status == StatusCode::NO_CONTENT
            || status == StatusCode::NOT_MODIFIED;
        Ok(match (bodiless, chunked, length) {
            (true, _, _) | (_, _, Some(0)) => Self::Done,
            (_, true, _) => Self::Chunked(Chunked::default()),
            (_, _, Some(length)) => Self::Length(length),
            (_, _, None) => Self::UntilClose,
        })
    }

    /// Takes what it can from `read`.
    pub fn piece(&mut self, read: &mut BytesMut) -> Result<Piece, BadFraming> {
        match self {
            Self::Done => Ok(Piece::End),
            Self::UntilClose if read.is_empty() => Ok(Piece::Need),
            Self::UntilClose => Ok(Piece::Data(read.split().freeze())),
            Self::Length(_) if read.is_empty() => Ok(Piece::Need),
            Self::Length(left) => {
                let data = take(read, left);
                if *left == 0 {
                    *self = Self::Done;
                }
                Ok(Piece::Data(data))
            }
            Self::Chunked(chunked) => {
                let piece = chunked.piece(read)?;
                if let Piece::End | Piece::Trailers(_) = piece {
                    *self = Self::Done;
                }
                Ok(piece)
            }
        }
    }

    /// The upstream has closed: an end, or a loss.
    pub fn closed(&mut self) -> Result<(), BadFraming> {
        match self {
            Self::Done => Ok(()),
            Self::UntilClose => {
                *self = Self::Done;
                Ok(())
            }
            Self::Length(_) | Self::Chunked(_) => Err(BadFraming::Short),
        }
    }

    pub fn is_done(&self) -> bool {
        matches!(self, Self::Done)
    }

    /// Bytes that are still to come, where that is known.
    pub fn remaining(&self) -> Option<u64> {
        match self {
            Self::Done => Some(0),
            Self::Length(left) => Some(*left),
            Self::Chunked(_) | Self::UntilClose => None,
        }
    }
}

fn take(read: &mut BytesMut, left: &mut u64) -> Bytes {
    let n = usize::try_from(*left).unwrap_or(usize::MAX).min(read.len());
    *left -= n as u64;
    read.split_to(n).freeze()
}

/// Digits alone, and no more of them than a length has (RFC 9112 section 6.2).
pub fn content_length(value: &[u8]) -> Option<u64> {
    if value.is_empty() || value.len() > 18 || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(value.iter().fold(0, |n, b| n * 10 + u64::from(b - b'0')))
}

impl Chunked {
    fn piece(&mut self, read: &mut BytesMut) -> Result<Piece, BadFraming> {
        loop {
            match &mut self.state {
                ChunkState::Size => {
                    let Some(line) = line(read)? else {
                        return Ok(Piece::Need);
                    };
                    self.state = match size(&line)? {
                        0 => ChunkState::Trailers,
                        size => ChunkState::Data(size),
                    };
                }
                ChunkState::Data(_) if read.is_empty() => return Ok(Piece::Need),
                ChunkState::Data(left) => {
                    let data = take(read, left);
                    if *left == 0 {
                        self.state = ChunkState::End;
                    }
                    return Ok(Piece::Data(data));
                }
                ChunkState::End => match line(read)? {
                    None => return Ok(Piece::Need),
                    Some(line) if line.is_empty() => self.state = ChunkState::Size,
                    Some(_) => return Err(BadFraming::Chunk),
                },
                ChunkState::Trailers => match line(read)? {
                    None => return Ok(Piece::Need),
                    Some(line) if line.is_empty() && self.trailers.is_empty() => {
                        return Ok(Piece::End);
                    }
                    Some(line) if line.is_empty() => {
                        return Ok(Piece::Trailers(std::mem::take(&mut self.trailers)));
                    }
                    Some(line) => self.trailer(&line)?,
                },
            }
        }
    }

    fn trailer(&mut self, line: &[u8]) -> Result<(), BadFraming> {
        let colon = memchr(b':', line).ok_or(BadFraming::Chunk)?;
        let name = HeaderName::from_bytes(&line[..colon]).map_err(|_| BadFraming::Chunk)?;
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
        let value = value.map_err(|_| BadFraming::Chunk)?;
        if self.trailers.len() >= MAX_TRAILERS {
            return Err(BadFraming::Chunk);
        }
        if trailers::is_allowed(&name) {
            self.trailers.append(name, value);
        }
        Ok(())
    }
}

/// A line without its CRLF.
fn line(read: &mut BytesMut) -> Result<Option<Bytes>, BadFraming> {
    match memchr(b'\n', read) {
        Some(at) if at > 0 && at <= MAX_CHUNK_LINE && read[at - 1] == b'\r' => {
            let mut line = read.split_to(at + 1);
            line.truncate(at - 1);
            Ok(Some(line.freeze()))
        }
        Some(_) => Err(BadFraming::Chunk),
        None if read.len() > MAX_CHUNK_LINE => Err(BadFraming::Chunk),
        None => Ok(None),
    }
}

fn size(line: &[u8]) -> Result<u64, BadFraming> {
    let end = memchr(b';', line).unwrap_or(line.len());
    let digits = line[..end].trim_ascii_end();
    if digits.is_empty() || digits.len() > 15 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return Err(BadFraming::Chunk);
    }
    let text = std::str::from_utf8(digits).map_err(|_| BadFraming::Chunk)?;
    u64::from_str_radix(text, 16).map_err(|_| BadFraming::Chunk)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            map.append(name, HeaderValue::from_str(value).unwrap());
        }
        map
    }

    #[test]
    fn an_answer_has_one_end_or_is_refused() {
        let of = |pairs: &[(&str, &str)]| Framing::of(StatusCode::OK, &headers(pairs), false);
        assert!(matches!(of(&[]), Ok(Framing::UntilClose)));
        assert!(matches!(
            of(&[("content-length", "3")]),
            Ok(Framing::Length(3))
        ));
        let chunked = ("transfer-encoding", "chunked");
        assert!(matches!(of(&[chunked]), Ok(Framing::Chunked(_))));
        let length = ("content-length", "3");
        assert_eq!(of(&[length, length]).unwrap_err(), BadFraming::Length);
        assert_eq!(
            of(&[length, chunked]).unwrap_err(),
            BadFraming::LengthAndEncoding
        );
        assert_eq!(
            of(&[("transfer-encoding", "gzip")]).unwrap_err(),
            BadFraming::Encoding
        );
        let head = Framing::of(StatusCode::OK, &headers(&[length]), true);
        assert!(matches!(head, Ok(Framing::Done)));
    }

    fn unchunk(text: &str, step: usize) -> Result<(Vec<u8>, HeaderMap), BadFraming> {
        let (mut read, mut body, mut trailers) = (BytesMut::new(), Vec::new(), HeaderMap::new());
        let mut framing = Framing::Chunked(Chunked::default());
        let mut rest = text.as_bytes();
        loop {
            match framing.piece(&mut read)? {
                Piece::Data(data) => body.extend_from_slice(&data),
                Piece::Trailers(map) => trailers = map,
                Piece::End => return Ok((body, trailers)),
                Piece::Need if rest.is_empty() => return Err(BadFraming::Short),
                Piece::Need => {
                    let n = step.min(rest.len());
                    read.extend_from_slice(&rest[..n]);
                    rest = &rest[n..];
                }
            }
        }
    }

    #[test]
    fn chunks_are_put_together_however_they_come() {
        for step in [1, 2, 3, 7, 100] {
            let text = "3;a=b\r\nabc\r\n2\r\nde\r\n0\r\nx-sum: 5\r\n\r\n";
            let (body, trailers) = unchunk(text, step).unwrap();
            assert_eq!(
                (&*body, trailers["x-sum"].as_bytes()),
                (&b"abcde"[..], &b"5"[..])
            );
            for bad in [
                "0x3\r\nabc\r\n",
                "3\nabc",
                "3\r\nabcd\r\n",
                "\r\n",
                "-1\r\n",
                "3\r\nabc\r\n0\r\nx\r\n\r\n",
            ] {
                assert!(unchunk(bad, step).is_err(), "{bad:?}");
            }
        }
    }
}
