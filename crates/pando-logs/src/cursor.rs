//! Following an app's files: all lines since a place, through any number of rotations.
//!
//! A cursor keeps the file that it reads open, so no rename, compression or deletion takes it
//! away. Once another file has its name it is read to its end, then looked up among the app's
//! files (which tells those that are newer), and they are opened all at once. Only files that were
//! deleted before the cursor came to them are missed.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use memchr::{memchr_iter, memrchr};

use crate::line::{Line, parse};
use crate::query::Filter;
use crate::segment::{Content, Segment, live_path, newest_first};
use crate::tail::MAX_FILE_LINE_BYTES;

const BLOCK_BYTES: usize = 64 * 1024;

/// Where a reader of several apps is.
pub struct Cursor {
    follows: Vec<Follow>,
    filter: Filter,
    /// Whose turn it is to be read first, so that a busy app does not starve the others.
    turn: usize,
}

impl Cursor {
    pub(crate) fn new(follows: Vec<Follow>, filter: Filter) -> Self {
        Self {
            follows,
            filter,
            turn: 0,
        }
    }

    /// Lines that came since, up to about `max_bytes` of them (one block of 64 KiB more at most);
    /// none if there are none now. Several apps' lines are in the order of their times within one
    /// read. Lines that do not match count as well, so a read may return few or none while there
    /// is more: [`Cursor::is_behind`] tells.
    pub fn read(&mut self, max_bytes: usize) -> io::Result<Vec<Line>> {
        let mut lines = Vec::new();
        let mut left = max_bytes.max(1);
        let count = self.follows.len();
        for step in 0..count {
            let at = (self.turn + step) % count;
            if left == 0 {
                self.turn = at;
                // Not asked: it may have something.
                for later in step..count {
                    self.follows[(self.turn + later - step) % count].behind = true;
                }
                break;
            }
            self.follows[at].read(&mut left, &mut lines)?;
        }
        lines.retain(|line| self.filter.accepts(line));
        if count > 1 {
            lines.sort_by_key(|line| line.time_ms);
        }
        Ok(lines)
    }

    /// Whether the last read stopped because it had enough.
    pub fn is_behind(&self) -> bool {
        self.follows.iter().any(|follow| follow.behind)
    }
}

struct Current {
    segment: Segment,
    /// Of a plain file: what is before was read.
    offset: u64,
    /// Of a compressed file: the beginning of the next line.
    carry: Vec<u8>,
    /// Nothing more is written to it.
    is_final: bool,
}

/// One app's part of a cursor.
pub struct Follow {
    app: String,
    dir: PathBuf,
    current: Option<Current>,
    /// Newer files, oldest first.
    pending: VecDeque<Segment>,
    last_ms: i64,
    block: Vec<u8>,
    behind: bool,
}

impl Follow {
    pub fn new(app: &str, dir: &Path, place: Option<(Segment, u64)>) -> Self {
        let current = place.map(|(segment, offset)| Current {
            // A compressed one as the newest: it was read, and its successor is not there yet.
            is_final: matches!(segment.content, Content::Spent),
            segment,
            offset,
            carry: Vec::new(),
        });
        Self {
            app: app.to_owned(),
            dir: dir.to_owned(),
            current,
            pending: VecDeque::new(),
            last_ms: 0,
            block: Vec::new(),
            behind: false,
        }
    }

    fn read(&mut self, left: &mut usize, lines: &mut Vec<Line>) -> io::Result<()> {
        self.behind = true;
        while *left > 0 {
            let bytes = self.read_block(lines)?;
            *left = left.saturating_sub(bytes);
            if bytes == 0 && !self.advance()? {
                self.behind = false;
                break;
            }
        }
        self.block = Vec::new();
        Ok(())
    }

