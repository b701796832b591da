//! What measuring inside an app costs: Pando's preload beside others, as CPU a request against the
//! same app without.
//!
//! Base and variant run at the same time on one core, each with its own load from another core, so
//! that what else the machine does falls on both alike; then they change places. That tells the
//! peers apart; for what a percent is, the table `switch` turns the agent on and off in one process. CPU is the time on
//! a core of all threads (`/proc/PID/task/*/schedstat`), over the requests answered.

mod pair;
mod switch;
mod variant;

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, ensure};

use super::{Table, table};
use crate::{debian, shell};
use pair::{Figures, Plan};
use variant::Variant;

pub const TABLES: [Table<Lab>; 4] = [
    ("switch", switch::table),
    ("http", |lab| lab.table("http", "Hello world on bare http")),
    ("express", |lab| {
        lab.table("express", "Hello world on Express 5")
    }),
    ("busy", |lab| {
        lab.table("busy", "A millisecond of CPU a request, on Express 5")
    }),
];

const LOAD_CORE: usize = 0;
const APP_CORE: usize = 1;
const NODES: [u32; 2] = [20, 24];
const PACKAGES: [&str; 8] = [
    "express@5",
    "express-prom-bundle@8",
    "prom-client@15",
    "@opentelemetry/api@1",
    "@opentelemetry/sdk-node",
    "@opentelemetry/instrumentation-http",
    "@opentelemetry/instrumentation-express",
    "@pm2/io@6",
];

/// What every table needs.
pub struct Lab {
    pub quick: bool,
    pub load_core: usize,
    pub app_core: usize,
    /// Whose node_modules has the others.
    pub packages: PathBuf,
    pub apps: PathBuf,
    /// The preload, written out.
    pub agent: PathBuf,
    nodes: Vec<(u32, PathBuf)>,
    variants: Vec<Variant>,
    _dir: tempfile::TempDir,
}

impl Lab {
    pub fn set_up(
        quick: bool,
        nodes: Option<&str>,
        variants: Option<&str>,
    ) -> anyhow::Result<Self> {
        debian::need(&[("wrk", "wrk"), ("taskset", "util-linux")])?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        ensure!(cores > 1, "load and apps need a core each");
        let dir = tempfile::Builder::new().prefix("pando-bench-").tempdir()?;
        let agent = dir.path().join("agent.js");
        std::fs::write(&agent, node_agent::SOURCE)?;
        let mut lab = Self {
            quick,
            load_core: LOAD_CORE,
            app_core: APP_CORE,
            packages: e2e::npm::install(&PACKAGES)?,
            apps: e2e::npm::workspace().join("xtask/apps/agent"),
            agent,
            nodes: Vec::new(),
            variants: Vec::new(),
            _dir: dir,
        };
        for major in NODES {
            if listed(nodes, &major.to_string()) {
                let node = e2e::npm::node_bin_dir(major)?.join("node");
                lab.nodes.push((major, node));
            }
        }
        let wanted = |variant: &Variant| listed(variants, variant.key());
        lab.variants = Variant::ALL.into_iter().filter(wanted).collect();
        ensure!(
            !lab.nodes.is_empty() && !lab.variants.is_empty(),
            "nothing to measure"
        );
        Ok(lab)
    }

    pub fn describe(&self) {
        for (_, node) in &self.nodes {
            let version = shell::output(Command::new(node).arg("--version"));
            println!("Node {}", version.unwrap_or_default().trim());
        }
    }

    fn table(&self, app: &str, title: &str) -> anyhow::Result<()> {
        let plan = Plan {
            rounds: if self.quick { 2 } else { 8 },
            seconds: if self.quick { 3 } else { 5 },
        };
        let mut rows = Vec::new();
        for (major, node) in &self.nodes {
            for variant in self.variants.iter().filter(|variant| variant.runs(app)) {
                let figures = pair::measure(self, node, app, *variant, plan)
                    .with_context(|| format!("{} on Node {major}", variant.name()))?;
                rows.push(row(*major, *variant, &figures));
            }
        }
        table::print(
            title,
            &format!(
                "Beside the same app without; {} pairs of {} s, medians.",
                plan.rounds, plan.seconds
            ),
            &["Node", "", "CPU", "pairs", "us a request", "more RSS, MiB"],
            &rows,
        );
        Ok(())
    }
}

fn row(major: u32, variant: Variant, figures: &Figures) -> Vec<String> {
    let ratios = &figures.ratios;
    let least = ratios.iter().copied().fold(f64::INFINITY, f64::min);
    let most = ratios.iter().copied().fold(0.0, f64::max);
    vec![
        major.to_string(),
        variant.name().to_owned(),
        format!("{:.3}x", table::median(ratios)),
        format!("{least:.3}-{most:.3}"),
        format!(
            "{:.2} -> {:.2}",
            table::median(&figures.base_us),
            table::median(&figures.variant_us)
        ),
        format!("{:+.1}", table::median(&figures.more_mib)),
    ]
}

fn listed(list: Option<&str>, name: &str) -> bool {
    list.is_none_or(|list| list.split(',').any(|one| one == name))
}
