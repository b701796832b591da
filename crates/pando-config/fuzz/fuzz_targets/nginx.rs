//! An nginx configuration: no panic, and what is imported can be read back as it was written.
#![no_main]

use std::collections::BTreeMap;
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use pando_config::import::nginx;
use pando_config::{MemoryFs, parse};

fuzz_target!(|text: &str| {
    let path = Path::new("/etc/nginx/nginx.conf");
    let fs = MemoryFs::new().with("/etc/nginx/nginx.conf", text);
    let Ok(imported) = nginx(path, &fs) else {
        return;
    };
    if imported.spec.sites.is_empty() {
        return;
    }
    let toml = imported.to_toml(path);
    match parse(&toml, Path::new("/srv/pando.toml"), &BTreeMap::new(), &fs) {
        Ok((file, _)) => assert_eq!(file.gateway, Some(imported.spec), "{toml}"),
        // More than one file may hold is told, not imported.
        Err(problems) => assert!(
            problems
                .iter()
                .any(|problem| problem.what.contains("too many")
                    || problem.what.contains("larger than")),
            "{toml}"
        ),
    }
});
