//! Time since the process began to serve: what cores take as `now`.

use std::sync::LazyLock;
use std::time::Instant;

static BEGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Microseconds; begins at one second, so that "a while ago" is never negative.
pub fn now_us() -> u64 {
    u64::try_from(BEGIN.elapsed().as_micros()).unwrap_or(u64::MAX) + 1_000_000
}

/// Milliseconds on the same clock.
pub fn now_ms() -> u64 {
    now_us() / 1000
}
