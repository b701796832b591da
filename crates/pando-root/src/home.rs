//! The home directory, its lock, and the id that ties processes to it.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use rustix::fs::FlockOperation;

const LOCK_FILE: &str = "root.lock";
/// A holder that was just killed, or that only clears up, is gone within this time.
const LOCK_TRIES: u32 = 20;
const LOCK_PAUSE: Duration = Duration::from_millis(25);
const MAX_LOCK_TEXT: u64 = 32;

/// A home that this process holds alone.
#[derive(Debug)]
pub struct Home {
    /// Canonical.
    pub dir: PathBuf,
    /// Value of `PANDO_HOME_ID` up to its slash.
    pub id: String,
    lock: File,
}

#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    #[error("another pando root holds it")]
    Held { pid: Option<u32> },
    #[error("{what} {}: {source}", path.display())]
    Io {
        what: &'static str,
        path: PathBuf,
        source: io::Error,
    },
}

impl Home {
    /// Makes the directory if it is absent (0700) and takes the lock, waiting half a second for
    /// a holder that is on its way out.
    pub fn take(home: &Path) -> Result<Self, HomeError> {
        let failed = |what| {
            move |source| HomeError::Io {
                what,
                path: home.to_path_buf(),
                source,
            }
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(home)
            .map_err(failed("cannot make"))?;
        let dir = home.canonicalize().map_err(failed("cannot use"))?;
        let id = home_id(&dir).map_err(failed("cannot use"))?;
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(dir.join(LOCK_FILE))
            .map_err(failed("cannot open root.lock in"))?;
        if !try_lock(&lock).map_err(failed("cannot lock root.lock in"))? {
            return Err(HomeError::Held {
                pid: holder(&mut lock),
            });
        }
        Ok(Self { dir, id, lock })
    }

    /// The same home after a re-exec, by the lock that was inherited.
    pub fn resume(dir: PathBuf, id: String, lock: OwnedFd) -> Self {
        Self {
            dir,
            id,
            lock: lock.into(),
        }
    }

    /// Writes this process down as the holder.
    pub fn sign(&mut self) -> io::Result<()> {
        self.lock.set_len(0)?;
        self.lock.rewind()?;
        writeln!(self.lock, "{}", std::process::id())
    }

    /// Clears what [`Home::sign`] wrote. The lock itself goes with the process.
    pub fn clear(&mut self) -> io::Result<()> {
        self.lock.set_len(0)
    }

    pub fn lock_fd(&self) -> BorrowedFd<'_> {
        self.lock.as_fd()
    }
}

fn try_lock(lock: &File) -> io::Result<bool> {
    for attempt in 0..LOCK_TRIES {
        if attempt > 0 {
            sleep(LOCK_PAUSE);
        }
        match rustix::fs::flock(lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(true),
            Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(false)
}

fn holder(lock: &mut File) -> Option<u32> {
    let mut text = String::new();
    lock.take(MAX_LOCK_TEXT).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// The id of a home: FNV-1a (64 bits) over path, device and inode. Device and inode keep two
/// containers apart that see each other's processes and have the same path for their homes.
///
/// # Errors
/// The directory does not exist or may not be looked at.
pub fn home_id(canonical: &Path) -> io::Result<String> {
    let meta = canonical.metadata()?;
    let (device, inode) = (meta.dev().to_le_bytes(), meta.ino().to_le_bytes());
    let bytes = canonical
        .as_os_str()
        .as_bytes()
        .iter()
        .chain(&device)
        .chain(&inode);
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    Ok(format!("{hash:016x}"))
}
