//! What the processes that are not workers hold in memory.

use e2e::process;

use super::lab::Lab;
use super::table;
use super::target::{self, Kind, Plan};

const WORKERS: u32 = 4;

pub fn run(lab: &Lab) -> anyhow::Result<()> {
    let kinds = [Kind::NodeRr, Kind::Pm2, Kind::PandoSteered];
    let mut rows = Vec::new();
    for target in target::start_all(lab, &kinds, Plan::server(WORKERS))? {
        target::wrk(&target, lab.pick(5, 2), false)?;
        let front = target.front()?;
        let parts: Vec<String> = front
            .iter()
            .map(|pid| table::mib(process::rss_bytes(*pid)))
            .collect();
        let total: u64 = front.iter().map(|pid| process::rss_bytes(*pid)).sum();
        rows.push(vec![
            target.kind.name().to_owned(),
            table::mib(total),
            parts.join(" + "),
        ]);
    }
    table::print(
        "Memory of the front, MiB resident",
        &format!("{WORKERS} workers, after load; workers not counted."),
        &["", "RSS", "processes"],
        &rows,
    );
    Ok(())
}
