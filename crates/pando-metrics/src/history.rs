//! The last hour in memory, and what of it is to be written. Pure.
//!
//! All that comes goes into the blocks of the open chapter (ten minutes) and into a batch. A batch
//! is written every ten seconds, so a death costs no more. A chapter that is over becomes blocks
//! of each resolution, which replace its batches:
//!
//! ```text
//! second ─> batch (10 s) ─> journal of the store
//!    └────> open chapter (600 s) ─> blocks of 1 s, 10 s and 1 min
//! ```

pub mod batch;
pub mod block;
mod fuzz;
pub mod points;
pub mod tier;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

pub use fuzz::fuzz;

use batch::Batch;
use block::Block;
use tier::{CHAPTER_S, Tier};

use crate::row::{Scope, Second};

/// Chapters that are over and still in memory.
const CHAPTERS: usize = 6;
/// What those may take; the oldest go when it is more.
const HOT_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Seconds of a batch.
pub const BATCH_S: i64 = 10;
/// A clock that was set back by less is waited for.
const BACK_S: i64 = 300;

#[derive(Debug, Default)]
pub struct History {
    /// Where the open chapter begins.
    chapter_s: Option<i64>,
    last_s: i64,
    open: BTreeMap<Scope, Block>,
    /// Of the finest tier, the oldest chapter first.
    closed: VecDeque<Chapter>,
    batch: Batch,
}

#[derive(Debug, Default)]
struct Chapter {
    start_s: i64,
    blocks: BTreeMap<Scope, Arc<[u8]>>,
    bytes: usize,
}

impl Chapter {
    /// The same stretch once more, after the clock was set back: what both have is the newer's.
    fn overlay(&mut self, newer: Self) {
        for (scope, bytes) in newer.blocks {
            let known = self.blocks.get(&scope);
            let known = known.and_then(|bytes| Block::decode(bytes, |_| true, true));
            let both = known.zip(Block::decode(&bytes, |_| true, true));
            let bytes = match both {
                Some((mut whole, fresh)) => {
                    whole.overlay(0, &fresh);
                    whole.encode().into()
                }
                None => bytes,
            };
            self.blocks.insert(scope, bytes);
        }
        self.bytes = self.blocks.values().map(|bytes| bytes.len()).sum();
    }
}

/// What the store is to write.
#[derive(Clone, Debug)]
pub enum Write {
    Batch { start_s: i64, bytes: Vec<u8> },
    Chapter { start_s: i64, blocks: Vec<Stored> },
}

/// A block and where it belongs. One that is there already is overlaid by it.
#[derive(Clone, Debug)]
pub struct Stored {
    pub tier: Tier,
    pub scope: String,
    pub start_s: i64,
    /// The place of its first sample in the stored block.
    pub place: usize,
    pub bytes: Arc<[u8]>,
}

/// Bytes of a block of the finest tier, or of the open one.
pub type Hot = (Tier, i64, Arc<[u8]>);

impl History {
    /// A second that is over. Returns what is to be written.
    pub fn add(&mut self, second: &Second) -> Vec<Write> {
        let time_s = second.time_s;
        if time_s <= self.last_s && self.last_s - time_s < BACK_S {
            return Vec::new();
        }
        let mut writes = Vec::new();
        let (chapter, _) = Tier::Seconds.place(time_s);
        let slot = second.slot.as_ref().map(|(start, rows)| (*start, rows));
        // The slot before may belong to the chapter before.
        let early = slot.filter(|(start, _)| Some(Tier::Seconds.place(*start).0) == self.chapter_s);
        if let Some((start, rows)) = early {
            self.put(start, rows);
        }
        if self.chapter_s != Some(chapter) {
            writes.extend(self.turn_batch());
            writes.extend(self.turn(chapter));
            // A clock that was set back: what memory has of times to come would hide the disk's.
            self.closed.retain(|known| known.start_s <= chapter);
        }
        self.last_s = time_s;
        self.put(time_s, &second.rows);
        if let Some((start, rows)) = slot.filter(|_| early.is_none())
            && Tier::Seconds.place(start).0 == chapter
        {
            self.put(start, rows);
        }
        if time_s.rem_euclid(BATCH_S) == BATCH_S - 1 {
            writes.extend(self.turn_batch());
        }
        writes
    }

    fn put(&mut self, time_s: i64, rows: &[crate::row::Row]) {
        for row in rows {
            let (_, place) = Tier::finest(&row.scope).place(time_s);
            batch::put(self.open.entry(row.scope.clone()).or_default(), place, row);
            self.batch.put(time_s, row);
        }
    }

