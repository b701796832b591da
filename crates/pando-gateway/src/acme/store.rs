//! What is kept: the account, and for each list of hosts the certificate and the tries.
//!
//! ```text
//! STORAGE/                        0700
//!   lock                          held by the process that orders
//!   challenges/                   answers to validations under way
//!   NAME-OF-THE-DIRECTORY/
//!     account.json                the account's key
//!     HOST-HASH.pem               key and chain in one file, so that they change together
//!     HOST-HASH.json              tries
//! ```
//!
//! Every file has mode 0600 and is replaced by a rename after an fsync. Functions here block.

use std::fs::{DirBuilder, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::schedule::Tries;
use crate::tls::{Certificate, DirectFiles, FileSource, PairError, Stamp};

/// Bytes of a hash that make a file's name unique.
const HASH_BYTES: usize = 8;
/// Characters of a host or an address in a file's name.
const MAX_LABEL: usize = 80;
/// Stored certificates that are looked through for a site whose hosts have changed.
const MAX_STORED: usize = 4096;
/// What a crash left in `challenges` goes after a day.
const STALE: Duration = Duration::from_secs(24 * 3600);

/// The storage for one directory.
#[derive(Clone, Debug)]
pub(super) struct Store {
    root: PathBuf,
    dir: PathBuf,
}

/// Held while this process orders; the kernel lets go of it when the process ends.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

#[derive(Serialize, Deserialize)]
pub(super) struct StoredAccount {
    pub directory: String,
    #[serde(default)]
    pub email: Option<String>,
    pub credentials: instant_acme::AccountCredentials,
}

impl Store {
    pub fn open(root: &Path, directory: &str) -> io::Result<Self> {
        let name = directory.trim_start_matches("https://");
        let store = Self {
            root: root.to_path_buf(),
            dir: root.join(file_name(name, &[directory])),
        };
        for dir in [root, &store.dir, &store.challenges()] {
            make_private(dir)?;
        }
        Ok(store)
    }

    pub fn challenges(&self) -> PathBuf {
        self.root.join("challenges")
    }

    /// `None` while another process holds it.
    pub fn lock(&self) -> io::Result<Option<Lock>> {
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(self.root.join("lock"))?;
        match file.try_lock() {
            Ok(()) => {
                self.forget_stale_challenges();
                Ok(Some(Lock { _file: file }))
            }
            Err(std::fs::TryLockError::WouldBlock) => Ok(None),
            Err(std::fs::TryLockError::Error(error)) => Err(error),
        }
    }

    pub fn account(&self) -> Option<StoredAccount> {
        read_json(&self.dir.join("account.json"))
    }

    pub fn save_account(&self, account: &StoredAccount) -> io::Result<()> {
        write_json(&self.dir.join("account.json"), account)
    }

    pub fn forget_account(&self) {
        let _ = std::fs::remove_file(self.dir.join("account.json"));
    }

    pub fn tries(&self, names: &[String]) -> Tries {
        read_json(&self.file(names, "json")).unwrap_or_default()
    }

    pub fn save_tries(&self, names: &[String], tries: &Tries) -> io::Result<()> {
        write_json(&self.file(names, "json"), tries)
    }

    /// Of the certificate for these names, if there is one.
    pub fn stamp(&self, names: &[String]) -> Option<Stamp> {
        DirectFiles.stamp(&self.file(names, "pem")).ok()
    }

    pub fn certificate(&self, names: &[String]) -> Option<Result<Certificate, PairError>> {
        let text = DirectFiles.read(&self.file(names, "pem")).ok()?;
        Some(Certificate::from_pem(&text, &text))
    }

    pub fn save_certificate(&self, names: &[String], chain: &str, key: &str) -> io::Result<()> {
        let text = format!("{}\n{}\n", key.trim_end(), chain.trim_end());
        write_private(&self.file(names, "pem"), text.as_bytes())
    }

    /// The best of what was stored for other lists of hosts and has not ended; for a site whose hosts
    /// have changed.
    pub fn nearest(&self, names: &[String], now: SystemTime) -> Option<Arc<Certificate>> {
        let entries = std::fs::read_dir(&self.dir).ok()?.flatten();
        let pems = entries.map(|entry| entry.path()).filter(|path| {
            let extension = path.extension().unwrap_or_default();
            extension == "pem"
        });
        let mut known = Vec::new();
        for path in pems.take(MAX_STORED) {
            if let Ok(text) = DirectFiles.read(&path)
                && let Ok(certificate) = Certificate::from_pem(&text, &text)
                && certificate.not_after > now
            {
                known.push(Arc::new(certificate));
            }
        }
        Certificate::best_for(names, known.iter()).cloned()
    }

    fn file(&self, names: &[String], extension: &str) -> PathBuf {
        let first = names.first().map_or("none", String::as_str);
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let name = file_name(first, &names);
        self.dir.join(format!("{name}.{extension}"))
    }

    fn forget_stale_challenges(&self) {
        let Ok(entries) = std::fs::read_dir(self.challenges()) else {
            return;
        };
        for entry in entries.flatten() {
            let modified = entry.metadata().and_then(|metadata| metadata.modified());
            let age = modified.map(|at| SystemTime::now().duration_since(at).unwrap_or_default());
            if age.is_ok_and(|age| age > STALE) {
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }
}

/// Readable for people, unique by the hash of `parts`.
fn file_name(label: &str, parts: &[&str]) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || c == '-' {
            c
        } else {
            '.'
        }
    };
    let label: String = label.chars().take(MAX_LABEL).map(plain).collect();
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.as_bytes());
        hash.update(b"\n");
    }
    let hash = hash.finalize();
    let hex: String = hash[..HASH_BYTES]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("{}-{hex}", label.trim_matches('.'))
}

