//! From `kill -9` of the only worker to its successor's first answer, beside Node's own boot time.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use e2e::{http, local, process, wait};

use super::lab::Lab;
use super::table;
use super::target::{self, Kind, Plan, Target};

/// Between tries: longer than any back-off for a fast exit.
const REST: Duration = Duration::from_millis(2500);
const ASK_AGAIN: Duration = Duration::from_millis(1);
/// A question that a dying worker took with it is given up after this.
const PATIENCE: Duration = Duration::from_millis(100);
const LIMIT: Duration = Duration::from_secs(30);

pub fn run(lab: &Lab) -> anyhow::Result<()> {
    let tries = lab.pick(20, 4);
    let kinds = [Kind::NodeRr, Kind::Pm2, Kind::PandoSteered];
    let targets = target::start_all(lab, &kinds, Plan::server(1))?;
    let mut boots = Vec::new();
    let mut times: Vec<Vec<f64>> = vec![Vec::new(); targets.len()];
    for _ in 0..tries {
        std::thread::sleep(REST);
        boots.push(boot(lab)?);
        for (target, times) in targets.iter().zip(&mut times) {
            times.push(kill(target)?);
        }
    }
    let boot = table::median(&boots);
    let mut rows = vec![vec![
        "node's own boot".into(),
        format!("{boot:.1}"),
        "-".into(),
    ]];
    rows.extend(targets.iter().zip(&times).map(|(target, times)| {
        let median = table::median(times);
        vec![
            target.kind.name().to_owned(),
            format!("{median:.1}"),
            format!("{:+.1}", median - boot),
        ]
    }));
    table::print(
        "kill -9 of the only worker, until its successor answers",
        &format!("{tries} alternating tries, medians, milliseconds."),
        &["1 worker", "ms", "beyond boot"],
        &rows,
    );
    Ok(())
}

/// Milliseconds from spawning node to its first answer.
fn boot(lab: &Lab) -> anyhow::Result<f64> {
    let port = e2e::port::free()?;
    let start = Instant::now();
    let mut node = Command::new("node")
        .arg(lab.app("server.js"))
        .env("PORT", port.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()?;
    let answered = first_answer(port, start, "");
    process::kill(node.id());
    node.wait()?;
    answered
}

fn kill(target: &Target) -> anyhow::Result<f64> {
    let old = wait::for_some("the worker's pid", || {
        http::get(local(target.port), "/pid")
            .ok()
            .map(|response| response.text())
    })?;
    let pid: u32 = old.parse().with_context(|| format!("/pid said {old}"))?;
    let start = Instant::now();
    process::kill(pid);
    first_answer(target.port, start, &old)
}

/// Asks until an answer comes from another than `old`.
fn first_answer(port: u16, start: Instant, old: &str) -> anyhow::Result<f64> {
    while start.elapsed() < LIMIT {
        if http::get_within(local(port), "/pid", PATIENCE)
            .is_ok_and(|response| response.text() != old)
        {
            return Ok(start.elapsed().as_secs_f64() * 1000.0);
        }
        std::thread::sleep(ASK_AGAIN);
    }
    anyhow::bail!("no answer in {LIMIT:?}")
}
