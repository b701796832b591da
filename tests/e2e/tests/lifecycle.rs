//! A worker's life: death, crash loops, limits, readiness, health, its end and that of its tree.

use std::fs;
use std::time::Duration;

use anyhow::ensure;
use e2e::{Load, Pando, app, http, local, port, process, wait};

#[test]
fn a_killed_worker_is_followed_and_new_connections_never_fail() -> anyhow::Result<()> {
    let mut pando = Pando::new()?;
    let port = pando.start_hello("2", &[])?;
    let load = Load::open(port, 200).spawn()?;
    for _ in 0..3 {
        let victim = pando.wait_ready("api", 2)?.pids()[0];
        process::kill(victim);
        pando.wait_app("api", "a successor is ready", |app| {
            app.ready() == 2 && !app.pids().contains(&victim)
        })?;
    }
    let tally = load.finish()?;
    // A request that the killed worker had already read is lost with it, and no other.
    ensure!(tally.failures() <= 3, "{}", tally.summary());
    ensure!(pando.app("api")?.restarts() >= 3);
    Ok(())
}

#[test]
fn an_app_that_cannot_live_is_shown_as_a_crash_loop() -> anyhow::Result<()> {
    let mut pando = Pando::new()?;
    let path = pando.write(
        "short.js",
        "require('http').createServer(() => {}).listen(process.env.PORT, () => \
         setTimeout(() => process.exit(3), 50));",
    )?;
    pando.env("PORT", port::free()?.to_string());
    let started = pando.cmd(&[
        "start",
        &path.display().to_string(),
        "--name",
        "short",
        "--no-wait",
    ])?;
    started.ok()?;
    let app = pando.wait_app("short", "a state other than ready", |app| {
        matches!(app.status(), "crash-loop" | "degraded" | "starting") && app.restarts() >= 3
    })?;
    ensure!(app.0.to_string().contains("exit code 3"), "{app:?}");
    Ok(())
}

#[test]
fn memory_over_the_limit_is_a_reload_without_loss() -> anyhow::Result<()> {
    let mut pando = Pando::new()?;
    let port = pando.start_hello("2", &["--memory", "200M"])?;
    let load = Load::open(port, 50).spawn()?;
    let fat: u32 = http::get(local(port), "/")?.text().parse()?;
    wait::for_true("the worker grows and is replaced", || {
        if pando.app("api").is_ok_and(|app| !app.pids().contains(&fat)) {
            return true;
        }
        let _ = http::get(local(port), "/leak?mb=50");
        false
    })?;
    pando.wait_ready("api", 2)?;
    let tally = load.finish()?;
    ensure!(tally.failures() == 0, "{}", tally.summary());
    Ok(())
}

#[test]
fn wait_ready_waits_for_the_message() -> anyhow::Result<()> {
    let mut pando = Pando::new()?;
    let flag = pando.work().join("ready");
    pando.env("PORT", port::free()?.to_string());
    pando.env("READY_FILE", flag.clone().into_os_string());
    let script = app("sends_ready.js").display().to_string();
    pando
        .cmd(&[
            "start",
            &script,
            "-n",
            "api",
            "-i",
            "2",
            "--wait-ready",
            "--no-wait",
        ])?
        .ok()?;
    pando.wait_app("api", "workers are there, not ready", |app| {
        app.status() == "starting" && app.pids().len() == 2
    })?;
    fs::write(&flag, "")?;
    pando.wait_ready("api", 2)?;
    Ok(())
}

#[test]
fn a_sick_worker_is_seen_and_replaced() -> anyhow::Result<()> {
    let pando = Pando::new()?;
    let sick = pando.work().join("sick");
    let port = port::free()?;
    let config = format!(
        "[app.api]\nscript = {:?}\ninstances = 2\nenv = {{ PORT = \"{port}\", SICK_FILE = {:?} }}\n\
         health = {{ path = \"/healthz\", interval = \"200ms\", timeout = \"2s\" }}\n",
        app("hello.js"),
        sick,
    );
    pando.write("pando.toml", &config)?;
    pando.cmd(&["up"])?.ok()?;
    let before = pando.wait_ready("api", 2)?.pids();
    fs::write(&sick, "")?;
    pando.wait_app("api", "the sickness is seen", |app| app.status() != "ready")?;
    fs::remove_file(&sick)?;
    let after = pando.wait_ready("api", 2)?.pids();
    ensure!(!after.is_empty(), "{before:?} {after:?}");
    Ok(())
}

#[test]
fn stop_start_restart_delete() -> anyhow::Result<()> {
    let mut pando = Pando::new()?;
    let port = pando.start_hello("2", &[])?;
    let first = pando.app("api")?.pids();
    pando.cmd(&["stop", "api"])?.ok()?;
    ensure!(pando.app("api")?.status() == "stopped");
    ensure!(process::wait_gone(&first, wait::GENEROUS), "{first:?}");
    ensure!(http::get(local(port), "/").is_err(), "a stopped app serves");
    pando.cmd(&["start", "api"])?.ok()?;
    pando.wait_ready("api", 2)?;
    let second = pando.app("api")?.pids();
    pando.cmd(&["restart", "api"])?.ok()?;
    let third = pando.wait_ready("api", 2)?.pids();
    ensure!(
        second.iter().all(|pid| !third.contains(pid)),
        "{second:?} {third:?}"
    );
    pando.cmd(&["delete", "api"])?.ok()?;
    ensure!(pando.apps()?.is_empty());
    ensure!(process::wait_gone(&third, wait::GENEROUS));
    Ok(())
}

