//! What workers write: nothing lost, nothing twice, nothing held up.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, ensure};
use e2e::{Pando, app, http, local, port, process, wait};

/// Starts numbered.js as `talk`.
fn numbered(pando: &mut Pando, env: &[(&str, &str)], more: &[&str]) -> anyhow::Result<u16> {
    let port = port::free()?;
    pando.env("PORT", port.to_string());
    for (name, value) in env {
        pando.env(name, *value);
    }
    let script = app("numbered.js").display().to_string();
    let args = [&["start", &script, "--name", "talk"], more].concat();
    pando.cmd(&args)?.ok()?;
    Ok(port)
}

/// How often each numbered line is in the kept logs.
fn counted(pando: &Pando) -> anyhow::Result<BTreeMap<u64, u32>> {
    let args = [
        "logs",
        "talk",
        "--out",
        "--no-follow",
        "--json",
        "--lines",
        "10000000",
    ];
    let text = pando.cmd(&args)?.ok()?.stdout;
    let mut counts = BTreeMap::new();
    for line in text.lines() {
        let line: serde_json::Value = serde_json::from_str(line).context(line.to_owned())?;
        let text = line["message"].as_str().unwrap_or("");
        let number = text
            .strip_prefix("line ")
            .and_then(|rest| rest.split(' ').next()?.parse().ok());
        if let Some(number) = number {
            *counts.entry(number).or_insert(0) += 1;
        }
    }
    Ok(counts)
}

fn exactly_once(counts: &BTreeMap<u64, u32>, lines: u64) -> anyhow::Result<()> {
    let missing: Vec<u64> = (0..lines)
        .filter(|n| !counts.contains_key(n))
        .take(10)
        .collect();
    let twice: Vec<_> = counts.iter().filter(|(_, n)| **n != 1).take(10).collect();
    ensure!(
        missing.is_empty() && twice.is_empty(),
        "missing {missing:?} …, more than once {twice:?} …"
    );
    Ok(())
}

#[test]
fn every_line_is_kept_once_across_the_death_of_the_supervisor() -> anyhow::Result<()> {
    let mut pando = Pando::new()?;
    let port = numbered(&mut pando, &[("LINE_EVERY_MS", "1")], &[])?;
    for _ in 0..3 {
        std::thread::sleep(Duration::from_millis(400));
        let (_, dead) = pando.wait_daemon()?;
        process::kill(dead);
        wait::for_true("another supervisor", || {
            pando.daemon().is_some_and(|(_, pid)| pid != dead)
        })?;
        pando.wait_ready("talk", 1)?;
    }
    let written: u64 = http::get(local(port), "/")?.text().parse()?;
    ensure!(written > 500, "only {written} lines");
    wait::for_true("all that was written is there", || {
        counted(&pando).is_ok_and(|counts| counts.contains_key(&(written - 1)))
    })?;
    let mut counts = counted(&pando)?;
    counts.retain(|n, _| *n < written);
    exactly_once(&counts, written)
}

#[test]
fn a_burst_is_kept_whole_over_rotated_files() -> anyhow::Result<()> {
    let mut pando = Pando::new()?;
    let lines = 60_000;
    let rotation = ["--log-max-size", "1M", "--log-keep", "20"];
    numbered(&mut pando, &[("LINES", &lines.to_string())], &rotation)?;
    wait::for_true("the last line is there", || {
        counted(&pando).is_ok_and(|counts| counts.contains_key(&(lines - 1)))
    })?;
    exactly_once(&counted(&pando)?, lines)?;
    let files = files_below(&pando.home().join("logs"))?;
    ensure!(files.len() > 3, "{files:?}");
    wait::for_true("rotated files are compressed", || {
        files_below(&pando.home().join("logs"))
            .is_ok_and(|files| files.iter().any(|(name, _)| name.ends_with(".gz")))
    })
}

#[test]
fn old_files_go() -> anyhow::Result<()> {
    let mut pando = Pando::new()?;
    let rotation = [
        "--log-max-size",
        "100K",
        "--log-keep",
        "2",
        "--log-no-compress",
    ];
    numbered(&mut pando, &[("LINES", "50000")], &rotation)?;
    // 4.5 MB were written. A file is rotated between two writes, each of up to half a megabyte.
    wait::for_true("rotation settles", || {
        files_below(&pando.home().join("logs")).is_ok_and(|files| {
            let bytes: u64 = files.iter().map(|(_, bytes)| bytes).sum();
            bytes > 100_000 && bytes < 3_000_000
        })
    })
}

