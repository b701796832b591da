//! The last lines of each source, for "why did it die" messages.

use std::collections::{HashMap, VecDeque};

use memchr::{memchr, memrchr_iter};

use crate::label::SourceId;

/// Lines kept of each source.
pub const MAX_LINES: usize = 40;
/// Bytes kept of each source.
const MAX_BYTES: usize = 16 * 1024;
/// Sources that are gone and still remembered.
const MAX_FINISHED: usize = 64;

#[derive(Default)]
pub struct Recent {
    tails: HashMap<SourceId, Vec<u8>>,
    finished: VecDeque<SourceId>,
}

impl Recent {
    /// Adds raw output, whole lines but for the last.
    pub fn push(&mut self, source: SourceId, raw: &[u8]) {
        let tail = self.tails.entry(source).or_default();
        let fresh = last_lines(raw);
        if fresh.len() < raw.len() {
            tail.clear();
        }
        tail.extend_from_slice(fresh);
        let surplus = tail.len() - last_lines(tail).len();
        tail.drain(..surplus);
    }

    pub fn finish(&mut self, source: SourceId) {
        self.finished.push_back(source);
        if self.finished.len() > MAX_FINISHED
            && let Some(oldest) = self.finished.pop_front()
        {
            self.tails.remove(&oldest);
        }
    }

    pub fn lines(&self, source: SourceId) -> Vec<String> {
        let Some(tail) = self.tails.get(&source) else {
            return Vec::new();
        };
        let tail = tail.strip_suffix(b"\n").unwrap_or(tail);
        if tail.is_empty() {
            return Vec::new();
        }
        tail.split(|b| *b == b'\n')
            .map(|l| String::from_utf8_lossy(l).into_owned())
            .collect()
    }
}

/// The end of `raw` that is at most [`MAX_LINES`] lines and [`MAX_BYTES`] bytes.
fn last_lines(raw: &[u8]) -> &[u8] {
    let mut raw = raw;
    if raw.len() > MAX_BYTES {
        raw = &raw[raw.len() - MAX_BYTES..];
        // Whole lines, unless there is only one.
        if let Some(newline) = memchr(b'\n', &raw[..raw.len() - 1]) {
            raw = &raw[newline + 1..];
        }
    }
    let body = raw.strip_suffix(b"\n").unwrap_or(raw);
    match memrchr_iter(b'\n', body).nth(MAX_LINES - 1) {
        Some(newline) => &raw[newline + 1..],
        None => raw,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: SourceId = SourceId(1);

    #[test]
    fn the_last_lines_over_many_batches() {
        let mut recent = Recent::default();
        for n in 0..100 {
            recent.push(S, format!("line {n}\n").as_bytes());
        }
        recent.push(S, b"no newline");
        let lines = recent.lines(S);
        assert_eq!(lines.len(), MAX_LINES);
        assert_eq!(lines[0], "line 61");
        assert_eq!(lines[39], "no newline");
    }

    #[test]
    fn one_large_batch_and_one_large_line() {
        let mut recent = Recent::default();
        let batch: String = (0..10_000).map(|n| format!("{n}\n")).collect();
        recent.push(S, batch.as_bytes());
        assert_eq!(recent.lines(S).first().map(String::as_str), Some("9960"));
        recent.push(S, &vec![b'x'; 300 * 1024]);
        assert_eq!(recent.lines(S), ["x".repeat(MAX_BYTES)]);
    }

    #[test]
    fn the_finished_are_remembered_for_a_while() {
        let mut recent = Recent::default();
        for n in 0..=MAX_FINISHED as u64 {
            recent.push(SourceId(n), b"dying\n");
            recent.finish(SourceId(n));
        }
        assert!(recent.lines(SourceId(0)).is_empty());
        assert_eq!(recent.lines(SourceId(1)), ["dying"]);
    }
}
