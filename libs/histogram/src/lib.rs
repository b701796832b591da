//! Log-linear histograms: 32 buckets an octave, so a percentile is never further off than half a
//! bucket, 1.6 %. Merging is addition.
//!
//! A value `v` below 64 has a bucket of its own, number `v`. Above, with `e = floor(log2 v)`, its
//! bucket is `(e - 4) * 32 + ((v >> (e - 5)) - 32)`; the preload has the same rule in JavaScript.
//!
//! The unit is the caller's; Pando records microseconds.

mod wire;

/// Buckets an octave, as a power of two.
const SUB_BITS: u32 = 5;
const SUB: u64 = 1 << SUB_BITS;
/// Larger values count as this one: 2^40 µs are 12 days.
pub const MAX_VALUE: u64 = (1 << 40) - 1;
/// Numbers of buckets are below this.
pub const BUCKETS: usize = 36 * SUB as usize;

/// Counts by bucket, with the exact sum, count and maximum.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// No longer than the highest bucket in use.
    counts: Vec<u64>,
    count: u64,
    sum: u64,
    max: u64,
}

/// The bucket of a value.
pub fn bucket(value: u64) -> usize {
    let value = value.min(MAX_VALUE);
    if value < 2 * SUB {
        return value as usize;
    }
    let shift = 63 - value.leading_zeros() - SUB_BITS;
    (u64::from(shift) * SUB + (value >> shift)) as usize
}

/// The lowest value of a bucket, and the lowest of the next.
pub fn bounds(bucket: usize) -> (u64, u64) {
    let bucket = bucket.min(BUCKETS - 1) as u64;
    if bucket < 2 * SUB {
        return (bucket, bucket + 1);
    }
    let shift = bucket / SUB - 1;
    let low = (SUB + bucket % SUB) << shift;
    (low, low + (1 << shift))
}

impl Histogram {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn record(&mut self, value: u64) {
        self.record_many(value, 1);
    }

    pub fn record_many(&mut self, value: u64, times: u64) {
        if times == 0 {
            return;
        }
        self.add_bucket(bucket(value), times);
        self.sum = self.sum.saturating_add(value.saturating_mul(times));
        self.max = self.max.max(value);
    }

    fn add_bucket(&mut self, bucket: usize, times: u64) {
        if self.counts.len() <= bucket {
            self.counts.resize(bucket + 1, 0);
        }
        self.counts[bucket] = self.counts[bucket].saturating_add(times);
        self.count = self.count.saturating_add(times);
    }

    /// Adds another one.
    pub fn merge(&mut self, other: &Self) {
        for (bucket, times) in other.buckets() {
            self.add_bucket(bucket, times);
        }
        self.sum = self.sum.saturating_add(other.sum);
        self.max = self.max.max(other.max);
    }

    pub fn count(&self) -> u64 {
        self.count
    }

    pub fn sum(&self) -> u64 {
        self.sum
    }

    pub fn max(&self) -> u64 {
        self.max
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum as f64 / self.count as f64)
    }

    /// The value below which `share` (0 to 1) of all lie: the middle of its bucket, so within 1.6 %
    /// of the exact one; the maximum is exact. `None` of an empty histogram.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        if self.count == 0 {
            return None;
        }
        // Nearest rank; a share that was computed as rank / count must not land on the next one.
        let count = self.count as f64;
        let rank = (share * count * (1.0 - 1e-12)).ceil().clamp(1.0, count);
        if rank >= count {
            return Some(self.max as f64);
        }
        let mut before = 0;
        for (bucket, times) in self.buckets() {
            if (before + times) as f64 >= rank {
                let (low, high) = bounds(bucket);
                // The middle is never further off than half a bucket, wherever in it they lie.
                let value = low as f64 + (high - low - 1) as f64 / 2.0;
                return Some(value.min(self.max as f64));
            }
            before += times;
        }
        Some(self.max as f64)
    }

    /// How many are above `value`, by whole buckets.
    pub fn above(&self, value: u64) -> u64 {
        let limit = bucket(value);
        let above = self.buckets().filter(|(bucket, _)| *bucket > limit);
        above.map(|(_, times)| times).sum()
    }

    /// Buckets that are not empty, in order, with their counts.
    pub fn buckets(&self) -> impl Iterator<Item = (usize, u64)> {
        let all = self.counts.iter().copied().enumerate();
        all.filter(|(_, times)| *times > 0)
    }

    /// From buckets with their counts, the sum and the maximum, as a report or a store has them.
    /// Sum and maximum are brought to what the buckets allow.
    ///
    /// # Errors
    /// A bucket that does not exist, or more counts than fit.
    pub fn from_parts(
        buckets: impl IntoIterator<Item = (u64, u64)>,
        sum: u64,
        max: u64,
    ) -> Result<Self, BadParts> {
        let mut histogram = Self::default();
        for (bucket, times) in buckets {
            let bucket = usize::try_from(bucket).map_err(|_| BadParts)?;
            let room = u64::MAX - histogram.count;
            if bucket >= BUCKETS || times > room {
                return Err(BadParts);
            }
            if times > 0 {
                histogram.add_bucket(bucket, times);
            }
        }
        histogram.set_exact(sum, max);
        Ok(histogram)
    }

    /// Sum and maximum as far as the buckets allow them: who sends both may lie.
    fn set_exact(&mut self, sum: u64, max: u64) {
        let Some((top, _)) = self.buckets().last() else {
            return;
        };
        let (mut least, mut most) = (0u64, 0u64);
        for (bucket, times) in self.buckets() {
            let (low, high) = range(bucket);
            least = least.saturating_add(low.saturating_mul(times));
            most = most.saturating_add(high.saturating_mul(times));
        }
        let (low, high) = range(top);
        self.sum = sum.clamp(least, most);
        self.max = max.clamp(low, high);
    }
}

