//! `pando start`: what it promises, and what it refuses.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::process::Stdio;

use anyhow::{Context, ensure};
use e2e::{Pando, app, http, local, npm, port, wait};

const EXPRESS: &str = "
const express = require('express');
const app = express();
app.get('/', (request, response) => response.send(String(process.pid)));
app.listen(process.env.PORT);
";

fn express(pando: &mut Pando) -> anyhow::Result<u16> {
    let dir = npm::install(&["express@5"])?;
    let port = port::free()?;
    pando.write("server.js", EXPRESS)?;
    std::os::unix::fs::symlink(dir.join("node_modules"), pando.work().join("node_modules"))?;
    pando.env("PORT", port.to_string());
    Ok(port)
}

#[test]
fn an_express_app_runs_on_two_workers_when_start_returns() -> anyhow::Result<()> {
    let mut pando = Pando::new()?;
    let port = express(&mut pando)?;
    pando.cmd(&["start", "server.js", "-i", "2"])?.ok()?;
    let app = pando.app("server")?;
    ensure!(
        (app.status(), app.ready(), app.mode()) == ("ready", 2, "cluster"),
        "{app:?}"
    );
    let serving = |seen: &mut BTreeSet<String>| {
        seen.extend(http::get(local(port), "/").map(|response| response.text()));
        seen.len() == 2
    };
    let mut seen = BTreeSet::new();
    wait::for_true("both workers serve", || serving(&mut seen))?;
    let pids: BTreeSet<String> = app.pids().iter().map(u32::to_string).collect();
    ensure!(seen == pids, "{seen:?} serve, ls says {pids:?}");
    Ok(())
}

#[test]
fn ls_show_and_env_are_tables_for_people_and_json_for_scripts() -> anyhow::Result<()> {
    let mut pando = Pando::new()?;
    let port = pando.start_hello("2", &["-e", "COLOUR=green"])?;
    let table = pando.cmd(&["ls"])?.ok()?.stdout;
    ensure!(table.contains("api") && table.contains("ready"), "{table}");
    let app = pando.app("api")?;
    let listen = app.0["listen"].to_string();
    ensure!(listen.contains(&format!(":{port}")), "{listen}");
    let shown = pando.cmd(&["show", "api"])?.ok()?.stdout;
    ensure!(shown.contains("hello.js"), "{shown}");
    let env = pando.cmd(&["env", "api", "--json"])?.ok()?.stdout;
    let env: serde_json::Value = serde_json::from_str(&env)?;
    ensure!(env["COLOUR"] == "green", "{env}");
    ensure!(http::get(local(port), "/env?name=COLOUR")?.text() == "green");
    pando
        .cmd(&["show", "nobody"])?
        .exits(2)?
        .says(&["nobody"])?;
    Ok(())
}

#[test]
fn tables_fit_a_terminal_of_80_columns() -> anyhow::Result<()> {
    let mut pando = Pando::new()?;
    pando.start_hello("2", &[])?;
    for verb in ["ls", "show api"] {
        // script(1) gives the command a terminal of its own.
        let line = format!("stty cols 80; {} {verb}", e2e::binary()?.display());
        let output = std::process::Command::new("script")
            .args(["-qec", &line, "/dev/null"])
            .env("PANDO_HOME", pando.home())
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(text.contains("api"), "{text}");
        let widest = text
            .lines()
            .map(|line| line.trim_end().chars().count())
            .max()
            .unwrap_or(0);
        ensure!(widest <= 80, "{verb}: {widest} columns\n{text}");
    }
    Ok(())
}

#[test]
fn zero_instances_are_all_cores_and_5000_are_refused() -> anyhow::Result<()> {
    let mut pando = Pando::new()?;
    pando.start_hello("0", &[])?;
    let cores = std::thread::available_parallelism()?.get() as u64;
    ensure!(pando.app("api")?.ready() == cores);
    let script = app("hello.js").display().to_string();
    let refused = pando.cmd(&["start", &script, "--name", "many", "-i", "5000"])?;
    refused.exits(2)?.says(&["5000", "512"])?;
    ensure!(pando.apps()?.len() == 1, "a refused app is known");
    Ok(())
}

