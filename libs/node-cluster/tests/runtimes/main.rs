//! The library against the real runtimes, installed from npm.
#![expect(clippy::unwrap_used, reason = "a test panics")]
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "tests pick the effect they wait for"
)]

mod http;
mod node;
mod npm;
mod others;
mod rig;
