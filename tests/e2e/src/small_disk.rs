//! A small file system, to be filled. Mounting one needs root; who is not root has namespaces of
//! its own for it, in which the test is run once more.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail, ensure};

/// In the environment of a test that was begun in its own namespaces.
const INSIDE: &str = "PANDO_E2E_OWN_MOUNTS";
const FILLER: &str = "filler";
/// Written at once.
const PIECE: usize = 4_096;
/// More is no small disk.
const PIECES_MAX: usize = 16_384;

/// Unmounted when dropped.
#[derive(Debug)]
pub struct SmallDisk {
    path: PathBuf,
}

impl SmallDisk {
    /// Mounts one of `size` (`1m`) at a directory, for a test of that name. `None`: the test has
    /// run, and passed, in namespaces of its own.
    pub fn mount(path: &Path, size: &str, test: &str) -> anyhow::Result<Option<Self>> {
        let options = format!("size={size},mode=0700");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(path)
            .output()
            .context("mount")?;
        if mounted.status.success() {
            let path = path.to_owned();
            return Ok(Some(Self { path }));
        }
        let why = String::from_utf8_lossy(&mounted.stderr).into_owned();
        if std::env::var_os(INSIDE).is_some() {
            bail!("a tmpfs can be mounted neither by root nor in own namespaces: {why}");
        }
        let own = std::env::current_exe()?;
        let status = Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount", "--"])
            .arg(own)
            .args(["--exact", test, "--nocapture"])
            .env(INSIDE, "1")
            .status()
            .context("unshare")?;
        ensure!(
            status.success(),
            "{test} in its own namespaces: {status}; mount said: {why}"
        );
        Ok(None)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes all the room that is left.
    pub fn fill(&self) -> anyhow::Result<()> {
        let mut options = File::options();
        let mut file = options
            .create(true)
            .append(true)
            .open(self.path.join(FILLER))?;
        for _ in 0..PIECES_MAX {
            match file.write_all(&[0x55; PIECE]) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::StorageFull => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        bail!("{} is not full", self.path.display())
    }

    pub fn free(&self) -> anyhow::Result<()> {
        Ok(fs::remove_file(self.path.join(FILLER))?)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Who still has files open on it keeps it until they close them.
        let _ = Command::new("umount")
            .arg("--lazy")
            .arg(&self.path)
            .status();
    }
}
