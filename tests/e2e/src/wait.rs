//! Waiting for something to become true, with a deadline.

use std::time::{Duration, Instant};

/// How often a condition is looked at.
pub const POLL: Duration = Duration::from_millis(25);
/// What every test waits at most for one thing: far more than it takes on a busy machine.
pub const GENEROUS: Duration = Duration::from_secs(60);

/// Polls until `done` or `limit`; whether it was done.
pub fn until(limit: Duration, mut done: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    loop {
        if done() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(POLL);
    }
}

/// Polls until `get` gives a value, or fails after [`GENEROUS`] saying what was waited for.
pub fn for_some<T>(what: &str, mut get: impl FnMut() -> Option<T>) -> anyhow::Result<T> {
    let mut got = None;
    until(GENEROUS, || {
        got = get();
        got.is_some()
    });
    got.ok_or_else(|| anyhow::anyhow!("waited {GENEROUS:?} in vain: {what}"))
}

/// Polls until `done`, or fails after [`GENEROUS`] saying what was waited for.
pub fn for_true(what: &str, mut done: impl FnMut() -> bool) -> anyhow::Result<()> {
    for_some(what, || done().then_some(()))
}
