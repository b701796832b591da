//! The house rules that no compiler checks. Prints every breach, with its place, then fails.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use serde_json::Value;

use crate::shell;

const MAX_FILE_LINES: usize = 600;
/// Longer files, each with the reason why it is better whole.
const LONG_FILES: [(&str, &str); 4] = [
    (
        "crates/pando-config/tests/file.rs",
        "one table of inputs and problems",
    ),
    (
        "crates/pando-config/tests/problems.rs",
        "one table of mistakes and what is said of them",
    ),
    (
        "libs/node-cluster/tests/runtimes/node.rs",
        "one fake primary, one test a Node behaviour",
    ),
    (
        "tests/sim/src/world.rs",
        "one world under one clock; to be cut when it grows again",
    ),
];
const FORBIDDEN_MODULES: [&str; 5] = ["utils", "util", "common", "helpers", "manager"];
const SKIPPED_DIRS: [&str; 5] = ["target", "node_modules", ".git", "corpus", "artifacts"];
/// Crates that know another one, beside `pando`, which joins them all.
const CRATE_EDGES: [(&str, &[&str]); 2] = [
    (
        "pando-supervisor",
        &["pando-control", "pando-logs", "pando-root"],
    ),
    ("pando-ui", &["pando-control"]),
];
const PACKAGES: [&str; 4] = ["libs/", "crates/", "tests/", "xtask"];

pub fn run() -> anyhow::Result<()> {
    let root = e2e::npm::workspace();
    let mut breaches = edges(&root)?;
    for path in files(&root)? {
        let place = path
            .strip_prefix(&root)
            .unwrap_or(&path)
            .display()
            .to_string();
        match path.extension().and_then(|ext| ext.to_str()) {
            Some("rs") => source(&place, &path, &mut breaches)?,
            Some("md") => links(&place, &path, &mut breaches)?,
            Some(_) | None => {}
        }
    }
    if breaches.is_empty() {
        println!("tidy: nothing to say");
        return Ok(());
    }
    for breach in &breaches {
        println!("tidy: {breach}");
    }
    bail!("{} breaches of the house rules", breaches.len())
}

fn files(root: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut dirs = vec![root.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).with_context(|| dir.display().to_string())? {
            let entry = entry?;
            let skipped = SKIPPED_DIRS.iter().any(|name| entry.file_name() == *name);
            if entry.file_type()?.is_dir() {
                if !skipped {
                    dirs.push(entry.path());
                }
            } else {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Which package of this repository uses which.
fn edges(root: &Path) -> anyhow::Result<Vec<String>> {
    let mut cargo = Command::new("cargo");
    cargo
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .current_dir(root);
    let metadata: Value = serde_json::from_str(&shell::output(&mut cargo)?)?;
    let mut breaches = Vec::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let name = package["name"].as_str().unwrap_or("");
        let manifest = Path::new(package["manifest_path"].as_str().unwrap_or(""));
        let place = manifest
            .strip_prefix(root)
            .unwrap_or(manifest)
            .display()
            .to_string();
        if !PACKAGES.iter().any(|prefix| place.starts_with(prefix)) {
            continue;
        }
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let used = dependency["name"].as_str().unwrap_or("");
            let path = dependency["path"].as_str().unwrap_or("");
            let folder = Path::new(path)
                .strip_prefix(root)
                .unwrap_or(Path::new(path));
            if !path.is_empty() && !edge_is_allowed(&place, name, folder, used) {
                breaches.push(format!("{place}: {name} may not know {used}"));
            }
        }
    }
    Ok(breaches)
}

fn edge_is_allowed(place: &str, name: &str, used_folder: &Path, used: &str) -> bool {
    let used_is_lib = used_folder.starts_with("libs");
    if place.starts_with("libs/") || name == "e2e" {
        return used_is_lib;
    }
    if place.starts_with("crates/") && name != "pando" {
        let listed = CRATE_EDGES.iter().find(|(from, _)| *from == name);
        return used_is_lib || listed.is_some_and(|(_, to)| to.contains(&used));
    }
    true
}

fn source(place: &str, path: &Path, breaches: &mut Vec<String>) -> anyhow::Result<()> {
    let text = fs::read_to_string(path).with_context(|| place.to_owned())?;
    let lines = text.lines().count();
    if lines > MAX_FILE_LINES && !LONG_FILES.iter().any(|(listed, _)| *listed == place) {
        breaches.push(format!("{place}: {lines} lines, at most {MAX_FILE_LINES}"));
    }
    let module = match path.file_stem().and_then(|stem| stem.to_str()) {
        Some("mod") => path
            .parent()
            .and_then(Path::file_name)
            .and_then(|name| name.to_str()),
        stem => stem,
    };
    if let Some(name) = module.filter(|name| FORBIDDEN_MODULES.contains(name)) {
        breaches.push(format!("{place}: a module named {name} has no subject"));
    }
    // In two pieces, so that this line is no breach of itself. A test that another one runs in a
    // process of its own is run, and says so.
    let ignored = concat!("#[", "ignore");
    let unrun = |line: &str| line.contains(ignored) && !line.contains("the test ");
    for (at, _) in text.lines().enumerate().filter(|(_, line)| unrun(line)) {
        breaches.push(format!("{place}:{}: a test that is not run", at + 1));
    }
    Ok(())
}

/// Relative links must lead somewhere.
fn links(place: &str, path: &Path, breaches: &mut Vec<String>) -> anyhow::Result<()> {
    let text = fs::read_to_string(path).with_context(|| place.to_owned())?;
    let dir = path.parent().unwrap_or(Path::new("."));
    for (at, line) in text.lines().enumerate() {
        for target in link_targets(line) {
            let file = target.split('#').next().unwrap_or("");
            let elsewhere =
                file.is_empty() || target.contains("://") || target.starts_with("mailto:");
            if !elsewhere && !dir.join(file).exists() {
                breaches.push(format!(
                    "{place}:{}: link to {target}, which is not there",
                    at + 1
                ));
            }
        }
    }
    Ok(())
}

fn link_targets(line: &str) -> Vec<&str> {
    let ends = line.match_indices("](").map(|(at, _)| &line[at + 2..]);
    ends.filter_map(|rest| rest.split(')').next()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrows_run_one_way() {
        for (place, name, folder, used, allowed) in [
            (
                "libs/steer/Cargo.toml",
                "steer",
                "libs/balance",
                "balance",
                true,
            ),
            (
                "libs/steer/Cargo.toml",
                "steer",
                "crates/pando-root",
                "pando-root",
                false,
            ),
            (
                "crates/pando-root/Cargo.toml",
                "pando-root",
                "libs/steer",
                "steer",
                true,
            ),
            (
                "crates/pando-root/Cargo.toml",
                "pando-root",
                "crates/pando-logs",
                "pando-logs",
                false,
            ),
            (
                "crates/pando/Cargo.toml",
                "pando",
                "crates/pando-logs",
                "pando-logs",
                true,
            ),
        ] {
            let got = edge_is_allowed(place, name, Path::new(folder), used);
            assert_eq!(got, allowed, "{name} -> {used}");
        }
    }

    #[test]
    fn links_of_a_line() {
        assert_eq!(
            link_targets("see [a](docs/a.md) and [b](b.md#part)."),
            ["docs/a.md", "b.md#part"]
        );
    }
}
