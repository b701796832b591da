//! Protocols, with the clients that people have: curl, h2load, npm's ws, gRPC.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, ensure};
use e2e::gateway::run;
use e2e::{Gateway, Origin, app, http, local, npm, port, process, wait};

/// A Node server of tests/e2e/apps with npm packages, ended when dropped.
struct Node {
    port: u16,
    child: Child,
    modules: std::path::PathBuf,
}

impl Node {
    fn start(script: &str, packages: &[&str]) -> anyhow::Result<Self> {
        let modules = npm::install(packages)?.join("node_modules");
        let port = port::free()?;
        let child = Command::new("node")
            .arg(app(script))
            .env("NODE_PATH", &modules)
            .env("PORT", port.to_string())
            .stdin(Stdio::null())
            .spawn()?;
        let node = Self {
            port,
            child,
            modules,
        };
        wait::for_true("the Node server listens", || {
            TcpStream::connect(local(port)).is_ok()
        })?;
        Ok(node)
    }

    /// Runs a client script with the same packages.
    fn client(&self, script: &str, args: &[&str]) -> anyhow::Result<String> {
        let output = Command::new("node")
            .arg(app(script))
            .args(args)
            .env("NODE_PATH", &self.modules)
            .stdin(Stdio::null())
            .output()?;
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        ensure!(output.status.success(), "{script} {args:?}: {text}");
        Ok(text)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        process::kill(self.child.id());
        let _ = self.child.wait();
    }
}

#[test]
fn curl_gets_the_version_that_it_asks_for() -> anyhow::Result<()> {
    let origin = Origin::start()?;
    let gateway = Gateway::before(origin.port)?;
    let (plain, tls) = (
        format!("http://localhost:{}/", gateway.http),
        format!("https://localhost:{}/", gateway.https),
    );
    let certificate = gateway.certificate().display().to_string();
    for (args, url, version) in [
        (vec!["--http1.1"], &plain, "1.1"),
        (vec!["--http1.0"], &plain, "1"),
        (vec!["--http2-prior-knowledge"], &plain, "2"),
        (vec!["--http1.1"], &tls, "1.1"),
        (vec!["--http2"], &tls, "2"),
        (vec!["--http2", "--tls-max", "1.2"], &tls, "2"),
        (vec!["--http2", "--tlsv1.3"], &tls, "2"),
        (vec!["--http2", "-X", "POST", "-d", "body"], &tls, "2"),
        (vec!["--http2-prior-knowledge", "-I"], &plain, "2"),
    ] {
        let mut all = vec![
            "-sS",
            "--max-time",
            "20",
            "--cacert",
            &certificate,
            "-w",
            "%{http_code} %{http_version}",
        ];
        all.extend(&args);
        all.push(url);
        let (ok, text) = run("curl", &all)?;
        ensure!(
            ok && text.ends_with(&format!("200 {version}")),
            "curl {args:?} {url}: {text}"
        );
    }
    let (ok, text) = run(
        "curl",
        &[
            "-sS",
            "--max-time",
            "20",
            "--tls-max",
            "1.1",
            "--cacert",
            &certificate,
            &tls,
        ],
    )?;
    ensure!(!ok, "TLS 1.1 was taken: {text}");
    Ok(())
}

#[test]
fn h2load_loses_nothing() -> anyhow::Result<()> {
    let origin = Origin::start()?;
    let gateway = Gateway::before(origin.port)?;
    for url in [
        format!("http://127.0.0.1:{}/", gateway.http),
        format!("https://127.0.0.1:{}/", gateway.https),
    ] {
        let (ok, text) = run("h2load", &["-n", "3000", "-c", "8", "-m", "32", &url])?;
        ensure!(
            ok && text.contains("3000 succeeded, 0 failed") && text.contains("3000 2xx"),
            "{url}: {text}"
        );
    }
    ensure!(origin.seen().iter().all(|seen| seen.problem.is_none()));
    Ok(())
}

#[test]
fn websockets_need_nothing_to_be_switched_on() -> anyhow::Result<()> {
    let node = Node::start("sockets.js", &["ws@8"])?;
    let gateway = Gateway::before(node.port)?;
    for url in [
        format!("ws://localhost:{}/", gateway.http),
        format!("wss://localhost:{}/", gateway.https),
    ] {
        ensure!(
            node.client("sockets_client.js", &[&url])?
                .contains("echoed"),
            "{url}"
        );
    }
    Ok(())
}

/// RFC 8441: the upstream is asked as over HTTP/1.1.
#[test]
fn websockets_run_over_http2_too() -> anyhow::Result<()> {
    let node = Node::start("sockets.js", &["ws@8"])?;
    let gateway = Gateway::before(node.port)?;
    for url in [
        format!("http://localhost:{}/", gateway.http),
        format!("https://localhost:{}/", gateway.https),
    ] {
        ensure!(
            node.client("sockets_h2_client.js", &[&url])?
                .contains("echoed"),
            "{url}"
        );
    }
    Ok(())
}

