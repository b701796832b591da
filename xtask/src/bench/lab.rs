//! What every table needs: the peers installed, the binary built, how long to measure.

use std::path::PathBuf;
use std::process::Command;

use crate::{debian, shell};

pub struct Lab {
    pub quick: bool,
    /// The directory of server.js and the others.
    pub apps: PathBuf,
    /// PM2's command, to be run by node.
    pub pm2: PathBuf,
    /// The release binary; `None` while there is none that runs, and then its rows are left out.
    pub pando: Option<PathBuf>,
}

impl Lab {
    pub fn set_up(quick: bool) -> anyhow::Result<Self> {
        debian::need(&[
            ("nginx", "nginx-light"),
            ("haproxy", "haproxy"),
            ("wrk", "wrk"),
        ])?;
        let pm2 = e2e::npm::install(&["pm2@7"])?.join("node_modules/pm2/bin/pm2");
        let apps = e2e::npm::workspace().join("xtask/apps");
        Ok(Self {
            quick,
            apps,
            pm2,
            pando: pando(),
        })
    }

    pub fn app(&self, name: &str) -> PathBuf {
        self.apps.join(name)
    }

    pub fn describe(&self) {
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let node = shell::output(Command::new("node").arg("--version")).unwrap_or_default();
        println!(
            "{cores} cores, Node {}{}",
            node.trim(),
            if self.quick { ", quick" } else { "" }
        );
        if self.pando.is_none() {
            println!("no release binary of Pando runs: its rows are left out");
        }
    }

    /// The first for an ordinary run, the second for a quick one.
    pub fn pick<T>(&self, ordinary: T, quick: T) -> T {
        if self.quick { quick } else { ordinary }
    }
}

/// `PANDO_BIN`, or the release binary, built.
pub fn pando() -> Option<PathBuf> {
    let path = match std::env::var_os("PANDO_BIN") {
        Some(path) => PathBuf::from(path),
        None => {
            shell::run("cargo", &["build", "--release", "--package", "pando"]).ok()?;
            e2e::npm::workspace().join("target/release/pando")
        }
    };
    let answer = shell::output(Command::new(&path).arg("--version")).ok()?;
    answer.starts_with("pando").then_some(path)
}
