//! `pando dashboard` in headless Chromium: what it shows of a real app under load, its keys, its
//! logs, its pictures (target/dashboard), and that its link is good once.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use e2e::{Pando, app, npm, wait_within};

/// The whole visit, on a loaded machine.
const VISIT_LIMIT: Duration = Duration::from_secs(400);

/// No place at which a line may be broken: 64 characters, as long as a name may be.
const UNBROKEN: &str = "thisnamehasnoplaceatwhichalinemaybebrokenandisaslongasitmaybe064";

#[test]
fn a_browser_sees_everything() -> anyhow::Result<()> {
    let modules = npm::install(&["express@5", "playwright-core", "axe-core"])?.join("node_modules");
    let pictures = npm::cache_dir().with_file_name("dashboard");
    std::fs::create_dir_all(&pictures)?;
    let mut pando = Pando::new()?;
    let port = e2e::port::free()?;
    pando.env("PORT", port.to_string());
    pando.env("NODE_PATH", modules.clone());
    // A path and a name that are wider than a phone, as deployed apps have them.
    let path = format!("{UNBROKEN}/{UNBROKEN}.js");
    let script = pando.write(&path, &std::fs::read_to_string(app("dashboard_app.js"))?)?;
    let script = script.display().to_string();
    pando
        .cmd(&["start", &script, "--name", "api", "-i", "2"])?
        .ok()?;
    let idle = pando.write("idle.js", "setInterval(() => {}, 1000)")?;
    let idle = idle.display().to_string();
    pando.cmd(&["start", &idle, "--name", UNBROKEN])?.ok()?;
    let mut dashboard = pando
        .command(&["dashboard", "--json"])
        .stdout(Stdio::piped())
        .spawn()?;
    let result = visit(&mut dashboard, |link| {
        let mut browser = Command::new("node")
            .arg(app("dashboard_browser.js"))
            .args([link, &port.to_string()])
            .arg(&pictures)
            .env("NODE_PATH", &modules)
            .spawn()?;
        let status = wait_within(&mut browser, VISIT_LIMIT).context("the visit hangs")?;
        ensure!(status.success(), "the browser saw what is wrong: {status}");
        Ok(())
    });
    dashboard.kill()?;
    dashboard.wait()?;
    result
}

fn visit(
    dashboard: &mut std::process::Child,
    browse: impl FnOnce(&str) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let stdout = dashboard.stdout.take().context("no stdout")?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    let said: serde_json::Value = serde_json::from_str(&line).context(line.clone())?;
    browse(said["url"].as_str().context("no url")?)
}