/// The second event is sent only once the first has come through.
#[test]
fn events_are_not_held_back() -> anyhow::Result<()> {
    let node = Node::start("sockets.js", &["ws@8"])?;
    let gateway = Gateway::before(node.port)?;
    let tls = format!("https://localhost:{}/events", gateway.https);
    let plain = format!("http://localhost:{}/events", gateway.http);
    for args in [
        vec!["--http1.1", &plain],
        vec!["--http2-prior-knowledge", &plain],
        vec!["-k", "--http2", &tls],
    ] {
        let mut curl = Command::new("curl")
            .args(["-sSN", "--compressed", "--max-time", "30"])
            .args(&args)
            .stdout(Stdio::piped())
            .spawn()?;
        let mut stdout = curl.stdout.take().context("no stdout")?;
        let mut text = String::new();
        let mut buffer = [0; 256];
        while !text.contains("first") {
            let read = stdout.read(&mut buffer)?;
            ensure!(read > 0, "{args:?}: ended after {text:?}");
            text.push_str(&String::from_utf8_lossy(&buffer[..read]));
        }
        ensure!(http::get(local(node.port), "/go")?.status == 200);
        stdout.read_to_string(&mut text)?;
        ensure!(text.contains("second"), "{args:?}: {text:?}");
        curl.wait()?;
    }
    Ok(())
}

#[test]
fn grpc_calls_pass_with_their_trailers() -> anyhow::Result<()> {
    let node = Node::start("grpc_server.js", &["@grpc/grpc-js@1"])?;
    let route = format!(
        "{{ path = \"/*\", upstreams = [\"h2c://127.0.0.1:{}\"] }},",
        node.port
    );
    let gateway = Gateway::start("", &route)?;
    let certificate = gateway.certificate().display().to_string();
    let plain = format!("localhost:{}", gateway.http);
    let tls = format!("localhost:{}", gateway.https);
    ensure!(node.client("grpc_client.js", &[&plain])?.contains("called"));
    ensure!(
        node.client("grpc_client.js", &[&tls, &certificate])?
            .contains("called")
    );
    Ok(())
}

/// A version 2 header for a TCP4 connection (the PROXY protocol's section 2.2).
fn proxy_v2(client: [u8; 4]) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    header.extend(client);
    header.extend([127, 0, 0, 1, 0x15, 0xb3, 0, 80]);
    header
}

#[test]
fn a_proxy_header_names_the_client() -> anyhow::Result<()> {
    let origin = Origin::start()?;
    let route = format!(
        "{{ path = \"/*\", upstreams = [\"127.0.0.1:{}\"] }},",
        origin.port
    );
    let gateway = Gateway::listening("proxy", "trusted_proxies = [\"127.0.0.1/32\"]", &route)?;
    let v1 = b"PROXY TCP4 203.0.113.7 127.0.0.1 5555 80\r\n".to_vec();
    for (path, header, client) in [
        ("/v1", v1, "203.0.113.7"),
        ("/v2", proxy_v2([203, 0, 113, 8]), "203.0.113.8"),
    ] {
        let mut stream = TcpStream::connect(local(gateway.http))?;
        stream.write_all(&header)?;
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        )?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        ensure!(text.starts_with("HTTP/1.1 200"), "{text}");
        let seen = origin.seen_at(path);
        let forwarded = seen.first().and_then(|seen| seen.header("x-forwarded-for"));
        ensure!(forwarded == Some(client), "{seen:?}");
    }
    // Without one the connection is closed, and nothing is asked.
    let mut stream = TcpStream::connect(local(gateway.http))?;
    stream.write_all(b"GET /none HTTP/1.1\r\nHost: a\r\n\r\n")?;
    let mut text = Vec::new();
    let _ = stream.read_to_end(&mut text);
    ensure!(!text.starts_with(b"HTTP/1.1 200") && origin.seen_at("/none").is_empty());
    Ok(())
}

/// Upstreams with TLS, HTTP/2 and both.
#[test]
fn upstreams_speak_tls_and_http2() -> anyhow::Result<()> {
    let origin = Origin::start()?;
    let inner = Gateway::before(origin.port)?;
    let ca = inner.certificate();
    for scheme in ["https", "h2"] {
        let routes = upstream(scheme, inner.https, &ca);
        let outer = Gateway::start("", &routes)?;
        let answer = http::get(local(outer.http), &format!("/{scheme}"))?;
        ensure!(
            answer.status == 200 && answer.text() == "ok",
            "{scheme}: {answer:?} {}",
            outer.output()
        );
        ensure!(origin.seen_at(&format!("/{scheme}")).len() == 1);
    }
    let outer = Gateway::start(
        "",
        &format!(
            "{{ path = \"/*\", upstreams = [\"h2c://127.0.0.1:{}\"] }},",
            inner.http
        ),
    )?;
    ensure!(http::get(local(outer.http), "/h2c")?.text() == "ok");
    // A certificate that nobody vouches for is refused.
    let routes = format!(
        "{{ path = \"/*\", upstreams = [\"https://localhost:{}\"] }},",
        inner.https
    );
    let outer = Gateway::start("", &routes)?;
    ensure!(http::get(local(outer.http), "/untrusted")?.status == 502);
    ensure!(origin.seen_at("/untrusted").is_empty());
    Ok(())
}

fn upstream(scheme: &str, port: u16, ca: &Path) -> String {
    format!(
        "{{ path = \"/*\", upstreams = [\"{scheme}://localhost:{port}\"], upstream_tls = {{ ca = \"{}\" }} }},",
        ca.display()
    )
}
