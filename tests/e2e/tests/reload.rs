//! Deploys: rolling reloads under load, and builds that are broken.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::ensure;
use e2e::{Load, Pando, app, http, local, port};

#[test]
fn no_new_connection_fails() -> anyhow::Result<()> {
    let mut pando = Pando::new()?;
    let port = pando.start_hello("4", &[])?;
    let before = pando.app("api")?.pids();
    let load = Load::open(port, 200).spawn()?;
    for _ in 0..2 {
        pando.cmd(&["reload", "api"])?.ok()?;
    }
    let tally = load.finish()?;
    ensure!(tally.failures() == 0, "{}", tally.summary());
    let after = pando.wait_ready("api", 4)?.pids();
    ensure!(
        after.iter().all(|pid| !before.contains(pid)),
        "{before:?} {after:?}"
    );
    Ok(())
}

#[test]
fn no_kept_connection_fails() -> anyhow::Result<()> {
    let mut pando = Pando::new()?;
    let port = pando.start_hello("2", &[])?;
    let busy = Load::keep_alive(port, 16).spawn()?;
    let calm = Load::keep_alive(port, 16)
        .pausing(Duration::from_millis(20))
        .spawn()?;
    for _ in 0..2 {
        pando.cmd(&["reload", "api"])?.ok()?;
    }
    let (busy, calm) = (busy.finish()?, calm.finish()?);
    ensure!(busy.failures() == 0, "busy: {}", busy.summary());
    ensure!(calm.failures() == 0, "calm: {}", calm.summary());
    Ok(())
}

#[test]
fn one_worker_is_reloaded_without_a_gap_too() -> anyhow::Result<()> {
    let mut pando = Pando::new()?;
    pando.env("BOOT_MS", "500");
    let port = pando.start_hello("1", &[])?;
    let load = Load::open(port, 100).spawn()?;
    pando.cmd(&["reload", "api"])?.ok()?;
    let tally = load.finish()?;
    ensure!(tally.failures() == 0, "{}", tally.summary());
    Ok(())
}

#[test]
fn requests_on_their_way_are_answered() -> anyhow::Result<()> {
    let mut pando = Pando::new()?;
    let port = pando.start_hello("2", &[])?;
    let load = Load::keep_alive(port, 8).path("/wait?ms=1500").spawn()?;
    std::thread::sleep(Duration::from_millis(300));
    pando.cmd(&["reload", "api"])?.ok()?;
    let tally = load.finish()?;
    ensure!(
        tally.failures() == 0 && tally.ok >= 8,
        "{}",
        tally.summary()
    );
    Ok(())
}

struct Fickle {
    pando: Pando,
    port: u16,
    mode: PathBuf,
}

/// An app whose next build is as its mode file says.
fn fickle() -> anyhow::Result<Fickle> {
    let mut pando = Pando::new()?;
    let port = port::free()?;
    let mode = pando.work().join("mode");
    fs::write(&mode, "good")?;
    pando.env("PORT", port.to_string());
    pando.env("MODE_FILE", mode.clone().into_os_string());
    let script = app("fickle.js").display().to_string();
    let args = [
        "start", &script, "-n", "api", "-i", "2", "--health", "/healthz",
    ];
    pando
        .cmd(&[&args[..], &["--ready-timeout", "8s"]].concat())?
        .ok()?;
    Ok(Fickle { pando, port, mode })
}

/// A reload to a broken build fails, says why, and changes nothing.
fn broken_build(mode: &str, words: &[&str]) -> anyhow::Result<()> {
    let app = fickle()?;
    let before = app.pando.wait_ready("api", 2)?.pids();
    let load = Load::open(app.port, 100).spawn()?;
    fs::write(&app.mode, mode)?;
    app.pando.cmd(&["reload", "api"])?.exits(1)?.says(words)?;
    let tally = load.finish()?;
    ensure!(tally.failures() == 0, "{}", tally.summary());
    ensure!(
        tally.bodies.len() == 1 && tally.bodies.contains_key("good"),
        "{:?}",
        tally.bodies
    );
    ensure!(
        app.pando.wait_ready("api", 2)?.pids() == before,
        "old workers were replaced"
    );
    fs::write(&app.mode, "good")?;
    app.pando.cmd(&["reload", "api"])?.ok()?;
    ensure!(http::get(local(app.port), "/")?.text() == "good");
    Ok(())
}

#[test]
fn a_build_that_throws_changes_nothing() -> anyhow::Result<()> {
    broken_build("throw", &["release 2 is broken"])
}

#[test]
fn a_build_that_never_gets_ready_changes_nothing() -> anyhow::Result<()> {
    broken_build("never", &["waiting for a thing that never comes"])
}

#[test]
fn a_build_that_fails_its_health_check_changes_nothing() -> anyhow::Result<()> {
    broken_build("sick", &["health"])
}

#[test]
fn a_build_that_throws_soon_after_it_was_ready_changes_nothing() -> anyhow::Result<()> {
    let app = fickle()?;
    let before = app.pando.wait_ready("api", 2)?.pids();
    fs::write(&app.mode, "late")?;
    app.pando
        .cmd(&["reload", "api"])?
        .exits(1)?
        .says(&["a little later"])?;
    ensure!(
        app.pando.wait_ready("api", 2)?.pids() == before,
        "old workers were replaced"
    );
    Ok(())
}

#[test]
fn a_worker_that_a_timer_keeps_alive_is_replaced_without_delay() -> anyhow::Result<()> {
    let app = fickle()?;
    fs::write(&app.mode, "timer")?;
    app.pando.cmd(&["reload", "api"])?.ok()?;
    let began = Instant::now();
    app.pando.cmd(&["reload", "api"])?.ok()?;
    // Each of two workers would take its whole stop timeout of 30 s.
    ensure!(began.elapsed() < Duration::from_secs(30));
    Ok(())
}

#[test]
fn fork_mode_goes_back_to_the_old_build_too() -> anyhow::Result<()> {
    let mut pando = Pando::new()?;
    let port = port::free()?;
    let mode = pando.work().join("mode");
    fs::write(&mode, "good")?;
    pando.env("MODE_FILE", mode.clone().into_os_string());
    let script = app("fickle.js").display().to_string();
    let at = port.to_string();
    let args = [
        "start", &script, "-n", "api", "--mode", "fork", "--port", &at,
    ];
    pando.cmd(&args)?.ok()?;
    for (broken, word) in [("throw", "release 2 is broken"), ("late", "a little later")] {
        fs::write(&mode, broken)?;
        let failed = pando.cmd(&["reload", "api"])?.exits(1)?;
        ensure!(failed.stderr.contains(word), "{failed:?}");
        fs::write(&mode, "good")?;
        pando.wait_ready("api", 1)?;
        ensure!(http::get(local(port), "/")?.text() == "good");
    }
    pando.cmd(&["reload", "api"])?.ok()?;
    Ok(())
}
