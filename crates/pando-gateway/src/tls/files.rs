//! Where certificate files come from. A gateway without rights to read them is given another source.

use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

/// A PEM file is refused beyond this; a chain of 16 certificates has about 32 KiB.
pub const MAX_PEM_BYTES: u64 = 1024 * 1024;

/// Two equal stamps mean that a file was not replaced or written in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    pub bytes: u64,
    pub inode: u64,
    /// Of the content's last change: seconds since 1970 and nanoseconds.
    pub modified: (i64, i64),
}

/// Called on threads that may block.
pub trait FileSource: Send + Sync {
    /// The whole file, at most [`MAX_PEM_BYTES`].
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// Of the file behind any symbolic links, so that a link which is switched counts as a change.
    fn stamp(&self, path: &Path) -> io::Result<Stamp>;
}

/// The file system, with the rights of this process.
#[derive(Clone, Copy, Debug, Default)]
pub struct DirectFiles;

impl FileSource for DirectFiles {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        // A pipe in its place must not hold us up until somebody writes to it.
        let mut options = std::fs::File::options();
        let file = options
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(path)?;
        read_all(file)
    }

    fn stamp(&self, path: &Path) -> io::Result<Stamp> {
        Ok(Stamp::of(&std::fs::metadata(path)?))
    }
}

impl Stamp {
    pub fn of(metadata: &std::fs::Metadata) -> Self {
        Self {
            bytes: metadata.len(),
            inode: metadata.ino(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }
}

/// All of an open file, at most [`MAX_PEM_BYTES`].
///
/// # Errors
/// It is none, or larger.
pub fn read_all(file: std::fs::File) -> io::Result<Vec<u8>> {
    use std::io::Read;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    let mut bytes = Vec::new();
    file.take(MAX_PEM_BYTES + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > MAX_PEM_BYTES {
        true => Err(io::Error::other("it has more than 1 MiB")),
        false => Ok(bytes),
    }
}
