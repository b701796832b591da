//! Answers on disk: a file each, an index in memory, a thread that writes.
//!
//! The index is rebuilt at start by that thread, from the heads of the files; until a file was
//! seen its answer is a miss. Files are written beside their place and renamed into it, and carry
//! checksums: what does not fit them is dropped. All reads and writes are off the event loop.

mod file;
mod index;

use std::fs;
use std::hash::RandomState;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gateway_spec::CacheDisk;
use http::HeaderMap;

use super::entry::Entry;
use super::key::Address;
use super::now_ms;
use super::purge::Purge;
use super::store::Statistics;
use index::Index;
pub(super) use index::Record;

/// Files that wait to be written; further ones are not.
const MAX_WAITING: usize = 512;
/// Bytes that wait to be written.
const MAX_WAITING_BYTES: u64 = 64 * 1024 * 1024;
/// Purges while the index is being rebuilt; one more and nothing older is taken in.
const MAX_EARLY_PURGES: usize = 4096;
/// Folders that files are spread over.
const FOLDERS: u64 = 256;

pub(super) struct Disk {
    path: PathBuf,
    index: Mutex<Index>,
    /// What was purged while the index is being rebuilt; `None` when it is complete.
    early: Mutex<Option<Vec<Purge>>>,
    queue: SyncSender<Job>,
    waiting_bytes: AtomicU64,
    corrupt: AtomicU64,
    failures: AtomicU64,
    /// A failure was told; it is told again after a success.
    told: AtomicBool,
}

enum Job {
    Write {
        id: u64,
        address: Box<str>,
        entry: Arc<Entry>,
    },
    /// There are files to be deleted.
    Delete,
}

impl Disk {
    /// `None` when the folder cannot be used, which is told: the cache does without it.
    pub(super) fn open(spec: &CacheDisk, hasher: RandomState) -> Option<Arc<Self>> {
        if let Err(error) = fs::create_dir_all(&spec.path) {
            let path = spec.path.display();
            tracing::error!(%path, %error, "the cache's folder cannot be used; caching in memory only");
            return None;
        }
        let (queue, jobs) = sync_channel(MAX_WAITING);
        let disk = Arc::new(Self {
            path: spec.path.clone(),
            index: Mutex::new(Index::new(spec.max_bytes, now_ms() << 16)),
            early: Mutex::new(Some(Vec::new())),
            queue,
            waiting_bytes: AtomicU64::new(0),
            corrupt: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            told: AtomicBool::new(false),
        });
        // The thread ends with the last of the other references: it holds none that keeps the
        // queue open.
        let weak = Arc::downgrade(&disk);
        let thread = std::thread::Builder::new().name("cache-disk".into());
        let started = thread.spawn(move || {
            if let Some(disk) = weak.upgrade() {
                disk.rebuild(&hasher);
            }
            work(&weak, &jobs);
        });
        if let Err(error) = started {
            tracing::error!(%error, "no thread for the cache's disk; caching in memory only");
            return None;
        }
        Some(disk)
    }

    pub(super) fn count(&self, statistics: &mut Statistics) {
        let index = self.index();
        statistics.disk_files = index.len() as u64;
        statistics.disk_bytes = index.bytes();
        statistics.disk_corrupt = self.corrupt.load(Ordering::Relaxed);
        statistics.disk_failures = self.failures.load(Ordering::Relaxed);
    }

    /// The variant for this request, if it is there and whole.
    pub(super) async fn read(
        self: &Arc<Self>,
        hash: u64,
        address: &str,
        scope: u64,
        request: &HeaderMap,
    ) -> Option<Arc<Entry>> {
        let id = self.index().find(hash, address, scope, request)?;
        let (disk, address) = (self.clone(), Box::<str>::from(address));
        let reading = tokio::task::spawn_blocking(move || disk.read_now(hash, id, &address));
        reading.await.ok().flatten()
    }

    fn read_now(&self, hash: u64, id: u64, address: &str) -> Option<Arc<Entry>> {
        match file::read(&self.place(id)) {
            Ok(stored) if *stored.address == *address => return Some(Arc::new(stored.entry)),
            // Another process of ours wrote its own under this name, or deleted it.
            Ok(_) | Err(file::Error::Gone) => {}
            Err(file::Error::Corrupt(why)) => self.found_corrupt(&self.place(id), why),
            Err(file::Error::Io(error)) => self.failed("read", &error),
        }
        self.remove(hash, |record| record.id == id);
        None
    }

    /// Keeps an answer, soon.
    pub(super) fn write(&self, hash: u64, address: &str, entry: Arc<Entry>) {
        let bytes = entry.weight();
        let id = {
            let mut index = self.index();
            match index.add(hash, Record::new(address, &entry, bytes)) {
                Some(id) => id,
                None => return,
            }
        };
        let waiting = self.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
        let job = Job::Write {
            id,
            address: address.into(),
            entry,
        };
        if waiting > MAX_WAITING_BYTES || self.queue.try_send(job).is_err() {
            self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
            self.failures.fetch_add(1, Ordering::Relaxed);
            self.remove(hash, |record| record.id == id);
        }
    }

