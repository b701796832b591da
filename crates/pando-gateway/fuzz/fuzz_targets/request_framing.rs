//! Any bytes as a stream of requests, read whole and in two parts: one verdict.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pando_gateway::serve::guard::Guard;

fuzz_target!(|input: (u16, &[u8])| {
    let (cut, stream) = input;
    if stream.len() > 4096 {
        return;
    }
    let mut whole = Guard::new(8192, 64);
    let all = whole.check(stream);
    assert!(all.good <= stream.len());
    let mut parts = Guard::new(8192, 64);
    let cut = usize::from(cut).min(stream.len());
    let first = parts.check(&stream[..cut]);
    if first.fault.is_some() {
        assert!(all.fault.is_some() && first.good == all.good);
        return;
    }
    let second = parts.check(&stream[first.good..]);
    assert_eq!(first.good + second.good, all.good);
    assert_eq!(second.fault.is_some(), all.fault.is_some());
    assert_eq!(parts.phase(), whole.phase());
});
