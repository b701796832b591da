//! The gateway by itself: routes, upstreams that fail, retries, changes of its file.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use e2e::http::{Connection, get};
use e2e::{Gateway, Origin, local, origin, port, process, wait};
use rustix::process::Signal;

#[test]
fn routes_are_taken_in_order_and_change_what_they_should() -> anyhow::Result<()> {
    let origin = Origin::start()?;
    let port = origin.port;
    let gateway = Gateway::start(
        "",
        &format!(
            r#"{{ path = "/old/{{id}}", redirect = {{ status = 301, to = "/new/{{id}}{{query}}" }} }},
{{ path = "/hello", respond = {{ status = 200, body = "hi" }} }},
{{ path = "/api/*", upstreams = ["127.0.0.1:{port}"], strip_prefix = true,
   request_headers = {{ set = {{ "x-site" = "{{host}}" }} }},
   response_headers = {{ set = {{ "x-by" = "pando" }} }} }},
{{ path = "/write", methods = ["POST"], upstreams = ["127.0.0.1:{port}"] }},
{{ path = "/beta/*", headers = {{ "x-beta" = "1" }}, respond = {{ status = 200, body = "beta" }} }},"#
        ),
    )?;
    let mut client = Connection::open(local(gateway.http))?;
    let moved = client.get("/old/7?a=b")?;
    assert_eq!(
        (moved.status, moved.header("location")),
        (301, Some("/new/7?a=b"))
    );
    assert_eq!(client.get("/hello")?.text(), "hi");
    let answer = client.get("/api/x/../users?q=1")?;
    assert_eq!((answer.status, answer.header("x-by")), (200, Some("pando")));
    let seen = origin.seen();
    assert_eq!(seen[0].target, "/users?q=1");
    assert_eq!(seen[0].header("x-forwarded-for"), Some("127.0.0.1"));
    assert!(
        seen[0]
            .header("x-site")
            .is_some_and(|host| !host.is_empty())
    );
    assert_eq!(seen[0].header("traceparent"), None, "no trace begins here");
    assert_eq!(seen[0].header("x-request-id").map(str::len), Some(32));
    assert_eq!(client.get("/write")?.status, 404);
    assert_eq!(client.post("/write", "text/plain", b"x")?.status, 200);
    assert_eq!(client.get("/beta/x")?.status, 404);
    let beta = client.send("GET /beta/x HTTP/1.1\r\nHost: a\r\nX-Beta: 1\r\n\r\n", b"")?;
    assert_eq!(beta.text(), "beta");
    Ok(())
}

#[test]
fn a_canary_gets_its_share_and_those_who_ask_for_it() -> anyhow::Result<()> {
    let name = |name: &'static str| {
        Origin::answering(move |_, stream| {
            let text = format!("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{name}");
            stream.write_all(text.as_bytes())?;
            Ok(true)
        })
    };
    let (old, new) = (name("old")?, name("new")?);
    let gateway = Gateway::start(
        "",
        &format!(
            r#"{{ path = "/*", split = [
  {{ weight = 80, upstreams = ["127.0.0.1:{}"] }},
  {{ weight = 20, upstreams = ["127.0.0.1:{}"], header = "x-canary: 1", cookie = "canary=1" }},
] }},"#,
            old.port, new.port
        ),
    )?;
    let mut client = Connection::open(local(gateway.http))?;
    let mut canary = 0;
    for _ in 0..500 {
        canary += u32::from(client.get("/")?.text() == "new");
    }
    // 100 are expected; six standard deviations to each side.
    assert!((46..=154).contains(&canary), "{canary} of 500");
    for header in ["X-Canary: 1", "Cookie: a=b; canary=1"] {
        let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{header}\r\n\r\n");
        assert_eq!(client.send(&head, b"")?.text(), "new", "{header}");
    }
    Ok(())
}

#[test]
fn a_sticky_client_stays_where_it_was() -> anyhow::Result<()> {
    let origins = [Origin::start()?, Origin::start()?, Origin::start()?];
    let all: Vec<String> = origins
        .iter()
        .map(|o| format!("\"127.0.0.1:{}\"", o.port))
        .collect();
    let gateway = Gateway::start(
        "",
        &format!(
            r#"{{ path = "/*", upstreams = [{}], balance = "round-robin", sticky = "at" }},"#,
            all.join(",")
        ),
    )?;
    let mut client = Connection::open(local(gateway.http))?;
    let first = client.get("/first")?;
    let cookie = first.header("set-cookie").unwrap_or_default();
    let cookie = cookie.split(';').next().unwrap_or_default().to_owned();
    assert!(cookie.starts_with("at="), "{cookie}");
    for _ in 0..20 {
        let head = format!("GET /again HTTP/1.1\r\nHost: a\r\nCookie: {cookie}\r\n\r\n");
        assert_eq!(client.send(&head, b"")?.header("set-cookie"), None);
    }
    let home = origins.iter().filter(|o| !o.seen_at("/first").is_empty());
    let home: Vec<_> = home.collect();
    assert_eq!((home.len(), home[0].seen_at("/again").len()), (1, 20));
    Ok(())
}

