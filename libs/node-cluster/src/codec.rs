//! Cuts a channel's bytes into lines, in bounded memory whatever the other side sends.

use memchr::memchr;

/// The longest line that is kept, its newline not counted. A longer one is counted and thrown
/// away as it comes.
pub const MAX_LINE_BYTES: usize = 1024 * 1024;

/// A buffer that grew above this is given back once it is empty.
const KEEP_CAPACITY_BYTES: usize = 64 * 1024;

/// One line of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framed<'a> {
    /// Without its newline.
    Line(&'a [u8]),
    /// A line of more than [`MAX_LINE_BYTES`] (or [`Lines::with_max`]) ended here; `bytes` long without its newline.
    Oversized {
        /// Length of the line that was thrown away.
        bytes: u64,
    },
}

/// The framing of one direction of a channel: `\n` after every message.
///
/// ```
/// use node_cluster::{Framed, Lines};
/// let mut lines = Lines::new();
/// lines.push(b"\"one\"\n\"tw");
/// assert_eq!(lines.next_line(), Some(Framed::Line(b"\"one\"")));
/// assert_eq!(lines.next_line(), None);
/// lines.push(b"o\"\n");
/// assert_eq!(lines.next_line(), Some(Framed::Line(b"\"two\"")));
/// ```
#[derive(Debug)]
pub struct Lines {
    /// The longest line that is kept.
    max: usize,
    buffer: Vec<u8>,
    /// Where the next line begins in `buffer`; all before it was given out.
    start: usize,
    /// Up to where `buffer` is known to hold no newline, at least `start`.
    scanned: usize,
    /// Bytes of the line that is being thrown away.
    discarding: Option<u64>,
}

impl Default for Lines {
    fn default() -> Self {
        Self::with_max(MAX_LINE_BYTES)
    }
}

impl Lines {
    /// At the beginning of a line; lines of up to [`MAX_LINE_BYTES`] are kept.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same with another bound, in bytes without the newline.
    pub fn with_max(max: usize) -> Self {
        Self {
            max,
            buffer: Vec::new(),
            start: 0,
            scanned: 0,
            discarding: None,
        }
    }

    /// Adds what was read. Take every line with [`next_line`](Self::next_line) before the next
    /// push: memory is bounded by the longest line plus one push.
    pub fn push(&mut self, bytes: &[u8]) {
        self.compact();
        let rest = self.count_discarded(bytes);
        self.buffer.extend_from_slice(rest);
    }

