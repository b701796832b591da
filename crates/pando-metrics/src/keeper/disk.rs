//! The thread that has the store: what it refuses is tried again, in order, within bounds.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Receiver;

use monitor_spec::state::Event;

use super::trouble::{Kind, Troubles};
use super::{Order, take_up};
use crate::history::tier::CHAPTER_S;
use crate::history::{History, Write};
use crate::store::{Store, is_damage};

/// Chapters that the disk refused and that are tried again.
const CHAPTERS_MAX: usize = 16;
/// Batches that wait likewise: those of the open chapter are 60.
const BATCHES_MAX: usize = 64;
/// Events that wait likewise.
const EVENTS_MAX: usize = 1_000;
/// What is tried at once, so that a question does not wait for all of it.
const TRIES_MAX: usize = CHAPTERS_MAX + BATCHES_MAX + 1;

pub(super) struct Disk {
    pub dir: PathBuf,
    pub store: Option<Store>,
    pub owed: Owed,
    pub troubles: Troubles,
    /// By the clock of the pictures.
    pub now_ms: i64,
}

/// What is not on disk yet, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Owed {
    pub writes: VecDeque<Write>,
    pub events: VecDeque<Event>,
}

impl Disk {
    pub fn run(mut self, inbox: &Receiver<Order>) {
        while let Ok(order) = inbox.recv() {
            match order {
                Order::Write { write, now_s } => {
                    self.now_ms = now_s.saturating_mul(1_000);
                    self.owed.push(write);
                    self.troubles.look_for_damaged();
                    self.look_for_file();
                    self.open_again(now_s);
                    self.pay();
                }
                Order::Event(event) => {
                    self.owed.events.push_back(event);
                    // Behind others it waits for the next write.
                    if self.owed.events.len() == 1 {
                        self.pay();
                    } else {
                        self.owed.shed(&self.troubles);
                    }
                }
                Order::Trim { now_s, max_bytes } => self.trim(now_s, max_bytes),
                Order::Read(read) => read(Ok(self.store.as_ref())),
                Order::End(done) => {
                    self.pay();
                    self.say_what_stays();
                    drop(self.store.take());
                    // Who waited may have given up.
                    let _ = done.try_send(());
                    return;
                }
            }
        }
    }

    /// A store whose file was deleted or replaced is closed.
    fn look_for_file(&mut self) {
        let is_gone = |store: &Store| !store.is_in(&self.dir);
        if self.store.as_ref().is_some_and(is_gone) {
            drop(self.store.take());
            self.troubles.gone(self.now_ms);
        }
    }

    /// What a former supervisor left in the journal becomes chapters: the next chapter's end would
    /// drop it.
    fn open_again(&mut self, now_s: i64) {
        if self.store.is_some() {
            return;
        }
        let mut left = History::default();
        let opened = Store::open(&self.dir).and_then(|store| {
            let writes = take_up(&store, &mut left, now_s)?;
            Ok((store, writes))
        });
        match opened {
            Ok((store, writes)) => {
                let writes = writes.into_iter().chain(left.close());
                for write in writes.collect::<Vec<_>>().into_iter().rev() {
                    self.owed.writes.push_front(write);
                }
                self.store = Some(store);
            }
            Err(error) => self.failed(Kind::Keep, &error),
        }
    }

    fn pay(&mut self) {
        for _ in 0..TRIES_MAX {
            let Some(store) = self.store.as_mut() else {
                break;
            };
            let done = if let Some(write) = self.owed.writes.front() {
                let done = store.write(write);
                done.map(|()| drop(self.owed.writes.pop_front()))
            } else if !self.owed.events.is_empty() {
                let done = store.events_at_once(&self.owed.events);
                done.map(|()| self.owed.events.clear())
            } else {
                self.troubles.well(self.now_ms, Kind::Keep);
                self.troubles.well(self.now_ms, Kind::Queue);
                return;
            };
            if let Err(error) = done {
                self.failed(Kind::Keep, &error);
                break;
            }
        }
        self.owed.shed(&self.troubles);
    }

    fn trim(&mut self, now_s: i64, max_bytes: u64) {
        match self.store.as_ref().map(|s| s.trim(now_s, max_bytes)) {
            Some(Ok(())) => self.troubles.well(self.now_ms, Kind::Trim),
            Some(Err(error)) => self.failed(Kind::Trim, &error),
            None => {}
        }
    }

    fn failed(&mut self, kind: Kind, error: &rusqlite::Error) {
        if is_damage(error) {
            drop(self.store.take());
            self.store = begin_anew(&self.dir, self.now_ms, error, &self.troubles);
        } else {
            self.troubles.refused(self.now_ms, kind, error);
        }
    }

    /// At the end: what the disk refused to the last.
    fn say_what_stays(&mut self) {
        let (writes, events) = (self.owed.writes.len(), self.owed.events.len());
        if writes + events > 0 {
            tracing::warn!(
                writes,
                events,
                "what was measured last could not be written and is lost"
            );
        }
    }
}

impl Owed {
    /// A chapter has all of its batches.
    fn push(&mut self, write: Write) {
        if let Write::Chapter { start_s, .. } = &write {
            let chapter = *start_s..*start_s + CHAPTER_S;
            self.writes.retain(|known| match known {
                Write::Batch { start_s, .. } => !chapter.contains(start_s),
                Write::Chapter { .. } => true,
            });
        }
        self.writes.push_back(write);
    }

    fn shed(&mut self, troubles: &Troubles) {
        let is_batch = |write: &Write| matches!(write, Write::Batch { .. });
        loop {
            let batches = self.writes.iter().filter(|write| is_batch(write)).count();
            let chapters = self.writes.len() - batches;
            let mut all = self.writes.iter();
            let oldest = if batches > BATCHES_MAX {
                all.position(is_batch)
            } else if chapters > CHAPTERS_MAX {
                all.position(|write| !is_batch(write))
            } else {
                break;
            };
            let Some(write) = oldest.and_then(|at| self.writes.remove(at)) else {
                break;
            };
            troubles.lose(|lost| lost.write(&write));
        }
        while self.events.len() > EVENTS_MAX {
            self.events.pop_front();
            troubles.lose(|lost| lost.event());
        }
    }
}

/// Opens the store; a damaged one goes out of the way and another one is begun.
pub(super) fn open(dir: &Path, now_ms: i64, troubles: &Troubles) -> Option<Store> {
    match Store::open(dir) {
        Ok(store) => Some(store),
        Err(error) if is_damage(&error) => begin_anew(dir, now_ms, &error, troubles),
        Err(error) => {
            troubles.refused(now_ms, Kind::Keep, &error);
            None
        }
    }
}

pub(super) fn begin_anew(
    dir: &Path,
    now_ms: i64,
    error: &rusqlite::Error,
    troubles: &Troubles,
) -> Option<Store> {
    match Store::set_aside(dir) {
        Ok(aside) => troubles.damaged(now_ms, &aside, error),
        Err(moving) => {
            let dir = dir.display();
            troubles.set(
                now_ms,
                Kind::Keep,
                format!(
                    "what is measured is kept in memory only: the store in {dir} is damaged \
                     ({error}) and cannot be put aside: {moving}. Move it away by hand"
                ),
            );
            return None;
        }
    }
    match Store::open(dir) {
        Ok(store) => Some(store),
        Err(error) => {
            troubles.refused(now_ms, Kind::Keep, &error);
            None
        }
    }
}
