//! Clients that are slow, many, or want more of HTTP/1.1 than a request and an answer.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use e2e::{Gateway, Load, Origin, http, local, wait};

const LIMIT: Duration = Duration::from_secs(30);

fn connect(gateway: &Gateway) -> anyhow::Result<TcpStream> {
    let stream = TcpStream::connect(local(gateway.http))?;
    stream.set_read_timeout(Some(LIMIT))?;
    Ok(stream)
}

fn route(origin: &Origin) -> String {
    format!(
        "{{ path = \"/*\", upstreams = [\"127.0.0.1:{}\"] }},",
        origin.port
    )
}

/// Reads until `text` holds `mark`.
fn read_until(stream: &mut TcpStream, text: &mut String, mark: &str) -> anyhow::Result<()> {
    let mut buffer = [0; 4096];
    while !text.contains(mark) {
        let read = stream
            .read(&mut buffer)
            .with_context(|| format!("{mark:?} after {text:?}"))?;
        ensure!(read > 0, "closed before {mark:?}: {text:?}");
        text.push_str(&String::from_utf8_lossy(&buffer[..read]));
    }
    Ok(())
}

#[test]
fn a_byte_now_and_then_is_given_up_and_harms_nobody() -> anyhow::Result<()> {
    let origin = Origin::start()?;
    let gateway = Gateway::start("timeouts = { header = \"1s\" }", &route(&origin))?;
    let mut slow = Vec::new();
    for _ in 0..200 {
        let mut stream = connect(&gateway)?;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nX: ")?;
        stream.set_nonblocking(true)?;
        slow.push(stream);
    }
    let others = Load::keep_alive(gateway.http, 4)
        .pausing(Duration::from_millis(5))
        .spawn()?;
    let start = Instant::now();
    while !slow.is_empty() && start.elapsed() < LIMIT {
        std::thread::sleep(Duration::from_millis(200));
        slow.retain_mut(|stream| {
            let mut buffer = [0; 1024];
            let open = matches!(stream.read(&mut buffer), Err(error) if error.kind() == ErrorKind::WouldBlock);
            open && stream.write_all(b"x").is_ok()
        });
    }
    let others = others.finish()?;
    ensure!(
        others.failures() == 0 && others.ok > 20,
        "{}",
        others.summary()
    );
    ensure!(
        slow.is_empty(),
        "{} of 200 slow clients are still there",
        slow.len()
    );
    Ok(())
}

#[test]
fn a_body_that_stops_is_given_up_and_the_upstream_is_not_held() -> anyhow::Result<()> {
    let origin = Origin::start()?;
    let gateway = Gateway::start("timeouts = { body = \"1s\" }", &route(&origin))?;
    let mut stream = connect(&gateway)?;
    stream.write_all(b"POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc")?;
    let mut answer = String::new();
    // Reset or closed: both are an end.
    let _ = stream.read_to_string(&mut answer);
    ensure!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 408"),
        "{answer}"
    );
    ensure!(
        origin.seen_at("/slow").is_empty(),
        "half a request reached the upstream"
    );
    Ok(())
}

#[test]
fn thousands_of_idle_connections_harm_nobody() -> anyhow::Result<()> {
    const CONNECTIONS: u64 = 3_000;
    let mut limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current = limit.maximum;
    rustix::process::setrlimit(rustix::process::Resource::Nofile, limit)?;
    let room = limit.current.unwrap_or(u64::MAX).saturating_sub(500);
    let origin = Origin::start()?;
    let mut gateway = Gateway::before(origin.port)?;
    let mut idle = Vec::new();
    for _ in 0..CONNECTIONS.min(room) {
        idle.push(connect(&gateway)?);
    }
    ensure!(http::get(local(gateway.http), "/")?.text() == "ok");
    // Those that said nothing so far are as good as any.
    for stream in idle.iter_mut().step_by(50) {
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")?;
        read_until(stream, &mut String::new(), "ok")?;
    }
    gateway.check()?;
    drop(idle);
    ensure!(http::get(local(gateway.http), "/")?.text() == "ok");
    Ok(())
}