#[test]
fn a_stop_lets_requests_end() -> anyhow::Result<()> {
    let mut pando = Pando::new()?;
    let port = pando.start_hello("1", &[])?;
    let slow = std::thread::spawn(move || http::get(local(port), "/wait?ms=2000"));
    std::thread::sleep(Duration::from_millis(500));
    pando.cmd(&["stop", "api"])?.ok()?;
    let answer = slow.join().map_err(|_| anyhow::anyhow!("panicked"))??;
    ensure!(answer.status == 200);
    Ok(())
}

#[test]
fn scaling_up_and_down() -> anyhow::Result<()> {
    let mut pando = Pando::new()?;
    let port = pando.start_hello("1", &[])?;
    let load = Load::open(port, 100).spawn()?;
    for (change, workers) in [("3", 3), ("+1", 4), ("-2", 2)] {
        pando.cmd(&["scale", "api", change])?.ok()?;
        pando.wait_ready("api", workers)?;
    }
    let tally = load.finish()?;
    ensure!(tally.failures() == 0, "{}", tally.summary());
    pando.cmd(&["scale", "api", "5000"])?.says(&["512"])?;
    Ok(())
}

#[test]
fn a_worker_is_ended_with_its_whole_tree() -> anyhow::Result<()> {
    let mut pando = Pando::new()?;
    let port = port::free()?;
    pando.env("PORT", port.to_string());
    let script = app("family.js").display().to_string();
    pando
        .cmd(&["start", &script, "--name", "family", "--stop-timeout", "1s"])?
        .ok()?;
    let answer = http::get(local(port), "/")?.text();
    let family: Vec<u32> = answer
        .split(' ')
        .map(str::parse)
        .collect::<Result<_, _>>()?;
    ensure!(
        family.iter().all(|pid| process::is_alive(*pid)),
        "{family:?}"
    );
    pando.cmd(&["delete", "family"])?.ok()?;
    ensure!(
        process::wait_gone(&family, wait::GENEROUS),
        "orphans of {family:?}"
    );
    let (root, supervisor) = pando.wait_daemon()?;
    let zombies = || {
        process::all()
            .into_iter()
            .any(|stat| stat.state == 'Z' && (stat.parent == root || stat.parent == supervisor))
    };
    wait::for_true("no zombie is left", || !zombies())
}

#[test]
fn a_deaf_worker_is_killed_after_its_time() -> anyhow::Result<()> {
    let mut pando = Pando::new()?;
    pando.env("IGNORE_SIGTERM", "1");
    pando.start_hello("1", &["--stop-timeout", "1s", "--drain-timeout", "500ms"])?;
    let pids = pando.app("api")?.pids();
    pando.cmd(&["stop", "api"])?.ok()?;
    ensure!(process::wait_gone(&pids, wait::GENEROUS));
    Ok(())
}

#[test]
fn kill_leaves_nothing_running() -> anyhow::Result<()> {
    let mut pando = Pando::new()?;
    pando.start_hello("2", &[])?;
    pando.cmd(&["kill"])?.ok()?;
    wait::for_true("everything is gone", || pando.processes().is_empty())
}

#[test]
fn npm_start_runs_as_it_is() -> anyhow::Result<()> {
    let pando = Pando::new()?;
    let port = port::free()?;
    fs::copy(app("hello.js"), pando.work().join("hello.js"))?;
    pando.write(
        "package.json",
        r#"{"name":"shop","scripts":{"start":"node hello.js"}}"#,
    )?;
    pando
        .cmd(&[
            "start",
            "npm",
            "--name",
            "shop",
            "--port",
            &port.to_string(),
            "--",
            "start",
        ])?
        .ok()?;
    pando.wait_ready("shop", 1)?;
    ensure!(http::get(local(port), "/hello")?.text() == "Hello, World!");
    let tree: Vec<u32> = pando
        .app("shop")?
        .pids()
        .into_iter()
        .flat_map(process::tree)
        .collect();
    pando.cmd(&["delete", "shop"])?.ok()?;
    ensure!(
        process::wait_gone(&tree, wait::GENEROUS),
        "npm's children survive"
    );
    Ok(())
}

#[test]
fn any_command_gets_a_port_each() -> anyhow::Result<()> {
    let pando = Pando::new()?;
    // Each instance has the next one.
    let port = port::free_run(2)?;
    let command = "exec python3 -m http.server $PORT";
    let args = [
        "start",
        command,
        "-n",
        "files",
        "-i",
        "2",
        "--port",
        &port.to_string(),
    ];
    pando.cmd(&args)?.ok()?;
    let app = pando.wait_ready("files", 2)?;
    ensure!(app.mode() == "fork");
    let ports: Vec<u16> = app
        .workers()
        .iter()
        .filter_map(|worker| worker.port())
        .collect();
    ensure!(ports.len() == 2 && ports.contains(&port), "{ports:?}");
    for port in ports {
        ensure!(http::get(local(port), "/")?.status == 200);
    }
    Ok(())
}