#[test]
fn dead_and_unresolvable_upstreams_stop_nothing() -> anyhow::Result<()> {
    let origin = Origin::start()?;
    let dead = port::free()?;
    let mut gateway = Gateway::start(
        "",
        &format!(
            r#"{{ path = "/dead/*", upstreams = ["127.0.0.1:{dead}"] }},
{{ path = "/unknown/*", upstreams = ["nobody.invalid:80"], queue = {{ wait = "100ms" }} }},
{{ path = "/*", upstreams = ["127.0.0.1:{dead}", "127.0.0.1:{}"] }},"#,
            origin.port
        ),
    )?;
    assert_eq!(get(local(gateway.http), "/dead/x")?.status, 502);
    assert_eq!(get(local(gateway.http), "/unknown/x")?.status, 503);
    // The dead one of two costs nobody anything, a POST neither: it was never sent.
    let mut client = Connection::open(local(gateway.http))?;
    for _ in 0..50 {
        assert_eq!(client.get("/")?.status, 200);
        assert_eq!(client.post("/", "text/plain", b"once")?.status, 200);
    }
    assert_eq!(origin.seen().len(), 100);
    gateway.check()
}

/// Answers its first request on a connection and closes that at the second, as Node does with a
/// kept connection whose time is over.
fn closes_after_one() -> std::io::Result<Origin> {
    Origin::answering(|seen, stream| {
        origin::ok(stream)?;
        Ok(seen.target == "/kept")
    })
}

#[test]
fn a_kept_connection_that_was_closed_costs_no_request() -> anyhow::Result<()> {
    let origin = closes_after_one()?;
    let gateway = Gateway::before(origin.port)?;
    let mut client = Connection::open(local(gateway.http))?;
    for turn in 0..200 {
        let answer = if turn % 2 == 0 {
            client.get("/closed")?
        } else {
            client.post("/closed", "text/plain", b"once")?
        };
        assert_eq!(answer.status, 200, "turn {turn}");
    }
    // Nothing came twice.
    assert_eq!(origin.seen().len(), 200);
    Ok(())
}

#[test]
fn gets_are_tried_again_and_posts_that_may_have_been_read_are_not() -> anyhow::Result<()> {
    // Reads every request and answers only the second of each path.
    let origin = Origin::answering({
        let counts = std::sync::Mutex::new(std::collections::HashMap::<String, u32>::new());
        move |seen, stream| {
            let mut counts = counts
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            let count = counts.entry(seen.target.clone()).or_default();
            *count += 1;
            if *count == 1 {
                Ok(false)
            } else {
                origin::ok(stream)
            }
        }
    })?;
    let gateway = Gateway::before(origin.port)?;
    let mut client = Connection::open(local(gateway.http))?;
    assert_eq!(client.get("/get")?.status, 200);
    assert_eq!(client.post("/post", "text/plain", b"x")?.status, 502);
    let key = "POST /key HTTP/1.1\r\nHost: a\r\nIdempotency-Key: 1\r\nContent-Length: 1\r\n\r\n";
    assert_eq!(client.send(key, b"x")?.status, 200);
    let times = |path: &str| origin.seen_at(path).len();
    assert_eq!((times("/get"), times("/post"), times("/key")), (2, 1, 2));
    Ok(())
}

/// Takes upgrades and sends back what comes.
fn echo() -> std::io::Result<Origin> {
    Origin::answering(|seen, stream| {
        if seen.header("upgrade").is_none() {
            return origin::ok(stream);
        }
        stream.write_all(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n",
        )?;
        let mut bytes = [0; 4096];
        loop {
            let n = stream.read(&mut bytes)?;
            if n == 0 {
                return Ok(false);
            }
            stream.write_all(&bytes[..n])?;
        }
    })
}

fn says(stream: &mut TcpStream, text: &str) -> anyhow::Result<()> {
    stream.write_all(text.as_bytes())?;
    let mut back = vec![0; text.len()];
    stream.read_exact(&mut back)?;
    anyhow::ensure!(
        back == text.as_bytes(),
        "{}",
        String::from_utf8_lossy(&back)
    );
    Ok(())
}

