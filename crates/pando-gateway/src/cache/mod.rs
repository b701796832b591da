//! The HTTP cache: one [`Store`] for the life of the process, one [`RouteCache`] for each route
//! that has a cache. The rules are in the crate `http-cache`; here is what keeps and fetches.
//!
//! A request goes one of these ways:
//!
//! ```text
//! bypass ── not a plain GET or HEAD, a cookie that bypasses, a guard against lost updates
//! hit ───── memory, else disk; whole, a part (206), or 304
//! stale ─── a hit while one request fetches anew behind it; or the origin failed
//! wait ──── another request fetches it already: its answer is shared as it streams in, unless it
//!           turns out to be for one client only; then everybody goes on alone
//! lead ──── to the origin, with the validators of what is stored. What comes is pumped into the
//!           store by a task of its own, from which the client reads: one that goes away, or
//!           reads slowly, holds up nobody.
//! ```
//!
//! Absent on purpose: storing of parts (206), and of answers with `Vary: *`.

mod disk;
mod entry;
mod fill;
mod flight;
mod key;
mod origin;
mod outcome;
mod pump;
mod purge;
mod retrieve;
mod route;
mod serve;
mod store;

pub use outcome::{CacheStatus, FetchFailed};
pub use purge::Purge;
pub use route::RouteCache;
pub use store::{Statistics, Store};

use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970.
fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}
