//! Any path of a request: a relative name without a way up, or nothing.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pando_gateway::files::path::resolve;

fuzz_target!(|input: (bool, &str)| {
    let (dotfiles, path) = input;
    if let Some(name) = resolve(path, dotfiles) {
        assert!(!name.starts_with(b"/") && !name.contains(&0) && !name.contains(&b'\\'));
        let mut segments = name.split(|byte| *byte == b'/');
        assert!(segments.all(|segment| segment != b".." && segment != b"."));
    }
});