    /// Reads some lines of the current file; the bytes they took, 0 if there is no whole one.
    fn read_block(&mut self, lines: &mut Vec<Line>) -> io::Result<usize> {
        let Some(current) = &mut self.current else {
            return Ok(0);
        };
        match &mut current.segment.content {
            Content::Plain(file) => {
                let size = file.metadata()?.len();
                if size == 0 {
                    // Emptied by hand. (Shorter than the place, but not empty: the pump undoes a
                    // write, and will write the same again.)
                    current.offset = 0;
                }
                self.block.resize(BLOCK_BYTES.max(self.block.len()), 0);
                let mut have = file.read_at(&mut self.block, current.offset)?;
                if have == BLOCK_BYTES && memrchr(b'\n', &self.block[..have]).is_none() {
                    self.block.resize(MAX_FILE_LINE_BYTES, 0);
                    have = file.read_at(&mut self.block, current.offset)?;
                }
                let end = match memrchr(b'\n', &self.block[..have]) {
                    Some(newline) => newline + 1,
                    None if current.is_final || have >= MAX_FILE_LINE_BYTES => have,
                    None => 0,
                };
                current.offset += end as u64;
                split(&self.app, &self.block[..end], &mut self.last_ms, lines);
                Ok(end)
            }
            Content::Packed(unpacked) => {
                let start = current.carry.len();
                current.carry.resize(start + BLOCK_BYTES, 0);
                // A damaged file ends where the damage is.
                let have = unpacked.read(&mut current.carry[start..]).unwrap_or(0);
                current.carry.truncate(start + have);
                let end = match memrchr(b'\n', &current.carry) {
                    Some(newline) => newline + 1,
                    None if have == 0 || start >= MAX_FILE_LINE_BYTES => current.carry.len(),
                    None => 0,
                };
                split(&self.app, &current.carry[..end], &mut self.last_ms, lines);
                current.carry.drain(..end);
                // Bytes of a line whose end is still to be unpacked count as progress.
                Ok(end.max(have))
            }
            Content::Spent => Ok(0),
        }
    }

    /// Goes on to the next file; whether there may be something to read.
    fn advance(&mut self) -> io::Result<bool> {
        if let Some(current) = &mut self.current
            && self.pending.is_empty()
            && !current.is_final
        {
            let live = live_path(&self.dir, &self.app);
            return match current.segment.is_at(&live) {
                Ok(true) => Ok(false),
                // Rotated: what was written to it until then is still to be read.
                Ok(false) => {
                    current.is_final = true;
                    Ok(true)
                }
                // Just being rotated.
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
                Err(error) => Err(error),
            };
        }
        if self.pending.is_empty() {
            self.pending = self.newer()?;
        }
        let Some(segment) = self.pending.pop_front() else {
            return Ok(false);
        };
        let packed = matches!(segment.content, Content::Packed(_));
        let is_final = packed || !self.pending.is_empty();
        self.current = Some(Current {
            segment,
            offset: 0,
            carry: Vec::new(),
            is_final,
        });
        Ok(true)
    }

    /// The files after the current one, oldest first.
    fn newer(&self) -> io::Result<VecDeque<Segment>> {
        let Some(Current {
            segment: current, ..
        }) = &self.current
        else {
            return Ok(newest_first(&self.dir, &self.app, |_| false)?
                .into_iter()
                .rev()
                .collect());
        };
        let mut found = false;
        let mut segments = newest_first(&self.dir, &self.app, |segment| {
            found = segment.is(current);
            found
        })?;
        if found {
            segments.pop();
        } else {
            // Deleted, so what is left is newer, unless it was deleted out of turn by someone.
            let until = current.modified_now();
            let live = live_path(&self.dir, &self.app);
            segments.retain(|segment| {
                segment.is_at(&live).unwrap_or(false) || segment.modified() > until
            });
        }
        Ok(segments.into_iter().rev().collect())
    }
}

fn split(app: &str, bytes: &[u8], last_ms: &mut i64, lines: &mut Vec<Line>) {
    let mut from = 0;
    for newline in
        memchr_iter(b'\n', bytes).chain((bytes.last() != Some(&b'\n')).then_some(bytes.len()))
    {
        if newline == 0 && bytes.is_empty() {
            return;
        }
        let line = parse(app, &bytes[from..newline], *last_ms);
        *last_ms = line.time_ms;
        lines.push(line);
        from = newline + 1;
    }
}
