//! When to start the next supervisor. Pure: time is an argument.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::options::Tuning;

#[derive(Debug)]
pub struct Backoff {
    tuning: Tuning,
    /// The last deaths, at most `quick_deaths` of them, in time that was not waited.
    deaths: VecDeque<Instant>,
    delay: Duration,
    waited: Duration,
}

impl Backoff {
    pub fn new(tuning: Tuning) -> Self {
        let (deaths, zero) = (VecDeque::new(), Duration::ZERO);
        Self {
            tuning,
            deaths,
            delay: zero,
            waited: zero,
        }
    }

    /// Another one died at `now`: how long to wait before the next. Nothing while deaths are
    /// rare; with `quick_deaths` within the window the minimum, doubled with each further death
    /// up to the maximum. Never gives up.
    pub fn died(&mut self, now: Instant) -> Duration {
        let window = Duration::from_millis(self.tuning.quick_window_ms);
        let min = Duration::from_millis(self.tuning.backoff_min_ms);
        let max = Duration::from_millis(self.tuning.backoff_max_ms);
        let quick = usize::try_from(self.tuning.quick_deaths)
            .unwrap_or(usize::MAX)
            .max(1);
        self.waited = self.waited.saturating_add(self.delay);
        // The waits of the back-off itself are no calm.
        let death = now.checked_sub(self.waited).unwrap_or(now);
        self.deaths
            .retain(|former| death.saturating_duration_since(*former) < window);
        while self.deaths.len() >= quick {
            self.deaths.pop_front();
        }
        self.deaths.push_back(death);
        self.delay = if self.deaths.len() < quick {
            Duration::ZERO
        } else {
            self.delay.saturating_mul(2).clamp(min, max.max(min))
        };
        self.delay
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delays(backoff: &mut Backoff, now: &mut Instant, uptime_ms: u64, count: usize) -> Vec<u64> {
        let mut delays = Vec::new();
        for _ in 0..count {
            *now += Duration::from_millis(uptime_ms);
            let delay = backoff.died(*now);
            *now += delay;
            delays.push(u64::try_from(delay.as_millis()).unwrap());
        }
        delays
    }

    #[test]
    fn the_fifth_quick_death_starts_a_doubling_that_ends_at_the_maximum() {
        let (mut backoff, mut now) = (Backoff::new(Tuning::default()), Instant::now());
        let got = delays(&mut backoff, &mut now, 10, 13);
        assert_eq!(
            got,
            [0, 0, 0, 0, 100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000]
        );
    }

    #[test]
    fn rare_deaths_cost_nothing_and_a_calm_time_forgets() {
        let (mut backoff, mut now) = (Backoff::new(Tuning::default()), Instant::now());
        assert_eq!(delays(&mut backoff, &mut now, 4_000, 20), [0; 20]);
        assert_eq!(delays(&mut backoff, &mut now, 60_000, 1), [0]);
        assert_eq!(delays(&mut backoff, &mut now, 1, 5), [0, 0, 0, 100, 200]);
        assert_eq!(delays(&mut backoff, &mut now, 60_000, 3), [0; 3]);
        assert_eq!(delays(&mut backoff, &mut now, 1, 5), [0, 0, 0, 100, 200]);
    }
}
