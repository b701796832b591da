//! The file that one app's lines go to: opening, appending, rotating, making room.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::intent::Place;
use crate::options::{FileOptions, MAX_KEEP};
use crate::segment::{live_path, packed_path, rotated, rotated_path};

/// Held while an app's files change their names: by the pump for a rotation, by the compressor
/// for putting a compressed file in the place of the plain one.
pub type Names = Arc<Mutex<()>>;

pub fn lock(names: &Names) -> MutexGuard<'_, ()> {
    names.lock().unwrap_or_else(PoisonError::into_inner)
}

pub struct AppFile {
    pub app: String,
    pub dir: PathBuf,
    pub max_bytes: u64,
    pub keep: u32,
    pub compress: bool,
    pub names: Names,
    open: Option<File>,
}

impl AppFile {
    pub fn new(app: &str, default_dir: &Path, options: &FileOptions) -> Self {
        Self {
            app: app.to_owned(),
            dir: options
                .dir
                .clone()
                .unwrap_or_else(|| default_dir.to_owned()),
            max_bytes: options.max_bytes.max(1),
            keep: options.keep.min(MAX_KEEP),
            compress: options.compress,
            names: Names::default(),
            open: None,
        }
    }

    /// Makes ready to append `bytes`: opens and rotates as needed. `rotated` is set if there is
    /// now a file to be compressed.
    pub fn prepare(&mut self, bytes: usize, rotated: &mut bool) -> io::Result<Place> {
        let mut place = self.place()?;
        if place.offset > 0 && place.offset + bytes as u64 > self.max_bytes {
            self.rotate()?;
            *rotated = true;
            place = self.place()?;
        }
        Ok(place)
    }

    /// Appends all or, after an error, leaves the file as it was.
    pub fn append(&mut self, place: &Place, bytes: &[u8]) -> io::Result<()> {
        let Some(file) = &mut self.open else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let written = file.write_all(bytes);
        if written.is_err() {
            // Where even that fails, opening it again ends the torn line.
            let _ = file.set_len(place.offset);
            self.open = None;
        }
        written
    }

    pub fn close(&mut self) {
        self.open = None;
    }

    /// Deletes the oldest rotated file; whether there was one.
    pub fn delete_oldest(&mut self) -> io::Result<bool> {
        let _guard = lock(&self.names);
        let Some((oldest, _)) = rotated(&self.dir, &self.app)?.last().copied() else {
            return Ok(false);
        };
        self.delete(oldest)?;
        Ok(true)
    }

    fn place(&mut self) -> io::Result<Place> {
        if let Some(file) = &self.open {
            let meta = file.metadata()?;
            // Someone removed it: lines written to it now would be lost to everyone.
            if meta.nlink() > 0 {
                return Ok(self.place_of(&meta));
            }
        }
        let file = self.open_live()?;
        let meta = file.metadata()?;
        self.open = Some(file);
        Ok(self.place_of(&meta))
    }

    fn place_of(&self, meta: &std::fs::Metadata) -> Place {
        Place {
            path: live_path(&self.dir, &self.app),
            dev: meta.dev(),
            ino: meta.ino(),
            offset: meta.len(),
        }
    }

    fn open_live(&self) -> io::Result<File> {
        let path = live_path(&self.dir, &self.app);
        let options = || {
            let mut options = OpenOptions::new();
            options.read(true).append(true).create(true).mode(0o600);
            options
        };
        let mut file = match options().open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                DirBuilder::new()
                    .recursive(true)
                    .mode(0o700)
                    .create(&self.dir)?;
                options().open(&path)?
            }
            other => other?,
        };
        let len = file.metadata()?.len();
        let mut last = [b'\n'];
        if len > 0 && file.read_at(&mut last, len - 1)? == 1 && last != [b'\n'] {
            file.write_all(b"\n")?;
        }
        Ok(file)
    }

    /// Moves every file to the next number, deletes those past `keep`, and closes the current.
    fn rotate(&mut self) -> io::Result<()> {
        let _guard = lock(&self.names);
        let live = live_path(&self.dir, &self.app);
        if self.keep == 0 {
            std::fs::remove_file(&live)?;
            self.open = None;
            return Ok(());
        }
        for (number, packed) in rotated(&self.dir, &self.app)?.into_iter().rev() {
            if number >= self.keep {
                self.delete(number)?;
                continue;
            }
            let path = if packed { packed_path } else { rotated_path };
            let (from, to) = (
                path(&self.dir, &self.app, number),
                path(&self.dir, &self.app, number + 1),
            );
            std::fs::rename(from, to)?;
        }
        std::fs::rename(&live, rotated_path(&self.dir, &self.app, 1))?;
        self.open = None;
        Ok(())
    }

    fn delete(&self, number: u32) -> io::Result<()> {
        for path in [rotated_path, packed_path] {
            match std::fs::remove_file(path(&self.dir, &self.app, number)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app_file(dir: &Path, max_bytes: u64, keep: u32) -> AppFile {
        AppFile::new(
            "a",
            dir,
            &FileOptions {
                max_bytes,
                keep,
                ..FileOptions::default()
            },
        )
    }

    fn append(file: &mut AppFile, text: &[u8]) {
        let place = file.prepare(text.len(), &mut false).unwrap();
        file.append(&place, text).unwrap();
    }

    fn read(dir: &Path, name: &str) -> String {
        std::fs::read_to_string(dir.join(name)).unwrap_or_default()
    }

    #[test]
    fn files_move_up_and_the_oldest_goes() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = app_file(dir.path(), 4, 2);
        for text in [b"1\n", b"2\n", b"3\n", b"4\n", b"5\n", b"6\n", b"7\n"] {
            append(&mut file, text);
        }
        assert_eq!(read(dir.path(), "a.log"), "7\n");
        assert_eq!(read(dir.path(), "a.log.1"), "5\n6\n");
        assert_eq!(read(dir.path(), "a.log.2"), "3\n4\n");
        assert!(!dir.path().join("a.log.3").exists());
        assert!(file.delete_oldest().unwrap());
        assert!(file.delete_oldest().unwrap());
        assert!(!file.delete_oldest().unwrap());
    }

    #[test]
    fn a_torn_line_is_ended_and_a_removed_file_is_made_again() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a.log"), "torn").unwrap();
        let mut file = app_file(dir.path(), 1_000, 0);
        append(&mut file, b"1\n");
        assert_eq!(read(dir.path(), "a.log"), "torn\n1\n");
        std::fs::remove_file(dir.path().join("a.log")).unwrap();
        append(&mut file, b"2\n");
        assert_eq!(read(dir.path(), "a.log"), "2\n");
        let mode = std::fs::metadata(dir.path().join("a.log")).unwrap().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
