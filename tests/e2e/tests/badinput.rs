//! What workers and the world may do wrong: a clear word, and nothing lost.

use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::ensure;
use e2e::{Load, Pando, SmallDisk, app, http, local, port, process, wait};

/// Starts channel.js as `odd` with this kind of misbehaviour.
fn odd(kind: &str) -> anyhow::Result<(Pando, u16)> {
    let mut pando = Pando::new()?;
    let port = port::free()?;
    pando.env("PORT", port.to_string());
    pando.env("CHANNEL", kind);
    let script = app("channel.js").display().to_string();
    let args = [
        "start",
        &script,
        "-n",
        "odd",
        "-i",
        "2",
        "--stop-timeout",
        "2s",
    ];
    pando.cmd(&args)?.ok()?;
    Ok((pando, port))
}

/// It misbehaves; the supervisor stays the same, small, and all workers are ready again.
fn survives(kind: &str) -> anyhow::Result<()> {
    let (pando, port) = odd(kind)?;
    let (_, supervisor) = pando.wait_daemon()?;
    let load = Load::open(port, 50).spawn()?;
    http::get(local(port), "/misbehave")?;
    std::thread::sleep(Duration::from_secs(2));
    pando.wait_ready("odd", 2)?;
    let tally = load.finish()?;
    // A worker that is ended for what it did may take the requests it was at with it.
    ensure!(tally.failures() <= 5, "{kind}: {}", tally.summary());
    ensure!(process::is_alive(supervisor), "{kind} ended the supervisor");
    let rss = process::rss_bytes(supervisor);
    ensure!(rss < 64 << 20, "{kind}: the supervisor has {rss} bytes");
    pando.cmd(&["reload", "odd"])?.ok()?;
    Ok(())
}

#[test]
fn garbage_on_the_channel() -> anyhow::Result<()> {
    survives("garbage")
}

#[test]
fn a_line_of_100_mb_on_the_channel() -> anyhow::Result<()> {
    survives("long")
}

#[test]
fn a_hundred_thousand_messages() -> anyhow::Result<()> {
    survives("chatty")
}

#[test]
fn a_worker_that_never_reads_its_channel() -> anyhow::Result<()> {
    let (pando, port) = odd("deaf")?;
    let before = pando.wait_ready("odd", 2)?.pids();
    http::get(local(port), "/misbehave")?;
    // What it accepted before it began to loop is its own; from then on nothing goes there.
    pando.wait_app("odd", "the deaf worker is seen", |app| {
        app.workers()
            .iter()
            .any(|worker| worker.state() == "stalled")
    })?;
    // It loops for ever; everybody else is served, commands answer, and a reload gets rid of it.
    let tally = Load::open(port, 100)
        .lasting(Duration::from_secs(3))
        .run()?;
    ensure!(tally.failures() == 0, "{}", tally.summary());
    ensure!(
        tally.slower_than(Duration::from_secs(2)) == 0,
        "{}",
        tally.summary()
    );
    pando.cmd(&["ls"])?.ok()?;
    pando.cmd(&["reload", "odd"])?.ok()?;
    let after = pando.wait_ready("odd", 2)?.pids();
    ensure!(
        after.iter().all(|pid| !before.contains(pid)),
        "{before:?} {after:?}"
    );
    ensure!(process::wait_gone(&before, wait::GENEROUS));
    Ok(())
}

#[test]
fn garbage_on_the_control_socket() -> anyhow::Result<()> {
    use std::io::Write;
    let mut pando = Pando::new()?;
    pando.start_hello("1", &[])?;
    let (_, supervisor) = pando.wait_daemon()?;
    let sockets = sockets_below(&pando.home())?;
    ensure!(!sockets.is_empty(), "no socket in the home");
    for socket in sockets {
        let mut stream = UnixStream::connect(&socket)?;
        let _ = stream.write_all(&[0xff; 4096]);
        let mut huge = UnixStream::connect(&socket)?;
        let _ = huge.write_all(
            b"POST /v1/call HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n{",
        );
        // Left open and silent: commands must not wait for it.
        let output = pando.cmd(&["ls"])?.ok()?;
        ensure!(output.stdout.contains("api"));
    }
    ensure!(process::is_alive(supervisor));
    Ok(())
}

fn sockets_below(dir: &std::path::Path) -> anyhow::Result<Vec<std::path::PathBuf>> {
    use std::os::unix::fs::FileTypeExt;
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_socket() {
            found.push(entry.path());
        }
    }
    Ok(found)
}

#[test]
fn a_full_disk_holds_nobody_up() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let Some(disk) = SmallDisk::mount(dir.path(), "1m", "a_full_disk_holds_nobody_up")? else {
        return Ok(());
    };
    let mut pando = Pando::new()?;
    let port = port::free()?;
    pando.env("PORT", port.to_string());
    pando.env("LINES", "50000");
    let script = app("numbered.js").display().to_string();
    let logs = disk.path().display().to_string();
    pando
        .cmd(&["start", &script, "-n", "talk", "--log-dir", &logs])?
        .ok()?;
    wait::for_true("the worker writes on though the disk is full", || {
        http::get(local(port), "/").is_ok_and(|response| response.text() == "50000")
    })?;
    pando.cmd(&["reload", "talk"])?.ok()?;
    pando.wait_ready("talk", 1)?;
    Ok(())
}
