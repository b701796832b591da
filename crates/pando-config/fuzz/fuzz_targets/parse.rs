//! A pando.toml: no panic, and every problem has its place.
#![no_main]

use std::collections::BTreeMap;
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use pando_config::{MemoryFs, parse};

fuzz_target!(|text: &str| {
    let fs = MemoryFs::new()
        .with_executable("/usr/bin/node", "")
        .with("/srv/s.js", "")
        .with("/srv/.env", "A=1\n");
    match parse(text, Path::new("/srv/pando.toml"), &BTreeMap::new(), &fs) {
        Ok((file, _)) => assert!(!file.apps.is_empty() || file.gateway.is_some()),
        Err(problems) => {
            assert!(problems.iter().any(|problem| problem.is_error()));
            for problem in problems {
                assert!(problem.line >= 1 && problem.column >= 1, "{problem}");
                assert!(!problem.to_string().is_empty());
            }
        }
    }
});
