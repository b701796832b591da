//! The proxies, each with the configuration that its users have: an access log to a file, the
//! client's address in headers, connections to upstreams kept.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};
use e2e::{http, local, wait};

use super::Lab;
use super::origin;
use super::process::Process;
use crate::debian;

/// From the first answer to the measuring.
const SETTLE: Duration = Duration::from_millis(300);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    Nginx,
    Haproxy,
    Caddy,
    Pando,
}

impl Peer {
    pub const ALL: [Self; 4] = [Self::Nginx, Self::Haproxy, Self::Caddy, Self::Pando];

    pub fn key(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::Caddy => "caddy",
            Self::Pando => "pando",
        }
    }

    pub fn name(self) -> &'static str {
        if self == Self::Pando {
            "**Pando**"
        } else {
            self.key()
        }
    }

    pub fn serves_files(self) -> bool {
        self != Self::Haproxy
    }

    /// Caddy's cache is a plugin that its binary does not have.
    pub fn caches(self) -> bool {
        self != Self::Caddy
    }
}

/// What a proxy is to stand in front of.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'a> {
    pub upstreams: &'a [u16],
    /// Served below `/static/`.
    pub files: Option<&'a Path>,
    pub threads: usize,
    pub core: Option<usize>,
    /// A path that is answered with 200 once all is up.
    pub ready: &'a str,
}

/// A running proxy.
pub struct Proxy {
    pub peer: Peer,
    pub http: u16,
    pub https: u16,
    process: Process,
    dir: tempfile::TempDir,
}

/// All that run here, started.
pub fn start_all(lab: &Lab, plan: Plan<'_>) -> anyhow::Result<Vec<Proxy>> {
    lab.peers
        .iter()
        .map(|peer| Proxy::start(lab, *peer, plan))
        .collect()
}

impl Proxy {
    pub fn start(lab: &Lab, peer: Peer, plan: Plan<'_>) -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new().prefix("pando-bench-").tempdir()?;
        let site = Site {
            http: e2e::port::free()?,
            https: e2e::port::free()?,
            dir: dir.path(),
            tls: lab.dir.path(),
            plan,
        };
        let (http, https) = (site.http, site.https);
        let process = launch(lab, peer, &site).with_context(|| format!("start {}", peer.key()))?;
        let mut proxy = Self {
            peer,
            http,
            https,
            process,
            dir,
        };
        let ready = wait::for_true(&format!("{} answers {}", peer.key(), plan.ready), || {
            !proxy.process.is_running()
                || http::get(local(http), plan.ready).is_ok_and(|answer| answer.status == 200)
        });
        let running = proxy.process.is_running();
        ensure!(
            ready.is_ok() && running,
            "{} does not serve: {}",
            peer.key(),
            proxy.output()
        );
        std::thread::sleep(SETTLE);
        Ok(proxy)
    }

    fn output(&self) -> String {
        fs::read_to_string(self.dir.path().join("output")).unwrap_or_default()
    }

    pub fn pids(&self) -> Vec<u32> {
        self.process.tree()
    }

    /// It must still serve; one that died in the middle has no figures.
    pub fn check(&mut self) -> anyhow::Result<()> {
        ensure!(
            self.process.is_running(),
            "{} ended: {}",
            self.peer.key(),
            self.output()
        );
        Ok(())
    }
}

/// The parts of every configuration.
struct Site<'a> {
    http: u16,
    https: u16,
    dir: &'a Path,
    tls: &'a Path,
    plan: Plan<'a>,
}

fn launch(lab: &Lab, peer: Peer, site: &Site<'_>) -> anyhow::Result<Process> {
    let write = |name: &str, text: String| -> anyhow::Result<PathBuf> {
        let path = site.dir.join(name);
        fs::write(&path, text)?;
        Ok(path)
    };
    let output = site.dir.join("output");
    match peer {
        Peer::Nginx => {
            let config = write("nginx.conf", nginx(site))?;
            origin::start_nginx(&config, site.dir, site.plan.core)
        }
        Peer::Haproxy => {
            let config = write("haproxy.cfg", haproxy(site))?.display().to_string();
            let program = debian::program("haproxy");
            Process::start(
                Path::new(&program),
                &["-db", "-f", &config],
                site.plan.core,
                &output,
            )
        }
        Peer::Caddy => {
            let config = write("Caddyfile", caddy(site))?.display().to_string();
            let program = lab.caddy.as_deref().context("no caddy")?;
            let home = format!("HOME={}", site.dir.display());
            // A variable for the program, set by env so that taskset can stand in front.
            let program = program.display().to_string();
            let args = [
                home.as_str(),
                &program,
                "run",
                "--adapter",
                "caddyfile",
                "--config",
                &config,
            ];
            Process::start(Path::new("env"), &args, site.plan.core, &output)
        }
        Peer::Pando => {
            let config = write("pando.toml", pando(site))?.display().to_string();
            let program = lab.pando.as_deref().context("no pando")?;
            Process::start(
                program,
                &["gateway", "-c", &config],
                site.plan.core,
                &output,
            )
        }
    }
}

fn each(ports: &[u16], line: impl Fn(&u16) -> String) -> String {
    ports.iter().map(line).collect()
}

