//! What a gateway's own measuring costs: one that measures beside one that does not, both at once on
//! one core, so that what else the machine does meets both.

use std::path::{Path, PathBuf};
use std::thread;

use anyhow::Context;
use e2e::{http, local, wait};

use super::Lab;
use super::origin::Origin;
use super::process::Process;
use crate::bench::table;
use crate::bench::wrk::Wrk;
use crate::shell;

const CONNECTIONS: u32 = 32;
const WARM_UP_SECONDS: u64 = 1;

/// What is switched on.
#[derive(Clone, Copy)]
struct Variant {
    name: &'static str,
    /// The share of requests with spans; `no` for none.
    spans: &'static str,
    reports: &'static str,
}

const NOTHING: Variant = Variant {
    name: "nothing",
    spans: "no",
    reports: "no",
};
const VARIANTS: [Variant; 4] = [
    Variant {
        name: "nothing (how well this measures)",
        ..NOTHING
    },
    Variant {
        name: "routes, once a second",
        reports: "yes",
        ..NOTHING
    },
    Variant {
        name: "spans of 1 %",
        spans: "0.01",
        ..NOTHING
    },
    Variant {
        name: "spans of all",
        spans: "1",
        ..NOTHING
    },
];

struct Edge {
    process: Process,
    url: String,
    variant: Variant,
}

pub fn run(lab: &Lab) -> anyhow::Result<()> {
    let program = build()?;
    let (rounds, seconds) = (lab.pick(12, 4), lab.pick(5, 3));
    let origin = Origin::start(lab)?;
    let collector = e2e::Origin::start()?;
    let mut rows = Vec::new();
    for variant in VARIANTS {
        let (mut ratios, mut base, mut with) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..rounds {
            // Who starts first, and whose load does, changes from round to round.
            let at = usize::from(round % 2 == 0);
            let order = [[variant, NOTHING], [NOTHING, variant]][at];
            let start = |variant| start(lab, &program, variant, &origin, collector.port);
            let edges = [start(order[0])?, start(order[1])?];
            load(lab, &edges, WARM_UP_SECONDS)?;
            let before = [cpu_ns(&edges[0]), cpu_ns(&edges[1])];
            let requests = load(lab, &edges, seconds)?;
            let us = [0, 1].map(|at| {
                let cpu = cpu_ns(&edges[at]).saturating_sub(before[at]);
                cpu as f64 / 1000.0 / requests[at].max(1) as f64
            });
            ratios.push(us[at] / us[1 - at]);
            base.push(us[1 - at]);
            with.push(us[at]);
        }
        let least = ratios.iter().copied().fold(f64::INFINITY, f64::min);
        let most = ratios.iter().copied().fold(0.0, f64::max);
        let (base, with) = (table::median(&base), table::median(&with));
        rows.push(vec![
            variant.name.to_owned(),
            format!("{:.3}x", table::median(&ratios)),
            format!("{least:.3}-{most:.3}"),
            format!("{base:.2} -> {with:.2}"),
        ]);
    }
    table::print(
        "What measuring costs at the edge",
        &format!(
            "CPU a request of a proxied 13 B answer with its line in the access log, beside a gateway \
             that measures nothing; {rounds} pairs of {seconds} s, medians."
        ),
        &["", "CPU", "pairs", "us a request"],
        &rows,
    );
    Ok(())
}

fn build() -> anyhow::Result<PathBuf> {
    if let Some(program) = std::env::var_os("PANDO_MEASURED") {
        return Ok(program.into());
    }
    let package = ["--package", "pando-gateway", "--example", "measured"];
    shell::run("cargo", &[&["build", "--release"], &package[..]].concat())?;
    Ok(e2e::npm::workspace().join("target/release/examples/measured"))
}

fn start(
    lab: &Lab,
    program: &Path,
    variant: Variant,
    origin: &Origin,
    collector: u16,
) -> anyhow::Result<Edge> {
    let port = e2e::port::free()?;
    let (listen, upstream) = (local(port).to_string(), local(origin.port).to_string());
    let collector = format!("http://127.0.0.1:{collector}");
    let args = [
        &*listen,
        &upstream,
        variant.spans,
        &collector,
        variant.reports,
    ];
    let output = lab.dir.path().join("measured");
    let process = Process::start(program, &args, lab.proxy_core, &output)?;
    wait::for_true("the gateway answers", || {
        http::get(local(port), "/small").is_ok_and(|answer| answer.status == 200)
    })
    .with_context(|| std::fs::read_to_string(&output).unwrap_or_default())?;
    Ok(Edge {
        process,
        url: format!("http://127.0.0.1:{port}/small"),
        variant,
    })
}

/// Both at once; the requests that each answered.
fn load(lab: &Lab, edges: &[Edge; 2], seconds: u64) -> anyhow::Result<[u64; 2]> {
    let run = |edge: &Edge| {
        Wrk {
            name: edge.variant.name,
            url: &edge.url,
            seconds,
            connections: CONNECTIONS,
            keep_alive: true,
            core: lab.load_core,
        }
        .run()
    };
    let (first, second) = thread::scope(|scope| {
        let first = scope.spawn(|| run(&edges[0]));
        let second = run(&edges[1]);
        (first.join(), second)
    });
    let first = first.map_err(|_| anyhow::anyhow!("the load's thread panicked"))??;
    Ok([first, second?])
}

/// Time on a core of all threads.
fn cpu_ns(edge: &Edge) -> u64 {
    let tasks = format!("/proc/{}/task", edge.process.id());
    let tasks = std::fs::read_dir(tasks).into_iter().flatten().flatten();
    // A thread may end in between.
    let ns = tasks.filter_map(|task| {
        let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    });
    ns.sum()
}