#[test]
fn a_port_that_is_taken_names_its_holder() -> anyhow::Result<()> {
    let mut pando = Pando::new()?;
    let taken = port::free()?;
    let _holder = TcpListener::bind(("0.0.0.0", taken))?;
    pando.env("PORT", taken.to_string());
    let script = app("hello.js").display().to_string();
    let refused = pando.cmd(&[
        "start",
        &script,
        "-n",
        "api",
        "-i",
        "2",
        "--ready-timeout",
        "20s",
    ])?;
    let me = std::process::id().to_string();
    refused.exits(1)?.says(&[&taken.to_string(), &me])?;
    Ok(())
}

#[test]
fn wrong_calls_say_what_why_and_what_to_do() -> anyhow::Result<()> {
    let mut pando = Pando::new()?;
    pando
        .cmd(&["start", "nowhere.js"])?
        .exits(2)?
        .says(&["nowhere.js"])?;
    pando.cmd(&["start", "--no-such-flag"])?.exits(2)?;
    // A PATH without node: a copy of it with nothing else.
    let empty = pando.work().join("bin");
    std::fs::create_dir(&empty)?;
    pando.env("PATH", empty.into_os_string());
    let script = app("hello.js").display().to_string();
    let refused = pando.cmd(&["start", &script, "--ready-timeout", "10s"])?;
    ensure!(refused.code != 0, "{refused:?}");
    refused.says(&["node", "PATH"])?;
    Ok(())
}

#[test]
fn an_app_that_throws_at_boot_fails_the_start_and_shows_why() -> anyhow::Result<()> {
    let pando = Pando::new()?;
    let script = app("broken.js").display().to_string();
    let failed = pando.cmd(&["start", &script, "-n", "broken", "-i", "2"])?;
    failed.exits(1)?.says(&["the database is not there"])?;
    Ok(())
}

#[test]
fn starting_what_runs_already_changes_nothing() -> anyhow::Result<()> {
    let mut pando = Pando::new()?;
    pando.start_hello("2", &[])?;
    let before = pando.app("api")?.pids();
    let script = app("hello.js").display().to_string();
    let again = pando.cmd(&["start", &script, "--name", "api", "-i", "2"])?;
    ensure!(again.code != 0 && again.stderr.contains("api"), "{again:?}");
    ensure!(pando.app("api")?.pids() == before);
    Ok(())
}

#[test]
fn commands_that_race_each_other_start_one_daemon() -> anyhow::Result<()> {
    let pando = Pando::new()?;
    let script = app("hello.js").display().to_string();
    let mut racers = Vec::new();
    for n in 0..6 {
        let name = format!("racer{n}");
        let mut command = pando.command(&["start", &script, "--name", &name]);
        command.env("PORT", port::free()?.to_string());
        racers.push(
            command
                .stdout(Stdio::null())
                .stderr(Stdio::inherit())
                .spawn()?,
        );
    }
    for mut racer in racers {
        let status = e2e::wait_within(&mut racer, wait::GENEROUS).context("a racer hangs")?;
        ensure!(status.success(), "{status}");
    }
    ensure!(pando.apps()?.len() == 6);
    let (root, _) = pando.wait_daemon()?;
    let roots = e2e::process::all();
    let roots = roots.iter().filter(|stat| {
        let line = e2e::process::command_line(stat.pid);
        line.contains(&pando.home().display().to_string()) && line.contains(" root")
    });
    let roots: Vec<u32> = roots.map(|stat| stat.pid).collect();
    ensure!(roots == [root], "{roots:?}");
    Ok(())
}

#[test]
fn a_second_root_on_the_same_home_is_refused() -> anyhow::Result<()> {
    let mut pando = Pando::new()?;
    pando.start_hello("1", &[])?;
    let before = pando.wait_daemon()?;
    let second = pando.cmd(&["root"])?;
    ensure!(second.code != 0, "{second:?}");
    ensure!(pando.wait_daemon()? == before);
    ensure!(pando.app("api")?.ready() == 1);
    Ok(())
}
