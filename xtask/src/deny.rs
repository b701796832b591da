//! Licences, sources, duplicates and known advisories of the dependencies, by cargo-deny.

use std::process::Command;

use crate::shell;

pub fn is_installed() -> bool {
    Command::new("cargo")
        .args(["deny", "--version"])
        .output()
        .is_ok_and(|o| o.status.success())
}

pub fn run() -> anyhow::Result<()> {
    if !is_installed() {
        shell::run("cargo", &["install", "--locked", "--quiet", "cargo-deny"])?;
    }
    shell::run("cargo", &["deny", "check", "bans", "licenses", "sources"])?;
    // The advisories come over the network; a machine without it must still be able to check the rest.
    if let Err(error) = shell::run("cargo", &["deny", "fetch", "db"]) {
        println!("advisories were not checked, for they cannot be fetched: {error:#}");
        return Ok(());
    }
    shell::run("cargo", &["deny", "--offline", "check", "advisories"])
}
