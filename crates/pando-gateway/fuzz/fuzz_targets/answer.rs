//! Any bytes as an upstream's answer.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| pando_gateway::upstream::h1::fuzz_answer(data));
