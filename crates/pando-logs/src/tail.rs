//! The last lines of apps, read backwards from the newest file to the oldest.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

use memchr::memrchr;

use crate::cursor::{Cursor, Follow};
use crate::line::{Line, MAX_LINE_BYTES, MAX_PREFIX_BYTES, parse};
use crate::query::{Filter, MAX_TAIL_BYTES, Query};
use crate::segment::{Content, Segment, Unpacked, newest_first};

const BLOCK_BYTES: usize = 64 * 1024;
/// The longest line of a file with its newline; a longer one is no pump's and read in parts.
pub const MAX_FILE_LINE_BYTES: usize = MAX_PREFIX_BYTES + MAX_LINE_BYTES + 1;

/// The last `query.lines` lines that match, oldest first, over all the query's apps by time; and
/// a cursor that goes on from there. An app without files has no lines yet.
///
/// # Errors
/// An invalid app name, or a file or directory that cannot be read. A damaged compressed file
/// gives what can be read of it.
pub fn tail(query: &Query) -> io::Result<(Vec<Line>, Cursor)> {
    query.check()?;
    let filter = query.filter();
    let limit = query.limit();
    let (mut lines, mut follows) = (Vec::new(), Vec::new());
    for (app, dir) in &query.apps {
        let (found, follow) = tail_app(app, dir, &filter, limit)?;
        lines.extend(found);
        follows.push(follow);
    }
    if query.apps.len() > 1 {
        lines.sort_by_key(|line: &Line| line.time_ms);
        lines.drain(..lines.len().saturating_sub(limit));
    }
    Ok((lines, Cursor::new(follows, filter)))
}

fn tail_app(
    app: &str,
    dir: &Path,
    filter: &Filter,
    limit: usize,
) -> io::Result<(Vec<Line>, Follow)> {
    // With nothing wanted but a place to follow from, the newest will do.
    let segments = newest_first(dir, app, |_| limit == 0)?;
    let mut wanted = Wanted {
        app,
        filter,
        limit,
        lines: Vec::new(),
        bytes: 0,
        neighbour_ms: 0,
    };
    let mut place = None;
    for segment in segments {
        let newest = place.is_none();
        let end = match &segment.content {
            Content::Plain(file) => whole_lines_end(file)?,
            Content::Packed(_) | Content::Spent => 0,
        };
        if let Some(modified_ms) = segment.modified_ms() {
            wanted.neighbour_ms = modified_ms;
            if filter
                .since_ms
                .is_some_and(|since_ms| modified_ms < since_ms)
                && !newest
            {
                break;
            }
        }
        let bookmark = if newest {
            Some(segment.bookmark()?)
        } else {
            None
        };
        let full = wanted.is_full() || wanted.read(segment, end)?;
        if let Some(bookmark) = bookmark {
            place = Some((bookmark, end));
        }
        if full {
            break;
        }
    }
    wanted.lines.reverse();
    Ok((wanted.lines, Follow::new(app, dir, place)))
}

/// Collects lines, newest first.
struct Wanted<'a> {
    app: &'a str,
    filter: &'a Filter,
    limit: usize,
    lines: Vec<Line>,
    bytes: usize,
    /// For lines without a time of their own.
    neighbour_ms: i64,
}

