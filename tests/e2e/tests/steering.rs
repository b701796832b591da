//! How connections come to workers, in every mode.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::ensure;
use e2e::http::Connection;
use e2e::{Load, Pando, app, http, local};

/// Long enough that no answer of a stalled worker is taken for one of a slow machine.
const STALL_MS: u64 = 5000;

#[test]
fn a_stalled_worker_is_steered_around() -> anyhow::Result<()> {
    let mut pando = Pando::new()?;
    let port = pando.start_hello("2", &[])?;
    let load = Load::open(port, 200)
        .lasting(Duration::from_secs(6))
        .spawn()?;
    std::thread::sleep(Duration::from_millis(500));
    let stuck =
        std::thread::spawn(move || http::get(local(port), &format!("/stall?ms={STALL_MS}")));
    let tally = load.finish()?;
    let answer = stuck.join().map_err(|_| anyhow::anyhow!("panicked"))??;
    ensure!(answer.status == 200, "the stuck request itself: {answer:?}");
    ensure!(tally.failures() == 0, "{}", tally.summary());
    // Without steering half of all, 500, would wait for seconds. One that was accepted in the same
    // turn of the worker's loop as the stuck one is out of anybody's reach.
    let slow = tally.slower_than(Duration::from_secs(2));
    ensure!(
        slow <= 2,
        "{slow} waited for the stalled worker: {}",
        tally.summary()
    );
    pando.wait_ready("api", 2)?;
    Ok(())
}

#[test]
fn every_mode_serves_from_every_worker() -> anyhow::Result<()> {
    for balance in [
        "steered",
        "round-robin",
        "least-connections",
        "random",
        "shared",
    ] {
        let mut pando = Pando::new()?;
        let port = pando.start_hello("2", &["--balance", balance])?;
        let tally = Load::open(port, 200)
            .lasting(Duration::from_secs(3))
            .run()?;
        ensure!(tally.failures() == 0, "{balance}: {}", tally.summary());
        // The kernel may give a shared socket's connections to one process for long.
        let workers = tally.bodies.len();
        ensure!(
            workers == 2 || balance == "shared",
            "{balance}: {:?}",
            tally.bodies
        );
        let reload = Load::open(port, 100).spawn()?;
        pando.cmd(&["reload", "api"])?.ok()?;
        let tally = reload.finish()?;
        ensure!(
            tally.failures() == 0,
            "{balance}, reload: {}",
            tally.summary()
        );
    }
    Ok(())
}

#[test]
fn round_robin_is_exact() -> anyhow::Result<()> {
    let mut pando = Pando::new()?;
    let port = pando.start_hello("2", &["--balance", "round-robin"])?;
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    for _ in 0..100 {
        *counts
            .entry(http::get(local(port), "/")?.text())
            .or_default() += 1;
    }
    ensure!(
        counts.len() == 2 && counts.values().all(|n| (48..=52).contains(n)),
        "{counts:?}"
    );
    Ok(())
}

#[test]
fn least_connections_evens_out_kept_ones() -> anyhow::Result<()> {
    let mut pando = Pando::new()?;
    let port = pando.start_hello("2", &["--balance", "least-connections"])?;
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    let mut kept = Vec::new();
    for _ in 0..20 {
        let mut connection = Connection::open(local(port))?;
        *counts.entry(connection.get("/")?.text()).or_default() += 1;
        kept.push(connection);
    }
    ensure!(
        counts.len() == 2 && counts.values().all(|n| (8..=12).contains(n)),
        "{counts:?}"
    );
    Ok(())
}

/// The worker that answers clients of 127.0.0.`last`.
fn answers_to(port: u16, last: u8) -> anyhow::Result<BTreeSet<String>> {
    let source = Ipv4Addr::new(127, 0, 0, last);
    let load = Load::open(port, 50).from(source).path("/instance");
    let tally = load.lasting(Duration::from_millis(200)).run()?;
    ensure!(tally.failures() == 0, "{}", tally.summary());
    Ok(tally.bodies.into_keys().collect())
}

#[test]
fn ip_hash_keeps_a_client_at_its_instance_across_reloads() -> anyhow::Result<()> {
    let mut pando = Pando::new()?;
    let port = pando.start_hello("3", &["--balance", "ip-hash"])?;
    let mut homes = Vec::new();
    for last in 2..14 {
        let seen = answers_to(port, last)?;
        ensure!(seen.len() == 1, "127.0.0.{last} is answered by {seen:?}");
        homes.push(seen);
    }
    ensure!(
        homes.iter().flatten().collect::<BTreeSet<_>>().len() > 1,
        "all at one: {homes:?}"
    );
    pando.cmd(&["reload", "api"])?.ok()?;
    for (last, home) in (2..14).zip(&homes) {
        let seen = answers_to(port, last)?;
        ensure!(
            seen == *home,
            "127.0.0.{last} moved from {home:?} to {seen:?}"
        );
    }
    Ok(())
}

#[test]
fn a_unix_path_is_served_and_survives_a_reload() -> anyhow::Result<()> {
    let mut pando = Pando::new()?;
    let path = pando.work().join("app.sock");
    pando.env("LISTEN", path.clone().into_os_string());
    let script = app("hello.js").display().to_string();
    pando
        .cmd(&["start", &script, "--name", "api", "-i", "2"])?
        .ok()?;
    let ask = || -> anyhow::Result<String> {
        let mut stream = UnixStream::connect(&path)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        stream.write_all(b"GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    ensure!(ask()?.ends_with("Hello, World!"));
    pando.cmd(&["reload", "api"])?.ok()?;
    ensure!(ask()?.ends_with("Hello, World!"));
    Ok(())
}
