//! Running other programs, shown as they are run.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};

/// Runs a command in the workspace's root and fails if it does.
pub fn run(program: &str, args: &[&str]) -> anyhow::Result<()> {
    run_in(&e2e::npm::workspace(), program, args)
}

pub fn run_in(dir: &Path, program: &str, args: &[&str]) -> anyhow::Result<()> {
    println!("+ {program} {}", args.join(" "));
    let status = Command::new(program)
        .args(args)
        .current_dir(dir)
        .status()
        .with_context(|| format!("{program} does not start"))?;
    ensure!(
        status.success(),
        "{program} {} ended with {status}",
        args.join(" ")
    );
    Ok(())
}

/// What a command prints; fails if it does.
pub fn output(command: &mut Command) -> anyhow::Result<String> {
    let output = command
        .output()
        .with_context(|| format!("{command:?} does not start"))?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{command:?} ended with {}: {stderr}",
        output.status
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The value after a flag, as a number.
pub fn number_after(args: &[&str], flag: &str, default: u64) -> anyhow::Result<u64> {
    let Some(at) = args.iter().position(|arg| *arg == flag) else {
        return Ok(default);
    };
    let value = args
        .get(at + 1)
        .with_context(|| format!("{flag} needs a number"))?;
    value
        .parse()
        .with_context(|| format!("{flag} {value}: not a number"))
}
