//! What is measured of apps, and how it is asked for: the words that the preload, the supervisor,
//! the gateway, `pando-metrics` and the dashboards share. Plain data; who measures and who draws
//! is elsewhere.
//!
//! Durations are microseconds (`_us`) or milliseconds (`_ms`), sizes are bytes (`_bytes`), times
//! are milliseconds since 1970 (`time_ms`).

pub mod agent;
pub mod ask;
pub mod edge;
mod handle;
pub mod metric;
pub mod now;
pub mod settings;
pub mod state;

pub use handle::{Handle, Heard, Inbox, Replier, Word, channel};

/// Endpoints of one app that are kept apart; the rest is one row, [`OTHER`].
pub const MAX_ENDPOINTS: usize = 200;
/// The row of what came after [`MAX_ENDPOINTS`].
pub const OTHER: &str = "(other)";
/// The row of requests that no route of the app took (404).
pub const UNMATCHED: &str = "(unmatched)";
