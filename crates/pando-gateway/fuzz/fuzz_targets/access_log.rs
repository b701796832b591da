//! Any bytes of a request stay one line of the log, and JSON stays JSON.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| pando_gateway::access_log::fuzz_line(data));
