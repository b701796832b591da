//! The cache as a route has it, in front of an origin that a test plays.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod answers;
mod model;
mod origin;
mod sharing;
