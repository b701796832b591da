//! The things measured, each started with the same server.js, and ended with all it started.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use e2e::{http, local, process, wait};
use rustix::process::Signal;

use super::lab::Lab;
use super::wrk::Wrk;
use crate::{debian, shell};

/// From the first answer to the measuring: so long for every worker to come up.
const SETTLE: Duration = Duration::from_millis(1500);
const STOP_LIMIT: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Bare,
    NodeNone,
    NodeRr,
    Pm2,
    Nginx,
    Haproxy,
    PandoSteered,
    PandoRoundRobin,
}

impl Kind {
    pub const ALL: [Self; 8] = [
        Self::Bare,
        Self::NodeNone,
        Self::NodeRr,
        Self::Pm2,
        Self::Nginx,
        Self::Haproxy,
        Self::PandoSteered,
        Self::PandoRoundRobin,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Bare => "one bare node",
            Self::NodeNone => "node cluster, none",
            Self::NodeRr => "node cluster, rr",
            Self::Pm2 => "PM2",
            Self::Nginx => "nginx in front",
            Self::Haproxy => "haproxy in front",
            Self::PandoSteered => "**Pando** (steered)",
            Self::PandoRoundRobin => "**Pando** round-robin",
        }
    }

    pub fn is_pando(self) -> bool {
        matches!(self, Self::PandoSteered | Self::PandoRoundRobin)
    }
}

/// A running target. Dropped, it is stopped with all that it started.
pub struct Target {
    pub kind: Kind,
    pub port: u16,
    children: Vec<Child>,
    pm2: Option<Pm2>,
    pub pando: Option<e2e::Pando>,
    _dir: tempfile::TempDir,
}

struct Pm2 {
    script: std::path::PathBuf,
    home: std::path::PathBuf,
}

/// What to start beside the kind.
#[derive(Clone, Copy)]
pub struct Plan<'a> {
    pub workers: u32,
    pub script: &'a str,
    pub env: &'a [(&'a str, &'a str)],
}

impl Plan<'_> {
    pub fn server(workers: u32) -> Self {
        Self {
            workers,
            script: "server.js",
            env: &[],
        }
    }
}

/// The kinds that can run here, started.
pub fn start_all(lab: &Lab, kinds: &[Kind], plan: Plan<'_>) -> anyhow::Result<Vec<Target>> {
    let runs = |kind: &&Kind| lab.pando.is_some() || !kind.is_pando();
    kinds
        .iter()
        .filter(runs)
        .map(|kind| Target::start(lab, *kind, plan))
        .collect()
}

impl Target {
    pub fn start(lab: &Lab, kind: Kind, plan: Plan<'_>) -> anyhow::Result<Self> {
        let port = e2e::port::free()?;
        let dir = tempfile::Builder::new().prefix("pando-bench-").tempdir()?;
        let mut target = Self {
            kind,
            port,
            children: Vec::new(),
            pm2: None,
            pando: None,
            _dir: dir,
        };
        target
            .launch(lab, plan)
            .with_context(|| format!("start {}", kind.name()))?;
        wait::for_true(&format!("{} answers", kind.name()), || {
            answers(port, plan.script)
        })?;
        std::thread::sleep(SETTLE);
        Ok(target)
    }

    fn launch(&mut self, lab: &Lab, plan: Plan<'_>) -> anyhow::Result<()> {
        let script = lab.app(plan.script);
        match self.kind {
            Kind::Bare => self.node(&script, self.port, plan.env)?,
            Kind::NodeNone => self.cluster(lab, plan, "none")?,
            Kind::NodeRr => self.cluster(lab, plan, "rr")?,
            Kind::Pm2 => self.start_pm2(lab, plan, &script)?,
            Kind::Nginx => {
                let ports = self.upstreams(plan, &script)?;
                let config =
                    self.file("nginx.conf", &nginx_config(self.port, &ports, self.dir()))?;
                let mut nginx = Command::new(debian::program("nginx"));
                nginx
                    .args(["-e", "stderr", "-p"])
                    .arg(self.dir())
                    .arg("-c")
                    .arg(config);
                self.spawn(nginx)?;
            }
            Kind::Haproxy => {
                let ports = self.upstreams(plan, &script)?;
                let config = self.file("haproxy.cfg", &haproxy_config(self.port, &ports))?;
                let mut haproxy = Command::new(debian::program("haproxy"));
                haproxy.args(["-db", "-f"]).arg(config);
                self.spawn(haproxy)?;
            }
            Kind::PandoSteered => self.start_pando(lab, plan, &script, "steered")?,
            Kind::PandoRoundRobin => self.start_pando(lab, plan, &script, "round-robin")?,
        }
        Ok(())
    }

