//! The frames of an HTTP/2 client, followed for what the crate `h2` does not do by itself.
//!
//! `h2` drops pseudo-header fields of trailers, where RFC 9113 section 8.1 has the request refused.
//! It does refuse such a field that stands behind an ordinary one. So each block of trailers gets an
//! ordinary field, the mark, put before its first field, and `trailers::clean` takes it out again.
//! No field is decoded here, and the compression's state is not touched: the mark is a literal that
//! enters no table.
//!
//! ```text
//!   HEADERS [padding, priority, table sizes, fields]
//!     -> HEADERS [priority, table sizes, mark]  CONTINUATION [fields]
//! ```
//!
//! Trailers are the second HEADERS of a stream whose body has not ended. HEADERS of any other stream
//! go on as they are: what is wrong with them `h2` says. Pure: bytes in, bytes out.

use bytes::{BufMut, Bytes, BytesMut};

use super::guard::Phase;

/// The name of the mark.
pub const MARK: &str = "-";
/// A literal field without indexing, its name and an empty value (RFC 7541 section 6.2.2).
const MARK_FIELD: &[u8] = b"\0\x01-\0";
/// `PRI * HTTP/2.0`, and so on (RFC 9113 section 3.4).
const PREFACE_BYTES: usize = 24;
const HEAD_BYTES: usize = 9;
/// `h2` takes no longer frame, and refuses those that are.
const MAX_PAYLOAD: usize = 16 * 1024;

/// Bodies under way that are followed. More streams are not open at a time, but for those that were
/// reset from here and that the client goes on with: the oldest are forgotten.
const MAX_BODIES: usize = 1024;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;
const PRIORITY_BYTES: usize = 5;

/// A frame's head.
#[derive(Clone, Copy)]
struct Head {
    length: usize,
    kind: u8,
    flags: u8,
    stream: u32,
}

impl Head {
    fn of(bytes: &[u8]) -> Option<Self> {
        let head: &[u8; HEAD_BYTES] = bytes.first_chunk()?;
        let &[l1, l2, l3, kind, flags, s1, s2, s3, s4] = head;
        Some(Self {
            length: u32::from_be_bytes([0, l1, l2, l3]) as usize,
            kind,
            flags,
            stream: u32::from_be_bytes([s1, s2, s3, s4]) & !(1 << 31),
        })
    }

    fn put(&self, out: &mut BytesMut) {
        out.put_uint(self.length as u64, 3);
        out.put_u8(self.kind);
        out.put_u8(self.flags);
        out.put_u32(self.stream);
    }
}

/// Of one connection.
#[derive(Debug)]
pub struct Frames {
    /// Of the present frame.
    left: usize,
    /// The present frame, or one before it, has part of a block of header fields.
    in_block: bool,
    /// A block goes on in the next frame.
    unfinished: bool,
    /// The highest stream that was opened; 0 before the first.
    last: u32,
    /// Streams whose body has not ended.
    bodies: Vec<u32>,
}

impl Default for Frames {
    fn default() -> Self {
        Self {
            left: PREFACE_BYTES,
            in_block: false,
            unfinished: false,
            last: 0,
            bodies: Vec::new(),
        }
    }
}

impl Frames {
    /// How many of the next bytes may go on as they are. Those behind must be shown again: to
    /// `mark`, and if that takes none of them, once more have come.
    pub fn pass(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        loop {
            let now = self.left.min(bytes.len() - at);
            self.left -= now;
            at += now;
            if self.left > 0 {
                return at;
            }
            self.in_block = self.unfinished;
            let Some(head) = Head::of(&bytes[at..]) else {
                return at;
            };
            if self.is_trailers(head) && head.length <= MAX_PAYLOAD {
                return at;
            }
            self.begin(head);
            at += HEAD_BYTES;
        }
    }

    /// A whole frame of trailers with its mark, if `bytes` begins with one.
    pub fn mark(&mut self, bytes: &mut BytesMut) -> Option<BytesMut> {
        if self.left > 0 {
            return None;
        }
        let head = Head::of(bytes).filter(|head| self.is_trailers(*head))?;
        if head.length > MAX_PAYLOAD || bytes.len() < HEAD_BYTES + head.length {
            return None;
        }
        let frame = bytes.split_to(HEAD_BYTES + head.length).freeze();
        self.unfinished = head.flags & END_HEADERS == 0;
        self.in_block = self.unfinished;
        self.end_body(head.stream);
        // What cannot be marked is malformed in a way that `h2` finds.
        let marked = marked(head, frame.slice(HEAD_BYTES..));
        Some(marked.unwrap_or_else(|| frame.into()))
    }

