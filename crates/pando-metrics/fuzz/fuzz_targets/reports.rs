//! Reports of a worker that lies, through the whole engine to what is exported: no panic, every number
//! of the picture finite, no counter that goes back. `cargo +nightly fuzz run reports`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| pando_metrics::fuzz_reports(data));
