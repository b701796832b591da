//! The last [`HISTORY_S`] seconds of what a dashboard draws.

use std::collections::VecDeque;

use monitor_spec::now::{HISTORY_S, History};

const LINES: usize = 7;

/// One second of each line; NaN where nothing is known.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Point(pub [f32; LINES]);

pub(crate) const RATE: usize = 0;
pub(crate) const P95: usize = 1;
pub(crate) const ERRORS: usize = 2;
pub(crate) const LAG: usize = 3;
pub(crate) const UTILIZATION: usize = 4;
pub(crate) const CPU: usize = 5;
pub(crate) const MEMORY: usize = 6;

impl Default for Point {
    fn default() -> Self {
        Self([f32::NAN; LINES])
    }
}

impl Point {
    pub fn set(&mut self, line: usize, value: Option<f64>) {
        if let (Some(place), Some(value)) = (self.0.get_mut(line), value) {
            *place = value as f32;
        }
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Sparks(VecDeque<Point>);

impl Sparks {
    pub fn push(&mut self, point: Point) {
        if self.0.len() >= HISTORY_S {
            self.0.pop_front();
        }
        self.0.push_back(point);
    }

    pub fn history(&self) -> History {
        let line = |number: usize| {
            let values = self.0.iter().map(|point| point.0.get(number).copied());
            values.map(|v| v.and_then(shown)).collect()
        };
        History {
            rate: line(RATE),
            p95_us: line(P95),
            errors: line(ERRORS),
            lag_us: line(LAG),
            utilization: line(UTILIZATION),
            cpu_percent: line(CPU),
            memory_bytes: line(MEMORY),
        }
    }
}

/// With about three digits: nobody sees more of a line, and pictures get a third shorter.
fn shown(value: f32) -> Option<f32> {
    if !value.is_finite() {
        return None;
    }
    if value.abs() >= 1_000.0 {
        // Sizes and times in whole numbers, with 10 bits kept.
        let bits = value.to_bits() & 0xffff_e000;
        return Some(f32::from_bits(bits).round());
    }
    Some((value * 1_000.0).round() / 1_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_bounded_and_short() {
        let mut sparks = Sparks::default();
        for n in 0..300u16 {
            let mut point = Point::default();
            point.set(RATE, Some(f64::from(n) + 0.123_456));
            point.set(MEMORY, (n % 2 == 0).then_some(123_456_789.0));
            sparks.push(point);
        }
        let history = sparks.history();
        assert_eq!(history.rate.len(), HISTORY_S);
        assert_eq!(history.rate[0], Some(180.123));
        assert_eq!(history.memory_bytes[1], None);
        let memory = history.memory_bytes[0].unwrap();
        assert!((memory - 123_456_789.0).abs() < 123_456.0, "{memory}");
        assert_eq!(history.lag_us[0], None);
    }
}