    /// The next whole line, or `None` until more is pushed.
    pub fn next_line(&mut self) -> Option<Framed<'_>> {
        let Some(at) = memchr(b'\n', &self.buffer[self.scanned..]).map(|n| self.scanned + n) else {
            self.scanned = self.buffer.len();
            self.discard_if_long();
            return None;
        };
        let start = self.start;
        self.start = at + 1;
        self.scanned = at + 1;
        let kept = at - start;
        if let Some(gone) = self.discarding.take() {
            return Some(Framed::Oversized {
                bytes: gone + kept as u64,
            });
        }
        if kept > self.max {
            return Some(Framed::Oversized { bytes: kept as u64 });
        }
        Some(Framed::Line(&self.buffer[start..at]))
    }

    /// Bytes of an unfinished line (kept or thrown away) that wait for their newline.
    pub fn unfinished(&self) -> u64 {
        self.discarding.unwrap_or(0) + (self.buffer.len() - self.start) as u64
    }

    /// The part of `bytes` that must be kept: all but the middle of a line that is thrown away.
    fn count_discarded<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let Some(gone) = self.discarding.as_mut() else {
            return bytes;
        };
        if !self.buffer.is_empty() {
            return bytes; // the end of the line is in the buffer already
        }
        let line_end = memchr(b'\n', bytes).unwrap_or(bytes.len());
        *gone += line_end as u64;
        &bytes[line_end..]
    }

    fn discard_if_long(&mut self) {
        let unfinished = self.buffer.len() - self.start;
        if unfinished > self.max || (self.discarding.is_some() && unfinished > 0) {
            *self.discarding.get_or_insert(0) += unfinished as u64;
            self.start = self.buffer.len();
        }
    }

    fn compact(&mut self) {
        self.buffer.drain(..self.start);
        self.scanned -= self.start;
        self.start = 0;
        if self.buffer.is_empty() && self.buffer.capacity() > KEEP_CAPACITY_BYTES {
            self.buffer = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, PartialEq)]
    enum Owned {
        Line(Vec<u8>),
        Oversized(u64),
    }

    fn framed(chunks: &[&[u8]]) -> Vec<Owned> {
        let mut lines = Lines::new();
        let mut out = Vec::new();
        for chunk in chunks {
            lines.push(chunk);
            while let Some(line) = lines.next_line() {
                out.push(match line {
                    Framed::Line(line) => Owned::Line(line.to_vec()),
                    Framed::Oversized { bytes } => Owned::Oversized(bytes),
                });
            }
        }
        out
    }

    fn naive(stream: &[u8]) -> Vec<Owned> {
        let mut lines: Vec<_> = stream.split(|b| *b == b'\n').collect();
        lines.pop();
        lines
            .into_iter()
            .map(|line| match line.len() > MAX_LINE_BYTES {
                true => Owned::Oversized(line.len() as u64),
                false => Owned::Line(line.to_vec()),
            })
            .collect()
    }

    #[test]
    fn the_bound_is_exact() {
        for (length, oversized) in [(MAX_LINE_BYTES, false), (MAX_LINE_BYTES + 1, true)] {
            let mut stream = vec![b'x'; length];
            stream.extend_from_slice(b"\nnext\n");
            for chunk in [1000, 65536, usize::MAX] {
                let chunks: Vec<_> = stream.chunks(chunk.min(stream.len())).collect();
                let out = framed(&chunks);
                assert_eq!(out[0] == Owned::Oversized(length as u64), oversized);
                assert_eq!(out[1], Owned::Line(b"next".to_vec()));
            }
        }
    }

    #[test]
    fn a_line_of_100_mb_takes_constant_memory() {
        let mut lines = Lines::new();
        let chunk = vec![b'x'; 65536];
        for _ in 0..1600 {
            lines.push(&chunk);
            assert_eq!(lines.next_line(), None);
            assert!(lines.buffer.capacity() <= 3 * MAX_LINE_BYTES);
        }
        lines.push(b"\nafter\n");
        assert_eq!(
            lines.next_line(),
            Some(Framed::Oversized {
                bytes: 1600 * 65536
            })
        );
        assert_eq!(lines.next_line(), Some(Framed::Line(b"after")));
    }

    #[test]
    fn the_bound_can_be_another() {
        let mut lines = Lines::with_max(3);
        lines.push(b"abc\nabcd\nx\n");
        assert_eq!(lines.next_line(), Some(Framed::Line(b"abc")));
        assert_eq!(lines.next_line(), Some(Framed::Oversized { bytes: 4 }));
        assert_eq!(lines.next_line(), Some(Framed::Line(b"x")));
    }

    proptest! {
        /// Lengths around the bound, cut anywhere, frame as the whole stream split at once does.
        #[test]
        fn cuts_do_not_matter(
            lengths in prop::collection::vec(
                prop_oneof![0_usize..40, MAX_LINE_BYTES - 2..MAX_LINE_BYTES + 3], 0..5),
            cuts in prop::collection::vec(0_usize..4 * MAX_LINE_BYTES, 0..12),
        ) {
            let mut stream = Vec::new();
            for (i, length) in lengths.iter().enumerate() {
                stream.resize(stream.len() + length, b'a' + i as u8);
                stream.push(b'\n');
            }
            let mut cuts: Vec<_> = cuts.into_iter().filter(|c| *c <= stream.len()).collect();
            cuts.extend([0, stream.len()]);
            cuts.sort_unstable();
            let chunks: Vec<_> = cuts.windows(2).map(|w| &stream[w[0]..w[1]]).collect();
            prop_assert_eq!(framed(&chunks), naive(&stream));
        }

        /// Small alphabets find the corner cases of empty lines and chunks.
        #[test]
        fn short_streams(chunks in prop::collection::vec(
            prop::collection::vec(prop_oneof![Just(b'\n'), Just(b'x')], 0..6), 0..12))
        {
            let slices: Vec<_> = chunks.iter().map(Vec::as_slice).collect();
            prop_assert_eq!(framed(&slices), naive(&chunks.concat()));
        }
    }
}
