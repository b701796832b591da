//! What an app did in the last ten minutes, by pictures of ten seconds: requests, failures and
//! restarts. A picture alone is too short to judge rare requests by.

use std::collections::{BTreeMap, VecDeque};

use app_spec::GATEWAY;
use monitor_spec::now::{App, Now};

/// The whole of it.
pub(super) const SPAN_MS: i64 = 600_000;
const SLOT_MS: i64 = 10_000;
const SLOTS: usize = (SPAN_MS / SLOT_MS) as usize;

/// Sums over some time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Sums {
    pub passed_ms: i64,
    pub requests: f64,
    pub errors: f64,
    pub restarts: u64,
}

#[derive(Debug, Default)]
pub(super) struct Flow {
    /// The latest last; that one is open.
    slots: VecDeque<Sums>,
    restarts: Option<u64>,
    /// At least one worker was ready since this supervisor began.
    pub was_ready: bool,
}

#[derive(Debug, Default)]
pub(super) struct Flows(BTreeMap<String, Flow>);

impl Flows {
    pub fn step(&mut self, passed_ms: i64, now: &Now) {
        self.0
            .retain(|name, _| now.apps.iter().any(|app| app.name == *name));
        for app in &now.apps {
            let flow = self.0.entry(app.name.clone()).or_default();
            flow.step(passed_ms, app, rates(app, now));
        }
    }

    pub fn of(&self, app: &str) -> Option<&Flow> {
        self.0.get(app)
    }
}

/// Requests and failures a second. Of the gateway those that belong to no app: the others are
/// their app's.
fn rates(app: &App, now: &Now) -> (f64, f64) {
    if app.name != GATEWAY {
        return (app.traffic.rate, app.traffic.errors_5xx);
    }
    let routes = now.gateway.iter().flat_map(|gateway| &gateway.routes);
    let own = routes.filter(|route| route.app.is_none());
    own.fold((0.0, 0.0), |(rate, errors), route| {
        let traffic = &route.traffic;
        (rate + traffic.rate, errors + traffic.errors_5xx)
    })
}

impl Flow {
    fn step(&mut self, passed_ms: i64, app: &App, (rate, errors): (f64, f64)) {
        self.was_ready |= app.ready > 0;
        let before = self.restarts.replace(app.restarts);
        // A person who starts it again begins the count anew.
        let more = before.map_or(0, |n| app.restarts.checked_sub(n).unwrap_or(app.restarts));
        let open = match self.slots.back_mut() {
            Some(open) if open.passed_ms < SLOT_MS => open,
            Some(_) | None => {
                if self.slots.len() >= SLOTS {
                    self.slots.pop_front();
                }
                self.slots.push_back(Sums::default());
                let Some(open) = self.slots.back_mut() else {
                    return;
                };
                open
            }
        };
        let seconds = passed_ms as f64 / 1e3;
        open.passed_ms += passed_ms;
        open.restarts = open.restarts.saturating_add(more);
        // What a deploy costs is not the app's way.
        if !app.reloading && rate.is_finite() && errors.is_finite() {
            open.requests += rate * seconds;
            open.errors += errors.min(rate) * seconds;
        }
    }

    /// Over at least so long, as far as it is known.
    pub fn over(&self, span_ms: i64) -> Sums {
        let mut sums = Sums::default();
        for slot in self.slots.iter().rev() {
            if sums.passed_ms >= span_ms {
                break;
            }
            sums.passed_ms += slot.passed_ms;
            sums.requests += slot.requests;
            sums.errors += slot.errors;
            sums.restarts = sums.restarts.saturating_add(slot.restarts);
        }
        sums
    }
}

impl Sums {
    pub fn rate(&self) -> f64 {
        self.requests * 1e3 / (self.passed_ms.max(1) as f64)
    }

    /// `None` where there was no request.
    pub fn error_share(&self) -> Option<f64> {
        // Less than a request is the rest of a rate.
        (self.requests >= 0.5).then(|| (self.errors / self.requests).clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_minutes_are_kept_and_no_more() {
        let mut flow = Flow::default();
        let mut app = App::default();
        for n in 0..2_000 {
            app.restarts = n / 100;
            flow.step(1_000, &app, (2.0, 1.0));
        }
        assert!(flow.slots.len() <= SLOTS);
        let all = flow.over(SPAN_MS);
        assert!((590_000..=SPAN_MS).contains(&all.passed_ms), "{all:?}");
        assert!((all.rate() - 2.0).abs() < 1e-9 && all.error_share() == Some(0.5));
        assert!((5..=6).contains(&all.restarts), "{all:?}");
        let last = flow.over(20_000);
        assert!((20_000..=30_000).contains(&last.passed_ms), "{last:?}");
        app.restarts = 1;
        flow.step(1_000, &app, (f64::NAN, f64::INFINITY));
        assert!(flow.over(SPAN_MS).rate().is_finite());
    }
}
