//! One answer as a file:
//!
//! ```text
//! 8 bytes   "PANDOC01"
//! u32 LE    length of the head, then its CRC-32
//! u64 LE    length of the body
//! u32 LE    CRC-32 of the body
//! head      JSON
//! body
//! ```

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use http_cache::{Freshness, Vary};
use serde::{Deserialize, Serialize};

use crate::cache::entry::Entry;

/// How a file ends that is not yet in its place.
pub(super) const UNFINISHED: &str = "unfinished";

const MAGIC: &[u8; 8] = b"PANDOC01";
const PREFIX_BYTES: usize = 28;
/// Heads larger than this are not read: nothing of ours wrote them.
const MAX_HEAD_BYTES: u32 = 4 * 1024 * 1024;
/// Nor are bodies.
const MAX_BODY_BYTES: u64 = 4 * 1024 * 1024 * 1024;

#[derive(Debug)]
pub(super) enum Error {
    Gone,
    Corrupt(&'static str),
    Io(io::Error),
}

pub(super) struct Stored {
    pub(super) address: Box<str>,
    pub(super) entry: Entry,
}

/// Bytes that are no text stand as characters up to U+00FF.
#[derive(Serialize, Deserialize)]
struct Head {
    address: String,
    scope: u64,
    vary: Vec<String>,
    vary_key: String,
    status: u16,
    headers: Vec<(String, String)>,
    keys: Vec<String>,
    received_ms: u64,
    initial_age_ms: u64,
    lifetime_ms: u64,
    stale_while_revalidate_ms: u64,
    stale_if_error_ms: u64,
    always_validate: bool,
    must_revalidate: bool,
}

/// Writes beside `path` and renames; returns the size of the file.
pub(super) fn write(path: &Path, address: &str, entry: &Entry) -> io::Result<u64> {
    let head = serde_json::to_vec(&Head::of(address, entry)).map_err(io::Error::other)?;
    let head_bytes = u32::try_from(head.len()).map_err(io::Error::other)?;
    let mut prefix = Vec::with_capacity(PREFIX_BYTES);
    prefix.extend(MAGIC);
    prefix.extend(head_bytes.to_le_bytes());
    prefix.extend(crc32fast::hash(&head).to_le_bytes());
    prefix.extend((entry.body.len() as u64).to_le_bytes());
    prefix.extend(crc32fast::hash(&entry.body).to_le_bytes());
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let unfinished = path.with_extension(UNFINISHED);
    let written = File::create(&unfinished).and_then(|mut file| {
        file.write_all(&prefix)?;
        file.write_all(&head)?;
        file.write_all(&entry.body)?;
        fs::rename(&unfinished, path)
    });
    if let Err(error) = written {
        let _ = fs::remove_file(&unfinished);
        return Err(error);
    }
    Ok((prefix.len() + head.len() + entry.body.len()) as u64)
}

/// All of it, checked.
pub(super) fn read(path: &Path) -> Result<Stored, Error> {
    let mut file = File::open(path)?;
    let (mut stored, prefix) = head(&mut file)?;
    let mut body = Vec::with_capacity(usize::try_from(prefix.body_bytes).unwrap_or(0));
    file.read_to_end(&mut body)?;
    if body.len() as u64 != prefix.body_bytes || crc32fast::hash(&body) != prefix.body_crc {
        return Err(Error::Corrupt("its body does not fit the checksum"));
    }
    stored.entry.body = Bytes::from(body);
    Ok(stored)
}

/// All but the body, and the size of the file.
pub(super) fn read_head(path: &Path) -> Result<(Stored, u64), Error> {
    let mut file = File::open(path)?;
    let (stored, prefix) = head(&mut file)?;
    let size = file.metadata()?.len();
    if size != PREFIX_BYTES as u64 + prefix.head_bytes + prefix.body_bytes {
        return Err(Error::Corrupt("it is cut short"));
    }
    Ok((stored, size))
}

struct Prefix {
    head_bytes: u64,
    body_bytes: u64,
    body_crc: u32,
}

fn head(file: &mut File) -> Result<(Stored, Prefix), Error> {
    let magic: [u8; 8] = array(file)?;
    let head_bytes = u32::from_le_bytes(array(file)?);
    let head_crc = u32::from_le_bytes(array(file)?);
    let body_bytes = u64::from_le_bytes(array(file)?);
    let body_crc = u32::from_le_bytes(array(file)?);
    if magic != *MAGIC || head_bytes > MAX_HEAD_BYTES || body_bytes > MAX_BODY_BYTES {
        return Err(Error::Corrupt("it does not begin as such files do"));
    }
    let mut head = vec![0; usize::try_from(head_bytes).unwrap_or(0)];
    file.read_exact(&mut head)?;
    if crc32fast::hash(&head) != head_crc {
        return Err(Error::Corrupt("its head does not fit the checksum"));
    }
    let head: Head =
        serde_json::from_slice(&head).map_err(|_| Error::Corrupt("its head is not readable"))?;
    let stored = head
        .stored()
        .ok_or(Error::Corrupt("its head holds what cannot be"))?;
    let prefix = Prefix {
        head_bytes: u64::from(head_bytes),
        body_bytes,
        body_crc,
    };
    Ok((stored, prefix))
}

fn array<const N: usize>(file: &mut File) -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::NotFound {
            Self::Gone
        } else if error.kind() == io::ErrorKind::UnexpectedEof {
            Self::Corrupt("it is cut short")
        } else {
            Self::Io(error)
        }
    }
}

