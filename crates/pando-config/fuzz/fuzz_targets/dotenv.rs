//! An env file: no panic, no growth without bound, every problem has its place.
#![no_main]

use std::collections::BTreeMap;
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use pando_config::parse_dotenv;

fuzz_target!(|text: &str| {
    match parse_dotenv(text, Path::new(".env"), &BTreeMap::new()) {
        Ok(vars) => {
            let bytes: usize = vars.values().map(String::len).sum();
            assert!(bytes <= 4 << 20);
        }
        Err(problems) => {
            assert!(!problems.is_empty());
            assert!(problems.iter().all(|problem| problem.line >= 1 && problem.column >= 1));
        }
    }
});
