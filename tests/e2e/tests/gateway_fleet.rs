//! The gateway beside its apps: one more worker of the same supervisor. Nothing that is done to
//! either of them costs a request.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::ensure;
use e2e::{Load, Pando, Tally, app, http, local, port, process, wait};

/// How long an answer may take that waits for a new gateway.
const PATIENCE: Duration = Duration::from_secs(20);

struct Fleet {
    pando: Pando,
    /// Where the gateway listens.
    port: u16,
}

/// An app of two workers, echoing upgrades, behind a gateway.
fn fleet() -> anyhow::Result<Fleet> {
    fleet_of("fleet.js", 2)
}

fn fleet_of(script: &str, instances: u32) -> anyhow::Result<Fleet> {
    let mut pando = Pando::new()?;
    let (own, port) = (port::free()?, port::free()?);
    pando.env("PORT", own.to_string());
    let fleet = Fleet { pando, port };
    let script = app(script).display().to_string();
    fleet.write(&format!(
        "[app.api]\nscript = \"{script}\"\ninstances = {instances}\nenv = {{ PORT = \"{own}\" }}\n"
    ), "app = \"api\"\n")?;
    fleet.pando.cmd(&["up"])?.ok()?;
    fleet.pando.wait_ready("api", u64::from(instances))?;
    fleet.pando.wait_ready("gateway", 1)?;
    Ok(fleet)
}

impl Fleet {
    /// The file with these apps, and this in its one site.
    fn write(&self, apps: &str, site: &str) -> anyhow::Result<()> {
        let port = self.port;
        let file = format!(
            "{apps}\n[gateway]\nlisten = [\"127.0.0.1:{port}\"]\nthreads = 2\n\n[site.\"*\"]\n{site}"
        );
        self.pando.write("pando.toml", &file)?;
        std::fs::write(self.pando.work().join("apps.part"), apps)?;
        Ok(())
    }

    /// The same apps with another site.
    fn rewrite(&self, site: &str) -> anyhow::Result<()> {
        let apps = std::fs::read_to_string(self.pando.work().join("apps.part"))?;
        self.write(&apps, site)
    }

    fn kept(&self) -> anyhow::Result<e2e::load::Running> {
        Ok(Load::keep_alive(self.port, 6)
            .pausing(Duration::from_millis(5))
            .spawn()?)
    }

    fn new_ones(&self) -> anyhow::Result<e2e::load::Running> {
        Ok(Load::open(self.port, 50).spawn()?)
    }

    fn gateway_pid(&self) -> anyhow::Result<u32> {
        let pids = self.pando.app("gateway")?.pids();
        ensure!(pids.len() == 1, "{pids:?}");
        Ok(pids[0])
    }
}

fn none_failed(which: &str, tally: &Tally) -> anyhow::Result<()> {
    ensure!(tally.failures() == 0, "{which}: {}", tally.summary());
    Ok(())
}