fn files_below(dir: &std::path::Path) -> anyhow::Result<Vec<(String, u64)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.extend(files_below(&entry.path())?);
        } else {
            found.push((entry.path().display().to_string(), entry.metadata()?.len()));
        }
    }
    Ok(found)
}

#[test]
fn json_lines_stay_json_with_fields_added() -> anyhow::Result<()> {
    let mut pando = Pando::new()?;
    pando.env("PORT", port::free()?.to_string());
    let script = app("json_logs.js").display().to_string();
    pando.cmd(&["start", &script, "--name", "pino"])?.ok()?;
    let mut lines: Vec<serde_json::Value> = Vec::new();
    wait::for_true("three lines", || {
        let Ok(output) = pando.cmd(&["logs", "pino", "--no-follow", "--json"]) else {
            return false;
        };
        lines = output
            .stdout
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect();
        lines.len() >= 3
    })?;
    let pino = lines
        .iter()
        .find(|line| line["msg"] == "it listens")
        .context("pino's line")?;
    ensure!(
        pino["level"] == 30 && pino["app"] == "pino" && pino["worker"] == 0,
        "{pino}"
    );
    let readable = pando.cmd(&["logs", "pino", "--no-follow"])?.ok()?.stdout;
    ensure!(
        readable.contains("it listens") && !readable.contains("{\"level\""),
        "{readable}"
    );
    let errors = pando
        .cmd(&["logs", "pino", "--no-follow", "--err"])?
        .ok()?
        .stdout;
    ensure!(
        errors.contains("a line of stderr") && !errors.contains("a plain line"),
        "{errors}"
    );
    Ok(())
}

#[test]
fn a_follower_sees_lines_as_they_come() -> anyhow::Result<()> {
    let mut pando = Pando::new()?;
    let port = pando.start_hello("1", &[])?;
    let mut follower = pando
        .command(&["logs", "api", "--lines", "0"])
        .stdout(Stdio::piped())
        .spawn()?;
    let stdout = follower.stdout.take().context("no stdout")?;
    let (sender, receiver) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    let seen = wait::for_true("the follower sees it", || {
        let _ = http::get(local(port), "/say?text=here-it-is");
        receiver.try_iter().any(|line| line.contains("here-it-is"))
    });
    follower.kill()?;
    follower.wait()?;
    let _ = reader.join();
    seen
}

#[test]
fn a_follower_that_does_not_read_holds_nobody_up() -> anyhow::Result<()> {
    let mut pando = Pando::new()?;
    let lines = 100_000;
    // It never reads: its pipe fills, then whatever stands before the pipe.
    pando.start_hello("1", &[])?;
    let mut deaf = pando.command(&["logs"]).stdout(Stdio::piped()).spawn()?;
    let _unread = deaf.stdout.take();
    let port = numbered(&mut pando, &[("LINES", &lines.to_string())], &[])?;
    wait::for_true("the worker gets rid of all its lines", || {
        http::get_within(local(port), "/", Duration::from_secs(5))
            .is_ok_and(|response| response.text() == lines.to_string())
    })?;
    wait::for_true("all lines are kept", || {
        counted(&pando).is_ok_and(|counts| counts.contains_key(&(lines - 1)))
    })?;
    exactly_once(&counted(&pando)?, lines)?;
    deaf.kill()?;
    deaf.wait()?;
    Ok(())
}

#[test]
fn the_last_words_of_a_dying_worker_are_kept() -> anyhow::Result<()> {
    let mut pando = Pando::new()?;
    let path = pando.write(
        "dying.js",
        "require('http').createServer((q, r) => { require('fs').writeSync(2, 'last words\\n'); \
         process.kill(process.pid, 'SIGKILL'); }).listen(process.env.PORT);",
    )?;
    let port = port::free()?;
    pando.env("PORT", port.to_string());
    pando
        .cmd(&["start", &path.display().to_string(), "--name", "dying"])?
        .ok()?;
    let _ = http::get(local(port), "/");
    wait::for_true("its last words are there", || {
        pando
            .cmd(&["logs", "dying", "--no-follow", "--err"])
            .is_ok_and(|output| output.stdout.contains("last words"))
    })
}
