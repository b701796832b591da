//! The death and the upgrade of Pando itself.

use std::fs;
use std::time::Duration;

use anyhow::ensure;
use e2e::{Load, Pando, Tally, app, http, local, port, process, wait};

fn none_failed(which: &str, tally: &Tally) -> anyhow::Result<()> {
    ensure!(tally.failures() == 0, "{which}: {}", tally.summary());
    Ok(())
}

#[test]
fn a_killed_supervisor_costs_nothing() -> anyhow::Result<()> {
    let mut pando = Pando::new()?;
    let port = pando.start_hello("2", &[])?;
    let workers = pando.app("api")?.pids();
    let (root, mut supervisor) = pando.wait_daemon()?;
    let new = Load::open(port, 200).spawn()?;
    let kept = Load::keep_alive(port, 8)
        .pausing(Duration::from_millis(5))
        .spawn()?;
    for _ in 0..3 {
        process::kill(supervisor);
        let dead = supervisor;
        supervisor = wait::for_some("another supervisor", || {
            pando
                .daemon()
                .filter(|(_, pid)| *pid != dead)
                .map(|(_, pid)| pid)
        })?;
        let app = pando.wait_ready("api", 2)?;
        ensure!(app.pids() == workers, "workers {workers:?} became {app:?}");
        ensure!(app.restarts() == 0, "{app:?}");
    }
    none_failed("new", &new.finish()?)?;
    none_failed("kept", &kept.finish()?)?;
    ensure!(pando.wait_daemon()?.0 == root);
    // The next one supervises as the first did.
    process::kill(workers[0]);
    pando.wait_app("api", "a successor", |app| {
        app.ready() == 2 && !app.pids().contains(&workers[0])
    })?;
    pando.cmd(&["reload", "api"])?.ok()?;
    Ok(())
}

#[test]
fn handed_over_connections_survive_a_killed_supervisor_too() -> anyhow::Result<()> {
    let mut pando = Pando::new()?;
    let port = pando.start_hello("2", &["--balance", "round-robin"])?;
    let kept = Load::keep_alive(port, 8)
        .pausing(Duration::from_millis(5))
        .spawn()?;
    let new = Load::open(port, 100).spawn()?;
    std::thread::sleep(Duration::from_millis(300));
    let (_, dead) = pando.wait_daemon()?;
    process::kill(dead);
    wait::for_true("another supervisor", || {
        pando.daemon().is_some_and(|(_, pid)| pid != dead)
    })?;
    pando.wait_ready("api", 2)?;
    none_failed("kept", &kept.finish()?)?;
    none_failed("new", &new.finish()?)
}

#[test]
fn an_upgrade_under_load_keeps_root_and_workers() -> anyhow::Result<()> {
    let mut pando = Pando::new()?;
    let port = pando.start_hello("2", &[])?;
    let workers = pando.app("api")?.pids();
    let (root, supervisor) = pando.wait_daemon()?;
    let other = pando.work().join("pando-next");
    fs::copy(e2e::binary()?, &other)?;
    let new = Load::open(port, 200).spawn()?;
    let kept = Load::keep_alive(port, 8)
        .pausing(Duration::from_millis(5))
        .spawn()?;
    pando
        .cmd(&["upgrade", &other.display().to_string()])?
        .ok()?;
    let app = pando.wait_ready("api", 2)?;
    none_failed("new", &new.finish()?)?;
    none_failed("kept", &kept.finish()?)?;
    let (root_after, supervisor_after) = pando.wait_daemon()?;
    ensure!(root_after == root && supervisor_after != supervisor);
    ensure!(
        process::executable(root) == Some(other),
        "root runs the old binary"
    );
    ensure!(app.pids() == workers, "{workers:?} became {app:?}");
    Ok(())
}

/// As an installer does it: another file is put where the running one was.
#[test]
fn an_upgrade_takes_what_is_now_in_the_binarys_place() -> anyhow::Result<()> {
    let dir = Pando::new()?;
    let (installed, next) = (dir.work().join("pando"), dir.work().join("next"));
    fs::copy(e2e::binary()?, &installed)?;
    let mut pando = Pando::with_binary(installed.clone())?;
    pando.start_hello("1", &[])?;
    let workers = pando.wait_ready("api", 1)?.pids();
    let (root, _) = pando.wait_daemon()?;
    fs::copy(e2e::binary()?, &next)?;
    fs::rename(&next, &installed)?;
    pando.cmd(&["upgrade"])?.ok()?;
    ensure!(process::executable(root) == Some(installed));
    ensure!(pando.wait_ready("api", 1)?.pids() == workers);
    Ok(())
}

/// After a reload the lowest descriptors of root are free: the new binary's file must not be
/// where a child's are put.
#[test]
fn upgrades_work_after_a_reload_and_again() -> anyhow::Result<()> {
    let mut pando = Pando::new()?;
    pando.start_hello("2", &[])?;
    pando.cmd(&["reload", "api"])?.ok()?;
    let workers = pando.wait_ready("api", 2)?.pids();
    let (root, _) = pando.wait_daemon()?;
    for _ in 0..5 {
        pando.cmd(&["upgrade"])?.ok()?;
        ensure!(pando.wait_ready("api", 2)?.pids() == workers);
    }
    ensure!(pando.wait_daemon()?.0 == root);
    Ok(())
}