impl Head {
    fn of(address: &str, entry: &Entry) -> Self {
        let freshness = &entry.freshness;
        let headers = entry.headers.iter();
        Self {
            address: address.to_owned(),
            scope: entry.scope,
            vary: entry.vary.names().iter().map(ToString::to_string).collect(),
            vary_key: text(&entry.vary_key),
            status: entry.status.as_u16(),
            headers: headers
                .map(|(name, value)| (name.to_string(), text(value.as_bytes())))
                .collect(),
            keys: entry
                .surrogate_keys
                .iter()
                .map(ToString::to_string)
                .collect(),
            received_ms: freshness.received_ms,
            initial_age_ms: freshness.initial_age_ms,
            lifetime_ms: freshness.lifetime_ms,
            stale_while_revalidate_ms: freshness.stale_while_revalidate_ms,
            stale_if_error_ms: freshness.stale_if_error_ms,
            always_validate: freshness.always_validate,
            must_revalidate: freshness.must_revalidate,
        }
    }

    fn stored(self) -> Option<Stored> {
        let mut headers = HeaderMap::with_capacity(self.headers.len());
        for (name, value) in &self.headers {
            let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
            headers.append(name, HeaderValue::from_bytes(&bytes(value)?).ok()?);
        }
        let vary: Result<Vec<_>, _> = self
            .vary
            .iter()
            .map(|name| HeaderName::from_bytes(name.as_bytes()))
            .collect();
        Some(Stored {
            address: self.address.into(),
            entry: Entry {
                scope: self.scope,
                vary: Vary::of_with(&HeaderMap::new(), &vary.ok()?)?,
                vary_key: bytes(&self.vary_key)?,
                status: StatusCode::from_u16(self.status).ok()?,
                headers,
                body: Bytes::new(),
                freshness: Freshness {
                    received_ms: self.received_ms,
                    initial_age_ms: self.initial_age_ms,
                    lifetime_ms: self.lifetime_ms,
                    stale_while_revalidate_ms: self.stale_while_revalidate_ms,
                    stale_if_error_ms: self.stale_if_error_ms,
                    always_validate: self.always_validate,
                    must_revalidate: self.must_revalidate,
                },
                surrogate_keys: self.keys.into_iter().map(Into::into).collect(),
            },
        })
    }
}

fn text(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

fn bytes(text: &str) -> Option<Vec<u8>> {
    text.chars().map(|c| u8::try_from(c).ok()).collect()
}
