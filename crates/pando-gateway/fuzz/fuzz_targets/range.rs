//! Any `Range` of any size: parts within the size, each byte at most once.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pando_gateway::files::range::{Wanted, parse};

fuzz_target!(|input: (u64, &[u8])| {
    let (size, header) = input;
    if let Wanted::Parts(mut parts) = parse(header, size) {
        parts.sort_by_key(|part| part.start);
        assert!(parts.iter().all(|part| part.start < part.end && part.end <= size));
        assert!(parts.windows(2).all(|pair| pair[0].end < pair[1].start));
    }
});