impl Wanted<'_> {
    fn is_full(&self) -> bool {
        self.lines.len() >= self.limit || self.bytes >= MAX_TAIL_BYTES
    }

    /// Whether no older line is wanted.
    fn read(&mut self, segment: Segment, end: u64) -> io::Result<bool> {
        match segment.content {
            Content::Plain(file) => self.read_plain(&file, end),
            Content::Packed(unpacked) => Ok(self.read_packed(*unpacked)),
            Content::Spent => Ok(false),
        }
    }

    fn read_plain(&mut self, file: &File, end: u64) -> io::Result<bool> {
        if end == 0 {
            return Ok(false);
        }
        // Between blocks: the end of the line whose beginning is still to be read.
        let mut carry: Vec<u8> = Vec::new();
        let mut at = end - 1;
        loop {
            let have = usize::try_from(at).unwrap_or(usize::MAX).min(BLOCK_BYTES);
            at -= have as u64;
            let mut data = vec![0; have];
            file.read_exact_at(&mut data, at)?;
            data.append(&mut carry);
            let mut stop = data.len();
            let mut past = false;
            while let Some(newline) = memrchr(b'\n', &data[..stop]) {
                past |= self.add(&data[newline + 1..stop]);
                stop = newline;
                if self.is_full() {
                    return Ok(true);
                }
            }
            data.truncate(stop);
            if at == 0 || data.len() > MAX_FILE_LINE_BYTES {
                past |= self.add(&data);
                data.clear();
            }
            // To the block's end even so: a clock set back may have put a later line before.
            if past || at == 0 || self.is_full() {
                return Ok(past || self.is_full());
            }
            carry = data;
        }
    }

    /// Adds a line if it matches; whether it is older than anything wanted.
    fn add(&mut self, bytes: &[u8]) -> bool {
        let line = parse(self.app, bytes, self.neighbour_ms);
        self.neighbour_ms = line.time_ms;
        let past = self
            .filter
            .since_ms
            .is_some_and(|since_ms| line.time_ms < since_ms);
        if self.filter.accepts(&line) {
            self.bytes += line.text.len();
            self.lines.push(line);
        }
        past
    }

    /// A compressed file can only be read forwards.
    fn read_packed(&mut self, unpacked: Unpacked) -> bool {
        let mut reader = BufReader::new(unpacked);
        let mut kept: VecDeque<Line> = VecDeque::new();
        let (mut kept_bytes, mut first_ms) = (0, None);
        let (limit, room) = (self.limit - self.lines.len(), MAX_TAIL_BYTES - self.bytes);
        let mut bytes = Vec::new();
        while read_line(&mut reader, &mut bytes) {
            let line = parse(self.app, &bytes, self.neighbour_ms);
            first_ms.get_or_insert(line.time_ms);
            if !self.filter.accepts(&line) {
                continue;
            }
            kept_bytes += line.text.len();
            kept.push_back(line);
            while kept.len() > limit || (kept_bytes > room && kept.len() > 1) {
                kept_bytes -= kept.pop_front().map_or(0, |line| line.text.len());
            }
        }
        self.bytes += kept_bytes;
        self.lines.extend(kept.into_iter().rev());
        let past = self
            .filter
            .since_ms
            .is_some_and(|t| first_ms.is_some_and(|first| first < t));
        past || self.is_full()
    }
}

/// The next line without its newline; `false` at the end and where the file is damaged.
fn read_line(reader: &mut impl BufRead, bytes: &mut Vec<u8>) -> bool {
    bytes.clear();
    let read = reader
        .take(MAX_FILE_LINE_BYTES as u64)
        .read_until(b'\n', bytes);
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
        return true;
    }
    read.is_ok() && !bytes.is_empty()
}

