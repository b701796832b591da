//! What the pump is about to do, in memory that survives it, so that a successor neither loses
//! nor repeats a line after `kill -9`.
//!
//! The memory is a memfd: one header page, then the bytes being taken out of a pipe. Every header
//! update is one pwrite within that page, which a kill cannot cut in two.
//!
//! ```text
//!           state                successor finds it and …
//! begin  -> Writing              keeps the whole lines that are in the file after the offset
//! (write to the file)            before, cuts off a torn one, and takes as much out of the pipe
//! consume-> Consuming            the file is whole: takes the rest of the bytes out of the pipe.
//! (splice pipe -> memfd)         How many are out already is the memfd's size less the header,
//! (done) -> Idle                 since splice moves what it takes into the memfd.
//! ```
//! Lines are never taken back out of the file: a follower may have read them.
//!
//! What is still in a pipe can only be taken once the embedder has handed the pipe in again; until then it is an
//! *owed* entry of the header.
//!
//! Should the kernel have no memory for the splice, the bytes are read to nothing in state Idle:
//! a kill in that moment repeats one batch.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::MemfdFlags;
use rustix::io::Errno;
use rustix::pipe::SpliceFlags;

use crate::label::SourceId;
use crate::line::{MAX_FORMATTED_BYTES, MAX_LINE_BYTES, whole_lines};

const MAGIC: u64 = u64::from_le_bytes(*b"PANDOLG1");
const HEADER_BYTES: u64 = 4096;
/// Kills in a row, each while another source was being taken from and none handed in since.
const MAX_OWED: usize = 16;
const WORDS: usize = 9 + 2 * MAX_OWED;
const MAX_PATH_BYTES: usize = HEADER_BYTES as usize - WORDS * 8;
/// No batch is longer.
const MAX_BATCH_BYTES: u64 = 2 * (MAX_FORMATTED_BYTES + MAX_LINE_BYTES) as u64;
const DISCARD_BYTES: usize = 64 * 1024;

const IDLE: u64 = 0;
const WRITING: u64 = 1;
const CONSUMING: u64 = 2;

/// Where a batch goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    pub path: PathBuf,
    pub dev: u64,
    pub ino: u64,
    /// The file's size before.
    pub offset: u64,
}

/// The header, in the order of its words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Record {
    state: u64,
    source: u64,
    /// Raw bytes to be taken out of the source's pipe.
    bytes: u64,
    place: Place,
    owed: Vec<(u64, u64)>,
}

pub struct Intents {
    memory: Arc<OwnedFd>,
    owed: Vec<(u64, u64)>,
}

impl Intents {
    /// Takes over a former run's memory and sets its file right, or begins anew.
    pub fn open(memory: Option<OwnedFd>) -> io::Result<Self> {
        let memory = match memory {
            Some(memory) => memory,
            None => rustix::fs::memfd_create(c"pando-logs", MemfdFlags::CLOEXEC)?,
        };
        let owed = match read_record(&memory) {
            Some(record) => recover(&memory, record)?,
            None => Vec::new(),
        };
        let mut intents = Self {
            memory: Arc::new(memory),
            owed,
        };
        intents.put(&Record {
            owed: intents.owed.clone(),
            ..Record::default()
        })?;
        rustix::fs::ftruncate(&intents.memory, HEADER_BYTES)?;
        Ok(intents)
    }

    pub fn memory(&self) -> Arc<OwnedFd> {
        self.memory.clone()
    }

    /// Takes out of a pipe that is handed in again what its predecessor had begun to take.
    pub fn settle(&mut self, source: SourceId, pipe: BorrowedFd<'_>) -> io::Result<()> {
        let Some(at) = self.owed.iter().position(|(owing, _)| *owing == source.0) else {
            return Ok(());
        };
        let (_, bytes) = self.owed.swap_remove(at);
        self.take(source, bytes, pipe)
    }

    /// `bytes` of `source` are about to be written to `place`.
    pub fn begin(&mut self, source: SourceId, bytes: usize, place: &Place) -> io::Result<()> {
        self.put(&Record {
            state: WRITING,
            source: source.0,
            bytes: bytes as u64,
            place: place.clone(),
            owed: self.owed.clone(),
        })
    }

    /// The write did not happen, or was undone.
    pub fn abandon(&mut self) -> io::Result<()> {
        self.put_state(IDLE)
    }