    fn is_trailers(&self, head: Head) -> bool {
        head.kind == HEADERS && self.bodies.contains(&head.stream)
    }

    fn end_body(&mut self, stream: u32) {
        if let Some(at) = self.bodies.iter().position(|open| *open == stream) {
            self.bodies.remove(at);
        }
    }

    fn begin_body(&mut self, stream: u32) {
        if self.bodies.len() >= MAX_BODIES {
            self.bodies.remove(0);
        }
        self.bodies.push(stream);
    }

    fn begin(&mut self, head: Head) {
        self.left = head.length;
        let ends = head.flags & END_STREAM != 0;
        match head.kind {
            HEADERS if head.stream > self.last => {
                self.last = head.stream;
                if !ends {
                    self.begin_body(head.stream);
                }
            }
            HEADERS | CONTINUATION => {}
            DATA if !ends => return,
            DATA | RESET => return self.end_body(head.stream),
            _ => return,
        }
        self.in_block = true;
        self.unfinished = head.flags & END_HEADERS == 0;
    }

    /// Where a request stands, for the limits of time: a head that is here in part is waited for.
    pub fn phase(&self) -> Phase {
        if self.last == 0 || self.in_block {
            Phase::Head
        } else {
            Phase::Idle
        }
    }
}

/// `None` if the frame is not well formed.
fn marked(head: Head, mut payload: Bytes) -> Option<BytesMut> {
    if head.flags & PADDED != 0 {
        let padding = usize::from(*payload.first()?);
        let end = payload.len().checked_sub(padding)?;
        payload = (end >= 1).then(|| payload.slice(1..end))?;
    }
    let priority = if head.flags & PRIORITY != 0 {
        PRIORITY_BYTES
    } else {
        0
    };
    let sizes = table_sizes(payload.get(priority..)?)?;
    let fields = payload.split_off(priority + sizes);
    let mut out =
        BytesMut::with_capacity(2 * HEAD_BYTES + payload.len() + MARK_FIELD.len() + fields.len());
    let first = Head {
        length: payload.len() + MARK_FIELD.len(),
        flags: head.flags & !(PADDED | END_HEADERS),
        ..head
    };
    first.put(&mut out);
    out.put_slice(&payload);
    out.put_slice(MARK_FIELD);
    let second = Head {
        length: fields.len(),
        kind: CONTINUATION,
        flags: head.flags & END_HEADERS,
        ..head
    };
    second.put(&mut out);
    out.put_slice(&fields);
    Some(out)
}

/// The length of the changes of the table's size, which stand before any field (RFC 7541 section
/// 4.2). `None` if the last one has no end.
fn table_sizes(block: &[u8]) -> Option<usize> {
    let mut at = 0;
    while let Some(&first) = block.get(at) {
        if first >> 5 != 1 {
            break;
        }
        at += 1;
        // An integer with a prefix of five bits (section 5.1).
        if first & 0x1f == 0x1f {
            while block.get(at)? & 0x80 != 0 {
                at += 1;
            }
            at += 1;
        }
    }
    Some(at)
}

/// For the fuzzer: any bytes, whole and in two parts, come out as the same.
#[doc(hidden)]
pub fn fuzz_frames(cut: usize, data: &[u8]) {
    let run = |parts: &[&[u8]]| {
        let (mut frames, mut raw, mut out) = (Frames::default(), BytesMut::new(), BytesMut::new());
        for part in parts {
            raw.extend_from_slice(part);
            frames.take(&mut raw, &mut out);
        }
        (out, raw, frames.phase())
    };
    let whole = run(&[data]);
    let (first, second) = data.split_at(cut.min(data.len()));
    assert_eq!(run(&[first, second]), whole);
    assert!(whole.1.len() < HEAD_BYTES + MAX_PAYLOAD);
}

impl Frames {
    /// Moves what is ready from one buffer to the other.
    pub fn take(&mut self, raw: &mut BytesMut, out: &mut BytesMut) {
        loop {
            let n = self.pass(raw);
            out.unsplit(raw.split_to(n));
            match self.mark(raw) {
                Some(marked) => out.unsplit(marked),
                None => return,
            }
        }
    }
}

#[cfg(test)]
mod tests;
