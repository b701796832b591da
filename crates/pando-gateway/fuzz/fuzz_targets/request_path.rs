//! Any path: one spelling, which is its own.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pando_gateway::routing::path::normalise;

fuzz_target!(|path: &str| {
    let Some(once) = normalise(path) else {
        return;
    };
    assert!(once.starts_with('/'));
    assert!(once.split('/').all(|segment| segment != "." && segment != ".."));
    assert_eq!(normalise(&once).as_deref(), Some(&*once));
});
