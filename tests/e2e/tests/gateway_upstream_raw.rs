//! Upstreams that answer with what two readers might read in two ways, or with nonsense.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::ensure;
use e2e::{Gateway, Origin, http, local};

/// What the client must get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Want {
    /// 502 or 504, whole.
    BadGateway,
    /// The upstream's own answer with this body.
    Body(&'static str),
    /// No whole answer: the client sees that it is cut.
    Cut,
    /// 502, or the answer with this body.
    Either(&'static str),
}

use Want::{BadGateway, Body, Cut, Either};

/// Each answer ends with the connection closed, but those with `keep`.
struct Case {
    name: &'static str,
    answer: &'static str,
    want: Want,
}

const fn case(name: &'static str, want: Want, answer: &'static str) -> Case {
    Case { name, answer, want }
}

const CASES: &[Case] = &[
    case(
        "an ordinary answer",
        Body("ok"),
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    ),
    case(
        "HTTP/1.0, framed by its end",
        Body("ok"),
        "HTTP/1.0 200 OK\r\n\r\nok",
    ),
    case(
        "framed by its end",
        Body("ok"),
        "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nok",
    ),
    case(
        "chunked",
        Body("ok"),
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    ),
    case(
        "without a reason",
        Body("ok"),
        "HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok",
    ),
    case(
        "100 before the answer, unasked",
        Body("ok"),
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    ),
    case(
        "Content-Length and chunked",
        Either("ok"),
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    ),
    case(
        "two Content-Lengths",
        BadGateway,
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 40\r\n\r\nok",
    ),
    case(
        "a Content-Length of letters",
        BadGateway,
        "HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\nok",
    ),
    case(
        "a negative Content-Length",
        BadGateway,
        "HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok",
    ),
    case(
        "a coding that is not chunked",
        Either("ok"),
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\nok",
    ),
    case(
        "a status of letters",
        BadGateway,
        "HTTP/1.1 abc OK\r\nContent-Length: 2\r\n\r\nok",
    ),
    case(
        "a status of two digits",
        BadGateway,
        "HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\nok",
    ),
    case(
        "a status of four digits",
        BadGateway,
        "HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\nok",
    ),
    case(
        "another protocol",
        BadGateway,
        "SSH-2.0-OpenSSH_9.2\r\n\r\n",
    ),
    case("HTTP/0.9", BadGateway, "<html>ok</html>\r\n\r\n"),
    case(
        "HTTP/2.0",
        BadGateway,
        "HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
    ),
    case(
        "NUL in a value",
        BadGateway,
        "HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 2\r\n\r\nok",
    ),
    case(
        "a bare CR in a value",
        BadGateway,
        "HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 2\r\n\r\nok",
    ),
    case(
        "a name with a space",
        BadGateway,
        "HTTP/1.1 200 OK\r\nX Y: a\r\nContent-Length: 2\r\n\r\nok",
    ),
    case(
        "a switch that nobody asked for",
        BadGateway,
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\nok",
    ),
    case("nothing", BadGateway, ""),
    case("half a head", BadGateway, "HTTP/1.1 200 OK\r\nContent-Le"),
    case(
        "half a body",
        Cut,
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
    ),
    case(
        "chunks without their end",
        Cut,
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ),
    case(
        "a chunk size 0x2",
        Cut,
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x2\r\nok\r\n0\r\n\r\n",
    ),
];

/// The number of a case in its path.
fn number(target: &str) -> Option<usize> {
    target.strip_prefix("/case-")?.parse().ok()
}

#[test]
fn a_bad_answer_is_a_502_and_never_another_requests() -> anyhow::Result<()> {
    let origin = Origin::answering(|seen, stream| {
        if let Some(case) = number(&seen.target).and_then(|at| CASES.get(at)) {
            stream.write_all(case.answer.as_bytes())?;
            return Ok(false);
        }
        e2e::origin::ok(stream)
    })?;
    let mut gateway = Gateway::before(origin.port)?;
    let mut wrong = Vec::new();
    for (at, case) in CASES.iter().enumerate() {
        let path = format!("/case-{at}");
        let got = http::get(local(gateway.http), &path);
        let right = match (&got, case.want) {
            (Ok(answer), BadGateway) => matches!(answer.status, 502 | 504),
            (Ok(answer), Body(body)) => answer.status == 200 && answer.text() == body,
            (Ok(answer), Either(body)) => answer.status == 502 || answer.text() == body,
            // Some may already be known to be bad before a byte was passed on.
            (Ok(answer), Cut) => answer.status == 502,
            (Err(error), Cut) => !matches!(error.kind(), std::io::ErrorKind::WouldBlock),
            (Err(_), _) => false,
        };
        if !right {
            let got = got.map(|answer| format!("{} {:?}", answer.status, answer.text()));
            wrong.push(format!(
                "{}: wanted {:?}, got {got:?}",
                case.name, case.want
            ));
        }
    }
    gateway.check()?;
    ensure!(
        wrong.is_empty(),
        "{} cases:\n{}\n{}",
        wrong.len(),
        wrong.join("\n"),
        gateway.output()
    );
    Ok(())
}

/// Bytes behind an answer must never become the answer of the next request on that connection.
#[test]
fn bytes_behind_an_answer_poison_nobody() -> anyhow::Result<()> {
    let origin = Origin::answering(|seen, stream| {
        if seen.target == "/poison" {
            stream.write_all(
                b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\npoisoned",
            )?;
            return Ok(true);
        }
        e2e::origin::ok(stream)
    })?;
    let gateway = Gateway::before(origin.port)?;
    for _ in 0..50 {
        let poison = http::get(local(gateway.http), "/poison");
        ensure!(poison.is_ok_and(|answer| answer.text() == "ok" || answer.status == 502));
        let next = http::get(local(gateway.http), "/next")?;
        ensure!(next.status == 200 && next.text() == "ok", "{next:?}");
    }
    Ok(())
}

/// Bodies where none may be: HEAD, 204, 304.
#[test]
fn a_body_where_none_may_be_is_not_the_next_answer() -> anyhow::Result<()> {
    let origin = Origin::answering(|seen, stream| {
        let head = match seen.target.as_str() {
            "/204" => "HTTP/1.1 204 No Content\r\n\r\n",
            "/304" => "HTTP/1.1 304 Not Modified\r\nContent-Length: 36\r\n\r\n",
            "/head" => "HTTP/1.1 200 OK\r\nContent-Length: 36\r\n\r\n",
            _ => return e2e::origin::ok(stream),
        };
        // In one piece: what comes whenever it likes can meet the next request at any proxy.
        let stray = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
        stream.write_all(format!("{head}{stray}").as_bytes())?;
        Ok(true)
    })?;
    let gateway = Gateway::before(origin.port)?;
    for (method, path) in [("GET", "/204"), ("GET", "/304"), ("HEAD", "/head")] {
        for _ in 0..20 {
            let mut client = TcpStream::connect(local(gateway.http))?;
            let request =
                format!("{method} {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
            client.write_all(request.as_bytes())?;
            let mut text = String::new();
            client.read_to_string(&mut text)?;
            ensure!(
                text.matches("HTTP/1.1").count() == 1,
                "{method} {path}: {text}"
            );
            let next = http::get(local(gateway.http), "/next")?;
            ensure!(
                next.status == 200 && next.text() == "ok",
                "after {method} {path}: {next:?}"
            );
        }
    }
    Ok(())
}

/// What may not pass a proxy does not, in both directions (RFC 9110 section 7.6.1).
#[test]
fn fields_of_one_hop_stay_there() -> anyhow::Result<()> {
    let origin = Origin::answering(|_, stream| {
        stream.write_all(
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: X-Inner, keep-alive\r\nX-Inner: secret\r\n\
              Keep-Alive: timeout=5\r\nX-Outer: kept\r\n\r\nok",
        )?;
        Ok(true)
    })?;
    let gateway = Gateway::before(origin.port)?;
    let mut client = http::Connection::open(local(gateway.http))?;
    let head = "GET /hop HTTP/1.1\r\nHost: a\r\nConnection: X-Hop, keep-alive\r\nX-Hop: secret\r\nKeep-Alive: 300\r\n\
                Proxy-Connection: keep-alive\r\nTE: gzip\r\nX-End: kept\r\n\r\n";
    let answer = client.send(head, b"")?;
    ensure!(
        answer.header("x-inner").is_none()
            && answer
                .header("keep-alive")
                .is_none_or(|value| value != "timeout=5"),
        "{answer:?}"
    );
    ensure!(answer.header("x-outer") == Some("kept"), "{answer:?}");
    let seen = origin.seen_at("/hop");
    let seen = seen.first();
    let has = |name: &str| seen.is_some_and(|seen| seen.header(name).is_some());
    ensure!(has("x-end"), "{seen:?}");
    for name in ["x-hop", "keep-alive", "proxy-connection", "te", "upgrade"] {
        ensure!(!has(name), "{name} reached the upstream: {seen:?}");
    }
    Ok(())
}

/// What a client claims about itself is not believed, unless it is a trusted proxy.
#[test]
fn forwarded_fields_of_strangers_are_not_believed() -> anyhow::Result<()> {
    let origin = Origin::start()?;
    let gateway = Gateway::before(origin.port)?;
    let mut client = http::Connection::open(local(gateway.http))?;
    client.send(
        "GET /who HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: https\r\n\
         X-Real-IP: 203.0.113.9\r\nX-Forwarded-Host: evil\r\nForwarded: for=203.0.113.9;proto=https\r\n\r\n",
        b"",
    )?;
    let seen = origin.seen_at("/who");
    let seen = seen
        .first()
        .ok_or_else(|| anyhow::anyhow!("nothing came"))?;
    ensure!(
        seen.header("x-forwarded-for") == Some("127.0.0.1"),
        "{seen:?}"
    );
    ensure!(seen.header("x-forwarded-proto") == Some("http"), "{seen:?}");
    ensure!(
        seen.header("x-real-ip").is_none_or(|ip| ip == "127.0.0.1"),
        "{seen:?}"
    );
    ensure!(
        seen.header("x-forwarded-host")
            .is_none_or(|host| host == "a"),
        "{seen:?}"
    );
    ensure!(
        seen.header("forwarded")
            .is_none_or(|value| !value.contains("203.0.113.9")),
        "{seen:?}"
    );
    Ok(())
}

/// An upstream that never ends its head, and one that sends an endless one.
#[test]
fn an_endless_head_is_given_up() -> anyhow::Result<()> {
    let origin = Origin::answering(|seen, stream| {
        if seen.target == "/endless" {
            stream.write_all(b"HTTP/1.1 200 OK\r\n")?;
            let line = format!("X-Fill: {}\r\n", "x".repeat(8 << 10));
            for _ in 0..4096 {
                stream.write_all(line.as_bytes())?;
            }
            return Ok(false);
        }
        e2e::origin::ok(stream)
    })?;
    let mut gateway = Gateway::before(origin.port)?;
    let answer = http::get_within(local(gateway.http), "/endless", Duration::from_secs(20))?;
    ensure!(answer.status == 502, "{answer:?}");
    gateway.check()?;
    let kib = e2e::process::rss_bytes(gateway.pid()) >> 10;
    ensure!(kib < 200 << 10, "{kib} KiB after an endless head");
    ensure!(http::get(local(gateway.http), "/")?.text() == "ok");
    Ok(())
}
