//! A circuit breaker: where most requests fail, further ones are refused at once, and one at a
//! time finds out whether that is over (Nygard, "Release It!", 2007).
//!
//! ```text
//! closed --share of failures--> open --time is over--> half open --probe succeeded--> closed
//!                                ^-------------probe failed-----|
//! ```
//! What was let through before the circuit opened says nothing of the present: only the probe
//! counts while it is not closed. A probe that is never recorded (its client went away) holds
//! nobody up for longer than the circuit stays open.

use crate::window::Window;

/// When to open.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BreakerOptions {
    /// Share of failures within the window, 0 to 1.
    pub error_share: f64,
    pub window_ms: u64,
    /// Least number of requests in the window for a judgement.
    pub min_requests: u32,
    /// How long it stays open before a probe.
    pub open_ms: u64,
}

/// The breaker of one upstream or group.
#[derive(Debug)]
pub struct Breaker {
    options: BreakerOptions,
    state: State,
    requests: Window,
    failures: Window,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed,
    Open {
        until_ms: u64,
    },
    /// A probe is on its way; at `until_ms` another may go.
    HalfOpen {
        until_ms: u64,
    },
}

/// What a breaker says to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Permit {
    /// Go, and [`Breaker::record`] the outcome with this permit.
    Normal,
    /// Go: the outcome decides for all.
    Probe,
    /// Do not go; ask again after this time, in milliseconds.
    Refused { retry_after_ms: u64 },
}

impl Breaker {
    #[must_use]
    pub fn new(options: BreakerOptions) -> Self {
        Self {
            options,
            state: State::Closed,
            requests: Window::new(options.window_ms),
            failures: Window::new(options.window_ms),
        }
    }

    /// Whether a request that asked now would be let through; nothing changes. For choosing
    /// among several before [`Breaker::admit`].
    #[must_use]
    pub fn is_open(&self, now_ms: u64) -> bool {
        match self.state {
            State::Closed => false,
            State::Open { until_ms } | State::HalfOpen { until_ms } => now_ms < until_ms,
        }
    }

    /// Lets a request through or refuses it.
    pub fn admit(&mut self, now_ms: u64) -> Permit {
        match self.state {
            State::Closed => Permit::Normal,
            State::Open { until_ms } | State::HalfOpen { until_ms } if now_ms < until_ms => {
                Permit::Refused {
                    retry_after_ms: until_ms - now_ms,
                }
            }
            State::Open { .. } | State::HalfOpen { .. } => {
                let until_ms = now_ms.saturating_add(self.options.open_ms.max(1));
                self.state = State::HalfOpen { until_ms };
                Permit::Probe
            }
        }
    }

    /// The outcome of a request that was let through. `true` if the circuit opened or closed.
    pub fn record(&mut self, permit: Permit, succeeded: bool, now_ms: u64) -> bool {
        match (self.state, permit) {
            (State::Closed, Permit::Normal) => self.count(succeeded, now_ms),
            (State::HalfOpen { .. }, Permit::Probe) if succeeded => {
                self.requests.clear();
                self.failures.clear();
                self.state = State::Closed;
                true
            }
            (State::HalfOpen { .. }, Permit::Probe) => {
                self.open(now_ms);
                true
            }
            (State::Closed | State::Open { .. } | State::HalfOpen { .. }, _) => false,
        }
    }

    fn count(&mut self, succeeded: bool, now_ms: u64) -> bool {
        self.requests.add(now_ms);
        if succeeded {
            return false;
        }
        self.failures.add(now_ms);
        let requests = self.requests.sum(now_ms);
        let failures = self.failures.sum(now_ms);
        let opens = requests >= u64::from(self.options.min_requests)
            && failures as f64 >= requests as f64 * self.options.error_share;
        if opens {
            self.open(now_ms);
        }
        opens
    }

    fn open(&mut self, now_ms: u64) {
        let until_ms = now_ms.saturating_add(self.options.open_ms.max(1));
        self.state = State::Open { until_ms };
    }
}
