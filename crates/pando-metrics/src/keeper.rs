//! Keeps what was measured: the last hour in memory, everything on disk. The disk has a thread of
//! its own with a bounded queue, so that a slow one holds up no picture; while it refuses, memory
//! goes on.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use monitor_spec::state::Event;

use crate::history::tier::Tier;
use crate::history::{History, Write};
use crate::row::Second;
use crate::store::{Store, is_damage};

/// Orders that wait for the disk.
const QUEUE_MAX: usize = 512;
/// Writes that the disk refused and that are tried again; chapters above all.
const OWED_MAX: usize = 16;
/// Events in memory, for when there is no disk.
const EVENTS_MAX: usize = 1_000;
const BEHIND: &str = "the disk does not keep up with the metrics";
/// Between two looks at age and size.
const TRIM_EVERY_S: i64 = 600;

/// Is given the store, if there is one, or why it cannot be asked.
type Read = Box<dyn FnOnce(Result<Option<&Store>, &'static str>) + Send>;

enum Order {
    Write(Write),
    Event(Event),
    Trim { now_s: i64, max_bytes: u64 },
    Read(Read),
    End(SyncSender<()>),
}

/// What is wrong with the disk, for a person.
type Problem = Arc<Mutex<Option<String>>>;

pub struct Keeper {
    pub history: History,
    pub events: VecDeque<Event>,
    orders: SyncSender<Order>,
    problem: Problem,
    /// What was found at the start: a damaged store.
    found: Option<String>,
    trimmed_s: i64,
}

impl Keeper {
    /// Opens the store and takes up the last hour. Without a store it begins with nothing.
    pub fn open(dir: &Path, now_s: i64) -> Self {
        let mut history = History::default();
        let (mut store, mut found) = open(dir);
        let mut owed = VecDeque::new();
        let taken = store.as_ref().map(|s| take_up(s, &mut history, now_s));
        if let Some(Ok(writes)) = taken {
            owed = writes;
        } else if let Some(Err(error)) = taken {
            tracing::warn!(%error, "the metrics' store cannot be read");
            history = History::default();
            if is_damage(&error) {
                drop(store.take());
                (store, found) = begin_anew(dir, &error);
            }
        }
        let problem = Problem::default();
        if store.is_none() {
            // It is over as soon as the disk takes something.
            tell(&problem, found.take());
        }
        let (orders, inbox) = sync_channel(QUEUE_MAX);
        let disk = Disk {
            dir: dir.to_owned(),
            store,
            owed,
            problem: Arc::clone(&problem),
        };
        let thread = std::thread::Builder::new().name("metrics-store".into());
        if let Err(error) = thread.spawn(move || disk.run(&inbox)) {
            found = Some(format!("metrics are not written: {error}"));
        }
        Self {
            history,
            events: VecDeque::new(),
            orders,
            problem,
            found,
            trimmed_s: now_s,
        }
    }

    /// A second that is over.
    pub fn add(&mut self, second: &Second, max_bytes: u64) {
        for write in self.history.add(second) {
            self.order(Order::Write(write));
        }
        if second.time_s - self.trimmed_s >= TRIM_EVERY_S {
            self.trimmed_s = second.time_s;
            let now_s = second.time_s;
            self.order(Order::Trim { now_s, max_bytes });
        }
    }

    pub fn event(&mut self, event: &Event) {
        if self.events.len() >= EVENTS_MAX {
            self.events.pop_front();
        }
        self.events.push_back(event.clone());
        self.order(Order::Event(event.clone()));
    }

    /// Reads on the disk's own thread; here and now only to say that it does not keep up.
    pub fn read(&self, read: impl FnOnce(Result<Option<&Store>, &'static str>) + Send + 'static) {
        use std::sync::mpsc::TrySendError::{Disconnected, Full};
        let order = Order::Read(Box::new(read));
        if let Err(Full(Order::Read(read)) | Disconnected(Order::Read(read))) =
            self.orders.try_send(order)
        {
            read(Err(BEHIND));
        }
    }

    pub fn problems(&self) -> impl Iterator<Item = String> {
        let now = self.problem.lock().unwrap_or_else(PoisonError::into_inner);
        self.found.clone().into_iter().chain(now.clone())
    }

    fn order(&self, order: Order) {
        if self.orders.try_send(order).is_err() {
            tell(&self.problem, Some(BEHIND.into()));
        }
    }

    /// Writes what is not on disk yet.
    pub fn end(mut self) {
        if let Some(write) = self.history.turn_batch() {
            self.order(Order::Write(write));
        }
        let (done, ended) = sync_channel(1);
        if self.orders.try_send(Order::End(done)).is_ok() {
            // An error is the thread's end, which is what is waited for.
            let _ = ended.recv();
        }
    }
}

fn tell(problem: &Problem, now: Option<String>) {
    let mut known = problem.lock().unwrap_or_else(PoisonError::into_inner);
    if *known != now {
        match &now {
            Some(why) => tracing::warn!("{why}"),
            None => tracing::info!("metrics are written again"),
        }
        *known = now;
    }
}

fn open(dir: &Path) -> (Option<Store>, Option<String>) {
    match Store::open(dir) {
        Ok(store) => (Some(store), None),
        Err(error) if is_damage(&error) => begin_anew(dir, &error),
        Err(error) => (None, Some(refused(dir, &error))),
    }
}

fn refused(dir: &Path, error: &rusqlite::Error) -> String {
    let dir = dir.display();
    format!("metrics are kept in memory only: {dir} cannot be written: {error}")
}

/// A damaged store goes out of the way and another one is begun.
fn begin_anew(dir: &Path, error: &rusqlite::Error) -> (Option<Store>, Option<String>) {
    let aside = match Store::set_aside(dir) {
        Ok(aside) => aside,
        Err(error) => {
            let why = format!("metrics are kept in memory only: a damaged store stays: {error}");
            return (None, Some(why));
        }
    };
    let text = format!(
        "the metrics' store was damaged ({error}): it is kept as {}, a new one was begun",
        aside.display()
    );
    tracing::error!("{text}");
    match Store::open(dir) {
        Ok(store) => (Some(store), Some(text)),
        Err(error) => (None, Some(refused(dir, &error))),
    }
}

/// Returns chapters that ended while nothing ran: the next one's end drops their batches.
fn take_up(store: &Store, history: &mut History, now_s: i64) -> rusqlite::Result<VecDeque<Write>> {
    let restored = store.restore(now_s)?;
    for (scope, start_s, bytes) in restored.blocks {
        history.restore_block(scope, start_s, bytes);
    }
    // Times that damage made up are left out.
    let believed = now_s - Tier::Minutes.keep_s()..now_s + Tier::Tens.keep_s();
    let batches = restored.batches.iter();
    let batches = batches.filter(|batch| believed.contains(&batch.start_s()));
    Ok(batches
        .filter_map(|batch| history.restore_batch(batch))
        .collect())
}

struct Disk {
    dir: PathBuf,
    store: Option<Store>,
    owed: VecDeque<Write>,
    problem: Problem,
}

impl Disk {
    fn run(mut self, inbox: &Receiver<Order>) {
        while let Ok(order) = inbox.recv() {
            match order {
                Order::Write(write) => self.write(write),
                Order::Event(event) => self.with_store(|store| store.event(&event)),
                Order::Trim { now_s, max_bytes } => {
                    self.with_store(|store| store.trim(now_s, max_bytes));
                }
                Order::Read(read) => read(Ok(self.store.as_ref())),
                Order::End(done) => {
                    drop(self.store.take());
                    // Who waited may have given up.
                    let _ = done.try_send(());
                    return;
                }
            }
        }
    }

    /// What is not done again if it fails.
    fn with_store(&mut self, work: impl FnOnce(&Store) -> rusqlite::Result<()>) {
        if let Some(Err(error)) = self.store.as_ref().map(work) {
            self.failed(&error);
        }
    }

    fn write(&mut self, write: Write) {
        if self.store.is_none() {
            self.store = Store::open(&self.dir).ok();
        }
        self.owed.push_back(write);
        while let (Some(store), Some(write)) = (self.store.as_mut(), self.owed.front()) {
            if let Err(error) = store.write(write) {
                self.failed(&error);
                break;
            }
            self.owed.pop_front();
        }
        if self.store.is_some() && self.owed.is_empty() {
            tell(&self.problem, None);
        }
        while self.owed.len() > OWED_MAX {
            // Batches are in their chapter too.
            let batch = self
                .owed
                .iter()
                .position(|w| matches!(w, Write::Batch { .. }));
            self.owed.remove(batch.unwrap_or(0));
        }
    }

    fn failed(&mut self, error: &rusqlite::Error) {
        if is_damage(error) {
            drop(self.store.take());
            let (store, text) = begin_anew(&self.dir, error);
            self.store = store;
            tell(&self.problem, text);
        } else {
            tell(&self.problem, Some(refused(&self.dir, error)));
        }
    }
}

#[cfg(test)]
mod tests;
