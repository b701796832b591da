//! What the proxies stand in front of.

use std::fs;
use std::path::{Path, PathBuf};

use e2e::{http, local, wait};

use super::Lab;
use super::process::Process;
use crate::debian;

pub const SMALL: &str = "Hello, World!";
pub const BIG_BYTES: usize = 64 << 10;

/// nginx that answers at once: the cheapest origin there is, so that it is never the bottleneck.
pub struct Origin {
    pub port: u16,
    /// Holds `small` and `big`.
    pub files: PathBuf,
    _process: Process,
    _dir: tempfile::TempDir,
}

impl Origin {
    pub fn start(lab: &Lab) -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new().prefix("pando-bench-").tempdir()?;
        let files = dir.path().join("files");
        fs::create_dir(&files)?;
        // Without dots in the names: what has no extension is compressed by none.
        fs::write(files.join("small"), SMALL)?;
        fs::write(files.join("big"), vec![b'x'; BIG_BYTES])?;
        let port = e2e::port::free()?;
        let config = dir.path().join("nginx.conf");
        fs::write(&config, config_text(port, dir.path()))?;
        let process = start_nginx(&config, dir.path(), lab.load_core)?;
        wait::for_true("the origin answers", || {
            http::get(local(port), "/small").is_ok_and(|answer| answer.status == 200)
        })?;
        Ok(Self {
            port,
            files,
            _process: process,
            _dir: dir,
        })
    }
}

pub fn start_nginx(config: &Path, dir: &Path, core: Option<usize>) -> anyhow::Result<Process> {
    let (config, prefix) = (config.display().to_string(), dir.display().to_string());
    let nginx = debian::program("nginx");
    let args = ["-e", "stderr", "-p", &prefix, "-c", &config];
    Process::start(Path::new(&nginx), &args, core, &dir.join("output"))
}

/// The lines that any nginx here needs: in the foreground, with its files in `dir`.
pub fn nginx_head(dir: &Path, workers: u32) -> String {
    let user = if rustix::process::geteuid().is_root() {
        "user root;"
    } else {
        ""
    };
    format!(
        "{user}\ndaemon off;\npid {}/nginx.pid;\nworker_processes {workers};\n",
        dir.display()
    )
}

pub fn nginx_temp_paths(dir: &Path) -> String {
    ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|what| format!("  {what}_temp_path {}/{what};\n", dir.display()))
        .concat()
}

fn config_text(port: u16, dir: &Path) -> String {
    let (head, temp) = (nginx_head(dir, 1), nginx_temp_paths(dir));
    let files = dir.join("files").display().to_string();
    format!(
        "{head}events {{ worker_connections 16384; }}
http {{
  access_log off;
{temp}  keepalive_requests 1000000000;
  keepalive_timeout 3600s;
  sendfile on;
  tcp_nopush on;
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    default_type text/plain;
    location = /small {{ return 200 \"{SMALL}\"; }}
    location = /cached/small {{ add_header Cache-Control \"public, max-age=3600\"; return 200 \"{SMALL}\"; }}
    location = /big {{ alias {files}/big; }}
  }}
}}
"
    )
}

/// Some of the server.js that all tables run.
pub struct Nodes {
    pub ports: Vec<u16>,
    processes: Vec<Process>,
    _dir: tempfile::TempDir,
}

impl Nodes {
    pub fn start(count: usize) -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new().prefix("pando-bench-").tempdir()?;
        let script = e2e::npm::workspace()
            .join("xtask/apps/server.js")
            .display()
            .to_string();
        let mut nodes = Self {
            ports: Vec::new(),
            processes: Vec::new(),
            _dir: dir,
        };
        for _ in 0..count {
            let port = e2e::port::free()?;
            let env = format!("PORT={port}");
            let output = nodes._dir.path().join(port.to_string());
            let args = [env.as_str(), "node", &script];
            nodes
                .processes
                .push(Process::start(Path::new("env"), &args, None, &output)?);
            nodes.ports.push(port);
        }
        for port in &nodes.ports {
            wait::for_true("a Node upstream answers", || {
                http::get(local(*port), "/").is_ok_and(|answer| answer.status == 200)
            })?;
        }
        Ok(nodes)
    }

    /// `kill -9`.
    pub fn kill(&self, at: usize) {
        if let Some(process) = self.processes.get(at) {
            e2e::process::kill(process.id());
        }
    }
}
