//! `cargo xtask bench cluster`: Pando beside its peers, in one run, on this machine.
//!
//! All rows of a table are measured in alternating rounds and shown as medians, so that what else
//! the machine does falls on all alike. Read the ratios; the absolute figures are this machine's.

mod lab;
mod logs;
mod memory;
mod reload;
mod restart;
mod stall;
mod table;
mod target;
mod throughput;

use anyhow::{Context, ensure};

use lab::Lab;

type Measure = fn(&Lab) -> anyhow::Result<()>;

const TABLES: [(&str, Measure); 6] = [
    ("throughput", throughput::run),
    ("stall", stall::run),
    ("memory", memory::run),
    ("restart", restart::run),
    ("reload", reload::run),
    ("logs", logs::run),
];

pub fn cluster(args: &[&str]) -> anyhow::Result<()> {
    let quick = args.contains(&"--quick");
    let only = match args.iter().position(|arg| *arg == "--only") {
        Some(at) => Some(
            *args
                .get(at + 1)
                .context("--only needs the name of a table")?,
        ),
        None => None,
    };
    let chosen: Vec<&(&str, Measure)> = TABLES
        .iter()
        .filter(|(name, _)| only.is_none_or(|only| only == *name))
        .collect();
    let names = TABLES.map(|(name, _)| name).join(", ");
    ensure!(!chosen.is_empty(), "no such table; there are {names}");
    let lab = Lab::set_up(quick)?;
    lab.describe();
    for (name, measure) in chosen {
        measure(&lab).with_context(|| format!("table {name}"))?;
    }
    Ok(())
}
