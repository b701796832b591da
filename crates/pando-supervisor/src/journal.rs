//! The journal of apps: what runs and how, so that a reboot or a `kill -9` of everything forgets
//! nothing. One record a line, `<crc32 of the JSON, 8 hex digits> <JSON>\n`, appended and fsynced
//! before the order that made it is acknowledged; compacted by an atomic rename.
//!
//! A torn last line is what a crash in the middle of a write leaves: it was never acknowledged and
//! is cut off. A bad line elsewhere is damage: the file is kept aside, the other lines count.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use app_spec::AppSpec;
use serde::{Deserialize, Serialize};

use crate::core::AppRecord;

/// The journal's name in `$PANDO_HOME`.
pub const FILE_NAME: &str = "state.journal";
/// A journal is compacted when it has grown past this and past four times what it holds.
const COMPACT_ABOVE_BYTES: u64 = 64 * 1024;

#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    #[error("cannot read the journal {path}: {source}")]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot write the journal {path}: {source}")]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot make a journal record: {0}")]
    Encode(#[from] serde_json::Error),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Record {
    App { spec: Box<AppSpec>, running: bool },
    Gone { name: String },
}

pub struct Journal {
    path: PathBuf,
    file: File,
    bytes: u64,
    apps: BTreeMap<String, AppRecord>,
    /// What could not be written yet; `None` is a deletion.
    owed: BTreeMap<String, Option<AppRecord>>,
}

/// What opening found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// A torn last line was cut off: this many bytes.
    pub torn_bytes: u64,
    /// Lines that could not be read; the file was kept under this name.
    pub damaged: Option<(usize, PathBuf)>,
}

impl Journal {
    /// Opens or creates `home/state.journal`, mode 0600.
    ///
    /// # Errors
    /// When it can't be read or written; nothing is changed then.
    pub fn open(home: &Path) -> Result<(Self, Findings), JournalError> {
        let path = home.join(FILE_NAME);
        let read = |source| JournalError::Read {
            path: path.clone(),
            source,
        };
        let mut options = OpenOptions::new();
        options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600);
        let file = options.open(&path).map_err(read)?;
        let text = std::fs::read(&path).map_err(read)?;
        if text.is_empty() {
            // The file may be new: its name must outlive a loss of power too.
            let synced = File::open(home).and_then(|dir| dir.sync_all());
            synced.map_err(read)?;
        }
        let parsed = parse(&text);
        let mut journal = Self {
            path,
            file,
            bytes: text.len() as u64,
            apps: parsed.apps,
            owed: BTreeMap::new(),
        };
        let mut findings = Findings {
            torn_bytes: parsed.torn,
            damaged: None,
        };
        if parsed.bad > 0 {
            let aside = journal
                .path
                .with_extension(format!("damaged-{}", std::process::id()));
            std::fs::copy(&journal.path, &aside).map_err(|e| journal.write_error(e))?;
            findings.damaged = Some((parsed.bad, aside));
        }
        if parsed.torn > 0 || parsed.bad > 0 {
            journal.compact()?;
        }
        Ok((journal, findings))
    }

    pub fn apps(&self) -> impl Iterator<Item = &AppRecord> {
        self.apps.values()
    }

    /// Records an app; on disk when it returns.
    ///
    /// # Errors
    /// When the disk refuses; the file is then as it was before, and the record is owed to it:
    /// [`Journal::retry`].
    pub fn put(&mut self, record: &AppRecord) -> Result<(), JournalError> {
        self.write(&record.spec.name, Some(record))
    }

    /// Records that an app was deleted.
    ///
    /// # Errors
    /// As [`Journal::put`].
    pub fn remove(&mut self, name: &str) -> Result<(), JournalError> {
        self.write(name, None)
    }

    /// Whether something that was done is not recorded.
    pub fn owes(&self) -> bool {
        !self.owed.is_empty()
    }

    /// Writes what could not be written before.
    ///
    /// # Errors
    /// As [`Journal::put`]; the rest is still owed.
    pub fn retry(&mut self) -> Result<(), JournalError> {
        for (name, record) in self.owed.clone() {
            self.write(&name, record.as_ref())?;
        }
        Ok(())
    }

    fn write(&mut self, name: &str, record: Option<&AppRecord>) -> Result<(), JournalError> {
        let line = match record {
            Some(record) => Record::of(record),
            None => Record::Gone {
                name: name.to_owned(),
            },
        };
        if let Err(error) = self.append(&line) {
            self.owed.insert(name.to_owned(), record.cloned());
            return Err(error);
        }
        self.owed.remove(name);
        match record {
            Some(record) => self.apps.insert(name.to_owned(), record.clone()),
            None => self.apps.remove(name),
        };
        self.compact_if_large()
    }

    fn append(&mut self, record: &Record) -> Result<(), JournalError> {
        let line = encode(record)?;
        let written = self
            .file
            .write_all_at(&line, self.bytes)
            .and_then(|()| self.file.sync_data());
        if let Err(source) = written {
            // Half a record must not stand before the next whole one.
            let cut = self.file.set_len(self.bytes);
            let source = cut.err().unwrap_or(source);
            return Err(self.write_error(source));
        }
        self.bytes += line.len() as u64;
        Ok(())
    }

    fn compact_if_large(&mut self) -> Result<(), JournalError> {
        if self.bytes < COMPACT_ABOVE_BYTES {
            return Ok(());
        }
        let mut live = 0;
        for record in self.apps.values() {
            live += encode(&Record::of(record))?.len() as u64;
        }
        if self.bytes > 4 * live {
            self.compact()
        } else {
            Ok(())
        }
    }

    fn compact(&mut self) -> Result<(), JournalError> {
        let mut all = Vec::new();
        for record in self.apps.values() {
            all.extend(encode(&Record::of(record))?);
        }
        let fresh = self.path.with_extension("journal.new");
        let file = replace_file(&fresh, &self.path, &all).map_err(|e| self.write_error(e))?;
        self.file = file;
        self.bytes = all.len() as u64;
        Ok(())
    }

    fn write_error(&self, source: io::Error) -> JournalError {
        JournalError::Write {
            path: self.path.clone(),
            source,
        }
    }
}

