//! Debian packages: installed when their program is missing, with sudo unless root.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};

use crate::shell;

/// Makes sure that each program is there, by the package beside it.
pub fn need(programs: &[(&str, &str)]) -> anyhow::Result<()> {
    let missing: Vec<(&str, &str)> = programs
        .iter()
        .copied()
        .filter(|(program, _)| !has(program))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let packages: Vec<&str> = missing.iter().map(|(_, package)| *package).collect();
    if !has("apt-get") {
        bail!(
            "missing programs, and no apt-get to install them: {}",
            packages.join(", ")
        );
    }
    apt(&["update", "-qq"])?;
    let mut args = vec!["install", "-y", "-qq", "--no-install-recommends"];
    args.extend(&packages);
    apt(&args).with_context(|| format!("could not install {}", packages.join(", ")))?;
    for (program, package) in missing {
        stop_service(package);
        if !has(program) {
            bail!("the package {package} brought no {program}");
        }
    }
    Ok(())
}

/// Installs a package that brings no program of its own.
pub fn install(package: &str) -> anyhow::Result<()> {
    apt(&["update", "-qq"])?;
    apt(&["install", "-y", "-qq", "--no-install-recommends", package])
}

/// Debian starts a server's service as it is installed; a bench wants only its program.
fn stop_service(package: &str) {
    if Path::new("/run/systemd/system").exists() {
        let service = package.trim_end_matches("-light");
        let _ = privileged("systemctl")
            .args(["disable", "--now", service])
            .status();
    }
}

fn has(program: &str) -> bool {
    // Servers live in sbin, which is not on everybody's PATH.
    e2e::npm::on_path(program) || path_in_sbin(program).is_some()
}

fn path_in_sbin(program: &str) -> Option<String> {
    let path = format!("/usr/sbin/{program}");
    Path::new(&path).exists().then_some(path)
}

/// How to call a program that [`need`] has made sure of.
pub fn program(name: &str) -> String {
    if e2e::npm::on_path(name) {
        return name.to_owned();
    }
    path_in_sbin(name).unwrap_or_else(|| name.to_owned())
}

fn privileged(program: &str) -> Command {
    if rustix::process::geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("sudo");
    command.arg("--non-interactive").arg(program);
    command
}

fn apt(args: &[&str]) -> anyhow::Result<()> {
    println!("+ apt-get {}", args.join(" "));
    let mut command = privileged("apt-get");
    command.args(args).env("DEBIAN_FRONTEND", "noninteractive");
    shell::output(&mut command).map(drop)
}
