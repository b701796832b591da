//! An app's files: the one being written and the rotated ones, under whatever name they have
//! at the moment.
//!
//! ```text
//! <app>.log          being written          <app>.log.2.gz    older, compressed
//! <app>.log.1        the one before         <app>.log.gz.tmp  being compressed
//! ```
//! Rotation only ever moves a file to the next higher number, so a scan by rising number misses
//! none. It may meet the same file twice, which its identity tells; the order in which the files were
//! met last is that from new to old (were one met last before an older one and yet be newer, it
//! would have to be met again).

use std::fs::File;
use std::io::{self, BufReader};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;

use crate::options::MAX_KEEP;

/// Numbers without a file after the highest known that end a scan.
const SCAN_ON: u32 = 4;

/// Reads a compressed file from its beginning.
pub type Unpacked = MultiGzDecoder<BufReader<File>>;

pub fn live_path(dir: &Path, app: &str) -> PathBuf {
    dir.join(format!("{app}.log"))
}

pub fn rotated_path(dir: &Path, app: &str, number: u32) -> PathBuf {
    dir.join(format!("{app}.log.{number}"))
}

pub fn packed_path(dir: &Path, app: &str, number: u32) -> PathBuf {
    dir.join(format!("{app}.log.{number}.gz"))
}

pub fn packing_path(dir: &Path, app: &str) -> PathBuf {
    dir.join(format!("{app}.log.gz.tmp"))
}

/// A rotated file's number and whether it is compressed, by its name.
fn parse_name(app: &str, name: &str) -> Option<(u32, bool)> {
    let rest = name.strip_prefix(app)?.strip_prefix(".log.")?;
    let (digits, packed) = match rest.strip_suffix(".gz") {
        Some(digits) => (digits, true),
        None => (rest, false),
    };
    let plain = digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0');
    plain
        .then(|| digits.parse().ok())
        .flatten()
        .map(|number| (number, packed))
}

/// Rotated files there are, lowest number (newest) first. A number whose compression has not
/// been tidied up yet is there twice, the plain one first.
pub fn rotated(dir: &Path, app: &str) -> io::Result<Vec<(u32, bool)>> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        found.extend(
            entry?
                .file_name()
                .to_str()
                .and_then(|name| parse_name(app, name)),
        );
    }
    found.sort_unstable();
    Ok(found)
}

/// Which bytes a file holds (or, compressed, held), whatever its name is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    pub ino: u64,
    pub size: u64,
    pub modified_ns: i128,
}

impl Identity {
    pub fn of(file: &File) -> io::Result<Self> {
        let meta = file.metadata()?;
        let modified_ns = i128::from(meta.mtime()) * 1_000_000_000 + i128::from(meta.mtime_nsec());
        Ok(Self {
            ino: meta.ino(),
            size: meta.len(),
            modified_ns,
        })
    }

    /// What a compressed file carries as its comment.
    pub fn to_comment(self) -> String {
        format!("pando {} {} {}", self.ino, self.size, self.modified_ns)
    }

    fn from_comment(comment: &[u8]) -> Option<Self> {
        let mut words = std::str::from_utf8(comment)
            .ok()?
            .strip_prefix("pando ")?
            .split(' ');
        Some(Self {
            ino: words.next()?.parse().ok()?,
            size: words.next()?.parse().ok()?,
            modified_ns: words.next()?.parse().ok()?,
        })
    }
}

pub enum Content {
    Plain(File),
    Packed(Box<Unpacked>),
    /// Compressed, and read to its end.
    Spent,
}

/// One open file of an app. It stays readable when it is renamed, compressed or deleted.
pub struct Segment {
    pub content: Content,
    /// Of a compressed file: what it was before. Of a plain one: when it was opened.
    identity: Option<Identity>,
    dev_ino: (u64, u64),
}

impl Segment {
    fn plain(file: File) -> io::Result<Self> {
        let meta = file.metadata()?;
        Ok(Self {
            identity: Some(Identity::of(&file)?),
            dev_ino: (meta.dev(), meta.ino()),
            content: Content::Plain(file),
        })
    }

    fn packed(file: File) -> io::Result<Self> {
        let meta = file.metadata()?;
        let unpacked = MultiGzDecoder::new(BufReader::new(file));
        let identity = unpacked
            .header()
            .and_then(|h| h.comment())
            .and_then(Identity::from_comment);
        Ok(Self {
            content: Content::Packed(Box::new(unpacked)),
            identity,
            dev_ino: (meta.dev(), meta.ino()),
        })
    }

