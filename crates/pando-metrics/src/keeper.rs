//! Keeps what was measured: the last hour in memory, everything on disk. The disk has a thread of
//! its own with a bounded queue, so that a slow one holds up no picture; while it refuses, memory
//! goes on.

mod disk;
mod lost;
mod trouble;

use std::collections::VecDeque;
use std::path::Path;
use std::sync::mpsc::{SyncSender, sync_channel};

use monitor_spec::state::Event;

use crate::history::tier::Tier;
use crate::history::{History, Write};
use crate::row::Second;
use crate::store::{LATER_S, Store, is_damage};
use disk::{Disk, Owed};
use trouble::{Kind, Troubles};

/// Orders that wait for the disk.
const QUEUE_MAX: usize = 512;
/// Events in memory, for when there is no disk.
const EVENTS_MAX: usize = 1_000;
const BEHIND: &str = "the disk does not keep up with the metrics";
/// Between two looks at age and size.
const TRIM_EVERY_S: u32 = 600;
/// A clock that jumped is believed after so long without another jump: what is old goes by it.
const STEADY_S: u32 = 3_600;

/// Is given the store, if there is one, or why it cannot be asked.
type Read = Box<dyn FnOnce(Result<Option<&Store>, &'static str>) + Send>;

enum Order {
    Write { write: Write, now_s: i64 },
    Event(Event),
    Trim { now_s: i64, max_bytes: u64 },
    Read(Read),
    End(SyncSender<()>),
}

pub struct Keeper {
    pub history: History,
    pub events: VecDeque<Event>,
    orders: SyncSender<Order>,
    troubles: Troubles,
    /// Of the last second.
    now_ms: i64,
    /// Seconds since the last look at age and size.
    untrimmed: u32,
    /// Seconds until the clock is believed.
    unsteady: u32,
}

impl Keeper {
    /// Opens the store and takes up the last hour. Without a store it begins with nothing.
    pub fn open(dir: &Path, now_s: i64) -> Self {
        let now_ms = now_s.saturating_mul(1_000);
        let mut history = History::default();
        let troubles = Troubles::new(dir);
        let mut store = disk::open(dir, now_ms, &troubles);
        let mut owed = Owed::default();
        match store.as_ref().map(|s| take_up(s, &mut history, now_s)) {
            Some(Ok(writes)) => owed.writes = writes,
            Some(Err(error)) => {
                tracing::warn!(%error, "the metrics' store cannot be read");
                history = History::default();
                drop(store.take());
                if is_damage(&error) {
                    store = disk::begin_anew(dir, now_ms, &error, &troubles);
                } else {
                    // Opened again with the first write.
                    troubles.refused(now_ms, Kind::Keep, &error);
                }
            }
            None => {}
        }
        let (orders, inbox) = sync_channel(QUEUE_MAX);
        let disk = Disk {
            dir: dir.to_owned(),
            store,
            owed,
            troubles: troubles.clone(),
            now_ms,
        };
        let thread = std::thread::Builder::new().name("metrics-store".into());
        if let Err(error) = thread.spawn(move || disk.run(&inbox)) {
            let why = format!(
                "what is measured is kept in memory only: no thread for the disk: {error}. \
                 Raise the limit of threads (`ulimit -u`), then `pando upgrade`"
            );
            troubles.set(now_ms, Kind::Keep, why);
        }
        Self {
            history,
            events: VecDeque::new(),
            orders,
            troubles,
            now_ms,
            untrimmed: 0,
            unsteady: 0,
        }
    }

    /// A second that is over.
    pub fn add(&mut self, second: &Second, max_bytes: u64) {
        let now_s = second.time_s;
        self.now_ms = now_s.saturating_mul(1_000);
        for write in self.history.add(second) {
            self.order(Order::Write { write, now_s });
        }
        self.untrimmed += 1;
        self.unsteady = self.unsteady.saturating_sub(1);
        if self.untrimmed >= TRIM_EVERY_S && self.unsteady == 0 {
            self.untrimmed = 0;
            self.order(Order::Trim { now_s, max_bytes });
        }
    }

    /// The clock was set: nothing is thrown away by it until it has shown that it stays.
    pub fn clock_jumped(&mut self) {
        self.unsteady = STEADY_S;
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

    /// What is wrong now, each with its time, place, reason and remedy.
    pub fn problems(&self) -> Vec<String> {
        self.troubles.problems()
    }

    /// What happened to the store since the last call.
    pub fn take_news(&self) -> Vec<Event> {
        self.troubles.take_news()
    }

    fn order(&self, order: Order) {
        use std::sync::mpsc::TrySendError::{Disconnected, Full};
        let Err(Full(order) | Disconnected(order)) = self.orders.try_send(order) else {
            return;
        };
        self.troubles.lose(|lost| match &order {
            Order::Write { write, .. } => match write {
                // Its chapter has it too.
                Write::Batch { .. } => {}
                Write::Chapter { .. } => lost.write(write),
            },
            Order::Event(_) => lost.event(),
            Order::Trim { .. } | Order::Read(_) | Order::End(_) => {}
        });
        let why = format!("{BEHIND}: what finds no room is dropped. See what slows the disk down");
        self.troubles.set(self.now_ms, Kind::Queue, why);
    }

    /// Writes what is not on disk yet.
    pub fn end(mut self) {
        if let Some(write) = self.history.turn_batch() {
            let now_s = self.history.last_s();
            self.order(Order::Write { write, now_s });
        }
        let (done, ended) = sync_channel(1);
        if self.orders.try_send(Order::End(done)).is_ok() {
            // An error is the thread's end, which is what is waited for.
            let _ = ended.recv();
        }
    }
}

/// Takes up what is of now. Returns what is to be written: chapters that ended while nothing ran,
/// and those of a time that has not come yet (the clock was set back, or is wrong now).
fn take_up(store: &Store, history: &mut History, now_s: i64) -> rusqlite::Result<VecDeque<Write>> {
    let restored = store.restore(now_s)?;
    for (scope, start_s, bytes) in restored.blocks {
        history.restore_block(scope, start_s, bytes);
    }
    let (mut writes, mut later) = (VecDeque::new(), History::default());
    let oldest_s = now_s.saturating_sub(Tier::Minutes.keep_s());
    for batch in &restored.batches {
        // Of times that damage made up, trimming drops them.
        if batch.start_s() < oldest_s || batch.start_s() > now_s.saturating_add(LATER_S) {
            continue;
        }
        let is_later = batch.start_s() > now_s;
        let into = if is_later { &mut later } else { &mut *history };
        writes.extend(into.restore_batch(batch));
    }
    writes.extend(later.close());
    Ok(writes)
}

#[cfg(test)]
mod tests;
