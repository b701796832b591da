//! The cache against http-cache-tests, the suite behind cache-tests.fyi, and what is not in it.

use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use e2e::gateway::{Gateway, run};
use e2e::http::{Connection, Response};
use e2e::origin::Origin;
use e2e::{http, local, npm, port, process, wait, wait_within};
use rustix::process::Signal;
use serde_json::Value;

/// What Apache passes, the best of those that the suite publishes; ours must be more.
const REQUIRED: u64 = 141;
const OPTIMAL: u64 = 74;
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// The suite's own origin.
struct Server(Child);

impl Server {
    fn start(package: &Path, port: u16) -> anyhow::Result<Self> {
        let child = Command::new("node")
            .arg("server/server.mjs")
            .current_dir(package)
            .env("npm_config_protocol", "http")
            .env("npm_config_port", port.to_string())
            .env("npm_config_pidfile", "/dev/null")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("node does not start")?;
        let server = Self(child);
        wait::for_true("the suite's server listens", || {
            std::net::TcpStream::connect(local(port)).is_ok()
        })?;
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        wait_within(&mut self.0, STOP_LIMIT);
    }
}

#[test]
fn http_cache_tests() -> anyhow::Result<()> {
    let package = npm::install(&["http-cache-tests@0.4.5"])?.join("node_modules/http-cache-tests");
    let upstream = port::free()?;
    let _server = Server::start(&package, upstream)?;
    let route = format!(
        "{{ path = \"/*\", upstreams = [\"127.0.0.1:{upstream}\"], cache = {{ stale_if_error = \"1m\" }} }},"
    );
    let mut gateway = Gateway::start("", &route)?;
    let suite = e2e::app("http-cache-suite.mjs").display().to_string();
    let base = format!("http://127.0.0.1:{}", gateway.http);
    let args = [
        "--no-warnings",
        &suite,
        &package.display().to_string(),
        &base,
    ];
    let (done, printed) = run("node", &args)?;
    ensure!(done, "the suite ended with an error: {printed}");
    gateway.check()?;
    let result = printed.lines().find(|line| line.starts_with('{'));
    let result: Value = serde_json::from_str(result.context("no result")?)?;
    let passed = |kind: &str| result["kinds"][kind]["passed"].as_u64().unwrap_or(0);
    println!("{}", result["kinds"]);
    for failed in result["failed"].as_array().into_iter().flatten() {
        if failed[0] != "check" {
            println!("{failed}");
        }
    }
    ensure!(passed("required") > REQUIRED, "{result}");
    ensure!(passed("optimal") > OPTIMAL, "{result}");
    Ok(())
}

/// An origin whose answers may be kept for an hour.
fn cacheable() -> anyhow::Result<Origin> {
    let origin = Origin::answering(|seen, stream| {
        let body = format!("{} {}", seen.method, seen.target);
        write!(
            stream,
            "HTTP/1.1 200 OK\r\nCache-Control: max-age=3600\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )?;
        Ok(true)
    })?;
    Ok(origin)
}

fn before(origin: &Origin, keys: &str) -> anyhow::Result<Gateway> {
    let port = origin.port;
    let route = format!("{{ path = \"/*\", upstreams = [\"127.0.0.1:{port}\"], cache = true }},");
    Gateway::start(keys, &route)
}

/// Only what is stored; 504 when nothing is.
fn stored(gateway: &Gateway, path: &str) -> anyhow::Result<Response> {
    let head =
        format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nCache-Control: only-if-cached\r\n\r\n");
    Ok(Connection::open(local(gateway.http))?.send(&head, b"")?)
}

#[test]
fn a_cache_on_disk_outlives_a_killed_gateway() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let path = dir.path().display();
    let keys =
        format!("cache = {{ memory = \"16M\", disk = {{ path = \"{path}\", max = \"64M\" }} }}");
    let origin = cacheable()?;
    let first = before(&origin, &keys)?;
    for n in 0..10 {
        http::get(local(first.http), &format!("/{n}"))?;
    }
    wait::for_true("ten files", || files(dir.path()) == 10)?;
    process::signal(first.pid(), Signal::KILL);
    drop(first);
    let second = before(&origin, &keys)?;
    wait::for_true("the last one is known again", || {
        stored(&second, "/9").is_ok_and(|response| response.status == 200)
    })?;
    for n in 0..10 {
        let response = http::get(local(second.http), &format!("/{n}"))?;
        ensure!(response.text() == format!("GET /{n}"), "{response:?}");
    }
    ensure!(origin.seen().len() == 10, "{:?}", origin.seen());
    Ok(())
}

/// Finished files below, at any depth.
fn files(dir: &Path) -> usize {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.path() {
            path if path.is_dir() => files(&path),
            path => usize::from(path.extension().is_none()),
        })
        .sum()
}

#[test]
fn many_that_ask_at_once_are_one_to_the_origin() -> anyhow::Result<()> {
    const CLIENTS: usize = 50;
    let origin = Origin::answering(|_, stream| {
        std::thread::sleep(Duration::from_millis(500));
        stream.write_all(
            b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 2\r\n\r\nok",
        )?;
        Ok(true)
    })?;
    let gateway = before(&origin, "")?;
    let address = local(gateway.http);
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| std::thread::spawn(move || http::get(address, "/slow")))
        .collect();
    for client in clients {
        let response = client
            .join()
            .map_err(|_| anyhow::anyhow!("a client panicked"))??;
        ensure!(response.text() == "ok", "{response:?}");
        ensure!(response.header("cache-status").is_some(), "{response:?}");
    }
    ensure!(
        origin.seen().len() == 1,
        "asked {} times",
        origin.seen().len()
    );
    Ok(())
}