    /// What is not written yet.
    pub fn turn_batch(&mut self) -> Option<Write> {
        let batch = std::mem::take(&mut self.batch);
        (!batch.is_empty()).then(|| Write::Batch {
            start_s: batch.start_s(),
            bytes: batch.encode(),
        })
    }

    /// The open chapter is over, another one begins.
    fn turn(&mut self, next_s: i64) -> Option<Write> {
        let start_s = self.chapter_s.replace(next_s)?;
        let open = std::mem::take(&mut self.open);
        let mut chapter = Chapter {
            start_s,
            ..Chapter::default()
        };
        let mut stored = Vec::new();
        for (scope, block) in open {
            let finest = Tier::finest(&scope);
            for tier in Tier::ALL.into_iter().filter(|tier| *tier >= finest) {
                let of = usize::try_from(tier.step_s() / finest.step_s()).unwrap_or(1);
                let folded = if of == 1 {
                    block.encode()
                } else {
                    block.fold(of).encode()
                };
                let bytes: Arc<[u8]> = folded.into();
                if tier == finest {
                    chapter.bytes += bytes.len();
                    chapter.blocks.insert(scope.clone(), Arc::clone(&bytes));
                }
                let (block_s, place) = tier.place(start_s);
                stored.push(Stored {
                    tier,
                    scope: scope.key(),
                    start_s: block_s,
                    place,
                    bytes,
                });
            }
        }
        self.keep(chapter);
        Some(Write::Chapter {
            start_s,
            blocks: stored,
        })
    }

    fn keep(&mut self, chapter: Chapter) {
        let newer = self
            .closed
            .iter()
            .position(|known| known.start_s >= chapter.start_s);
        match newer.and_then(|at| self.closed.get_mut(at).map(|known| (at, known))) {
            Some((_, known)) if known.start_s == chapter.start_s => {
                known.overlay(chapter);
            }
            Some((at, _)) => self.closed.insert(at, chapter),
            None => self.closed.push_back(chapter),
        }
        let bytes = |closed: &VecDeque<Chapter>| closed.iter().map(|c| c.bytes).sum::<usize>();
        while self.closed.len() > CHAPTERS || bytes(&self.closed) > HOT_BYTES_MAX {
            self.closed.pop_front();
        }
    }

    /// The open chapter, as if it were over.
    pub fn close(&mut self) -> Option<Write> {
        let start_s = self.chapter_s?;
        self.turn(start_s + CHAPTER_S)
    }

    /// The last second that was kept.
    pub fn last_s(&self) -> i64 {
        self.last_s
    }

    /// A block of the last hour that was on disk.
    pub fn restore_block(&mut self, scope: Scope, start_s: i64, bytes: Arc<[u8]>) {
        let mut chapter = Chapter {
            start_s,
            bytes: bytes.len(),
            ..Chapter::default()
        };
        chapter.blocks.insert(scope, bytes);
        self.keep(chapter);
    }

    /// A batch of the journal, the oldest first. Returns chapters that are over by it.
    pub fn restore_batch(&mut self, batch: &Batch) -> Option<Write> {
        let (chapter, _) = Tier::Seconds.place(batch.start_s());
        let write = if self.chapter_s == Some(chapter) {
            None
        } else {
            self.turn(chapter)
        };
        for (scope, block) in batch.blocks() {
            let (_, place) = Tier::finest(scope).place(batch.start_s());
            self.open
                .entry(scope.clone())
                .or_default()
                .overlay(place, block);
        }
        write
    }

    /// The first second from which on memory knows all that is known.
    pub fn hot_from_s(&self) -> Option<i64> {
        let closed = self.closed.front().map(|chapter| chapter.start_s);
        closed.or(self.chapter_s)
    }

    /// What memory has of a thing, the oldest first.
    pub fn hot(&self, scope: &Scope) -> Vec<Hot> {
        let tier = Tier::finest(scope);
        let closed = self.closed.iter();
        let mut hot: Vec<Hot> = closed
            .filter_map(|chapter| {
                let bytes = chapter.blocks.get(scope)?;
                Some((tier, chapter.start_s, Arc::clone(bytes)))
            })
            .collect();
        if let (Some(start_s), Some(open)) = (self.chapter_s, self.open.get(scope)) {
            hot.push((tier, start_s, open.encode().into()));
        }
        hot
    }

    /// What of an app memory has: its workers, or its endpoints.
    pub fn scopes(&self, of: impl Fn(&Scope) -> bool) -> Vec<Scope> {
        let closed = self.closed.iter().flat_map(|chapter| chapter.blocks.keys());
        let mut scopes: Vec<Scope> = closed
            .chain(self.open.keys())
            .filter(|s| of(s))
            .cloned()
            .collect();
        scopes.sort();
        scopes.dedup();
        scopes
    }
}

#[cfg(test)]
mod tests;
