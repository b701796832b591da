//! Rotated files become `.gz` in one background thread of low priority.
//!
//! A job names an app, not a file: whatever is plain and rotated is compressed, oldest first. So
//! a job that did not fit the queue, or a run that was killed, is made up for by the next one.
//! The compressed file is complete and on the disk before it gets its name, and has its name
//! before the plain one goes; a scan between the two prefers the plain one.

use std::fs::{File, FileTimes, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use flate2::{Compression, GzBuilder};

use crate::file::{AppFile, Names, lock};
use crate::segment::{Identity, packed_path, packing_path, rotated, rotated_path};

const MAX_JOBS: usize = 64;
const BLOCK_BYTES: usize = 64 * 1024;
/// Logs shrink to about a tenth at any level; this one is among the quick ones.
const LEVEL: u32 = 3;
/// As nice as it gets short of idle.
const NICENESS: i32 = 19;

struct Job {
    app: String,
    dir: PathBuf,
    names: Names,
}

pub struct Compressor {
    jobs: Option<SyncSender<Job>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Compressor {
    pub fn start() -> io::Result<Self> {
        let (jobs, queue) = sync_channel(MAX_JOBS);
        let stop = Arc::new(AtomicBool::new(false));
        let stopping = stop.clone();
        let thread = std::thread::Builder::new()
            .name("log-compress".into())
            .spawn(move || work(&queue, &stopping))?;
        Ok(Self {
            jobs: Some(jobs),
            stop,
            thread: Some(thread),
        })
    }

    /// Never waits: a job that does not fit is made up for by the app's next one.
    pub fn compress(&self, file: &AppFile) {
        if let Some(jobs) = &self.jobs {
            let (app, dir) = (file.app.clone(), file.dir.clone());
            let _ = jobs.try_send(Job {
                app,
                dir,
                names: file.names.clone(),
            });
        }
    }
}

impl Drop for Compressor {
    /// Gives up the file under way; it stays plain.
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn work(queue: &Receiver<Job>, stop: &AtomicBool) {
    let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICENESS);
    while let Ok(job) = queue.recv() {
        // An error (no room, most likely) leaves the plain file: nothing is lost.
        while !stop.load(Ordering::Relaxed) && job.compress_oldest(stop).unwrap_or(false) {}
    }
}

impl Job {
    /// Whether there was one.
    fn compress_oldest(&self, stop: &AtomicBool) -> io::Result<bool> {
        let temporary = packing_path(&self.dir, &self.app);
        let Some((source, identity)) = self.oldest_plain()? else {
            // What a killed run left.
            let _ = std::fs::remove_file(&temporary);
            return Ok(false);
        };
        let packed = pack(&source, identity, &temporary, stop);
        let placed = packed.and_then(|()| self.put_in_place(identity, &temporary));
        if placed.is_err() {
            let _ = std::fs::remove_file(&temporary);
        }
        placed.map(|()| true)
    }

    fn oldest_plain(&self) -> io::Result<Option<(File, Identity)>> {
        let _guard = lock(&self.names);
        let all = rotated(&self.dir, &self.app)?;
        for &(number, packed) in all.iter().rev() {
            let path = rotated_path(&self.dir, &self.app, number);
            if packed {
                continue;
            }
            if all.contains(&(number, true)) {
                // Killed between the two steps: the compressed one is complete.
                std::fs::remove_file(path)?;
                continue;
            }
            let file = File::open(path)?;
            let identity = Identity::of(&file)?;
            return Ok(Some((file, identity)));
        }
        Ok(None)
    }

    /// The plain file may have moved up, or been deleted, while it was compressed.
    fn put_in_place(&self, identity: Identity, temporary: &Path) -> io::Result<()> {
        let _guard = lock(&self.names);
        for (number, packed) in rotated(&self.dir, &self.app)? {
            let plain = rotated_path(&self.dir, &self.app, number);
            if !packed && Identity::of(&File::open(&plain)?)? == identity {
                std::fs::rename(temporary, packed_path(&self.dir, &self.app, number))?;
                return std::fs::remove_file(plain);
            }
        }
        std::fs::remove_file(temporary)
    }
}

fn pack(source: &File, identity: Identity, to: &Path, stop: &AtomicBool) -> io::Result<()> {
    let target = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(to)?;
    let mut packer = GzBuilder::new()
        .comment(identity.to_comment())
        .write(target, Compression::new(LEVEL));
    let mut reader = source;
    let mut block = vec![0; BLOCK_BYTES];
    loop {
        let have = reader.read(&mut block)?;
        if have == 0 {
            break;
        }
        if stop.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        packer.write_all(&block[..have])?;
    }
    let target = packer.finish()?;
    // Readers pass over files older than what they look for.
    target.set_times(FileTimes::new().set_modified(source.metadata()?.modified()?))?;
    target.sync_all()
}