/// Writes `bytes` to `fresh`, makes it durable and gives it the name `path`.
fn replace_file(fresh: &Path, path: &Path, bytes: &[u8]) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600);
    let mut file = options.open(fresh)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(fresh, path)?;
    if let Some(dir) = path.parent() {
        File::open(dir)?.sync_all()?;
    }
    Ok(file)
}

impl Record {
    fn of(record: &AppRecord) -> Self {
        Self::App {
            spec: Box::new((*record.spec).clone()),
            running: record.running,
        }
    }
}

fn encode(record: &Record) -> Result<Vec<u8>, serde_json::Error> {
    let json = serde_json::to_string(record)?;
    Ok(format!("{:08x} {json}\n", crc32fast::hash(json.as_bytes())).into_bytes())
}

#[derive(Default)]
struct Parsed {
    apps: BTreeMap<String, AppRecord>,
    bad: usize,
    torn: u64,
}

/// Replays a journal's text. Never fails: what can't be read is counted.
fn parse(text: &[u8]) -> Parsed {
    let mut parsed = Parsed::default();
    for line in text.split_inclusive(|b| *b == b'\n') {
        let Some(body) = line.strip_suffix(b"\n") else {
            parsed.torn = line.len() as u64;
            continue;
        };
        match decode(body) {
            Some(Record::App { spec, running }) => {
                let record = AppRecord {
                    spec: Arc::new(*spec),
                    running,
                };
                parsed.apps.insert(record.spec.name.clone(), record);
            }
            Some(Record::Gone { name }) => {
                parsed.apps.remove(&name);
            }
            None => parsed.bad += 1,
        }
    }
    parsed
}

