//! A small machine in memory, and problems in a short form.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::collections::BTreeMap;
use std::path::Path;

use app_spec::AppSpec;
use pando_config::{FileSystem, MemoryFs, Problem, Severity, parse};

pub fn fs() -> MemoryFs {
    MemoryFs::new()
        .with_executable("/usr/bin/node", "")
        .with_executable("/usr/bin/bun", "")
        .with_executable("/usr/bin/npm", "")
        .with_executable("/usr/bin/python3", "")
        .with_executable("/usr/bin/bash", "")
        .with_executable("/bin/sh", "")
        .with("/srv/s.js", "")
        .with("/srv/dist/main.js", "")
        .with("/srv/s.py", "")
        .with("/srv/s.ts", "")
        .with("/srv/s.rb", "")
        .with("/srv/s.sh", "#!/bin/bash\n")
        .with("/srv/plain", "")
        .with("/srv/app.json", "")
        .with_executable("/srv/www", "#!/usr/bin/env node\n")
        .with_executable("/srv/tool", "\x7fELF")
        .with_executable("/srv/nodes/node", "")
        .with("/srv/.env", "A=file\nB=${HOME}/b\n")
        .with("/srv/second.env", "A=second\n")
        .with("/srv/bad.env", "A=1\nwhat\n")
        .with("/srv/packages/api/api.js", "")
}

pub fn base_env() -> BTreeMap<String, String> {
    [
        ("PATH", "/usr/bin:/bin"),
        ("HOME", "/root"),
        ("PANDO_HOME", "/x"),
        ("SHLVL", "2"),
    ]
    .map(|(k, v)| (k.to_owned(), v.to_owned()))
    .into()
}

pub fn read_with(
    text: &str,
    fs: &dyn FileSystem,
) -> Result<(Vec<AppSpec>, Vec<Problem>), Vec<Problem>> {
    parse(text, Path::new("/srv/pando.toml"), &base_env(), fs)
        .map(|(f, warnings)| (f.apps, warnings))
}

pub fn show(problems: &[Problem]) -> String {
    problems.iter().map(|p| format!("{p}\n")).collect()
}

/// `line:column what`, warnings with a `?` before.
pub fn short(problems: &[Problem]) -> Vec<String> {
    let mark = |p: &Problem| {
        if p.severity == Severity::Warning {
            "? "
        } else {
            ""
        }
    };
    problems
        .iter()
        .map(|p| format!("{}{}:{} {}", mark(p), p.line, p.column, p.what))
        .collect()
}
