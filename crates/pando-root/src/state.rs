//! What root hands to itself over an exec: a JSON text in a memfd. The fds it names are left
//! open by the exec.
//!
//! A reader takes every version from 1 to its own. A writer writes its own, but an upgraded root
//! writes for its predecessor while it is on trial; today there is one version, so both are 1.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, ErrorKind, Read, Seek, Write};
use std::os::fd::{OwnedFd, RawFd};
use std::path::PathBuf;

use rustix::fs::MemfdFlags;
use serde::{Deserialize, Serialize};

use crate::options::{Mode, Tuning};
use crate::proto::ChildInfo;

/// Bumped when an older root would misread the state.
pub const STATE_VERSION: u32 = 1;
/// Blobs, their escapes, and the tables.
const MAX_STATE_BYTES: u64 = 64 * 1024 * 1024;

#[derive(Debug, Serialize, Deserialize)]
pub struct State {
    pub version: u32,
    pub home: PathBuf,
    pub home_id: String,
    pub lock: RawFd,
    pub mode: Mode,
    pub tuning: Tuning,
    /// As bytes: they need not be UTF-8.
    pub supervisor_args: Vec<Vec<u8>>,
    /// Those of the binary before, for the way back.
    pub former_args: Vec<Vec<u8>>,
    pub resume_args: Vec<String>,
    /// Soft and hard RLIMIT_NOFILE as root found them.
    pub nofile: (u64, u64),
    pub generation: u32,
    /// The supervisor that is to go, and the link to it.
    pub supervisor: Option<i32>,
    pub link: Option<RawFd>,
    pub ready: Option<RawFd>,
    pub children: Vec<ChildInfo>,
    pub stored: Vec<(String, RawFd)>,
    pub blobs: Vec<(String, String)>,
    /// Children that this process had before it was root.
    pub strangers: Vec<i32>,
}

/// Only this is read first, so that any later version is told from garbage.
#[derive(Deserialize)]
struct Version {
    version: u32,
}

impl State {
    /// Every fd it names.
    pub fn fds(&self) -> impl Iterator<Item = RawFd> {
        let stored = self.stored.iter().map(|(_, fd)| *fd);
        [self.lock]
            .into_iter()
            .chain(self.link)
            .chain(self.ready)
            .chain(stored)
    }

    /// Writes it into a new memfd.
    ///
    /// # Errors
    /// No memory or no fd.
    pub fn write(&self) -> io::Result<OwnedFd> {
        let file = File::from(rustix::fs::memfd_create(
            "pando-root-state",
            MemfdFlags::CLOEXEC,
        )?);
        let mut out = BufWriter::new(file);
        serde_json::to_writer(&mut out, self)?;
        out.flush()?;
        Ok(out
            .into_inner()
            .map_err(io::IntoInnerError::into_error)?
            .into())
    }

    /// Reads it back.
    ///
    /// # Errors
    /// `InvalidData` with the reason for what is no state that this version can read.
    pub fn read(memfd: &OwnedFd) -> io::Result<Self> {
        let mut file = File::from(memfd.try_clone()?);
        file.rewind()?;
        let Version { version } =
            serde_json::from_reader(BufReader::new((&file).take(MAX_STATE_BYTES)))?;
        if !(1..=STATE_VERSION).contains(&version) {
            let why = format!("its state has version {version}, this pando reads {STATE_VERSION}");
            return Err(io::Error::new(ErrorKind::InvalidData, why));
        }
        file.rewind()?;
        Ok(serde_json::from_reader(BufReader::new(
            (&file).take(MAX_STATE_BYTES),
        ))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> State {
        State {
            version: STATE_VERSION,
            home: "/h".into(),
            home_id: "0123".into(),
            lock: 3,
            mode: Mode::Daemon,
            tuning: Tuning::default(),
            supervisor_args: vec![b"a\xff".to_vec()],
            former_args: Vec::new(),
            resume_args: vec!["root".into()],
            nofile: (1024, u64::MAX),
            generation: 7,
            supervisor: Some(12),
            link: Some(5),
            ready: None,
            children: Vec::new(),
            stored: vec![("x".into(), 9)],
            blobs: vec![("b".into(), "\u{0}\"".into())],
            strangers: Vec::new(),
        }
    }

    #[test]
    fn a_state_survives_and_names_its_fds() {
        let memfd = state().write().unwrap();
        let read = State::read(&memfd).unwrap();
        assert_eq!(format!("{read:?}"), format!("{:?}", state()));
        assert_eq!(read.fds().collect::<Vec<_>>(), [3, 5, 9]);
    }

    #[test]
    fn what_is_unreadable_is_said_so() {
        let newer = State {
            version: STATE_VERSION + 1,
            ..state()
        };
        let text = State::read(&newer.write().unwrap())
            .unwrap_err()
            .to_string();
        assert!(text.contains("version 2"), "{text}");
        for garbage in ["", "{}", "{\"version\":1}", "[1", "\u{0}"] {
            let memfd = rustix::fs::memfd_create("x", MemfdFlags::CLOEXEC).unwrap();
            rustix::io::write(&memfd, garbage.as_bytes()).unwrap();
            assert!(State::read(&memfd).is_err(), "{garbage}");
        }
    }
}