/// The lowest and the highest value that count in a bucket; the last one takes all that are too
/// large.
fn range(bucket: usize) -> (u64, u64) {
    let (low, next) = bounds(bucket);
    let high = if bucket == BUCKETS - 1 {
        u64::MAX
    } else {
        next - 1
    };
    (low, high)
}

/// The parts of a histogram were none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadParts;

impl std::fmt::Display for BadParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("no such bucket, or counts that do not fit")
    }
}

impl std::error::Error for BadParts {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn buckets_follow_one_another() {
        let mut next = 0;
        for number in 0..BUCKETS {
            let (low, high) = bounds(number);
            assert_eq!(low, next, "bucket {number}");
            assert_eq!((bucket(low), bucket(high - 1)), (number, number));
            next = high;
        }
        assert_eq!(next, MAX_VALUE + 1);
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn small_values_are_exact() {
        let mut histogram = Histogram::new();
        for value in 1..=9 {
            histogram.record(value);
        }
        assert_eq!(histogram.quantile(0.5), Some(5.0));
        assert_eq!(histogram.quantile(1.0), Some(9.0));
        assert_eq!(histogram.quantile(0.0), Some(1.0));
        assert_eq!(histogram.mean(), Some(5.0));
        assert_eq!(Histogram::new().quantile(0.5), None);
        assert_eq!(histogram.above(7), 2);
    }

    #[test]
    fn sum_and_maximum_cannot_lie() {
        let lies = Histogram::from_parts([(3, 2), (70, 1)], u64::MAX, 9).unwrap();
        let (low, next) = bounds(70);
        assert_eq!((lies.sum(), lies.max()), (6 + next - 1, low));
        let lies = Histogram::from_parts([(3, 2)], 0, u64::MAX).unwrap();
        assert_eq!((lies.sum(), lies.max()), (6, 3));
        let none = Histogram::from_parts([(3, 0)], 7, 7).unwrap();
        assert_eq!(none, Histogram::new());
    }

    proptest! {
        #[test]
        fn a_percentile_is_within_half_a_bucket(
            mut values in proptest::collection::vec(0u64..10_000_000, 1..400), share in 0.0f64..1.0
        ) {
            let mut histogram = Histogram::new();
            for value in &values {
                histogram.record(*value);
            }
            values.sort_unstable();
            let rank = ((share * values.len() as f64).ceil() as usize).clamp(1, values.len());
            let exact = values[rank - 1] as f64;
            let got = histogram.quantile(rank as f64 / values.len() as f64).unwrap();
            prop_assert!((got - exact).abs() <= exact / 64.0 + 1e-9, "{got} for {exact}");
        }

        #[test]
        fn merging_is_recording_all(
            a in proptest::collection::vec(any::<u64>(), 0..50),
            b in proptest::collection::vec(0u64..1_000_000, 0..50)
        ) {
            let of = |values: &[u64]| {
                let mut histogram = Histogram::new();
                values.iter().for_each(|v| histogram.record(*v));
                histogram
            };
            let mut merged = of(&a);
            merged.merge(&of(&b));
            let all: Vec<u64> = a.iter().chain(&b).copied().collect();
            prop_assert_eq!(&merged, &of(&all));
            let text = serde_json::to_string(&merged).unwrap();
            prop_assert_eq!(serde_json::from_str::<Histogram>(&text).unwrap(), merged);
        }
    }
}
