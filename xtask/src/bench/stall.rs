//! One of two workers is stuck for 5 s: what the others' clients see of it.

use std::time::Duration;

use e2e::{Load, Tally, http, local};

use super::lab::Lab;
use super::table;
use super::target::{Kind, Plan, Target};

const PER_SECOND: u32 = 500;
const DURATION: Duration = Duration::from_secs(8);
const STUCK_AFTER: Duration = Duration::from_secs(1);
const SLOW: Duration = Duration::from_millis(200);

pub fn run(lab: &Lab) -> anyhow::Result<()> {
    let all = [
        Kind::NodeNone,
        Kind::NodeRr,
        Kind::Nginx,
        Kind::PandoSteered,
        Kind::PandoRoundRobin,
    ];
    let few = [Kind::NodeRr, Kind::PandoSteered];
    let kinds: &[Kind] = if lab.quick { &few } else { &all };
    let rounds = lab.pick(3, 1);
    let mut rows = Vec::new();
    for kind in kinds
        .iter()
        .filter(|kind| lab.pando.is_some() || !kind.is_pando())
    {
        let mut tallies = Vec::new();
        for _ in 0..rounds {
            tallies.push(measure(lab, *kind)?);
        }
        rows.push(row(*kind, &tallies));
    }
    table::print(
        "One of two workers stuck in a 5 s loop",
        &format!(
            "{PER_SECOND} new connections/s for {} s, {rounds} runs, latency from the scheduled \
             time; the stuck request itself is not counted. Worst run for each figure but p50.",
            DURATION.as_secs()
        ),
        &[
            "2 workers",
            "requests",
            "failed",
            "over 200 ms",
            "share",
            "p50 ms",
            "p99 ms",
            "max ms",
        ],
        &rows,
    );
    Ok(())
}

fn measure(lab: &Lab, kind: Kind) -> anyhow::Result<Tally> {
    let target = Target::start(lab, kind, Plan::server(2))?;
    let port = target.port;
    let load = Load::open(port, PER_SECOND).lasting(DURATION).spawn()?;
    std::thread::sleep(STUCK_AFTER);
    let stuck = std::thread::spawn(move || http::get(local(port), "/stall"));
    std::thread::sleep(DURATION.saturating_sub(STUCK_AFTER));
    let tally = load.finish()?;
    let _ = stuck.join();
    Ok(tally)
}

fn row(kind: Kind, tallies: &[Tally]) -> Vec<String> {
    let worst = |value: &dyn Fn(&Tally) -> u64| tallies.iter().map(value).max().unwrap_or(0);
    let sent: u64 = tallies.iter().map(|tally| tally.sent).sum();
    let slow: u64 = tallies.iter().map(|tally| tally.slower_than(SLOW)).sum();
    let failed: u64 = tallies.iter().map(Tally::failures).sum();
    let p50: Vec<f64> = tallies
        .iter()
        .map(|tally| tally.quantile_us(0.5) as f64)
        .collect();
    vec![
        kind.name().to_owned(),
        sent.to_string(),
        failed.to_string(),
        slow.to_string(),
        format!("{:.1} %", 100.0 * slow as f64 / (sent as f64).max(1.0)),
        table::ms(table::median(&p50) as u64),
        table::ms(worst(&|tally| tally.quantile_us(0.99))),
        table::ms(worst(&|tally| tally.quantile_us(1.0))),
    ]
}
