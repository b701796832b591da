//! What a name means on the disk: a file with its precompressed copies, a directory, nothing.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::HeaderValue;
use rustix::fs::FileType;

use super::content::read_now;
use super::open::{Root, Stamp, Wait};
use crate::compress::Encoding;

/// Larger files are not kept in memory.
pub(super) const MAX_KEPT_BYTES: u64 = 256 * 1024;
/// A file that changed so shortly before it was read may change again without a trace in its
/// times, so it is not trusted at the next look.
const RACY_NS: i128 = 2_000_000_000;
/// What is looked for beside a file, and the name of its entity tag.
const COPIES: [(Encoding, &str); 3] = [
    (Encoding::Zstd, ".zst"),
    (Encoding::Brotli, ".br"),
    (Encoding::Gzip, ".gz"),
];
/// What the registry of types has otherwise or not at all.
const TYPES: [(&str, &str); 4] = [
    ("mjs", "text/javascript"),
    ("cjs", "text/javascript"),
    ("map", "application/json"),
    ("webmanifest", "application/manifest+json"),
];

#[derive(Debug)]
pub(super) enum Found {
    File(Box<Page>),
    /// A directory asked for without its slash.
    Directory,
}

/// A file and its copies.
#[derive(Debug)]
pub(super) struct Page {
    pub plain: Variant,
    pub copies: Vec<Variant>,
    pub content_type: HeaderValue,
}

/// One representation, with all that its headers need.
#[derive(Debug)]
pub(super) struct Variant {
    pub encoding: Option<Encoding>,
    /// Below the root.
    pub name: Vec<u8>,
    pub stamp: Stamp,
    pub etag: HeaderValue,
    pub modified: SystemTime,
    pub last_modified: HeaderValue,
    pub content_length: HeaderValue,
    /// Absent for large files.
    pub content: Option<Bytes>,
    racy: bool,
}

/// How names are looked up.
#[derive(Clone, Debug)]
pub(super) struct Lookup {
    pub index: Vec<String>,
    pub precompressed: bool,
}

impl Page {
    pub(super) fn variants(&self) -> impl Iterator<Item = &Variant> {
        std::iter::once(&self.plain).chain(&self.copies)
    }

    /// Bytes of memory, about.
    pub(super) fn weight(&self) -> u64 {
        let kept = |variant: &Variant| variant.content.as_ref().map_or(0, Bytes::len) as u64;
        self.variants().map(|variant| 512 + kept(variant)).sum()
    }
}

/// `name` as of `path::resolve`. What `former` found is used again where nothing changed.
///
/// Errors: `NotFound` and what the system says; `WouldBlock` when the disk is needed.
pub(super) fn find(
    root: &Root,
    directory: &OwnedFd,
    name: &[u8],
    lookup: &Lookup,
    former: Option<&Found>,
    wait: Wait,
) -> io::Result<Found> {
    let former = match former {
        Some(Found::File(page)) => Some(&**page),
        Some(Found::Directory) | None => None,
    };
    let finder = Finder {
        root,
        directory,
        lookup,
        former,
        wait,
    };
    if name.is_empty() || name.ends_with(b"/") {
        return finder.index(name);
    }
    finder.file(name)
}

struct Finder<'a> {
    root: &'a Root,
    directory: &'a OwnedFd,
    lookup: &'a Lookup,
    former: Option<&'a Page>,
    wait: Wait,
}

impl Finder<'_> {
    fn index(&self, directory: &[u8]) -> io::Result<Found> {
        for index in &self.lookup.index {
            match self.file(&[directory, index.as_bytes()].concat()) {
                Ok(Found::Directory) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                found => return found,
            }
        }
        Err(io::ErrorKind::NotFound.into())
    }

    fn file(&self, name: &[u8]) -> io::Result<Found> {
        let Some(plain) = self.variant(name, None)? else {
            return Ok(Found::Directory);
        };
        let mut copies = Vec::new();
        if self.lookup.precompressed {
            for (encoding, suffix) in COPIES {
                let beside = [name, suffix.as_bytes()].concat();
                match self.variant(&beside, Some(encoding)) {
                    Ok(copy) => copies.extend(copy.filter(|it| it.stamp.size < plain.stamp.size)),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(error),
                    // A copy that cannot be had is no reason not to serve the file.
                    Err(_) => {}
                }
            }
        }
        copies.sort_by_key(|copy| copy.stamp.size);
        Ok(Found::File(Box::new(Page {
            content_type: content_type(name),
            plain,
            copies,
        })))
    }

    /// `None` for a directory.
    fn variant(&self, name: &[u8], encoding: Option<Encoding>) -> io::Result<Option<Variant>> {
        let file = self.root.open(self.directory, name, self.wait)?;
        let stat = rustix::fs::fstat(&file)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {}
            FileType::Directory => return Ok(None),
            FileType::Symlink
            | FileType::Fifo
            | FileType::Socket
            | FileType::CharacterDevice
            | FileType::BlockDevice
            | FileType::Unknown => return Err(io::ErrorKind::NotFound.into()),
        }
        let mut variant = Variant::new(name, encoding, Stamp::of(&stat));
        if variant.stamp.size <= MAX_KEPT_BYTES {
            variant.content = match self.known(&variant) {
                Some(content) => Some(content),
                None => read_all(&file, variant.stamp, self.wait)?,
            };
        }
        Ok(Some(variant))
    }

    fn known(&self, now: &Variant) -> Option<Bytes> {
        let former = self.former?.variants().find(|old| old.name == now.name)?;
        if former.racy || former.stamp != now.stamp {
            return None;
        }
        former.content.clone()
    }
}

