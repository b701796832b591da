//! Samples of one thing over one stretch of time, as columns; and their bytes.
//!
//! Bytes: a version; the count of columns, each with its name, its kind (plain, or runs of one
//! value) and its length; the count of latencies, each with its place and its buckets. Numbers
//! are LEB128. What is read back may be damaged: nothing is believed further than its bounds.

use std::collections::BTreeMap;

use histogram::{BUCKETS, Histogram};
use monitor_spec::metric::Metric;

use crate::row::{Fold, fold};

const VERSION: u8 = 1;
/// Samples of the longest block.
pub const SAMPLES_MAX: usize = 600;
const COLUMNS_MAX: u64 = 256;

#[derive(Clone, Debug, Default)]
pub struct Block {
    /// NaN where nothing is known; a column ends with its last known value.
    pub values: BTreeMap<Metric, Vec<f32>>,
    /// By place, in order.
    pub latency: BTreeMap<u16, Histogram>,
}

impl Block {
    pub fn put(&mut self, place: usize, metric: Metric, value: f32) {
        if place >= SAMPLES_MAX {
            return;
        }
        let column = self.values.entry(metric).or_default();
        if column.len() <= place {
            column.resize(place + 1, f32::NAN);
        }
        if let Some(sample) = column.get_mut(place) {
            *sample = value;
        }
    }

    pub fn put_latency(&mut self, place: usize, latency: &Histogram) {
        if let (true, Ok(place)) = (place < SAMPLES_MAX, u16::try_from(place)) {
            self.latency.entry(place).or_default().merge(latency);
        }
    }

    /// What `other` knows, from this place on.
    pub fn overlay(&mut self, place: usize, other: &Self) {
        for (metric, column) in &other.values {
            for (n, value) in column.iter().enumerate() {
                if !value.is_nan() {
                    self.put(place + n, *metric, *value);
                }
            }
        }
        for (n, latency) in &other.latency {
            let at = place + usize::from(*n);
            if let (true, Ok(at)) = (at < SAMPLES_MAX, u16::try_from(at)) {
                self.latency.insert(at, latency.clone());
            }
        }
    }

    /// Every `of` samples as one: the greatest or the mean of those that are known, and latencies
    /// merged.
    pub fn fold(&self, of: usize) -> Self {
        let mut folded = Self::default();
        for (metric, column) in &self.values {
            for (place, samples) in column.chunks(of.max(1)).enumerate() {
                let known = samples.iter().copied().filter(|value| !value.is_nan());
                let (sum, count, max) = known.fold((0.0, 0u32, f32::MIN), |(sum, n, max), v| {
                    (sum + f64::from(v), n + 1, v.max(max))
                });
                if count > 0 {
                    let mean = (sum / f64::from(count)) as f32;
                    let value = if fold(*metric) == Fold::Max {
                        max
                    } else {
                        mean
                    };
                    folded.put(place, *metric, value);
                }
            }
        }
        for (place, latency) in &self.latency {
            folded.put_latency(usize::from(*place) / of.max(1), latency);
        }
        folded
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        number(&mut out, self.values.len() as u64);
        for (metric, column) in &self.values {
            let name = metric.name().as_bytes();
            number(&mut out, name.len() as u64);
            out.extend_from_slice(name);
            encode_column(&mut out, column);
        }
        number(&mut out, self.latency.len() as u64);
        for (place, latency) in &self.latency {
            number(&mut out, u64::from(*place));
            encode_histogram(&mut out, latency);
        }
        out
    }

    /// `None`: these are no such bytes. Columns of metrics that are unknown, or that `wanted`
    /// does not want, are passed over.
    pub fn decode(bytes: &[u8], wanted: impl Fn(Metric) -> bool, latency: bool) -> Option<Self> {
        let mut bytes = bytes.strip_prefix(&[VERSION])?;
        let input = &mut bytes;
        let mut block = Self::default();
        let columns = take_number(input)?;
        if columns > COLUMNS_MAX {
            return None;
        }
        for _ in 0..columns {
            let length = usize::try_from(take_number(input)?).ok()?;
            let name = std::str::from_utf8(take(input, length)?).ok()?;
            let kind = *take(input, 1)?.first()?;
            let length = usize::try_from(take_number(input)?).ok()?;
            let data = take(input, length)?;
            if let Some(metric) = name.parse().ok().filter(|metric| wanted(*metric)) {
                block.values.insert(metric, decode_column(kind, data)?);
            }
        }
        if !latency {
            return Some(block);
        }
        for _ in 0..take_number(input)? {
            let place = u16::try_from(take_number(input)?).ok()?;
            if usize::from(place) >= SAMPLES_MAX {
                return None;
            }
            block.latency.insert(place, decode_histogram(input)?);
        }
        Some(block)
    }
}

const PLAIN: u8 = 0;
const RUNS: u8 = 1;

fn encode_column(out: &mut Vec<u8>, column: &[f32]) {
    let mut runs = Vec::new();
    for same in column.chunk_by(|a, b| a.to_bits() == b.to_bits()) {
        let Some(value) = same.first() else { continue };
        number(&mut runs, same.len() as u64);
        runs.extend_from_slice(&value.to_le_bytes());
    }
    if runs.len() < column.len() * 4 {
        out.push(RUNS);
        number(out, runs.len() as u64);
        out.extend_from_slice(&runs);
    } else {
        out.push(PLAIN);
        number(out, column.len() as u64 * 4);
        column
            .iter()
            .for_each(|value| out.extend_from_slice(&value.to_le_bytes()));
    }
}

