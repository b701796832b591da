//! Rolling reloads of four workers under load: requests that failed.

use std::time::{Duration, Instant};

use e2e::{Load, Tally};

use super::lab::Lab;
use super::table;
use super::target::{Kind, Plan, Target};

const WORKERS: u32 = 4;
const NEW_PER_SECOND: u32 = 300;
const KEPT_CLIENTS: usize = 32;
/// Between two requests of a client that keeps its connection.
const PAUSE: Duration = Duration::from_millis(5);
const LEAD: Duration = Duration::from_millis(500);

pub fn run(lab: &Lab) -> anyhow::Result<()> {
    let reloads = lab.pick(5, 1);
    let mut rows = Vec::new();
    for kind in [Kind::Pm2, Kind::PandoSteered] {
        if kind.is_pando() && lab.pando.is_none() {
            continue;
        }
        rows.push(measure(lab, kind, reloads)?);
    }
    table::print(
        "Reload of 4 workers under load",
        &format!(
            "{reloads} reloads; {NEW_PER_SECOND} new connections/s, and {KEPT_CLIENTS} clients that \
             keep their connection and follow `Connection: close`."
        ),
        &[
            "",
            "new: requests",
            "failed",
            "kept: requests",
            "failed",
            "a reload takes s",
        ],
        &rows,
    );
    Ok(())
}

fn measure(lab: &Lab, kind: Kind, reloads: u32) -> anyhow::Result<Vec<String>> {
    let target = Target::start(lab, kind, Plan::server(WORKERS))?;
    let new = Load::open(target.port, NEW_PER_SECOND).spawn()?;
    let kept = Load::keep_alive(target.port, KEPT_CLIENTS)
        .pausing(PAUSE)
        .spawn()?;
    std::thread::sleep(LEAD);
    let start = Instant::now();
    for _ in 0..reloads {
        target.reload()?;
    }
    let took = start.elapsed().as_secs_f64() / f64::from(reloads);
    std::thread::sleep(LEAD);
    new.stop();
    kept.stop();
    let (new, kept) = (new.finish()?, kept.finish()?);
    explain(kind, "new", &new);
    explain(kind, "kept", &kept);
    Ok(vec![
        kind.name().to_owned(),
        new.sent.to_string(),
        new.failures().to_string(),
        kept.sent.to_string(),
        kept.failures().to_string(),
        format!("{took:.1}"),
    ])
}

fn explain(kind: Kind, which: &str, tally: &Tally) {
    if tally.failures() > 0 {
        println!("{} {which}: {}", kind.name(), tally.summary());
    }
}
