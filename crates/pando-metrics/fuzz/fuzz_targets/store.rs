//! Blocks, batches and chapters as a damaged store hands them back, between seconds of a clock that
//! jumps: no panic, nothing beyond its bounds, nothing written that cannot be read.
//! `cargo +nightly fuzz run store`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| pando_metrics::fuzz_store(data));