    /// Forgets what `which` takes of an address; returns how many files that was.
    pub(super) fn remove(&self, hash: u64, which: impl Fn(&Record) -> bool) -> usize {
        let count = self.index().remove(hash, which);
        self.delete_soon();
        count
    }

    pub(super) fn purge(&self, purge: &Purge) -> usize {
        self.remember(purge);
        let count = self.index().purge(purge);
        self.delete_soon();
        count
    }

    /// Holds off what is not yet in the index.
    pub(super) fn remember(&self, purge: &Purge) {
        let mut early = self.early.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(early) = early.as_mut() {
            let full = early.len() >= MAX_EARLY_PURGES;
            early.push(if full { Purge::All } else { purge.clone() });
            if full {
                early.drain(..early.len() - 1);
            }
        }
    }

    fn delete_soon(&self) {
        // A full queue is being worked on, and whoever works on it looks at what is to be deleted.
        if self.index().has_doomed() {
            let _ = self.queue.try_send(Job::Delete);
        }
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn place(&self, id: u64) -> PathBuf {
        let folder = format!("{:02x}", id % FOLDERS);
        self.path.join(folder).join(format!("{id:016x}"))
    }

    fn do_job(&self, job: Job) {
        if let Job::Write { id, address, entry } = job {
            self.waiting_bytes
                .fetch_sub(entry.weight(), Ordering::Relaxed);
            // It may have been purged while it waited.
            if self.index().contains(id) {
                match file::write(&self.place(id), &address, &entry) {
                    Ok(bytes) => {
                        self.told.store(false, Ordering::Relaxed);
                        self.index().written(id, bytes);
                    }
                    Err(error) => {
                        // A starting process of ours took it for one of a process that died.
                        if error.kind() != std::io::ErrorKind::NotFound {
                            self.failed("write", &error);
                        }
                        self.index().remove_id(id);
                    }
                }
            }
        }
        let doomed = self.index().take_doomed();
        for id in doomed {
            let _ = fs::remove_file(self.place(id));
        }
    }

    fn failed(&self, what: &str, error: &std::io::Error) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        if !self.told.swap(true, Ordering::Relaxed) {
            let path = self.path.display();
            tracing::error!(%path, %error, "the cache cannot {what} its files; it goes on in memory");
        }
    }

    fn found_corrupt(&self, path: &Path, why: &str) {
        self.corrupt.fetch_add(1, Ordering::Relaxed);
        let path = path.display();
        tracing::warn!(%path, why, "a damaged file of the cache was dropped");
    }

    /// Takes in what an earlier process left, oldest first.
    fn rebuild(&self, hasher: &RandomState) {
        let mut files: Vec<_> = folders(&self.path)
            .flat_map(|folder| files_of(&folder))
            .collect();
        files.sort();
        for (_, path) in files {
            match file::read_head(&path) {
                Ok((stored, bytes)) => self.take_in(hasher, &path, &stored, bytes),
                Err(file::Error::Corrupt(why)) => {
                    self.found_corrupt(&path, why);
                    let _ = fs::remove_file(&path);
                }
                Err(file::Error::Io(error)) => self.failed("read", &error),
                Err(file::Error::Gone) => {}
            }
        }
        *self.early.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.do_job(Job::Delete);
    }

    fn take_in(&self, hasher: &RandomState, path: &Path, stored: &file::Stored, bytes: u64) {
        let id = path
            .file_name()
            .and_then(|name| u64::from_str_radix(name.to_str()?, 16).ok())
            .filter(|id| self.place(*id) == path);
        let early = self.early.lock().unwrap_or_else(PoisonError::into_inner);
        let purged = early
            .iter()
            .flatten()
            .any(|purge| purge.takes(&stored.address, &stored.entry));
        let useless = stored.entry.freshness.spent(now_ms())
            && !http_cache::has_validator(&stored.entry.headers);
        let hash = hash_of(&stored.address, hasher);
        match (id, hash, purged || useless) {
            (Some(id), Some(hash), false) => {
                let record = Record::new(&stored.address, &stored.entry, bytes);
                self.index().take_in(hash, id, record);
            }
            _ => {
                let _ = fs::remove_file(path);
            }
        }
    }
}

fn work(disk: &std::sync::Weak<Disk>, jobs: &Receiver<Job>) {
    while let Ok(job) = jobs.recv() {
        match disk.upgrade() {
            Some(disk) => disk.do_job(job),
            None => return,
        }
    }
}

fn hash_of(address: &str, hasher: &RandomState) -> Option<u64> {
    let (scheme, rest) = address.split_once("://")?;
    let (host, path) = rest.split_at(rest.find('/')?);
    Some(Address::new(scheme, host, path, &[]).hash(hasher))
}

fn folders(path: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
}

/// Files with the time they were written; what was left half written is deleted.
fn files_of(folder: &Path) -> Vec<(std::time::SystemTime, PathBuf)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.path();
        if path
            .extension()
            .is_some_and(|extension| extension == file::UNFINISHED)
        {
            let _ = fs::remove_file(path);
        } else if let Ok(written) = entry.metadata().and_then(|metadata| metadata.modified()) {
            files.push((written, path));
        }
    }
    files
}

#[cfg(test)]
mod tests;
