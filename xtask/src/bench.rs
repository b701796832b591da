//! `cargo xtask bench cluster`, `bench gateway` and `bench agent`: Pando beside its peers, in one
//! run, on this machine.
//!
//! All rows of a table are measured in alternating rounds and shown as medians, so that what else
//! the machine does falls on all alike. Read the ratios; the absolute figures are this machine's.

mod agent;
mod gateway;
mod lab;
mod logs;
mod memory;
mod reload;
mod restart;
mod stall;
mod table;
mod target;
mod throughput;
mod wrk;

use anyhow::{Context, ensure};

use lab::Lab;

/// A table's name, and what measures and prints it.
type Table<L> = (&'static str, fn(&L) -> anyhow::Result<()>);

const TABLES: [Table<Lab>; 6] = [
    ("throughput", throughput::run),
    ("stall", stall::run),
    ("memory", memory::run),
    ("restart", restart::run),
    ("reload", reload::run),
    ("logs", logs::run),
];

pub fn cluster(args: &[&str]) -> anyhow::Result<()> {
    let chosen = chosen(&TABLES, args)?;
    let lab = Lab::set_up(args.contains(&"--quick"))?;
    lab.describe();
    run(&lab, &chosen)
}

pub fn gateway(args: &[&str]) -> anyhow::Result<()> {
    let chosen = chosen(&gateway::TABLES, args)?;
    let lab = gateway::Lab::set_up(args.contains(&"--quick"), value_after(args, "--peers")?)?;
    lab.describe();
    run(&lab, &chosen)
}

pub fn agent(args: &[&str]) -> anyhow::Result<()> {
    let chosen = chosen(&agent::TABLES, args)?;
    let lab = agent::Lab::set_up(
        args.contains(&"--quick"),
        value_after(args, "--nodes")?,
        value_after(args, "--variants")?,
    )?;
    lab.describe();
    run(&lab, &chosen)
}

fn value_after<'a>(args: &[&'a str], flag: &str) -> anyhow::Result<Option<&'a str>> {
    let Some(at) = args.iter().position(|arg| *arg == flag) else {
        return Ok(None);
    };
    let value = args.get(at + 1).copied();
    Ok(Some(
        value.with_context(|| format!("{flag} needs a value"))?,
    ))
}

fn chosen<L>(tables: &[Table<L>], args: &[&str]) -> anyhow::Result<Vec<Table<L>>> {
    let only = value_after(args, "--only")?;
    let chosen: Vec<Table<L>> = tables
        .iter()
        .filter(|(name, _)| only.is_none_or(|only| only.split(',').any(|only| only == *name)))
        .copied()
        .collect();
    let names: Vec<&str> = tables.iter().map(|(name, _)| *name).collect();
    ensure!(
        !chosen.is_empty(),
        "no such table; there are {}",
        names.join(", ")
    );
    Ok(chosen)
}

fn run<L>(lab: &L, tables: &[Table<L>]) -> anyhow::Result<()> {
    for (name, measure) in tables {
        measure(lab).with_context(|| format!("table {name}"))?;
    }
    Ok(())
}