#[test]
fn too_large_heads_are_refused() -> anyhow::Result<()> {
    let origin = Origin::start()?;
    let mut gateway = Gateway::before(origin.port)?;
    let big = "x".repeat(200 << 10);
    let many: String = (0..2_000).map(|n| format!("X-{n}: y\r\n")).collect();
    for (what, head) in [
        (
            "a large field",
            format!("GET / HTTP/1.1\r\nHost: a\r\nX: {big}\r\n\r\n"),
        ),
        (
            "many fields",
            format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n"),
        ),
        (
            "a long target",
            format!("GET /{big} HTTP/1.1\r\nHost: a\r\n\r\n"),
        ),
        (
            "a long method",
            format!("{big} / HTTP/1.1\r\nHost: a\r\n\r\n"),
        ),
    ] {
        let mut stream = connect(&gateway)?;
        // It may be refused before all is written.
        let _ = stream.write_all(head.as_bytes());
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer);
        let refused = ["400", "413", "414", "431"]
            .iter()
            .any(|s| answer.starts_with(&format!("HTTP/1.1 {s}")));
        ensure!(refused || answer.is_empty(), "{what}: {answer}");
    }
    gateway.check()?;
    ensure!(origin.seen().is_empty(), "{:?}", origin.seen().len());
    Ok(())
}

#[test]
fn who_expects_100_gets_it_and_then_its_answer() -> anyhow::Result<()> {
    let origin = Origin::start()?;
    let gateway = Gateway::before(origin.port)?;
    let mut stream = connect(&gateway)?;
    stream.write_all(
        b"POST /later HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n",
    )?;
    let mut text = String::new();
    read_until(&mut stream, &mut text, "\r\n\r\n")?;
    ensure!(text.starts_with("HTTP/1.1 100"), "{text}");
    stream.write_all(b"body")?;
    read_until(&mut stream, &mut text, "\r\n\r\nok")?;
    let seen = origin.seen_at("/later");
    ensure!(
        seen.first().is_some_and(|seen| seen.body == b"body"),
        "{seen:?}"
    );
    Ok(())
}

#[test]
fn early_hints_come_early() -> anyhow::Result<()> {
    let origin = Origin::answering(|_, stream| {
        stream.write_all(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n")?;
        std::thread::sleep(Duration::from_millis(1_000));
        e2e::origin::ok(stream)
    })?;
    let gateway = Gateway::before(origin.port)?;
    let mut stream = connect(&gateway)?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")?;
    let mut text = String::new();
    read_until(&mut stream, &mut text, "\r\n\r\n")?;
    ensure!(
        text.starts_with("HTTP/1.1 103") && text.to_lowercase().contains("link: </a.css>"),
        "{text}"
    );
    ensure!(
        !text.contains("HTTP/1.1 200"),
        "the hints came with the answer: {text}"
    );
    read_until(&mut stream, &mut text, "\r\n\r\nok")
}

#[test]
fn trailers_pass_in_both_directions() -> anyhow::Result<()> {
    let origin = Origin::answering(|_, stream| {
        stream.write_all(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 42\r\n\r\n",
        )?;
        Ok(true)
    })?;
    let route = format!(
        "{{ path = \"/*\", upstreams = [\"127.0.0.1:{}\"], buffer = false }},",
        origin.port
    );
    let gateway = Gateway::start("", &route)?;
    let mut stream = connect(&gateway)?;
    stream.write_all(
        b"POST /t HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: TE\r\nTransfer-Encoding: chunked\r\nTrailer: X-In\r\n\r\n\
          2\r\nhi\r\n0\r\nX-In: 7\r\n\r\n",
    )?;
    let mut text = String::new();
    read_until(&mut stream, &mut text, "0\r\n")?;
    read_until(&mut stream, &mut text, "\r\n\r\n")?;
    ensure!(text.to_lowercase().contains("x-sum: 42"), "{text}");
    let seen = origin.seen_at("/t");
    let seen = seen.first().context("nothing came")?;
    ensure!(
        seen.body == b"hi" && seen.trailers == [("x-in".to_owned(), "7".to_owned())],
        "{seen:?}"
    );
    Ok(())
}

/// A WebSocket client that does not wait for the 101: its bytes go to the upstream, in order.
#[test]
fn bytes_behind_an_upgrade_go_with_it() -> anyhow::Result<()> {
    let origin = Origin::answering(|seen, stream| {
        if seen.header("upgrade").is_none() {
            return e2e::origin::ok(stream);
        }
        stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello")?;
        let mut buffer = [0; 64];
        // The bytes that came with the head are in the origin's own buffer, and what follows here.
        while let Ok(read @ 1..) = stream.read(&mut buffer) {
            stream.write_all(&buffer[..read])?;
        }
        Ok(false)
    })?;
    let gateway = Gateway::before(origin.port)?;
    let mut stream = connect(&gateway)?;
    stream.write_all(
        b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
          Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    )?;
    let mut text = String::new();
    read_until(&mut stream, &mut text, "hello")?;
    ensure!(text.starts_with("HTTP/1.1 101"), "{text}");
    stream.write_all(b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")?;
    read_until(
        &mut stream,
        &mut text,
        "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
    )?;
    ensure!(origin.seen().len() == 1, "{:?}", origin.seen());
    Ok(())
}

/// An upgrade that the upstream does not make leaves an ordinary connection: what follows is read
/// as requests by the gateway, never passed on unread.
#[test]
fn a_refused_upgrade_is_no_tunnel() -> anyhow::Result<()> {
    let origin = Origin::start()?;
    let gateway = Gateway::before(origin.port)?;
    let mut stream = connect(&gateway)?;
    stream.write_all(
        b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
          Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n\
          GET /bad HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    )?;
    let mut text = Vec::new();
    let _ = stream.read_to_end(&mut text);
    let text = String::from_utf8_lossy(&text);
    ensure!(text.starts_with("HTTP/1.1 200"), "{text}");
    ensure!(origin.seen_at("/bad").is_empty(), "{:?}", origin.seen());
    Ok(())
}

/// Nobody goes on for a client that went: an endless answer ends with its client.
#[test]
fn a_client_that_leaves_ends_its_stream() -> anyhow::Result<()> {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    let gone = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&gone);
    let origin = Origin::answering(move |_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
        let end = Instant::now() + LIMIT;
        while Instant::now() < end && stream.write_all(b"4\r\nmore\r\n").is_ok() {
            std::thread::sleep(Duration::from_millis(20));
        }
        told.store(Instant::now() < end, Ordering::Relaxed);
        Ok(false)
    })?;
    let gateway = Gateway::before(origin.port)?;
    let mut stream = connect(&gateway)?;
    stream.write_all(b"GET /long HTTP/1.1\r\nHost: a\r\n\r\n")?;
    read_until(&mut stream, &mut String::new(), "more")?;
    drop(stream);
    wait::for_true("the upstream is told", || gone.load(Ordering::Relaxed))
}

