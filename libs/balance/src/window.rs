//! A count over the last while, in slots: cheap to add to from many threads, exact to a slot.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

pub(crate) const SLOTS: usize = 10;

/// Events of the last `SLOTS` slots, the one that runs included.
#[derive(Debug)]
pub(crate) struct Window {
    slot_ms: u64,
    /// The upper half: the slot's number since the clock's start, wrapping; the lower half: the
    /// events in it. A slot whose number is not of the window counts nothing.
    slots: [AtomicU64; SLOTS],
}

impl Window {
    pub(crate) fn new(window_ms: u64) -> Self {
        Self {
            slot_ms: (window_ms / SLOTS as u64).max(1),
            slots: Default::default(),
        }
    }

    pub(crate) fn add(&self, now_ms: u64) {
        let number = now_ms / self.slot_ms;
        // Truncation is meant: both wrap.
        let (mark, at) = (number as u32, (number % SLOTS as u64) as usize);
        let added = |slot: u64| {
            Some(if (slot >> 32) as u32 == mark {
                slot + u64::from(slot as u32 != u32::MAX)
            } else {
                u64::from(mark) << 32 | 1
            })
        };
        // Never fails: `added` always has a value.
        let _ = self.slots[at].fetch_update(Relaxed, Relaxed, added);
    }

    pub(crate) fn sum(&self, now_ms: u64) -> u64 {
        // Truncation is meant: marks wrap.
        let current = (now_ms / self.slot_ms) as u32;
        self.slots
            .iter()
            .map(|slot| slot.load(Relaxed))
            .filter(|slot| (current.wrapping_sub((slot >> 32) as u32) as usize) < SLOTS)
            .map(|slot| u64::from(slot as u32))
            .sum()
    }

    pub(crate) fn clear(&self) {
        for slot in &self.slots {
            slot.store(0, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Against a list of all events.
        #[test]
        fn counts_the_last_slots(gaps in prop::collection::vec(0..400_u64, 1..200)) {
            let window = Window::new(1000);
            let (mut now, mut all) = (0, Vec::new());
            for gap in gaps {
                now += gap;
                window.add(now);
                all.push(now / 100);
                let expect = all.iter().filter(|slot| **slot + SLOTS as u64 > now / 100).count();
                prop_assert_eq!(window.sum(now), expect as u64);
            }
        }
    }
}