    /// Whether both hold the same lines. A plain file that is open keeps its inode number from
    /// being used again, so between two plain ones that decides; a compressed one tells what it
    /// was made of, which is compared with what the plain one is now.
    pub fn is(&self, other: &Self) -> bool {
        match (&self.content, &other.content) {
            (Content::Plain(_), Content::Plain(_)) => self.dev_ino == other.dev_ino,
            (Content::Plain(file), Content::Packed(_) | Content::Spent) => {
                other.identity.is_some() && Identity::of(file).ok() == other.identity
            }
            (Content::Packed(_) | Content::Spent, Content::Plain(file)) => {
                self.identity.is_some() && Identity::of(file).ok() == self.identity
            }
            (Content::Packed(_) | Content::Spent, Content::Packed(_) | Content::Spent) => {
                self.dev_ino == other.dev_ino
                    || (self.identity.is_some() && self.identity == other.identity)
            }
        }
    }

    pub fn is_at(&self, path: &Path) -> io::Result<bool> {
        let meta = std::fs::metadata(path)?;
        Ok(self.dev_ino == (meta.dev(), meta.ino()))
    }

    /// The place of a reader that goes on after what is in the file now.
    pub fn bookmark(&self) -> io::Result<Self> {
        let content = match &self.content {
            Content::Plain(file) => Content::Plain(file.try_clone()?),
            Content::Packed(_) | Content::Spent => Content::Spent,
        };
        Ok(Self {
            content,
            identity: self.identity,
            dev_ino: self.dev_ino,
        })
    }

    /// When its lines were last written to, as of its opening; nanoseconds since the epoch.
    pub fn modified(&self) -> Option<i128> {
        Some(self.identity?.modified_ns)
    }

    /// The same as of now.
    pub fn modified_now(&self) -> Option<i128> {
        match &self.content {
            Content::Plain(file) => Identity::of(file).ok().map(|identity| identity.modified_ns),
            Content::Packed(_) | Content::Spent => self.modified(),
        }
    }

    /// When the last line was written, milliseconds since the epoch.
    pub fn modified_ms(&self) -> Option<i64> {
        i64::try_from(self.identity?.modified_ns / 1_000_000).ok()
    }
}

/// The app's files, newest first, up to and including the first for which `last` holds.
pub fn newest_first(
    dir: &Path,
    app: &str,
    mut last: impl FnMut(&Segment) -> bool,
) -> io::Result<Vec<Segment>> {
    let mut found: Vec<Segment> = Vec::new();
    let Some(live) = open(&live_path(dir, app))? else {
        return scan_rotated(dir, app, found, &mut last);
    };
    let live = Segment::plain(live)?;
    let done = last(&live);
    found.push(live);
    if done {
        Ok(found)
    } else {
        scan_rotated(dir, app, found, &mut last)
    }
}

fn scan_rotated(
    dir: &Path,
    app: &str,
    mut found: Vec<Segment>,
    last: &mut impl FnMut(&Segment) -> bool,
) -> io::Result<Vec<Segment>> {
    // A listing may miss a file that is renamed meanwhile, so the scan goes on a little.
    let mut highest = rotated(dir, app)?.last().map_or(0, |(number, _)| *number);
    let mut number = 1;
    while number <= highest.saturating_add(SCAN_ON) {
        // Plain first: compression puts the .gz there before it takes the plain one away.
        let segment = match open(&rotated_path(dir, app, number))? {
            Some(file) => Some(Segment::plain(file)?),
            None => open(&packed_path(dir, app, number))?
                .map(Segment::packed)
                .transpose()?,
        };
        number += 1;
        let Some(segment) = segment else { continue };
        highest = highest.max(number - 1).min(2 * MAX_KEEP);
        // Met again: rotations overtook the scan, and what it met in between may be newer.
        if let Some(at) = found.iter().position(|seen| seen.is(&segment)) {
            let again = found.remove(at);
            found.push(again);
            continue;
        }
        let done = last(&segment);
        found.push(segment);
        if done {
            break;
        }
    }
    Ok(found)
}

fn open(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_rotated_files() {
        let cases = [
            ("a.log.1", Some((1, false))),
            ("a.log.12.gz", Some((12, true))),
            ("a.log", None),
            ("a.log.gz.tmp", None),
            ("a.log.01", None),
            ("a.log.x", None),
            ("a.log.", None),
            ("a.log.1.log", None),
            ("ab.log.1", None),
        ];
        for (name, expect) in cases {
            assert_eq!(parse_name("a", name), expect, "{name}");
        }
        assert_eq!(parse_name("a.log", "a.log.log.3"), Some((3, false)));
    }

    #[test]
    fn an_identity_survives_its_comment() {
        let identity = Identity {
            ino: 5,
            size: 6,
            modified_ns: 1_795_232_640_123_456_789,
        };
        assert_eq!(
            Identity::from_comment(identity.to_comment().as_bytes()),
            Some(identity)
        );
        assert_eq!(Identity::from_comment(b"other"), None);
    }
}