fn decode_column(kind: u8, mut data: &[u8]) -> Option<Vec<f32>> {
    let mut column = Vec::new();
    match kind {
        PLAIN => {
            if !data.len().is_multiple_of(4) || data.len() / 4 > SAMPLES_MAX {
                return None;
            }
            while !data.is_empty() {
                column.push(take_value(&mut data)?);
            }
        }
        RUNS => {
            while !data.is_empty() {
                let times = usize::try_from(take_number(&mut data)?).ok()?;
                if times > SAMPLES_MAX - column.len() {
                    return None;
                }
                let value = take_value(&mut data)?;
                column.resize(column.len() + times, value);
            }
        }
        _ => return None,
    }
    Some(column)
}

fn encode_histogram(out: &mut Vec<u8>, histogram: &Histogram) {
    number(out, histogram.buckets().count() as u64);
    let mut last = 0;
    for (bucket, times) in histogram.buckets() {
        number(out, (bucket - last) as u64);
        number(out, times);
        last = bucket;
    }
    number(out, histogram.sum());
    number(out, histogram.max());
}

fn decode_histogram(input: &mut &[u8]) -> Option<Histogram> {
    let count = take_number(input)?;
    if count > BUCKETS as u64 {
        return None;
    }
    let mut buckets = Vec::new();
    let mut last = 0u64;
    for _ in 0..count {
        last = last.checked_add(take_number(input)?)?;
        buckets.push((last, take_number(input)?));
    }
    let (sum, max) = (take_number(input)?, take_number(input)?);
    Histogram::from_parts(buckets, sum, max).ok()
}

pub(crate) fn number(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(crate) fn take_number(input: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = *take(input, 1)?.first()?;
        value |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

pub(crate) fn take<'a>(input: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, rest) = input.split_at_checked(length)?;
    *input = rest;
    Some(taken)
}

fn take_value(input: &mut &[u8]) -> Option<f32> {
    let bytes = take(input, 4)?.try_into().ok()?;
    Some(f32::from_le_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn same(a: &Block, b: &Block) -> bool {
        let bits = |block: &Block| -> Vec<(Metric, Vec<u32>)> {
            let columns = block.values.iter();
            columns
                .map(|(m, c)| (*m, c.iter().map(|v| v.to_bits()).collect()))
                .collect()
        };
        bits(a) == bits(b) && a.latency == b.latency
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn what_is_written_is_read(
            samples in proptest::collection::vec((0usize..600, 0usize..36, prop_oneof![Just(1.5f32), -1e9f32..1e9]), 0..200),
            latencies in proptest::collection::vec((0usize..600, any::<u64>()), 0..100),
        ) {
            let mut block = Block::default();
            for (place, metric, value) in samples {
                block.put(place, Metric::ALL[metric], value);
            }
            for (place, latency) in latencies {
                let mut histogram = Histogram::new();
                histogram.record(latency);
                block.put_latency(place, &histogram);
            }
            let bytes = block.encode();
            prop_assert!(same(&Block::decode(&bytes, |_| true, true).unwrap(), &block));
            // Cut anywhere it is none, or less.
            for end in (0..bytes.len()).step_by(bytes.len() / 20 + 1) {
                let _ = Block::decode(&bytes[..end], |_| true, true);
            }
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut bytes = bytes;
            let _ = Block::decode(&bytes, |_| true, true);
            bytes.insert(0, VERSION);
            let _ = Block::decode(&bytes, |_| true, true);
        }

        #[test]
        fn folding_is_computing_anew(
            values in proptest::collection::vec(proptest::option::of(0.0f32..1e6), 1..600),
            latencies in proptest::collection::vec(0u64..5_000_000, 0..300),
        ) {
            let mut block = Block::default();
            for (n, value) in values.iter().enumerate() {
                if let Some(value) = value {
                    block.put(n, Metric::Cpu, *value);
                    block.put(n, Metric::LagMax, *value);
                }
            }
            for (n, latency) in latencies.iter().enumerate() {
                let mut one = Histogram::new();
                one.record(*latency);
                block.put_latency(n, &one);
            }
            for of in [10, 60] {
                let folded = block.fold(of);
                for (place, samples) in values.chunks(of).enumerate() {
                    let known: Vec<f64> = samples.iter().flatten().map(|v| f64::from(*v)).collect();
                    let got = |metric| {
                        let column: &Vec<f32> = folded.values.get(&metric)?;
                        column.get(place).copied().filter(|v| !v.is_nan()).map(f64::from)
                    };
                    if known.is_empty() {
                        prop_assert_eq!(got(Metric::Cpu), None);
                        continue;
                    }
                    let mean = known.iter().sum::<f64>() / known.len() as f64;
                    let max = known.iter().copied().fold(0.0, f64::max);
                    prop_assert!((got(Metric::Cpu).unwrap() - mean).abs() <= mean * 1e-6);
                    prop_assert_eq!(got(Metric::LagMax).unwrap(), max);
                }
                for (place, part) in latencies.chunks(of).enumerate() {
                    let mut all = Histogram::new();
                    part.iter().for_each(|latency| all.record(*latency));
                    prop_assert_eq!(&folded.latency[&(place as u16)], &all);
                }
            }
        }
    }

    #[test]
    fn constants_cost_nothing() {
        let mut block = Block::default();
        for n in 0..600 {
            block.put(n, Metric::Fds, 20.0);
            block.put(n, Metric::Cpu, n as f32);
        }
        let length = block.encode().len();
        assert!(length < 600 * 4 + 50, "{length}");
    }
}