#[test]
fn who_waits_for_another_app_still_does_after_the_supervisor_died() -> anyhow::Result<()> {
    let mut pando = Pando::new()?;
    let (db, web) = (port::free()?, port::free()?);
    let script = app("hello.js").display().to_string();
    let file = format!(
        "[app.db]\nscript = {script:?}\nenv = {{ PORT = {db}, BOOT_MS = 4000 }}\n\
         [app.web]\nscript = {script:?}\nenv = {{ PORT = {web} }}\ndepends_on = [\"db\"]\n"
    );
    pando.write("pando.toml", &file)?;
    pando.cwd(pando.work());
    let mut up = pando.command(&["up"]).spawn()?;
    pando.wait_app("web", "a place in the queue", |app| {
        app.status() == "waiting"
    })?;
    process::kill(pando.wait_daemon()?.1);
    let app = wait::for_some("web after the supervisor's death", || {
        pando
            .app("web")
            .ok()
            .filter(|app| app.status() != "starting")
    })?;
    ensure!(app.status() == "waiting", "{app:?}");
    pando.wait_ready("web", 1)?;
    ensure!(pando.app("db")?.ready() == 1);
    up.wait()?;
    Ok(())
}

#[test]
fn an_upgrade_to_what_is_no_pando_is_refused() -> anyhow::Result<()> {
    let mut pando = Pando::new()?;
    pando.start_hello("1", &[])?;
    let before = pando.wait_daemon()?;
    for wrong in ["/bin/true", "/nowhere/pando", "/etc/passwd"] {
        let refused = pando.cmd(&["upgrade", wrong])?;
        ensure!(
            refused.code != 0 && refused.stderr.contains(wrong),
            "{refused:?}"
        );
    }
    ensure!(pando.wait_daemon()? == before);
    pando.wait_ready("api", 1)?;
    Ok(())
}

#[test]
fn after_a_power_cut_the_next_command_brings_all_back() -> anyhow::Result<()> {
    let mut pando = Pando::new()?;
    let port = pando.start_hello("2", &[])?;
    let second = port::free()?;
    pando.env("PORT", second.to_string());
    let script = app("hello.js").display().to_string();
    pando.cmd(&["start", &script, "--name", "other"])?.ok()?;
    pando
        .cmd(&[
            "start",
            &script,
            "--name",
            "down",
            "-e",
            &format!("PORT={}", port::free()?),
        ])?
        .ok()?;
    pando.cmd(&["stop", "down"])?.ok()?;
    pando.kill_all()?;
    pando.cmd(&["ls"])?.ok()?;
    pando.wait_ready("api", 2)?;
    pando.wait_ready("other", 1)?;
    ensure!(pando.app("down")?.status() == "stopped");
    ensure!(http::get(local(port), "/hello")?.status == 200);
    ensure!(http::get(local(second), "/hello")?.status == 200);
    Ok(())
}

#[test]
fn resurrect_brings_back_what_kill_ended() -> anyhow::Result<()> {
    let mut pando = Pando::new()?;
    let port = pando.start_hello("2", &[])?;
    pando.cmd(&["kill"])?.ok()?;
    wait::for_true("all gone", || pando.processes().is_empty())?;
    pando.cmd(&["resurrect"])?.ok()?;
    pando.wait_ready("api", 2)?;
    ensure!(http::get(local(port), "/hello")?.status == 200);
    Ok(())
}

/// Everything ended, the journal changed by `spoil`, the next command run.
fn with_spoiled_journal(spoil: impl Fn(&mut Vec<u8>)) -> anyhow::Result<Pando> {
    let mut pando = Pando::new()?;
    pando.start_hello("1", &[])?;
    pando.kill_all()?;
    let journal = pando.home().join("state.journal");
    let mut bytes = fs::read(&journal)?;
    spoil(&mut bytes);
    fs::write(&journal, bytes)?;
    Ok(pando)
}

#[test]
fn a_half_written_last_record_loses_only_itself() -> anyhow::Result<()> {
    let pando = with_spoiled_journal(|bytes| {
        bytes.extend_from_slice(&[0x40, 0, 0, 0, 1, 2, 3, 4, b'{', b'"']);
    })?;
    pando.cmd(&["resurrect"])?.ok()?;
    pando.wait_ready("api", 1)?;
    Ok(())
}

#[test]
fn a_journal_of_garbage_is_said_and_kept_aside() -> anyhow::Result<()> {
    let pando = with_spoiled_journal(|bytes| bytes.fill(0xa5))?;
    let listed = pando.cmd(&["ls"])?;
    let log = fs::read_to_string(pando.home().join("daemon.log")).unwrap_or_default();
    let told = format!("{}{}{log}", listed.stdout, listed.stderr);
    ensure!(
        told.contains("journal"),
        "nobody says that the journal is unreadable: {told}"
    );
    let script = app("hello.js").display().to_string();
    let port = format!("PORT={}", port::free()?);
    pando
        .cmd(&["start", &script, "--name", "fresh", "-e", &port])?
        .ok()?;
    Ok(())
}

#[test]
fn root_killed_alone_takes_nothing_hostage() -> anyhow::Result<()> {
    let mut pando = Pando::new()?;
    let port = pando.start_hello("2", &[])?;
    let (root, _) = pando.wait_daemon()?;
    process::kill(root);
    wait::for_true("the next command brings all back", || {
        pando.app("api").is_ok_and(|app| app.ready() == 2)
            && http::get(local(port), "/hello").is_ok_and(|response| response.status == 200)
    })?;
    let (root_after, _) = pando.wait_daemon()?;
    ensure!(root_after != root);
    let workers = pando.app("api")?.pids();
    wait::for_true("no worker of the old root is left", || {
        pando
            .processes()
            .iter()
            .all(|pid| !process::command_line(*pid).contains("hello.js") || workers.contains(pid))
    })
}