    /// Takes `bytes` out of the pipe: they are in the file, or are given up.
    pub fn take(&mut self, source: SourceId, bytes: u64, pipe: BorrowedFd<'_>) -> io::Result<()> {
        self.put(&Record {
            state: CONSUMING,
            source: source.0,
            bytes,
            place: Place::default(),
            owed: self.owed.clone(),
        })?;
        let mut at = HEADER_BYTES;
        let end = HEADER_BYTES + bytes;
        while at < end {
            let left = usize::try_from(end - at).unwrap_or(usize::MAX);
            match splice_to(pipe, &self.memory, &mut at, left) {
                Ok(0) => break,
                Ok(_) | Err(Errno::INTR) => {}
                Err(_) => break,
            }
        }
        self.put_state(IDLE)?;
        discard(pipe, end - at)?;
        Ok(rustix::fs::ftruncate(&self.memory, HEADER_BYTES)?)
    }

    fn put_state(&self, state: u64) -> io::Result<()> {
        rustix::io::pwrite(&self.memory, &state.to_le_bytes(), 8)?;
        Ok(())
    }

    fn put(&mut self, record: &Record) -> io::Result<()> {
        let mut buf = [0; HEADER_BYTES as usize];
        let len = record.encode(&mut buf);
        rustix::io::pwrite(&self.memory, &buf[..len], 0)?;
        Ok(())
    }
}

impl Record {
    fn encode(&self, buf: &mut [u8; HEADER_BYTES as usize]) -> usize {
        let path = self.place.path.as_os_str().as_bytes();
        // A path that does not fit is left out: the successor then cannot cut the file back.
        let path = if path.len() <= MAX_PATH_BYTES {
            path
        } else {
            b""
        };
        let mut words = [0; WORDS];
        words[0] = MAGIC;
        words[1] = self.state;
        words[2] = self.source;
        words[3] = self.bytes;
        words[4] = self.place.dev;
        words[5] = self.place.ino;
        words[6] = self.place.offset;
        words[7] = path.len() as u64;
        words[8] = self.owed.len().min(MAX_OWED) as u64;
        for (pair, (source, bytes)) in words[9..].chunks_exact_mut(2).zip(&self.owed) {
            pair.copy_from_slice(&[*source, *bytes]);
        }
        for (at, word) in buf.chunks_exact_mut(8).zip(words) {
            at.copy_from_slice(&word.to_le_bytes());
        }
        buf[WORDS * 8..][..path.len()].copy_from_slice(path);
        WORDS * 8 + path.len()
    }

    fn decode(buf: &[u8]) -> Option<Self> {
        let word = |at: usize| {
            buf.get(at * 8..at * 8 + 8)?
                .try_into()
                .ok()
                .map(u64::from_le_bytes)
        };
        if word(0)? != MAGIC {
            return None;
        }
        let path_len = usize::try_from(word(7)?).ok()?;
        let path = buf.get(WORDS * 8..WORDS * 8 + path_len.min(MAX_PATH_BYTES))?;
        let count = usize::try_from(word(8)?).ok()?.min(MAX_OWED);
        let owed = (0..count).map_while(|n| Some((word(9 + 2 * n)?, word(10 + 2 * n)?)));
        Some(Self {
            state: word(1)?,
            source: word(2)?,
            bytes: word(3)?,
            place: Place {
                path: std::ffi::OsString::from_vec(path.to_vec()).into(),
                dev: word(4)?,
                ino: word(5)?,
                offset: word(6)?,
            },
            owed: owed.collect(),
        })
    }
}

fn read_record(memory: &OwnedFd) -> Option<Record> {
    let mut buf = [0; HEADER_BYTES as usize];
    let have = rustix::io::pread(memory, &mut buf, 0).ok()?;
    Record::decode(&buf[..have])
}

/// Undoes or notes what was under way; returns what is owed to the pipes.
fn recover(memory: &OwnedFd, record: Record) -> io::Result<Vec<(u64, u64)>> {
    let mut owed = record.owed;
    match record.state {
        WRITING => {
            let written = keep_whole_lines(&record.place)?.min(record.bytes);
            if written > 0 {
                owed.push((record.source, written));
            }
        }
        CONSUMING => {
            let size = u64::try_from(rustix::fs::fstat(memory)?.st_size).unwrap_or(0);
            let left = record
                .bytes
                .saturating_sub(size.saturating_sub(HEADER_BYTES));
            if left > 0 {
                owed.push((record.source, left));
            }
        }
        _ => {}
    }
    if owed.len() > MAX_OWED {
        owed.drain(..owed.len() - MAX_OWED);
    }
    Ok(owed)
}

