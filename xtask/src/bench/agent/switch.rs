//! The agent turned on and off within one process, whose slices of time are compared with their
//! neighbours: what two processes of the same program differ by is not in it.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;
use std::thread;

use anyhow::{Context, ensure};
use serde::Deserialize;

use super::pair::{self, App, CONNECTIONS};
use super::variant::Variant;
use super::{Lab, table};
use crate::bench::wrk::Wrk;

/// Before the first slice, in seconds: what the app and switch.js warm up with, and some more.
const BEFORE_SECONDS: u64 = 8;
const APPS: [(&str, &str); 3] = [
    ("http", "hello world, bare http"),
    ("express", "hello world, Express 5"),
    ("busy", "a millisecond of CPU, Express 5"),
];

/// CPU a request of each slice, in microseconds, in the order measured.
#[derive(Deserialize)]
struct Slices {
    on: Vec<f64>,
    off: Vec<f64>,
}

pub fn table(lab: &Lab) -> anyhow::Result<()> {
    let slices = if lab.quick { 16 } else { 80 };
    let mut rows = Vec::new();
    for (major, node) in &lab.nodes {
        for (app, title) in APPS {
            let measured = measure(lab, node, app, slices);
            let measured = measured.with_context(|| format!("{app} on Node {major}"))?;
            rows.push(row(*major, title, &measured));
        }
    }
    table::print(
        "Pando's agent, turned on and off in one process",
        &format!(
            "{slices} slices of 1 s each, on off off on; medians. The middle half: of the ratios of neighbours."
        ),
        &["Node", "", "CPU", "middle half", "us a request"],
        &rows,
    );
    Ok(())
}

fn measure(lab: &Lab, node: &Path, app: &str, slices: u64) -> anyhow::Result<Slices> {
    let mut command = pair::command(lab, node, app, Variant::Pando);
    command
        .env("SLICES", slices.to_string())
        .stdout(Stdio::piped());
    let switch = lab.apps.join("switch.js");
    let theirs = pair::listen(&mut command, lab, &[&switch])?;
    let mut app = App::spawn(command, app, "the app that is switched")?;
    drop(theirs);
    let stdout = app.child.stdout.take().context("no stdout")?;
    let wrk = Wrk {
        name: "switched",
        url: &app.url,
        seconds: slices + BEFORE_SECONDS,
        connections: CONNECTIONS,
        keep_alive: true,
        core: Some(lab.load_core),
    };
    let mut line = String::new();
    thread::scope(|scope| {
        let load = scope.spawn(|| wrk.run());
        let read = BufReader::new(stdout).read_line(&mut line);
        let load = load.join();
        load.map_err(|_| anyhow::anyhow!("the load's thread panicked"))??;
        read.context("the app's figures")
    })?;
    let slices: Slices = serde_json::from_str(&line).context(line.clone())?;
    ensure!(
        !slices.on.is_empty() && slices.on.len() == slices.off.len(),
        "a slice without a request: {line}"
    );
    Ok(slices)
}

fn row(major: u32, title: &str, slices: &Slices) -> Vec<String> {
    let neighbours = slices.on.iter().zip(&slices.off);
    let mut ratios: Vec<f64> = neighbours.map(|(on, off)| on / off).collect();
    ratios.sort_by(f64::total_cmp);
    let at = |part: usize| ratios[(ratios.len() * part / 4).min(ratios.len() - 1)];
    let (on, off) = (table::median(&slices.on), table::median(&slices.off));
    vec![
        major.to_string(),
        title.to_owned(),
        format!("{:.3}x", table::median(&ratios)),
        format!("{:.3}-{:.3}", at(1), at(3)),
        format!("{off:.2} -> {on:.2}"),
    ]
}