#[test]
fn a_new_file_is_taken_without_touching_a_connection() -> anyhow::Result<()> {
    let origin = echo()?;
    let gateway = Gateway::before(origin.port)?;
    let mut tunnel = TcpStream::connect(local(gateway.http))?;
    tunnel.set_read_timeout(Some(Duration::from_secs(10)))?;
    // Bytes behind the head belong to the new protocol.
    tunnel.write_all(
        b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nearly",
    )?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        tunnel.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    assert!(
        head.starts_with(b"HTTP/1.1 101 "),
        "{}",
        String::from_utf8_lossy(&head)
    );
    let mut early = [0; 5];
    tunnel.read_exact(&mut early)?;
    assert_eq!(&early, b"early");
    let mut kept = Connection::open(local(gateway.http))?;
    assert_eq!(kept.get("/")?.text(), "ok");

    let path = gateway.dir().join("pando.toml");
    let file = std::fs::read_to_string(&path)?;
    let routes = "routes = [ { path = \"/\", respond = { status = 200, body = \"new\" } },";
    std::fs::write(&path, file.replace("routes = [", routes))?;
    process::signal(gateway.pid(), Signal::HUP);
    wait::for_true("the new route answers", || {
        kept.get("/").is_ok_and(|a| a.text() == "new")
    })?;
    says(&mut tunnel, "still here")?;

    // A file that is wrong changes nothing and says so.
    std::fs::write(&path, "[gateway]\nlisten = 7\n")?;
    process::signal(gateway.pid(), Signal::HUP);
    wait::for_true("the problem is said", || {
        gateway.output().contains("stays as it was")
    })?;
    assert_eq!(kept.get("/")?.text(), "new");
    says(&mut tunnel, "and here")
}

#[test]
fn an_idle_client_and_a_slow_one_harm_nobody() -> anyhow::Result<()> {
    let origin = Origin::start()?;
    let keys = "timeouts = { header = \"1s\", body = \"1s\", idle = \"1s\" }";
    let gateway = Gateway::start(
        keys,
        &format!(
            "{{ path = \"/*\", upstreams = [\"127.0.0.1:{}\"] }},",
            origin.port
        ),
    )?;
    let mut slow = TcpStream::connect(local(gateway.http))?;
    slow.write_all(b"GET / HTTP/1.1\r\nHo")?;
    let mut body = TcpStream::connect(local(gateway.http))?;
    body.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nab")?;
    let mut idle = Connection::open(local(gateway.http))?;
    idle.get("/")?;
    for stream in [&mut slow, &mut body, idle.stream()] {
        stream.set_read_timeout(Some(Duration::from_secs(15)))?;
        let mut rest = Vec::new();
        // A reset is an end too.
        let _ = stream.read_to_end(&mut rest);
    }
    // The slow body never got to the origin.
    assert_eq!(origin.seen().len(), 1);
    assert_eq!(get(local(gateway.http), "/")?.status, 200);
    Ok(())
}

#[test]
fn what_one_user_may_see_is_not_cached_for_the_next() -> anyhow::Result<()> {
    let origin = Origin::answering(|seen, stream| {
        let name = seen.header("x-api-key-name").unwrap_or("nobody");
        let length = name.len();
        let head = "HTTP/1.1 200 OK\r\nCache-Control: public, max-age=60\r\nContent-Length";
        stream.write_all(format!("{head}: {length}\r\n\r\n{name}").as_bytes())?;
        Ok(true)
    })?;
    let gateway = Gateway::start(
        "",
        &format!(
            r#"{{ path = "/*", upstreams = ["127.0.0.1:{}"], cache = true,
   api_keys = {{ keys = {{ ann = "key-of-ann-0123456789", bob = "key-of-bob-0123456789" }} }},
   response_headers = {{ set = {{ "x-path" = "{{path}}" }} }} }},"#,
            origin.port
        ),
    )?;
    let mut client = Connection::open(local(gateway.http))?;
    let mut ask = |key: &str| {
        let head = format!("GET /me HTTP/1.1\r\nHost: a\r\nX-Api-Key: {key}\r\n\r\n");
        client.send(&head, b"")
    };
    assert_eq!(ask("key-of-ann-0123456789")?.text(), "ann");
    let bob = ask("key-of-bob-0123456789")?;
    assert_eq!(
        (bob.text().as_str(), bob.header("x-path")),
        ("bob", Some("/me"))
    );
    assert_eq!(ask("wrong")?.status, 401);
    Ok(())
}

#[test]
fn explain_says_which_route_and_why() -> anyhow::Result<()> {
    let gateway = Gateway::start(
        "",
        "{ path = \"/api/*\", upstreams = [\"127.0.0.1:9\"] }, { path = \"/*\", respond = { status = 200, body = \"x\" } },",
    )?;
    let file = gateway.dir().join("pando.toml").display().to_string();
    let pando = e2e::Pando::new()?;
    let output = pando
        .command(&["gateway", "explain", "https://a.example/api/x", "-c", &file])
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success() && text.contains("/api/*: takes it"),
        "{text}"
    );
    assert!(text.contains("upstream  127.0.0.1:9"), "{text}");
    Ok(())
}