    fn dir(&self) -> &Path {
        self._dir.path()
    }

    fn file(&self, name: &str, text: &str) -> anyhow::Result<std::path::PathBuf> {
        let path = self.dir().join(name);
        fs::write(&path, text)?;
        Ok(path)
    }

    fn spawn(&mut self, mut command: Command) -> anyhow::Result<()> {
        // A group of its own: Ctrl-C reaches the bench, which then ends its children in order.
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0);
        self.children
            .push(command.spawn().with_context(|| format!("{command:?}"))?);
        Ok(())
    }

    fn node(&mut self, script: &Path, port: u16, env: &[(&str, &str)]) -> anyhow::Result<()> {
        let mut node = Command::new("node");
        node.arg(script)
            .env("PORT", port.to_string())
            .envs(env.iter().copied());
        self.spawn(node)
    }

    fn cluster(&mut self, lab: &Lab, plan: Plan<'_>, policy: &str) -> anyhow::Result<()> {
        let workers = plan.workers.to_string();
        let env = [
            ("WORKERS", workers.as_str()),
            ("NODE_CLUSTER_SCHED_POLICY", policy),
        ];
        self.node(&lab.app("primary.js"), self.port, &env)
    }

    fn upstreams(&mut self, plan: Plan<'_>, script: &Path) -> anyhow::Result<Vec<u16>> {
        let mut ports = Vec::new();
        for _ in 0..plan.workers {
            let port = e2e::port::free()?;
            self.node(script, port, plan.env)?;
            ports.push(port);
        }
        // A proxy that finds one refusing at first would pass it over for seconds.
        for port in &ports {
            wait::for_true("a worker behind the proxy answers", || {
                answers(*port, plan.script)
            })?;
        }
        Ok(ports)
    }

    fn start_pm2(&mut self, lab: &Lab, plan: Plan<'_>, script: &Path) -> anyhow::Result<()> {
        let pm2 = Pm2 {
            script: lab.pm2.clone(),
            home: self.dir().join("pm2"),
        };
        let mut start = pm2.command();
        start
            .args(["start", "--name", "api", "-i", &plan.workers.to_string()])
            .arg(script)
            .env("PORT", self.port.to_string())
            .envs(plan.env.iter().copied());
        self.pm2 = Some(pm2);
        shell::output(&mut start).map(drop)
    }

    fn start_pando(
        &mut self,
        lab: &Lab,
        plan: Plan<'_>,
        script: &Path,
        balance: &str,
    ) -> anyhow::Result<()> {
        let binary = lab.pando.clone().context("no binary")?;
        let mut pando = e2e::Pando::with_binary(binary)?;
        pando.env("PORT", self.port.to_string());
        for (name, value) in plan.env {
            pando.env(name, value);
        }
        let script = script.display().to_string();
        let workers = plan.workers.to_string();
        let args = [
            "start",
            &script,
            "--name",
            "api",
            "-i",
            &workers,
            "--balance",
            balance,
        ];
        let started = pando.cmd(&args);
        self.pando = Some(pando);
        started?.ok().map(drop)
    }

    /// The processes that hold the target together, without its workers.
    pub fn front(&self) -> anyhow::Result<Vec<u32>> {
        if let Some(pando) = &self.pando {
            let (root, supervisor) = pando.wait_daemon()?;
            return Ok(vec![root, supervisor]);
        }
        if let Some(pm2) = &self.pm2 {
            return Ok(vec![pm2.daemon().context("PM2's daemon has no pid file")?]);
        }
        Ok(self.children.iter().map(Child::id).collect())
    }

    /// Every process of the target.
    pub fn pids(&self) -> anyhow::Result<Vec<u32>> {
        let mut pids: Vec<u32> = self.front()?.into_iter().flat_map(process::tree).collect();
        pids.sort_unstable();
        pids.dedup();
        Ok(pids)
    }

    /// A rolling reload of all workers, done when it returns.
    pub fn reload(&self) -> anyhow::Result<()> {
        if let Some(pando) = &self.pando {
            return pando.cmd(&["reload", "api"])?.ok().map(drop);
        }
        match &self.pm2 {
            Some(pm2) => shell::output(pm2.command().args(["reload", "api"])).map(drop),
            None => bail!("{} has no reload", self.kind.name()),
        }
    }

    /// Where its workers' output goes.
    pub fn log_dir(&self) -> anyhow::Result<std::path::PathBuf> {
        if let Some(pando) = &self.pando {
            return Ok(pando.home().join("logs"));
        }
        let pm2 = self.pm2.as_ref().context("keeps no logs")?;
        Ok(pm2.home.join("logs"))
    }
}

