//! Every fuzz target of every package, each for so long. cargo-fuzz wants a nightly compiler; the
//! pinned one is told to act as one, so no second toolchain is needed.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::ensure;

use crate::shell;

const DEFAULT_SECONDS: u64 = 60;

pub fn run(args: &[&str]) -> anyhow::Result<()> {
    let seconds = shell::number_after(args, "--seconds", DEFAULT_SECONDS)?;
    let installed = Command::new("cargo").args(["fuzz", "--version"]).output();
    if !installed.is_ok_and(|output| output.status.success()) {
        shell::run("cargo", &["install", "--locked", "--quiet", "cargo-fuzz"])?;
    }
    let mut ran = 0;
    for folder in ["libs", "crates"] {
        for package in fs::read_dir(e2e::npm::workspace().join(folder))? {
            let package = package?.path();
            for target in targets(&package) {
                fuzz(&package, &target, seconds)?;
                ran += 1;
            }
        }
    }
    ensure!(ran > 0, "there is no fuzz/fuzz_targets/*.rs of any package");
    println!("{ran} targets, {seconds} s each, nothing found");
    Ok(())
}

fn targets(package: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(package.join("fuzz/fuzz_targets")) else {
        return Vec::new();
    };
    let mut names: Vec<String> = entries
        .filter_map(|entry| Some(entry.ok()?.path().file_stem()?.to_str()?.to_owned()))
        .collect();
    names.sort();
    names
}

fn fuzz(package: &Path, target: &str, seconds: u64) -> anyhow::Result<()> {
    println!("+ cargo fuzz run {target}  (in {})", package.display());
    let status = Command::new("cargo")
        .args([
            "fuzz",
            "run",
            target,
            "--",
            &format!("-max_total_time={seconds}"),
        ])
        .env("RUSTC_BOOTSTRAP", "1")
        .current_dir(package)
        .status()?;
    ensure!(status.success(), "{target} ended with {status}");
    Ok(())
}
