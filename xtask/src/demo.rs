//! The first minute with Pando: a real Express app on every core.

use std::path::Path;
use std::process::Command;

use anyhow::Context;
use e2e::{http, local};

use crate::shell;

const NAME: &str = "express-example";
const USUAL_PORT: u16 = 3000;

pub fn run() -> anyhow::Result<()> {
    let root = e2e::npm::workspace();
    let example = root.join("examples/express");
    shell::run("cargo", &["build", "--release", "--package", "pando"])?;
    println!("+ npm ci  (in examples/express)");
    e2e::npm::clean_install(&example)?;
    let pando = root.join("target/release/pando");
    let port = start(&pando, &example)?;
    let answer = http::get(local(port), "/")
        .with_context(|| format!("the app started but http://localhost:{port}/ does not answer"))?;
    println!("+ curl http://localhost:{port}/\n{}", answer.text());
    look_at(&pando, port);
    Ok(())
}

/// Starts the example, or reloads it when an earlier demo still runs; the port it has.
fn start(pando: &Path, example: &Path) -> anyhow::Result<u16> {
    let program = pando.display().to_string();
    let listed = shell::output(Command::new(pando).args(["ls", "--json"])).unwrap_or_default();
    let apps = e2e::view::apps(&listed).unwrap_or_default();
    if let Some(app) = apps.iter().find(|app| app.name() == NAME) {
        shell::run_in(example, &program, &["restart", NAME])?;
        let listen = app.0["listen"][0].as_str().unwrap_or_default();
        let port = listen.rsplit(':').next().and_then(|port| port.parse().ok());
        return Ok(port.unwrap_or(USUAL_PORT));
    }
    let usual_is_free = std::net::TcpListener::bind(("0.0.0.0", USUAL_PORT)).is_ok();
    let port = if usual_is_free {
        USUAL_PORT
    } else {
        e2e::port::free()?
    };
    println!("+ PORT={port} pando start server.js -i max --name {NAME}");
    let status = Command::new(pando)
        .args(["start", "server.js", "-i", "max", "--name", NAME])
        .env("PORT", port.to_string())
        .current_dir(example)
        .status()?;
    anyhow::ensure!(status.success(), "pando start ended with {status}");
    Ok(port)
}

fn look_at(pando: &Path, port: u16) {
    // From where `cargo xtask demo` is usually called the short path does.
    let here = std::env::current_dir().unwrap_or_default();
    let pando = pando.strip_prefix(here).unwrap_or(pando).display();
    println!(
        "
It runs on every core. Look at it:
  http://localhost:{port}/                 which worker answers
  http://localhost:{port}/compute?n=35     work for the CPU
  http://localhost:{port}/wait?ms=1000     waiting
  http://localhost:{port}/fail             an error, answered with 500
  {pando} monit                       all of it live, in the terminal
  {pando} dashboard                   the same with charts, in the browser
  {pando} ls
  {pando} logs {NAME}
  {pando} reload {NAME}      deploy without losing a request
  {pando} scale {NAME} +1

Stop it:
  {pando} delete {NAME}      this app
  {pando} kill                        everything"
    );
}