/// One that closes its side alone is gone too, as nginx and Node see it: its request ends.
#[test]
fn a_client_that_leaves_takes_its_request_with_it() -> anyhow::Result<()> {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    let gone = Arc::new(AtomicUsize::new(0));
    let told = Arc::clone(&gone);
    let origin = Origin::answering(move |_, stream| {
        // Reads the end of the connection, which only the gateway can make.
        stream.set_read_timeout(Some(LIMIT))?;
        if let Ok(0) = stream.read(&mut [0; 1]) {
            told.fetch_add(1, Ordering::Relaxed);
        }
        Ok(false)
    })?;
    let gateway = Gateway::before(origin.port)?;
    let mut left = connect(&gateway)?;
    left.write_all(b"GET /long HTTP/1.1\r\nHost: a\r\n\r\n")?;
    let mut half = connect(&gateway)?;
    half.write_all(b"GET /long HTTP/1.1\r\nHost: a\r\n\r\n")?;
    wait::for_true("the requests arrive", || origin.seen().len() == 2)?;
    drop(left);
    half.shutdown(std::net::Shutdown::Write)?;
    wait::for_true("the upstream is told", || gone.load(Ordering::Relaxed) == 2)?;
    ensure!(origin.seen().len() == 2, "it was tried again for nobody");
    Ok(())
}

/// Connections that were idle for so long that their buffers were given back go on as before.
#[test]
fn a_rested_connection_serves_again() -> anyhow::Result<()> {
    let origin = Origin::start()?;
    let gateway = Gateway::before(origin.port)?;
    let mut stream = connect(&gateway)?;
    for _ in 0..2 {
        let mut text = String::new();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")?;
        read_until(&mut stream, &mut text, "\r\n\r\nok")?;
        std::thread::sleep(Duration::from_secs(4));
    }
    // In two pieces, and one that is refused.
    let mut text = String::new();
    stream.write_all(b"GET / HTTP/1.1\r\nHo")?;
    std::thread::sleep(Duration::from_millis(200));
    stream.write_all(b"st: a\r\n\r\n")?;
    read_until(&mut stream, &mut text, "\r\n\r\nok")?;
    std::thread::sleep(Duration::from_secs(4));
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    ensure!(text.starts_with("HTTP/1.1 400"), "{text}");
    Ok(())
}