/// Cuts off a torn line; how many raw bytes the lines after `place` were made of.
fn keep_whole_lines(place: &Place) -> io::Result<u64> {
    let file = match open_existing(&place.path) {
        Ok(file) => file,
        // Removed since, with all that was written: it is written again.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    let meta = file.metadata()?;
    if (meta.dev(), meta.ino()) != (place.dev, place.ino) || meta.len() <= place.offset {
        return Ok(0);
    }
    let mut written = Vec::new();
    let mut reader = &file;
    reader.seek(SeekFrom::Start(place.offset))?;
    reader.take(MAX_BATCH_BYTES).read_to_end(&mut written)?;
    let (kept, raw) = whole_lines(&written);
    file.set_len(place.offset + kept as u64)?;
    Ok(raw as u64)
}

fn open_existing(path: &Path) -> io::Result<File> {
    File::options().read(true).write(true).open(path)
}

fn splice_to(
    pipe: BorrowedFd<'_>,
    memory: &OwnedFd,
    at: &mut u64,
    bytes: usize,
) -> rustix::io::Result<usize> {
    rustix::pipe::splice(
        pipe,
        None,
        memory.as_fd(),
        Some(at),
        bytes,
        SpliceFlags::NONBLOCK,
    )
}

/// Reads `bytes` that are known to be in the pipe.
fn discard(pipe: BorrowedFd<'_>, mut bytes: u64) -> io::Result<()> {
    let mut sink = Vec::new();
    while bytes > 0 && crate::pipe::available(pipe) > 0 {
        sink.resize(
            DISCARD_BYTES.min(usize::try_from(bytes).unwrap_or(DISCARD_BYTES)),
            0,
        );
        match rustix::io::read(pipe, &mut sink[..]) {
            Ok(0) => break,
            Ok(n) => bytes -= n as u64,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipe::available;
    use std::io::Write;

    fn pipe_with(bytes: &[u8]) -> (OwnedFd, OwnedFd) {
        let (read, write) = rustix::pipe::pipe().unwrap();
        File::from(write.try_clone().unwrap())
            .write_all(bytes)
            .unwrap();
        (read, write)
    }

    fn again(intents: &Intents) -> Intents {
        Intents::open(Some(intents.memory.try_clone().unwrap())).unwrap()
    }

    #[test]
    fn a_record_survives_its_encoding() {
        let record = Record {
            state: WRITING,
            source: 7,
            bytes: 9,
            place: Place {
                path: "/var/log/ä.log".into(),
                dev: 1,
                ino: 2,
                offset: 3,
            },
            owed: vec![(1, 2), (3, 4)],
        };
        let mut buf = [0; HEADER_BYTES as usize];
        let len = record.encode(&mut buf);
        assert_eq!(Record::decode(&buf[..len]), Some(record));
        assert_eq!(Record::decode(&[0; 4096]), None);
        assert_eq!(Record::decode(b""), None);
    }

    #[test]
    fn of_a_write_under_way_the_whole_lines_are_kept() {
        let at = "2026-11-21T03:44:00.123Z 0 out";
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.log");
        std::fs::write(&path, format!("before\n{at} one\n{at}+ two\n{at} thr")).unwrap();
        let meta = std::fs::metadata(&path).unwrap();
        let place = Place {
            path: path.clone(),
            dev: meta.dev(),
            ino: meta.ino(),
            offset: 7,
        };
        let mut intents = Intents::open(None).unwrap();
        intents.begin(SourceId(1), 100, &place).unwrap();

        let (read, _write) = pipe_with(b"one\ntwo three\n");
        again(&intents).settle(SourceId(1), read.as_fd()).unwrap();
        let kept = format!("before\n{at} one\n{at}+ two\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), kept);
        assert_eq!(available(&read), " three\n".len());

        intents
            .begin(
                SourceId(1),
                100,
                &Place {
                    ino: 1,
                    offset: 0,
                    ..place
                },
            )
            .unwrap();
        again(&intents).settle(SourceId(1), read.as_fd()).unwrap();
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            kept,
            "another file of that name"
        );
        assert_eq!(available(&read), " three\n".len());
    }

    #[test]
    fn a_take_cut_short_is_finished_when_the_pipe_is_handed_in_again() {
        for out_before_the_kill in [0, 3, 5] {
            let (read, _write) = pipe_with(b"aaaa\nbb\n");
            let mut intents = Intents::open(None).unwrap();
            let record = Record {
                state: CONSUMING,
                source: 4,
                bytes: 5,
                ..Record::default()
            };
            intents.put(&record).unwrap();
            let mut at = HEADER_BYTES;
            splice_to(read.as_fd(), &intents.memory, &mut at, out_before_the_kill).unwrap();

            let twice = again(&intents);
            let mut next = again(&twice);
            next.settle(SourceId(9), read.as_fd()).unwrap();
            assert_eq!(available(&read), 8 - out_before_the_kill);
            next.settle(SourceId(4), read.as_fd()).unwrap();
            assert_eq!(available(&read), 3, "{out_before_the_kill}");
            again(&next).settle(SourceId(4), read.as_fd()).unwrap();
            assert_eq!(available(&read), 3, "nothing is taken twice");
        }
    }
}