impl Variant {
    pub(super) fn new(name: &[u8], encoding: Option<Encoding>, stamp: Stamp) -> Self {
        let modified = system_time(stamp.modified_ns);
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Self {
            encoding,
            name: name.to_owned(),
            stamp,
            etag: etag(encoding, stamp),
            modified,
            last_modified: value(&httpdate::fmt_http_date(modified)),
            content_length: HeaderValue::from(stamp.size),
            content: None,
            racy: now.as_nanos() as i128 - stamp.last_change_ns() < RACY_NS,
        }
    }
}

/// The whole file, or `None` when it is not what `stamp` says: then it is being written.
fn read_all(file: &File, stamp: Stamp, wait: Wait) -> io::Result<Option<Bytes>> {
    let mut content = vec![0; stamp.size as usize];
    let mut at = 0;
    while at < content.len() {
        let read = match wait {
            Wait::No => read_now(file, &mut content[at..], at as u64),
            Wait::Yes => file.read_at(&mut content[at..], at as u64),
        };
        match read {
            Ok(0) => return Ok(None),
            Ok(read) => at += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let same = Stamp::of(&rustix::fs::fstat(file.as_fd())?) == stamp;
    Ok(same.then(|| content.into()))
}

/// Strong: of the time to the nanosecond, the size and the coding. No inode, so that the same
/// files on several machines have the same tags if their times are kept.
fn etag(encoding: Option<Encoding>, stamp: Stamp) -> HeaderValue {
    let suffix = match encoding {
        None => "",
        Some(Encoding::Zstd) => "-zst",
        Some(Encoding::Brotli) => "-br",
        Some(Encoding::Gzip) => "-gz",
    };
    value(&format!(
        "\"{:x}-{:x}{suffix}\"",
        stamp.modified_ns, stamp.size
    ))
}

fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static("\"\""))
}

/// Times before 1970 count as 1970; HTTP dates end with the year 9999.
fn system_time(nanos: i128) -> SystemTime {
    let nanos = u64::try_from(nanos.max(0)).unwrap_or(u64::MAX);
    UNIX_EPOCH + Duration::from_nanos(nanos)
}

/// By the extension. Text is said to be UTF-8, as it is nearly everywhere.
pub(super) fn content_type(name: &[u8]) -> HeaderValue {
    let name = String::from_utf8_lossy(name);
    let extension = name
        .rsplit('/')
        .next()
        .and_then(|file| file.rsplit_once('.'));
    let known = extension.and_then(|(_, ext)| {
        let ours = TYPES
            .iter()
            .find(|(ours, _)| ours.eq_ignore_ascii_case(ext));
        ours.map_or_else(
            || mime_guess::from_ext(ext).first_raw(),
            |(_, known)| Some(known),
        )
    });
    let Some(known) = known else {
        return HeaderValue::from_static("application/octet-stream");
    };
    let text =
        known.starts_with("text/") || matches!(known, "application/javascript" | "application/xml");
    if text && !known.contains("charset") {
        return value(&format!("{known}; charset=utf-8"));
    }
    HeaderValue::from_static(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_by_extension() {
        for (name, expected) in [
            ("a.html", "text/html; charset=utf-8"),
            ("a.HTM", "text/html; charset=utf-8"),
            ("d/a.css", "text/css; charset=utf-8"),
            ("a.min.js", "text/javascript; charset=utf-8"),
            ("a.mjs", "text/javascript; charset=utf-8"),
            ("a.json", "application/json"),
            ("a.map", "application/json"),
            ("a.wasm", "application/wasm"),
            ("a.svg", "image/svg+xml"),
            ("a.png", "image/png"),
            ("a.webp", "image/webp"),
            ("a.avif", "image/avif"),
            ("a.woff2", "font/woff2"),
            ("a.txt", "text/plain; charset=utf-8"),
            ("a.webmanifest", "application/manifest+json"),
            ("a.tar.gz", "application/gzip"),
            ("a.mp4", "video/mp4"),
            ("a.pdf", "application/pdf"),
            ("a.xml", "text/xml; charset=utf-8"),
            ("html", "application/octet-stream"),
            ("d.html/a", "application/octet-stream"),
            ("a.nonsense", "application/octet-stream"),
        ] {
            assert_eq!(content_type(name.as_bytes()), expected, "{name}");
        }
    }
}
