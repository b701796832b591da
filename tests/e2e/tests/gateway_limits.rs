//! Rate limits and limits of concurrent requests, through the real gateway.

use std::time::{Duration, Instant};

use e2e::http::{Connection, get};
use e2e::{Gateway, Origin, local, origin, process, wait};
use rustix::process::Signal;

/// How many of so many requests on one connection get through.
fn passed(client: &mut Connection, path: &str, requests: u32) -> anyhow::Result<u32> {
    let mut passed = 0;
    for _ in 0..requests {
        let answer = client.get(path)?;
        assert!([200, 429].contains(&answer.status), "{}", answer.status);
        passed += u32::from(answer.status == 200);
    }
    Ok(passed)
}

/// So slow a rate that the time which the test takes lets nobody in.
#[test]
fn a_burst_passes_and_a_change_of_the_file_forgets_nothing() -> anyhow::Result<()> {
    let route = |burst| {
        format!(
            "{{ path = \"/*\", respond = {{ status = 200, body = \"ok\" }}, \
             limit = {{ rate = \"1/h\", burst = {burst} }} }},"
        )
    };
    let gateway = Gateway::start("", &route(20))?;
    let mut client = Connection::open(local(gateway.http))?;
    let first = client.get("/")?;
    assert_eq!(first.header("ratelimit-remaining"), Some("20"));
    assert_eq!(passed(&mut client, "/", 49)?, 20);
    let refused = client.get("/")?;
    assert_eq!(refused.header("ratelimit-limit"), Some("21"));
    assert_eq!(
        refused.header("ratelimit-policy"),
        Some("1;w=3600;burst=20")
    );
    assert!(refused.header("retry-after").is_some());
    // Over another connection it is the same client.
    assert_eq!(get(local(gateway.http), "/")?.status, 429);

    let path = gateway.dir().join("pando.toml");
    let file = std::fs::read_to_string(&path)?;
    std::fs::write(&path, file.replace(&route(20), &route(22)))?;
    process::signal(gateway.pid(), Signal::HUP);
    let mut more = 0;
    wait::for_true("the change is in force", || {
        more += passed(&mut client, "/", 3).unwrap_or(0);
        more > 0
    })?;
    assert_eq!(more + passed(&mut client, "/", 9)?, 2);
    Ok(())
}

#[test]
fn a_burst_without_nodelay_waits_for_its_turn() -> anyhow::Result<()> {
    let gateway = Gateway::start(
        "",
        "{ path = \"/*\", respond = { status = 200, body = \"ok\" }, \
         limit = { rate = \"10/s\", burst = 5, nodelay = false } },",
    )?;
    let mut client = Connection::open(local(gateway.http))?;
    let start = Instant::now();
    // One after the other, each at the rate: none is refused, and the clock says so.
    assert_eq!(passed(&mut client, "/", 6)?, 6);
    assert!(start.elapsed() >= Duration::from_millis(490));
    Ok(())
}

#[test]
fn concurrent_requests_are_limited_until_they_end() -> anyhow::Result<()> {
    let origin = Origin::answering(|seen, stream| {
        if seen.target == "/slow" {
            std::thread::sleep(Duration::from_secs(2));
        }
        origin::ok(stream)
    })?;
    let gateway = Gateway::start(
        "",
        &format!(
            "{{ path = \"/*\", upstreams = [\"127.0.0.1:{}\"], connections = {{ max = 2 }} }},",
            origin.port
        ),
    )?;
    let address = local(gateway.http);
    let slow: Vec<_> = (0..2)
        .map(|_| std::thread::spawn(move || get(address, "/slow").map(|a| a.status)))
        .collect();
    wait::for_true("both are at the app", || origin.seen_at("/slow").len() == 2)?;
    assert_eq!(get(address, "/quick")?.status, 429);
    for request in slow {
        let answer = request.join().expect("no panic")?;
        assert_eq!(answer, 200);
    }
    wait::for_true("their places are free", || {
        get(address, "/quick").is_ok_and(|answer| answer.status == 200)
    })
}
