//! Small files of ours: replaced in one step, readable by us alone.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

/// Writes beside it and renames: who reads finds the old text or the new one, whole.
///
/// # Errors
/// Of the file system.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(dir) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    }
    let mut making = path.as_os_str().to_owned();
    making.push(".new");
    let mut options = OpenOptions::new();
    // One that a crash left may have another mode.
    match std::fs::remove_file(&making) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&making)?;
    file.write_all(bytes)?;
    file.sync_data()?;
    std::fs::rename(&making, path)
}

/// # Errors
/// Of the file system, or the file is larger than `max` bytes.
pub fn read(path: &Path, max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max {
        return Err(io::Error::other(format!("it is larger than {max} bytes")));
    }
    Ok(bytes)
}
