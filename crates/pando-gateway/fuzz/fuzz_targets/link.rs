//! Any lines from a supervisor.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|lines: &[u8]| {
    // Each ready listener of a configuration is told once.
    assert!(pando_gateway::link::replay(lines) >= 2);
});
