//! The limits of one process: open files, and many idle connections.

use std::net::TcpStream;

use anyhow::ensure;
use e2e::http::Connection;
use e2e::{Pando, http, local, process};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

const WANTED: u64 = 10_000;
/// What this process, which is the other end of all connections, needs beside them.
const SPARE: u64 = 500;

/// This process's own limit, raised as far as it goes.
fn raised() -> u64 {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: maximum,
            maximum,
        },
    );
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

#[test]
fn workers_get_the_hard_limit_of_open_files() -> anyhow::Result<()> {
    let mut pando = Pando::new()?;
    pando.start_hello("2", &[])?;
    let hard = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    let (root, supervisor) = pando.wait_daemon()?;
    for pid in pando
        .app("api")?
        .pids()
        .into_iter()
        .chain([root, supervisor])
    {
        let limit = process::open_files_limit(pid);
        ensure!(
            limit == Some(hard),
            "{} has {limit:?}",
            process::command_line(pid)
        );
    }
    Ok(())
}

#[test]
fn a_low_limit_of_open_files_is_told() -> anyhow::Result<()> {
    let mut pando = Pando::new()?;
    pando.env("PORT", e2e::port::free()?.to_string());
    let script = e2e::app("hello.js").display().to_string();
    let start = pando.command(&["start", &script, "-n", "api"]);
    let mut limited = std::process::Command::new("prlimit");
    limited.arg("--nofile=4096:4096").arg(start.get_program());
    limited.args(start.get_args()).current_dir(pando.work());
    for (name, value) in start.get_envs() {
        match value {
            Some(value) => limited.env(name, value),
            None => limited.env_remove(name),
        };
    }
    let ran = limited.output()?;
    let said = String::from_utf8_lossy(&ran.stdout);
    ensure!(
        ran.status.success() && said.contains("only 4096 files"),
        "{ran:?}"
    );
    pando.wait_ready("api", 1)?;
    Ok(())
}

#[test]
fn ten_thousand_idle_connections_are_held() -> anyhow::Result<()> {
    // With a smaller limit as many as it allows: the promise is the same.
    let wanted = raised().saturating_sub(SPARE).min(WANTED);
    let mut pando = Pando::new()?;
    // Node itself ends an idle connection after 5 s unless told otherwise.
    pando.env("KEEP_ALIVE_MS", "600000");
    let port = pando.start_hello("2", &[])?;
    let mut held = Vec::new();
    for n in 0..wanted {
        let mut connection = Connection::open(local(port))?;
        let answer = connection.get("/")?;
        ensure!(answer.status == 200, "connection {n}: {answer:?}");
        held.push(connection);
    }
    ensure!(http::get(local(port), "/hello")?.status == 200);
    for (n, connection) in held.iter_mut().enumerate() {
        let again = connection.get("/hello");
        ensure!(
            again.is_ok_and(|answer| answer.status == 200),
            "connection {n} was not held"
        );
    }
    pando.wait_ready("api", 2)?;
    Ok(())
}

#[test]
fn silent_connections_do_not_block_others() -> anyhow::Result<()> {
    for balance in ["steered", "round-robin"] {
        let mut pando = Pando::new()?;
        let port = pando.start_hello(
            "2",
            &[
                "--balance",
                balance,
                "--drain-timeout",
                "1s",
                "--stop-timeout",
                "2s",
            ],
        )?;
        let silent: Vec<TcpStream> = (0..500)
            .map(|_| TcpStream::connect(local(port)))
            .collect::<Result<_, _>>()?;
        ensure!(http::get(local(port), "/hello")?.status == 200, "{balance}");
        pando.cmd(&["reload", "api"])?.ok()?;
        ensure!(http::get(local(port), "/hello")?.status == 200, "{balance}");
        drop(silent);
    }
    Ok(())
}
