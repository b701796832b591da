//! CPU per request, kept connections and new ones.

use std::time::Instant;

use e2e::process;

use super::lab::Lab;
use super::table;
use super::target::{self, Kind, Plan, Target};

const WORKERS: u32 = 2;
const WARM_SECONDS: u64 = 2;

#[derive(Clone, Copy)]
struct Sample {
    cpu_us: f64,
    per_second: f64,
}

#[derive(Default)]
struct Samples {
    keep: Vec<Sample>,
    close: Vec<Sample>,
}

pub fn run(lab: &Lab) -> anyhow::Result<()> {
    let rounds = lab.pick(5, 1);
    let seconds = lab.pick(5, 2);
    let targets = target::start_all(lab, &Kind::ALL, Plan::server(WORKERS))?;
    for target in &targets {
        target::wrk(target, WARM_SECONDS.min(seconds), true)?;
    }
    let mut samples: Vec<Samples> = targets.iter().map(|_| Samples::default()).collect();
    for round in 0..rounds {
        let mut order: Vec<usize> = (0..targets.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for at in order {
            samples[at].keep.push(measure(&targets[at], seconds, true)?);
            samples[at]
                .close
                .push(measure(&targets[at], seconds, false)?);
        }
    }
    report(&targets, &samples, rounds, seconds);
    Ok(())
}

fn measure(target: &Target, seconds: u64, keep_alive: bool) -> anyhow::Result<Sample> {
    let pids = target.pids()?;
    let before = process::cpu_us(&pids);
    let start = Instant::now();
    let requests = target::wrk(target, seconds, keep_alive)? as f64;
    let took = start.elapsed().as_secs_f64();
    let cpu_us = process::cpu_us(&pids).saturating_sub(before) as f64;
    Ok(Sample {
        cpu_us: cpu_us / requests,
        per_second: requests / took,
    })
}

fn report(targets: &[Target], samples: &[Samples], rounds: usize, seconds: u64) {
    let cpu = |list: &[Sample]| table::median(&list.iter().map(|s| s.cpu_us).collect::<Vec<_>>());
    let rate =
        |list: &[Sample]| table::median(&list.iter().map(|s| s.per_second).collect::<Vec<_>>());
    let base = |kind: Kind, close: bool| {
        let at = targets.iter().position(|target| target.kind == kind);
        at.map_or(0.0, |at| {
            cpu(if close {
                &samples[at].close
            } else {
                &samples[at].keep
            })
        })
    };
    let (bare, none) = (base(Kind::Bare, false), base(Kind::NodeNone, true));
    let rows: Vec<Vec<String>> = targets
        .iter()
        .zip(samples)
        .map(|(target, samples)| {
            let (keep, close) = (cpu(&samples.keep), cpu(&samples.close));
            vec![
                target.kind.name().to_owned(),
                format!("{keep:.1}"),
                table::thousands(rate(&samples.keep)),
                table::ratio(keep, bare),
                format!("{close:.1}"),
                table::thousands(rate(&samples.close)),
                table::ratio(close, none),
            ]
        })
        .collect();
    table::print(
        "CPU per request",
        &format!(
            "User and system time of front and workers, microseconds a request; {WORKERS} workers, \
             wrk -t1 -c64, {rounds} x {seconds} s, medians. \"Close\": a new connection a request."
        ),
        &[
            "",
            "keep-alive us",
            "req/s",
            "of bare node",
            "close us",
            "req/s",
            "of node cluster, none",
        ],
        &rows,
    );
}