fn nginx(site: &Site<'_>) -> String {
    let (dir, tls) = (site.dir.display(), site.tls.display());
    let head = origin::nginx_head(site.dir, u32::try_from(site.plan.threads).unwrap_or(1));
    let temp = origin::nginx_temp_paths(site.dir);
    let servers = each(site.plan.upstreams, |port| {
        format!("server 127.0.0.1:{port}; ")
    });
    let files = site.plan.files.map_or(String::new(), |files| {
        format!("location /static/ {{ alias {}/; }}", files.display())
    });
    let (http, https) = (site.http, site.https);
    format!(
        "{head}events {{ worker_connections 16384; }}
http {{
  access_log {dir}/access.log;
{temp}  keepalive_requests 1000000000;
  keepalive_timeout 3600s;
  sendfile on;
  tcp_nopush on;
  proxy_cache_path {dir}/cache keys_zone=answers:16m;
  map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
  upstream app {{ {servers} keepalive 128; keepalive_requests 1000000000; }}
  ssl_certificate {tls}/cert.pem;
  ssl_certificate_key {tls}/key.pem;
  ssl_protocols TLSv1.2 TLSv1.3;
  server {{
    listen 127.0.0.1:{http} backlog=4096;
    listen 127.0.0.1:{https} ssl http2 backlog=4096;
    default_type text/plain;
    proxy_http_version 1.1;
    proxy_set_header Host $http_host;
    proxy_set_header X-Real-IP $remote_addr;
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    proxy_set_header X-Forwarded-Proto $scheme;
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Connection $connection_upgrade;
    {files}
    location /cached/ {{ proxy_pass http://app; proxy_cache answers; }}
    location / {{ proxy_pass http://app; }}
  }}
}}
"
    )
}

fn haproxy(site: &Site<'_>) -> String {
    let servers = each(site.plan.upstreams, |port| {
        format!("  server s{port} 127.0.0.1:{port} pool-max-conn 128\n")
    });
    let (http, https, threads) = (site.http, site.https, site.plan.threads);
    let tls = site.tls.display();
    // haproxy writes no log file itself: its standard output is one here.
    format!(
        "global
  nbthread {threads}
  maxconn 10200
  no strict-limits
  log stdout format raw local0
cache answers
  total-max-size 16
  max-age 3600
defaults
  mode http
  log global
  option httplog
  option forwardfor
  option redispatch
  retries 2
  retry-on conn-failure empty-response
  timeout connect 5s
  timeout client 3600s
  timeout server 60s
frontend front
  bind 127.0.0.1:{http} backlog 4096
  bind 127.0.0.1:{https} ssl crt {tls}/both.pem alpn h2,http/1.1
  http-request set-header X-Forwarded-Proto https if {{ ssl_fc }}
  http-request set-header X-Forwarded-Proto http if !{{ ssl_fc }}
  use_backend cached if {{ path_beg /cached/ }}
  default_backend app
backend app
  http-reuse always
{servers}backend cached
  http-request cache-use answers
  http-response cache-store answers
{servers}"
    )
}

fn caddy(site: &Site<'_>) -> String {
    let (http, https, dir, tls) = (
        site.http,
        site.https,
        site.dir.display(),
        site.tls.display(),
    );
    let upstreams = each(site.plan.upstreams, |port| format!(" 127.0.0.1:{port}"));
    let files = site.plan.files.map_or(String::new(), |files| {
        format!(
            "  handle_path /static/* {{\n    root * {}\n    file_server\n  }}\n",
            files.display()
        )
    });
    let site_block = format!(
        "  log {{\n    output file {dir}/access.log\n  }}
{files}  handle {{
    reverse_proxy{upstreams} {{
      lb_try_duration 5s
      transport http {{
        keepalive_idle_conns_per_host 128
      }}
    }}
  }}
"
    );
    format!(
        "{{\n  admin off\n  auto_https off\n  storage file_system {dir}/storage\n}}
http://127.0.0.1:{http}, http://localhost:{http} {{\n{site_block}}}
https://127.0.0.1:{https}, https://localhost:{https} {{\n  tls {tls}/cert.pem {tls}/key.pem\n{site_block}}}
"
    )
}

fn pando(site: &Site<'_>) -> String {
    let (http, https, dir, tls) = (
        site.http,
        site.https,
        site.dir.display(),
        site.tls.display(),
    );
    let upstreams = each(site.plan.upstreams, |port| {
        format!("\"127.0.0.1:{port}\", ")
    });
    let files = site.plan.files.map_or(String::new(), |files| {
        format!(
            "  {{ path = \"/static/*\", files = \"{}\", strip_prefix = true }},\n",
            files.display()
        )
    });
    let threads = site.plan.threads;
    format!(
        "[gateway]
listen = [\"127.0.0.1:{http}\", \"127.0.0.1:{https} tls\"]
threads = {threads}
access_log = {{ path = \"{dir}/access.log\" }}
[site.\"*\"]
tls = {{ cert = \"{tls}/cert.pem\", key = \"{tls}/key.pem\" }}
redirect_https = false
routes = [
{files}  {{ path = \"/cached/*\", upstreams = [{upstreams}], cache = true }},
  {{ path = \"/*\", upstreams = [{upstreams}] }},
]
"
    )
}
