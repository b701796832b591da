//! The text of a file and the places in it.

use std::path::Path;

pub(crate) struct Source<'a> {
    pub path: &'a Path,
    pub text: &'a str,
    /// The byte at which each line begins.
    starts: Vec<usize>,
}

impl<'a> Source<'a> {
    pub fn new(path: &'a Path, text: &'a str) -> Self {
        let after_newlines = text
            .bytes()
            .enumerate()
            .filter(|(_, b)| *b == b'\n')
            .map(|(i, _)| i + 1);
        let starts = std::iter::once(0).chain(after_newlines).collect();
        Self { path, text, starts }
    }

    /// Line and column of a byte, 1-based, the column in characters.
    pub fn position(&self, byte: usize) -> (usize, usize) {
        let byte = byte.min(self.text.len());
        let line = self.starts.partition_point(|start| *start <= byte);
        let start = self.starts[line - 1];
        let before = &self.text.as_bytes()[start..byte];
        // Counts characters without slicing inside one: continuation bytes are 10xxxxxx.
        let chars = before.iter().filter(|b| **b & 0xC0 != 0x80).count();
        (line, chars + 1)
    }

    /// The text of a 1-based line, without its end.
    pub fn line(&self, line: usize) -> &'a str {
        let start = self.starts[line - 1];
        let end = self
            .starts
            .get(line)
            .map_or(self.text.len(), |next| next - 1);
        self.text[start..end].trim_end_matches('\r')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_in_characters() {
        let source = Source::new(Path::new("x"), "a\r\nüb = 1\n");
        assert_eq!(source.position(0), (1, 1));
        assert_eq!(source.position(3), (2, 1));
        assert_eq!(source.position(5), (2, 2));
        assert_eq!(source.line(1), "a");
        assert_eq!(source.line(2), "üb = 1");
        assert_eq!(source.position(999), (3, 1));
        assert_eq!(source.line(3), "");
    }
}
