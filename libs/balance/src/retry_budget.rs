//! How many requests may be tried again: a share of all, so that retries help against a few
//! failures and never multiply the load of an upstream that fails for everybody.

use crate::window::Window;

/// The sliding window over which requests and retries are counted.
const WINDOW_MS: u64 = 10_000;
/// Retries a second that are granted however few requests there are.
pub const RETRIES_PER_SECOND_MIN: u32 = 3;

/// One for each group of upstreams; threads may share it.
#[derive(Debug)]
pub struct RetryBudget {
    share: f64,
    requests: Window,
    retries: Window,
}

impl RetryBudget {
    /// `share` is retries for each request, 0 to 1; with 0 there are none at all.
    #[must_use]
    pub fn new(share: f64) -> Self {
        Self {
            share,
            requests: Window::new(WINDOW_MS),
            retries: Window::new(WINDOW_MS),
        }
    }

    /// A client's request came: once for each, its retries not included.
    pub fn request(&self, now_ms: u64) {
        self.requests.add(now_ms);
    }

    /// Whether one more retry may be made; it is counted if so.
    #[must_use]
    pub fn retry(&self, now_ms: u64) -> bool {
        if self.share <= 0.0 {
            return false;
        }
        let floor = u64::from(RETRIES_PER_SECOND_MIN) * WINDOW_MS / 1000;
        let earned = (self.requests.sum(now_ms) as f64 * self.share) as u64;
        let granted = self.retries.sum(now_ms) < earned.max(floor);
        if granted {
            self.retries.add(now_ms);
        }
        granted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn granted(budget: &RetryBudget, now_ms: u64) -> usize {
        (0..10_000).take_while(|_| budget.retry(now_ms)).count()
    }

    #[test]
    fn a_share_of_the_requests_and_never_less_than_the_floor() {
        let budget = RetryBudget::new(0.2);
        assert_eq!(granted(&budget, 0), 30);
        for n in 0..1000 {
            budget.request(5_000 + n);
        }
        assert_eq!(granted(&budget, 6_000), 170);
        // The first retries have left the window, the requests and the later retries have not.
        assert_eq!(granted(&budget, 12_000), 30);
        assert_eq!(granted(&budget, 14_000), 0);
        assert_eq!(granted(&budget, 30_000), 30);
    }

    #[test]
    fn a_share_of_nothing_is_nothing() {
        assert!(!RetryBudget::new(0.0).retry(0));
    }
}
