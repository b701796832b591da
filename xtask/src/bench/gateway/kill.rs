//! `kill -9` of workers under kept connections: which GETs fail?

use std::time::Duration;

use e2e::Load;

use super::Lab;
use super::origin::Nodes;
use super::peer::{Plan, Proxy};
use crate::bench::table;

const WORKERS: usize = 4;
const CLIENTS: usize = 64;
const BETWEEN: Duration = Duration::from_millis(1500);

pub fn run(lab: &Lab) -> anyhow::Result<()> {
    let rounds = lab.pick(5, 1);
    let mut rows = Vec::new();
    for peer in &lab.peers {
        let (mut sent, mut failed, mut errors) = (0, 0, Vec::new());
        for _ in 0..rounds {
            let nodes = Nodes::start(WORKERS)?;
            let plan = Plan {
                upstreams: &nodes.ports,
                files: None,
                threads: 2,
                core: None,
                ready: "/",
            };
            let mut proxy = Proxy::start(lab, *peer, plan)?;
            let load = Load::keep_alive(proxy.http, CLIENTS).spawn()?;
            for at in 0..2 {
                std::thread::sleep(BETWEEN);
                nodes.kill(at);
            }
            std::thread::sleep(BETWEEN);
            let tally = load.finish()?;
            proxy.check()?;
            sent += tally.sent;
            failed += tally.failures();
            errors.extend(tally.errors);
        }
        errors.sort();
        errors.dedup();
        errors.truncate(2);
        let errors = errors.join("; ").replace(['\n', '\r', '|'], " ");
        rows.push(vec![
            peer.name().to_owned(),
            sent.to_string(),
            failed.to_string(),
            errors.chars().take(60).collect(),
        ]);
    }
    table::print(
        "Workers killed under load",
        &format!(
            "{CLIENTS} kept connections, GET, {WORKERS} Node upstreams of which two are ended by \
             kill -9, one after the other; {rounds} rounds."
        ),
        &["", "sent", "failed", "how"],
        &rows,
    );
    Ok(())
}
