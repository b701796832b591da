//! Counters that are read now and then, as rates; and means over the last seconds.

use std::collections::VecDeque;

use monitor_spec::now::WINDOW_S;

/// A counter that only grows, and its rate between the last two readings.
#[derive(Clone, Debug, Default)]
pub(crate) struct Meter {
    last: Option<(u64, u64)>,
    per_second: Option<f64>,
}

impl Meter {
    /// What was added since the reading before; the same reading again adds nothing.
    pub fn read(&mut self, at_us: u64, value: u64) -> u64 {
        let Some((before_us, before)) = self.last else {
            self.last = Some((at_us, value));
            return 0;
        };
        if at_us <= before_us {
            return 0;
        }
        self.last = Some((at_us, value));
        // A counter that began anew says nothing.
        let Some(added) = value.checked_sub(before) else {
            self.per_second = None;
            return 0;
        };
        self.per_second = Some(added as f64 * 1e6 / (at_us - before_us) as f64);
        added
    }

    pub fn per_second(&self) -> Option<f64> {
        self.per_second
    }
}

/// The values of the last [`WINDOW_S`] seconds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Window(VecDeque<Option<f64>>);

impl Window {
    pub fn push(&mut self, value: Option<f64>) {
        if self.0.len() as u64 >= WINDOW_S {
            self.0.pop_front();
        }
        self.0.push_back(value);
    }

    pub fn mean(&self) -> Option<f64> {
        let (mut sum, mut count) = (0.0, 0u32);
        for value in self.0.iter().flatten() {
            sum += value;
            count += 1;
        }
        (count > 0).then(|| sum / f64::from(count))
    }

    pub fn max(&self) -> Option<f64> {
        self.0.iter().flatten().copied().reduce(f64::max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_of_the_last_two_readings() {
        let mut meter = Meter::default();
        assert_eq!((meter.read(1_000_000, 50), meter.per_second()), (0, None));
        assert_eq!(meter.read(3_000_000, 150), 100);
        assert_eq!(meter.per_second(), Some(50.0));
        assert_eq!(meter.read(3_000_000, 999), 0, "the same reading");
        assert_eq!(meter.per_second(), Some(50.0));
        assert_eq!((meter.read(4_000_000, 7), meter.per_second()), (0, None));
        assert_eq!(meter.read(5_000_000, 8), 1);
    }

    #[test]
    fn a_window_forgets() {
        let mut window = Window::default();
        window.push(Some(100.0));
        for _ in 0..WINDOW_S {
            window.push(None);
        }
        assert_eq!((window.mean(), window.max()), (None, None));
        window.push(Some(2.0));
        window.push(Some(4.0));
        assert_eq!((window.mean(), window.max()), (Some(3.0), Some(4.0)));
    }
}