impl Pm2 {
    fn command(&self) -> Command {
        let mut command = Command::new("node");
        command
            .arg(&self.script)
            .env("PM2_HOME", &self.home)
            .env("PM2_DISABLE_VERSION_CHECK", "true")
            .env("PM2_SILENT", "true")
            .stdin(Stdio::null());
        command
    }

    fn daemon(&self) -> Option<u32> {
        fs::read_to_string(self.home.join("pm2.pid"))
            .ok()?
            .trim()
            .parse()
            .ok()
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        let mut pids: Vec<u32> = self
            .children
            .iter()
            .flat_map(|child| process::tree(child.id()))
            .collect();
        if let Some(pm2) = &self.pm2 {
            pids.extend(pm2.daemon().into_iter().flat_map(process::tree));
            let _ = shell::output(pm2.command().arg("kill"));
        }
        for child in &self.children {
            process::signal(child.id(), Signal::TERM);
        }
        let deadline = std::time::Instant::now() + STOP_LIMIT;
        while std::time::Instant::now() < deadline {
            for child in &mut self.children {
                let _ = child.try_wait();
            }
            if !pids.iter().any(|pid| process::is_alive(*pid)) {
                return;
            }
            std::thread::sleep(wait::POLL);
        }
        for pid in pids {
            process::kill(pid);
        }
        for child in &mut self.children {
            let _ = child.wait();
        }
    }
}

/// Any other script does something when it is asked, so it is not asked.
fn answers(port: u16, script: &str) -> bool {
    script != "server.js" || http::get(local(port), "/").is_ok_and(|r| r.status == 200)
}

fn nginx_config(port: u16, upstreams: &[u16], dir: &Path) -> String {
    let user = if rustix::process::geteuid().is_root() {
        "user root;"
    } else {
        ""
    };
    let servers: String = upstreams
        .iter()
        .map(|p| format!("server 127.0.0.1:{p}; "))
        .collect();
    let dir = dir.display();
    format!(
        "{user}
daemon off;
pid {dir}/nginx.pid;
worker_processes 2;
events {{ worker_connections 8192; }}
http {{
  access_log off;
  client_body_temp_path {dir}/body;
  proxy_temp_path {dir}/proxy;
  fastcgi_temp_path {dir}/fastcgi;
  uwsgi_temp_path {dir}/uwsgi;
  scgi_temp_path {dir}/scgi;
  keepalive_requests 1000000000;
  upstream workers {{ {servers} keepalive 64; keepalive_requests 1000000000; }}
  server {{
    listen {port} reuseport;
    location / {{
      proxy_pass http://workers;
      proxy_http_version 1.1;
      proxy_set_header Connection \"\";
    }}
  }}
}}
"
    )
}

fn haproxy_config(port: u16, upstreams: &[u16]) -> String {
    let servers: String = upstreams
        .iter()
        .enumerate()
        .map(|(n, p)| format!("  server s{n} 127.0.0.1:{p}\n"))
        .collect();
    format!(
        "global
  nbthread 2
  maxconn 8192
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
frontend front
  bind 127.0.0.1:{port}
  default_backend workers
backend workers
  http-reuse always
{servers}"
    )
}

/// The requests that wrk had answered well.
pub fn wrk(target: &Target, seconds: u64, keep_alive: bool) -> anyhow::Result<u64> {
    let wrk = Wrk {
        name: target.kind.name(),
        url: &format!("http://127.0.0.1:{}/", target.port),
        seconds,
        connections: 64,
        keep_alive,
        core: None,
    };
    wrk.run()
}