fn make_private(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let mode = std::fs::metadata(dir)?.permissions().mode();
    if mode & 0o077 != 0 {
        std::fs::set_permissions(dir, Permissions::from_mode(0o700))?;
    }
    Ok(())
}

/// Replaces `path` whole or not at all, mode 0600, on the disk when it returns.
pub(super) fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("/"));
    // tempfile makes files with mode 0600.
    let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(dir)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    File::open(dir)?.sync_all()
}

fn write_json(path: &Path, value: &impl Serialize) -> io::Result<()> {
    write_private(path, &serde_json::to_vec_pretty(value)?)
}

/// What is absent or damaged is as if it had never been.
fn read_json<T: DeserializeOwned>(path: &Path) -> Option<T> {
    let bytes = DirectFiles.read(path).ok()?;
    match serde_json::from_slice(&bytes) {
        Ok(value) => Some(value),
        Err(error) => {
            tracing::warn!("{} is damaged and not used: {error}", path.display());
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn everything_is_private_and_laxer_modes_are_tightened() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("acme");
        std::fs::create_dir(&root).unwrap();
        std::fs::set_permissions(&root, Permissions::from_mode(0o755)).unwrap();
        let store = Store::open(&root, "https://ca.example/dir").unwrap();
        let names = ["a.example".to_owned()];
        store.save_certificate(&names, "chain", "key").unwrap();
        store.save_tries(&names, &Tries::default()).unwrap();
        let _lock = store.lock().unwrap().unwrap();
        let mut files = 0;
        let mut dirs = vec![root];
        while let Some(dir) = dirs.pop() {
            assert_eq!(mode(&dir), 0o700, "{}", dir.display());
            for entry in std::fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    dirs.push(path);
                } else {
                    assert_eq!(mode(&path), 0o600, "{}", path.display());
                    files += 1;
                }
            }
        }
        assert_eq!(files, 3);
    }

    #[test]
    fn one_process_at_a_time_holds_the_lock() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), "https://ca.example/dir").unwrap();
        let held = store.lock().unwrap();
        assert!(held.is_some());
        assert!(store.lock().unwrap().is_none());
        drop(held);
        assert!(store.lock().unwrap().is_some());
    }

    #[test]
    fn names_are_readable_and_differ() {
        let name = |names: &[&str]| file_name(names[0], names);
        assert!(name(&["a.example"]).starts_with("a.example-"));
        assert_ne!(name(&["a.example"]), name(&["a.example", "b.example"]));
        let odd = file_name("../../etc/passwd", &["x"]);
        assert!(!odd.contains('/') && !odd.starts_with('.'), "{odd}");
    }

    #[test]
    fn damaged_files_are_as_none() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), "https://ca.example/dir").unwrap();
        let names = ["a.example".to_owned()];
        assert!(store.certificate(&names).is_none());
        store.save_certificate(&names, "chain", "key").unwrap();
        assert!(store.certificate(&names).unwrap().is_err());
        write_private(&store.file(&names, "json"), b"{").unwrap();
        assert_eq!(store.tries(&names), Tries::default());
    }
}