/// A connection that the app has taken over, as a WebSocket does.
fn upgraded(port: u16) -> anyhow::Result<TcpStream> {
    let mut stream = TcpStream::connect(local(port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(
        b"GET /echo HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n",
    )?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        ensure!(
            stream.read(&mut byte)? == 1,
            "{}",
            String::from_utf8_lossy(&head)
        );
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    ensure!(head.starts_with("HTTP/1.1 101"), "{head}");
    Ok(stream)
}

fn echoes(stream: &mut TcpStream, word: &[u8]) -> anyhow::Result<()> {
    stream.write_all(word)?;
    let mut back = vec![0; word.len()];
    stream.read_exact(&mut back)?;
    ensure!(back == word);
    Ok(())
}

#[test]
fn killed_workers_cost_no_request() -> anyhow::Result<()> {
    let fleet = fleet()?;
    let (kept, new) = (fleet.kept()?, fleet.new_ones()?);
    for _ in 0..4 {
        let app = fleet.pando.wait_ready("api", 2)?;
        let dead = app.pids()[0];
        process::kill(dead);
        fleet.pando.wait_app("api", "a successor", |app| {
            app.ready() == 2 && !app.pids().contains(&dead)
        })?;
    }
    none_failed("kept", &kept.finish()?)?;
    none_failed("new", &new.finish()?)
}

#[test]
fn reloads_of_the_app_and_of_the_gateway_cost_no_request() -> anyhow::Result<()> {
    let fleet = fleet()?;
    let (kept, new) = (fleet.kept()?, fleet.new_ones()?);
    fleet.pando.cmd(&["reload", "api"])?.ok()?;
    fleet.pando.cmd(&["reload", "gateway"])?.ok()?;
    fleet.pando.cmd(&["reload", "all"])?.ok()?;
    none_failed("kept", &kept.finish()?)?;
    none_failed("new", &new.finish()?)
}

#[test]
fn a_killed_gateway_refuses_nobody() -> anyhow::Result<()> {
    let fleet = fleet()?;
    for _ in 0..3 {
        let dead = fleet.gateway_pid()?;
        process::kill(dead);
        // Nobody accepts for a moment, but the seat is there: the connection waits.
        let answer = http::get_within(local(fleet.port), "/", PATIENCE)?;
        ensure!(answer.status == 200, "{answer:?}");
        fleet.pando.wait_app("gateway", "a successor", |app| {
            app.ready() == 1 && !app.pids().contains(&dead)
        })?;
    }
    Ok(())
}

#[test]
fn a_killed_supervisor_and_an_upgrade_cost_no_request() -> anyhow::Result<()> {
    let fleet = fleet()?;
    let gateway = fleet.gateway_pid()?;
    let (kept, new) = (fleet.kept()?, fleet.new_ones()?);
    let (_, supervisor) = fleet.pando.wait_daemon()?;
    process::kill(supervisor);
    wait::for_true("another supervisor", || {
        fleet
            .pando
            .daemon()
            .is_some_and(|(_, pid)| pid != supervisor)
    })?;
    fleet.pando.wait_ready("gateway", 1)?;
    ensure!(fleet.gateway_pid()? == gateway, "it is the same gateway");
    fleet.pando.cmd(&["upgrade"])?.ok()?;
    ensure!(
        fleet.gateway_pid()? != gateway,
        "the gateway was upgraded too"
    );
    // The feed goes on: a new worker gets requests.
    fleet.pando.cmd(&["reload", "api"])?.ok()?;
    fleet.pando.cmd(&["reload", "gateway"])?.ok()?;
    none_failed("kept", &kept.finish()?)?;
    none_failed("new", &new.finish()?)
}

#[test]
fn a_change_touches_no_connection_and_a_bad_one_nothing() -> anyhow::Result<()> {
    let fleet = fleet()?;
    let gateway = fleet.gateway_pid()?;
    let mut echo = upgraded(fleet.port)?;
    echoes(&mut echo, b"before")?;
    let kept = fleet.kept()?;

    fleet.rewrite("app = \"nobody\"\n")?;
    fleet.pando.cmd(&["up"])?.exits(2)?;
    ensure!(http::get(local(fleet.port), "/")?.status == 200);

    fleet.rewrite(
        "routes = [\n { path = \"/tea\", respond = { status = 418, body = \"tea\" } },\n \
         { path = \"/*\", app = \"api\" },\n]\n",
    )?;
    fleet.pando.cmd(&["up"])?.ok()?;
    let tea = http::get(local(fleet.port), "/tea")?;
    ensure!(tea.status == 418 && tea.text() == "tea", "{tea:?}");
    echoes(&mut echo, b"after")?;
    ensure!(fleet.gateway_pid()? == gateway, "it is the same gateway");
    none_failed("kept", &kept.finish()?)?;

    let again = fleet.pando.cmd(&["up"])?.ok()?;
    ensure!(
        again.stdout.contains("All is as the file says"),
        "{again:?}"
    );
    Ok(())
}

#[test]
fn other_listeners_come_by_a_reload() -> anyhow::Result<()> {
    let mut fleet = fleet()?;
    let (old, dead) = (fleet.port, fleet.gateway_pid()?);
    fleet.port = port::free()?;
    fleet.rewrite("app = \"api\"\n")?;
    fleet.pando.cmd(&["up"])?.ok()?;
    ensure!(http::get(local(fleet.port), "/")?.status == 200);
    ensure!(fleet.gateway_pid()? != dead);
    wait::for_true("the old address is closed", || {
        TcpStream::connect(local(old)).is_err()
    })
}

#[test]
fn all_that_ran_comes_back_with_its_gateway_and_goes_down_with_the_file() -> anyhow::Result<()> {
    let fleet = fleet()?;
    let (root, supervisor) = fleet.pando.wait_daemon()?;
    process::kill(supervisor);
    process::kill(root);
    wait::for_true("all is dead", || {
        !process::is_alive(root) && fleet.pando.daemon().is_none()
    })?;
    fleet.pando.cmd(&["resurrect"])?.ok()?;
    fleet.pando.wait_ready("gateway", 1)?;
    fleet.pando.wait_ready("api", 2)?;
    ensure!(http::get_within(local(fleet.port), "/", PATIENCE)?.status == 200);

    fleet.pando.cmd(&["scale", "gateway", "2"])?.exits(2)?;
    fleet.pando.cmd(&["cache", "purge", "--all"])?.ok()?;
    fleet.pando.cmd(&["down"])?.ok()?;
    ensure!(fleet.pando.apps()?.is_empty());
    ensure!(TcpStream::connect(local(fleet.port)).is_err());
    Ok(())
}

#[test]
fn an_app_in_a_crash_loop_is_told_with_its_last_words() -> anyhow::Result<()> {
    let fleet = fleet_of("fleet.js", 1)?;
    let broken = app("broken.js").display().to_string();
    // The app goes; another one that cannot start takes its name.
    fleet.pando.cmd(&["delete", "api"])?.ok()?;
    let gone = http::get_within(local(fleet.port), "/", PATIENCE)?;
    ensure!(gone.status == 502 || gone.status == 503, "{gone:?}");
    fleet
        .pando
        .cmd(&["start", &broken, "--name", "api"])?
        .exits(1)?;
    let answer = http::get_within(local(fleet.port), "/", PATIENCE)?;
    ensure!(answer.status == 502 || answer.status == 503, "{answer:?}");
    Ok(())
}
