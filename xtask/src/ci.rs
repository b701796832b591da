//! Everything that must hold before a change is taken. Installs what the tests need by itself.

use crate::{debian, deny, shell, tidy};

/// Programs that tests use beside Node and cargo, by Debian package.
const PROGRAMS: [(&str, &str); 15] = [
    ("python3", "python3"),
    ("script", "bsdutils"),
    ("setsid", "util-linux"),
    ("prlimit", "util-linux"),
    ("cc", "gcc"),
    ("curl", "curl"),
    ("h2load", "nghttp2-client"),
    ("openssl", "openssl"),
    ("haproxy", "haproxy"),
    ("pebble", "pebble"),
    ("redis-server", "redis-server"),
    ("mariadbd", "mariadb-server-core"),
    ("tmux", "tmux"),
    ("promtool", "prometheus"),
    ("chromium", "chromium"),
];
/// Beyond the workspace's own lints.
const CLIPPY: [&str; 4] = ["-D", "warnings", "-D", "clippy::too_many_lines"];

pub fn run() -> anyhow::Result<()> {
    debian::need(&PROGRAMS)?;
    shell::run("cargo", &["fmt", "--all", "--check"])?;
    let mut clippy = vec!["clippy", "--workspace", "--all-targets", "--quiet", "--"];
    clippy.extend(CLIPPY);
    shell::run("cargo", &clippy)?;
    tidy::run()?;
    if deny::is_installed() {
        deny::run()?;
    } else {
        println!("cargo-deny is not installed: `cargo xtask deny` installs and runs it");
    }
    shell::run("cargo", &["build", "--package", "pando"])?;
    shell::run("cargo", &["test", "--workspace", "--no-fail-fast"])
}
