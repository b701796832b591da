//! Some seconds of everything, as the store's journal has them.

use std::collections::BTreeMap;

use super::block::{Block, number, take, take_number};
use super::tier::Tier;
use crate::row::{Row, Scope};

/// Longer than a batch ever gets: it is written every ten seconds, or kept while it cannot be.
const PLACES_MAX: i64 = 60;
const KEY_MAX: u64 = 1_024;

#[derive(Clone, Debug, Default)]
pub struct Batch {
    start_s: i64,
    /// Places are steps of the scope's finest tier since the start.
    blocks: BTreeMap<Scope, Block>,
}

impl Batch {
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    pub fn start_s(&self) -> i64 {
        self.start_s
    }

    /// False: it is too far from the others.
    pub fn put(&mut self, time_s: i64, row: &Row) -> bool {
        if self.blocks.is_empty() {
            // Slots began before the second that brings them.
            self.start_s = time_s.div_euclid(10) * 10;
        }
        let step = Tier::finest(&row.scope).step_s();
        let place = (time_s - self.start_s) / step;
        if time_s < self.start_s || place >= PLACES_MAX {
            return false;
        }
        let place = usize::try_from(place).unwrap_or(0);
        put(
            self.blocks.entry(row.scope.clone()).or_default(),
            place,
            row,
        );
        true
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut out = self.start_s.to_le_bytes().to_vec();
        number(&mut out, self.blocks.len() as u64);
        for (scope, block) in &self.blocks {
            let (key, block) = (scope.key(), block.encode());
            number(&mut out, key.len() as u64);
            out.extend_from_slice(key.as_bytes());
            number(&mut out, block.len() as u64);
            out.extend_from_slice(&block);
        }
        out
    }

    /// What is whole of it.
    pub fn decode(mut bytes: &[u8]) -> Self {
        let input = &mut bytes;
        let mut batch = Self::default();
        let Some(start) = take(input, 8).and_then(|bytes| bytes.try_into().ok()) else {
            return batch;
        };
        batch.start_s = i64::from_le_bytes(start);
        let count = take_number(input).unwrap_or(0);
        for _ in 0..count {
            let Some((scope, block)) = take_entry(input) else {
                break;
            };
            if let Some((scope, block)) = scope.zip(block) {
                batch.blocks.insert(scope, block);
            }
        }
        batch
    }

    /// Each with the time of its first place.
    pub fn blocks(&self) -> impl Iterator<Item = (&Scope, &Block)> {
        self.blocks.iter()
    }
}

/// `None`: the bytes end. What is inside may be nothing that is understood.
fn take_entry(input: &mut &[u8]) -> Option<(Option<Scope>, Option<Block>)> {
    let length = take_number(input).filter(|length| *length <= KEY_MAX)?;
    let key = take(input, usize::try_from(length).ok()?)?;
    let length = usize::try_from(take_number(input)?).ok()?;
    let block = take(input, length)?;
    let scope = std::str::from_utf8(key).ok().and_then(Scope::from_key);
    Some((scope, Block::decode(block, |_| true, true)))
}

pub(crate) fn put(block: &mut Block, place: usize, row: &Row) {
    for (metric, value) in &row.values {
        block.put(place, *metric, *value);
    }
    if let Some(latency) = &row.latency {
        block.put_latency(place, latency);
    }
}

#[cfg(test)]
mod tests {
    use histogram::Histogram;
    use monitor_spec::metric::Metric;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_batch_is_read_back() {
        let mut batch = Batch::default();
        let mut row = Row::new(Scope::App("api".into()));
        row.set(Metric::Cpu, 5.0);
        let mut slot = Row::new(Scope::Endpoint("api".into(), "GET /".into()));
        let mut latency = Histogram::new();
        latency.record(7);
        slot.latency = Some(latency);
        assert!(batch.put(1_005, &row) && batch.put(1_009, &row) && batch.put(1_000, &slot));
        assert!(!batch.put(5_000, &row) && !batch.put(900, &row));
        let bytes = batch.encode();
        let again = Batch::decode(&bytes);
        assert_eq!((again.start_s, again.blocks.len()), (1_000, 2));
        let app = &again.blocks[&row.scope].values[&Metric::Cpu];
        assert!(app[4].is_nan());
        assert_eq!((app[5], app[9], app.len()), (5.0, 5.0, 10));
        for end in 0..bytes.len() {
            assert!(Batch::decode(&bytes[..end]).blocks.len() < 2);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            Batch::decode(&bytes);
        }
    }
}