fn decode(line: &[u8]) -> Option<Record> {
    let (crc, json) = (line.get(..8)?, line.get(9..)?);
    let crc = u32::from_str_radix(std::str::from_utf8(crc).ok()?, 16).ok()?;
    (crc == crc32fast::hash(json)).then(|| serde_json::from_slice(json).ok())?
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use app_spec::Command;
    use proptest::prelude::*;

    use super::*;

    fn record(name: &str, running: bool) -> AppRecord {
        let command = Command::Shell {
            line: "true".into(),
        };
        AppRecord {
            spec: Arc::new(AppSpec::new(name, command, "/srv".into())),
            running,
        }
    }

    fn names(journal: &Journal) -> Vec<(String, bool)> {
        journal
            .apps()
            .map(|r| (r.spec.name.clone(), r.running))
            .collect()
    }

    #[test]
    fn what_was_put_is_there_after_reopening_and_only_we_may_read_it() {
        let home = tempfile::tempdir().unwrap();
        let (mut journal, _) = Journal::open(home.path()).unwrap();
        journal.put(&record("a", true)).unwrap();
        journal.put(&record("b", true)).unwrap();
        journal.put(&record("a", false)).unwrap();
        journal.remove("b").unwrap();
        drop(journal);
        let (journal, findings) = Journal::open(home.path()).unwrap();
        assert_eq!(names(&journal), [("a".to_owned(), false)]);
        assert_eq!(findings, Findings::default());
        let mode = std::fs::metadata(home.path().join(FILE_NAME))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn every_torn_end_keeps_all_whole_records() {
        let home = tempfile::tempdir().unwrap();
        let (mut journal, _) = Journal::open(home.path()).unwrap();
        journal.put(&record("a", true)).unwrap();
        let whole = journal.bytes as usize;
        journal.put(&record("b", true)).unwrap();
        drop(journal);
        let path = home.path().join(FILE_NAME);
        let text = std::fs::read(&path).unwrap();
        for end in whole..text.len() {
            std::fs::write(&path, &text[..end]).unwrap();
            let (mut journal, findings) = Journal::open(home.path()).unwrap();
            assert_eq!(names(&journal), [("a".to_owned(), true)], "cut at {end}");
            assert_eq!(findings.torn_bytes as usize, end - whole);
            journal.put(&record("c", true)).unwrap();
            let (journal, _) = Journal::open(home.path()).unwrap();
            assert_eq!(names(&journal).len(), 2, "cut at {end}");
        }
    }

    #[test]
    fn a_damaged_line_loses_only_itself_and_the_file_is_kept() {
        let home = tempfile::tempdir().unwrap();
        let (mut journal, _) = Journal::open(home.path()).unwrap();
        for name in ["a", "b", "c"] {
            journal.put(&record(name, true)).unwrap();
        }
        drop(journal);
        let path = home.path().join(FILE_NAME);
        let text = std::fs::read_to_string(&path)
            .unwrap()
            .replacen("\"b\"", "\"x\"", 1);
        std::fs::write(&path, &text).unwrap();
        let (journal, findings) = Journal::open(home.path()).unwrap();
        assert_eq!(
            names(&journal),
            [("a".to_owned(), true), ("c".to_owned(), true)]
        );
        let (bad, aside) = findings.damaged.unwrap();
        assert_eq!((bad, std::fs::read_to_string(aside).unwrap()), (1, text));
    }

    #[test]
    fn what_the_disk_refused_is_owed_until_it_takes_it() {
        let home = tempfile::tempdir().unwrap();
        let (mut journal, _) = Journal::open(home.path()).unwrap();
        journal.put(&record("a", true)).unwrap();
        journal.put(&record("b", true)).unwrap();
        let path = home.path().join(FILE_NAME);
        let good = std::mem::replace(&mut journal.file, File::open(&path).unwrap());
        assert!(journal.put(&record("a", false)).is_err());
        assert!(journal.remove("b").is_err());
        assert!(journal.retry().is_err());
        journal.file = good;
        journal.put(&record("c", true)).unwrap();
        assert!(journal.owes(), "another app's record is not this one's");
        journal.retry().unwrap();
        assert!(!journal.owes());
        let (journal, findings) = Journal::open(home.path()).unwrap();
        let expect = [("a".to_owned(), false), ("c".to_owned(), true)];
        assert_eq!(names(&journal), expect);
        assert_eq!(findings, Findings::default());
    }

    #[test]
    fn it_is_compacted_when_it_has_grown() {
        let home = tempfile::tempdir().unwrap();
        let (mut journal, _) = Journal::open(home.path()).unwrap();
        for n in 0..2000 {
            journal.put(&record("a", n % 2 == 0)).unwrap();
        }
        assert!(
            journal.bytes < COMPACT_ABOVE_BYTES + 1024,
            "{}",
            journal.bytes
        );
        let (journal, _) = Journal::open(home.path()).unwrap();
        assert_eq!(names(&journal), [("a".to_owned(), false)]);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_fail(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let parsed = parse(&bytes);
            prop_assert!(parsed.apps.is_empty());
        }
    }
}
