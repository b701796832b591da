//! Files that the gateway may not open itself: its supervisor opens them.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::Path;

use super::Handle;
use crate::tls::{DirectFiles, FileSource, Stamp, read_all};

/// With the rights of this process where they suffice, else over the link. The link's driver must
/// run on another thread: this one waits.
#[derive(Clone, Debug)]
pub struct LinkFiles(Handle);

impl LinkFiles {
    pub fn new(handle: Handle) -> Self {
        Self(handle)
    }

    fn open(&self, path: &Path) -> io::Result<File> {
        self.0.open_blocking(path).map(File::from)
    }
}

impl FileSource for LinkFiles {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        match DirectFiles.read(path) {
            Err(error) if error.kind() == ErrorKind::PermissionDenied => read_all(self.open(path)?),
            result => result,
        }
    }

    fn stamp(&self, path: &Path) -> io::Result<Stamp> {
        match DirectFiles.stamp(path) {
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                Ok(Stamp::of(&self.open(path)?.metadata()?))
            }
            result => result,
        }
    }
}
