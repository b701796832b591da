//! Pebble, the test server of the people who made ACME, and a gateway's listeners for it to ask.
#![expect(clippy::unwrap_used, reason = "a test's support")]

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use pando_gateway::acme::{Challenges, PATH_PREFIX};
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};

use crate::tls_support::{Authority, write};

/// How long anything may take before a test gives up.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub struct Pebble {
    dir: tempfile::TempDir,
    port: u16,
    management: u16,
    config: serde_json::Value,
    programs: Programs,
    children: Vec<Child>,
    /// Who signed the directory's own certificate.
    pub authority: Authority,
}

#[derive(Clone)]
pub struct Programs {
    pebble: PathBuf,
    dns: PathBuf,
}

/// Debian's package `pebble`, which CI installs.
pub fn programs() -> Option<Programs> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).find_map(|dir| {
        let (pebble, dns) = (dir.join("pebble"), dir.join("pebble-challtestsrv"));
        (pebble.is_file() && dns.is_file()).then_some(Programs { pebble, dns })
    });
    if found.is_none() {
        assert!(std::env::var_os("CI").is_none(), "there is no pebble");
        println!("skipped: there is no pebble (apt-get install pebble)");
    }
    found
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

impl Pebble {
    /// Validates at these ports of 127.0.0.1, whatever the name. `extra` is merged into the
    /// configuration.
    pub fn prepare(programs: &Programs, http: u16, tls: u16, extra: &serde_json::Value) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::new();
        let (cert, key) = authority.issue(&["localhost", "127.0.0.1"]);
        let (port, management) = (free_port(), free_port());
        let mut config = json!({
            "listenAddress": format!("127.0.0.1:{port}"),
            "managementListenAddress": format!("127.0.0.1:{management}"),
            "certificate": write(dir.path(), "cert.pem", &cert),
            "privateKey": write(dir.path(), "key.pem", &key),
            "httpPort": http,
            "tlsPort": tls,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": false,
        });
        for (key, value) in extra.as_object().unwrap() {
            config[key] = value.clone();
        }
        write(dir.path(), "root.pem", &authority.pem());
        Self {
            dir,
            port,
            management,
            config: json!({ "pebble": config }),
            programs: programs.clone(),
            children: Vec::new(),
            authority,
        }
    }

    pub async fn start(programs: &Programs, http: u16, tls: u16) -> Self {
        let mut pebble = Self::prepare(programs, http, tls, &json!({}));
        pebble.run().await;
        pebble
    }

    /// Starts it, with nothing in its memory.
    pub async fn run(&mut self) {
        let config = self.config.to_string();
        let config = write(self.dir.path(), "config.json", &config);
        let dns = free_port();
        let quiet = |command: &mut Command| {
            command.stdout(Stdio::null()).stderr(Stdio::null());
            command.spawn().unwrap()
        };
        let resolver = quiet(
            Command::new(&self.programs.dns)
                .args(["-defaultIPv6", "", "-http01", "", "-https01", ""])
                .args(["-tlsalpn01", "", "-dns01", &format!("127.0.0.1:{dns}")])
                .args(["-management", &format!("127.0.0.1:{}", free_port())]),
        );
        let server = quiet(
            Command::new(&self.programs.pebble)
                .arg("-config")
                .arg(config)
                .args(["-dnsserver", &format!("127.0.0.1:{dns}")])
                .env("PEBBLE_VA_NOSLEEP", "1"),
        );
        self.children.extend([resolver, server]);
        for port in [self.port, self.management] {
            let deadline = tokio::time::Instant::now() + PATIENCE;
            while tokio::net::TcpStream::connect(("127.0.0.1", port))
                .await
                .is_err()
            {
                assert!(
                    tokio::time::Instant::now() < deadline,
                    "pebble never listened"
                );
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }

    pub fn stop(&mut self) {
        for mut child in self.children.drain(..) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    pub fn directory(&self) -> String {
        format!("https://localhost:{}/dir", self.port)
    }

    pub fn root(&self) -> PathBuf {
        self.dir.path().join("root.pem")
    }

    /// What issued certificates are to be trusted by.
    pub async fn issuer(&self) -> rustls::RootCertStore {
        let config = Arc::new(crate::tls_support::client(self.authority.roots()));
        let stream = tokio::net::TcpStream::connect(("127.0.0.1", self.management)).await;
        let name = "localhost".try_into().unwrap();
        let connector = tokio_rustls::TlsConnector::from(config);
        let mut stream = connector.connect(name, stream.unwrap()).await.unwrap();
        let request = b"GET /roots/0 HTTP/1.0\r\nHost: localhost\r\n\r\n";
        stream.write_all(request).await.unwrap();
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer).await;
        crate::tls_support::roots(answer.split_once("\r\n\r\n").unwrap().1)
    }
}

impl Drop for Pebble {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A plain listener that answers validations and nothing else.
pub async fn serve_challenges(challenges: Arc<Challenges>) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let challenges = challenges.clone();
            tokio::spawn(async move {
                let mut stream = BufReader::new(stream);
                let mut line = String::new();
                let _ = stream.read_line(&mut line).await;
                let path = line.split(' ').nth(1).unwrap_or_default();
                let token = path.strip_prefix(PATH_PREFIX).unwrap_or_default();
                let (status, body) = match challenges.response(token) {
                    Some(body) => ("200 OK", body),
                    None => ("404 Not Found", String::new()),
                };
                let answer = format!(
                    "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
                    body.len()
                );
                let _ = stream.write_all(answer.as_bytes()).await;
                let _ = stream.shutdown().await;
            });
        }
    });
    address
}
