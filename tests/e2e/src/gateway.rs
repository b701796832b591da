//! A gateway that runs alone: `pando gateway -c pando.toml`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use rustix::process::Signal;

use crate::{Pando, certificate, local, port, process, wait, wait_within};

const STOP_LIMIT: Duration = Duration::from_secs(10);

/// Ended when dropped.
#[derive(Debug)]
pub struct Gateway {
    /// Its listener without TLS.
    pub http: u16,
    /// Its listener with TLS, certificate by [`certificate::write`] for `localhost`.
    pub https: u16,
    pando: Pando,
    child: Child,
}

impl Gateway {
    /// One site for every host in front of `upstream`.
    pub fn before(upstream: u16) -> anyhow::Result<Self> {
        Self::start(
            "",
            &format!("{{ path = \"/*\", upstreams = [\"127.0.0.1:{upstream}\"] }},"),
        )
    }

    /// `keys` are further lines of `[gateway]`, `routes` the elements of the one site's routes.
    pub fn start(keys: &str, routes: &str) -> anyhow::Result<Self> {
        Self::listening("", keys, routes)
    }

    /// `word` is added to both listeners: `proxy`.
    pub fn listening(word: &str, keys: &str, routes: &str) -> anyhow::Result<Self> {
        let pando = Pando::new()?;
        let (http, https) = (port::free()?, port::free()?);
        let dir = pando.work();
        certificate::write(&dir, &["localhost"])?;
        let file = format!(
            "[gateway]
listen = [\"127.0.0.1:{http} {word}\", \"127.0.0.1:{https} tls {word}\"]
threads = 2
{keys}
[site.\"*\"]
tls = {{ cert = \"{dir}/cert.pem\", key = \"{dir}/key.pem\" }}
redirect_https = false
routes = [
{routes}
]
",
            dir = dir.display()
        );
        let path = pando.write("pando.toml", &file)?;
        let output = File::create(dir.join("output"))?;
        let child = pando
            .command(&["gateway", "-c", &path.display().to_string()])
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()?;
        let mut gateway = Self {
            http,
            https,
            pando,
            child,
        };
        let listens = wait::for_true("the gateway listens", || {
            let ended = !matches!(gateway.child.try_wait(), Ok(None));
            ended
                || [http, https]
                    .iter()
                    .all(|port| std::net::TcpStream::connect(local(*port)).is_ok())
        });
        let runs = gateway.is_running();
        ensure!(
            listens.is_ok() && runs,
            "no gateway: {}\n{file}",
            gateway.output()
        );
        Ok(gateway)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// What it has printed, its access log included.
    pub fn output(&self) -> String {
        fs::read_to_string(self.pando.work().join("output")).unwrap_or_default()
    }

    /// Its directory, with `pando.toml`, `cert.pem` and `key.pem`.
    pub fn dir(&self) -> PathBuf {
        self.pando.work()
    }

    pub fn certificate(&self) -> PathBuf {
        self.dir().join("cert.pem")
    }

    /// Fails when it has ended, as after a panic.
    pub fn check(&mut self) -> anyhow::Result<()> {
        ensure!(self.is_running(), "the gateway ended: {}", self.output());
        Ok(())
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("gateway: {}", self.output());
        }
        process::signal(self.child.id(), Signal::TERM);
        wait_within(&mut self.child, STOP_LIMIT);
    }
}

/// Runs a program to its end and gives what it printed, standard error last.
pub fn run(program: impl AsRef<Path>, args: &[&str]) -> anyhow::Result<(bool, String)> {
    let program = program.as_ref();
    let output = std::process::Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{} does not start", program.display()))?;
    let text = [output.stdout, output.stderr].concat();
    Ok((
        output.status.success(),
        String::from_utf8_lossy(&text).into_owned(),
    ))
}