/// Where the last whole line ends: what is after it is just being written.
fn whole_lines_end(file: &File) -> io::Result<u64> {
    let mut end = file.metadata()?.len();
    let mut block = vec![0; BLOCK_BYTES];
    while end > 0 {
        let have = usize::try_from(end).unwrap_or(usize::MAX).min(BLOCK_BYTES);
        let from = end - have as u64;
        file.read_exact_at(&mut block[..have], from)?;
        if let Some(newline) = memrchr(b'\n', &block[..have]) {
            return Ok(from + newline as u64 + 1);
        }
        end = from;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn lines(from: usize, to: usize) -> String {
        (from..to)
            .map(|n| format!("2026-11-21T03:44:00.{n:03}Z 0 out line {n}\n"))
            .collect()
    }

    fn query(dir: &Path, lines: usize) -> Query {
        Query {
            apps: vec![("a".into(), dir.into())],
            lines,
            ..Query::default()
        }
    }

    fn texts(query: &Query) -> Vec<String> {
        let (lines, _) = tail(query).unwrap();
        lines
            .into_iter()
            .map(|line| String::from_utf8(line.text).unwrap())
            .collect()
    }

    fn expect(from: usize, to: usize) -> Vec<String> {
        (from..to).map(|n| format!("line {n}")).collect()
    }

    #[test]
    fn backwards_through_plain_and_compressed_files() {
        let dir = tempfile::tempdir().unwrap();
        let packed = File::create(dir.path().join("a.log.2.gz")).unwrap();
        let mut packer = flate2::write::GzEncoder::new(packed, flate2::Compression::fast());
        packer.write_all(lines(0, 100).as_bytes()).unwrap();
        packer.finish().unwrap();
        std::fs::write(dir.path().join("a.log.1"), lines(100, 200)).unwrap();
        std::fs::write(dir.path().join("a.log"), lines(200, 300) + "half a li").unwrap();
        for n in [0, 1, 99, 100, 101, 200, 201, 299, 300] {
            assert_eq!(texts(&query(dir.path(), n)), expect(300 - n, 300), "{n}");
        }
        assert_eq!(texts(&query(dir.path(), 1_000)), expect(0, 300));
        let at = |n: i64| Some(crate::stamp::parse(b"2026-11-21T03:44:00.000Z").unwrap() + n);
        for (since, until) in [(0, 300), (50, 60), (99, 101), (150, 250), (299, 400)] {
            let query = Query {
                since_ms: at(since),
                until_ms: at(until - 1),
                ..query(dir.path(), 0)
            };
            let (since, until) = (since as usize, until.min(300) as usize);
            assert_eq!(texts(&query), expect(since, until), "{since}..{until}");
        }
        let query = Query {
            until_ms: at(149),
            ..query(dir.path(), 60)
        };
        assert_eq!(texts(&query), expect(90, 150));
    }

    #[test]
    fn apps_are_merged_by_time_and_filtered() {
        let dir = tempfile::tempdir().unwrap();
        let line = |ms: u32, rest: &str| format!("2026-11-21T03:44:00.{ms:03}Z {rest}\n");
        std::fs::write(
            dir.path().join("a.log"),
            line(1, "0 out a1") + &line(3, "1 err a3"),
        )
        .unwrap();
        std::fs::write(
            dir.path().join("b.log"),
            line(2, "1 out b2") + &line(4, "0 out b4"),
        )
        .unwrap();
        let both = |lines| Query {
            apps: ["a", "b", "none"]
                .map(|app| (app.into(), dir.path().into()))
                .into(),
            lines,
            ..Query::default()
        };
        assert_eq!(texts(&both(9)), ["a1", "b2", "a3", "b4"]);
        assert_eq!(texts(&both(2)), ["a3", "b4"]);
        assert_eq!(
            texts(&Query {
                worker: Some(1),
                ..both(9)
            }),
            ["b2", "a3"]
        );
        assert_eq!(
            texts(&Query {
                stream: Some(crate::Stream::Err),
                ..both(9)
            }),
            ["a3"]
        );
        let bad = Query {
            apps: vec![("../a".into(), dir.path().into())],
            ..both(1)
        };
        let error = tail(&bad).err().expect("the name is refused");
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn long_lines_and_foreign_lines() {
        let dir = tempfile::tempdir().unwrap();
        let long = "x".repeat(MAX_LINE_BYTES);
        let text = format!(
            "2026-11-21T03:44:00.001Z 0 out+ {long}\nedited by hand\n\n{}",
            lines(5, 6)
        );
        std::fs::write(dir.path().join("a.log"), text).unwrap();
        let (found, _) = tail(&query(dir.path(), 9)).unwrap();
        assert_eq!(found.len(), 4);
        assert!(found[0].continues && found[0].text == long.as_bytes());
        assert_eq!(found[1].text, b"edited by hand");
        assert!(found[2].text.is_empty());
    }
}
