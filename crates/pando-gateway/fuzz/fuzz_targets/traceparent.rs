//! Any bytes as the header `traceparent`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| pando_gateway::trace::context::fuzz(data));
