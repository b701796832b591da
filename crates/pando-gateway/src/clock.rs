//! Time since the process began to serve: what cores take as `now`.

use std::sync::LazyLock;
use std::time::Instant;

static BEGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Microseconds; begins at one second, so that "a while ago" is never negative.
pub fn now_us() -> u64 {
    us_at(Instant::now())
}

/// Milliseconds of a moment.
pub fn ms_at(moment: Instant) -> u64 {
    us_at(moment) / 1000
}

fn us_at(moment: Instant) -> u64 {
    let since = moment.saturating_duration_since(*BEGIN);
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX) + 1_000_000
}

/// Milliseconds on the same clock.
pub fn now_ms() -> u64 {
    now_us() / 1000
}
