//! The handle on the pump's thread: every call is a message to it.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::intent::Intents;
use crate::label::{Label, SourceId};
use crate::options::{FileOptions, PumpOptions};
use crate::recent::Recent;
use crate::run::Runner;

/// Calls that the pump's thread has not got to yet; a caller waits beyond that.
const MAX_COMMANDS: usize = 1_024;
/// A flush returns after this whatever is still in the pipes.
pub const FLUSH_WAIT: Duration = Duration::from_secs(2);

pub enum Command {
    Configure(String, FileOptions),
    Attach(SourceId, Label, OwnedFd),
    Finish(SourceId),
    Flush(SyncSender<()>),
    Remove(String),
    Stop,
}

/// What the handle and the thread both see.
#[derive(Default)]
pub struct Shared {
    recent: Mutex<Recent>,
    told: Mutex<HashMap<String, Arc<AtomicBool>>>,
}

impl Shared {
    pub fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the app's growth was told and nobody asked for more since.
    pub fn told(&self, app: &str) -> Arc<AtomicBool> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flag) = told.get(app) {
            return flag.clone();
        }
        told.entry(app.to_owned()).or_default().clone()
    }

    pub fn forget(&self, app: &str) {
        self.told
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(app);
    }
}

/// Reads workers' pipes into their apps' files. Dropping it is [`Pump::stop`].
pub struct Pump {
    commands: SyncSender<Command>,
    wake: Arc<OwnedFd>,
    memory: Arc<OwnedFd>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Pump {
    /// Sets right what a killed run left half done, then starts the thread.
    pub fn start(options: PumpOptions) -> io::Result<Self> {
        let PumpOptions {
            dir,
            intents,
            echo,
            notices,
        } = options;
        let intents = Intents::open(intents)?;
        let memory = intents.memory();
        let (commands, queue) = sync_channel(MAX_COMMANDS);
        let shared = Arc::new(Shared::default());
        let runner = Runner::new(dir, intents, echo, notices, queue, shared.clone())?;
        let wake = runner.wake();
        let thread = std::thread::Builder::new()
            .name("log-pump".into())
            .spawn(move || runner.run())?;
        Ok(Self {
            commands,
            wake,
            memory,
            shared,
            thread: Some(thread),
        })
    }

    /// To be kept where this process's death does not close it and handed to the next
    /// [`Pump::start`] together with the same sources.
    pub fn intents_fd(&self) -> BorrowedFd<'_> {
        self.memory.as_fd()
    }

    /// Where and how the app's lines are kept. An app without it has [`FileOptions::default`].
    /// An invalid name is told by [`crate::Notice::WriteError`] and its output discarded.
    pub fn configure(&self, app: &str, options: FileOptions) {
        self.send(Command::Configure(app.to_owned(), options));
    }

    /// Begins to read a pipe. The pipe's capacity is raised; its flags are left alone.
    pub fn attach(&self, source: SourceId, label: Label, read_end: OwnedFd) {
        self.send(Command::Attach(source, label, read_end));
    }

    /// The worker is gone: takes what is in the pipe now, even if another process still holds the
    /// write end, and closes the read end. Then comes [`crate::Notice::Finished`], unless the
    /// source had reached its end, and told so, before.
    pub fn finish(&self, source: SourceId) {
        self.send(Command::Finish(source));
    }

    /// The last 40 lines of a source: one that is attached, or was among the last 64 finished.
    /// Lines still in the pipe are not among them: wait for [`crate::Notice::Finished`] first.
    pub fn recent_errors(&self, source: SourceId) -> Vec<String> {
        self.shared.recent().lines(source)
    }

    /// Asks for one [`crate::Notice::Changed`] at the app's next growth. To be called before
    /// reading a cursor: what comes after the read is then always told.
    pub fn rearm(&self, app: &str) {
        self.shared.told(app).store(false, Ordering::Release);
    }

    /// Whole lines that are in the pipes now are in the files when it returns, unless that takes
    /// over 2 s.
    pub fn flush(&self) {
        let (done, wait) = sync_channel(1);
        self.send(Command::Flush(done));
        let _ = wait.recv_timeout(FLUSH_WAIT);
    }

    /// Flushes and ends the thread. Partial lines stay in their pipes.
    pub fn stop(self) {}

    /// Forgets the app and closes its file; the files stay. Sources it still has go on.
    pub fn remove(&self, app: &str) {
        self.send(Command::Remove(app.to_owned()));
    }

    fn send(&self, command: Command) {
        // The thread only ends by a stop, which nobody can call before or beside this.
        let _ = self.commands.send(command);
        let _ = rustix::io::write(&*self.wake, &1u64.to_ne_bytes());
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        self.send(Command::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
