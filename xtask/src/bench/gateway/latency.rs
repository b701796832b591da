//! How long a request takes at a rate that nobody is at the end of: half of what nginx can do.

use e2e::{Load, Tally};

use super::Lab;
use super::origin::Origin;
use super::peer::{self, Peer, Plan};
use super::process;
use crate::bench::table;
use crate::bench::wrk::Wrk;
use std::time::Duration;

/// Of what nginx does at most.
const SHARE: f64 = 0.4;
/// Beyond this the load generator, on its core with the origin, would be what is measured.
const MAX_RATE: u32 = 12_000;
const RATE_WITHOUT_NGINX: u32 = 8_000;
const CLIENTS: usize = 64;

pub fn run(lab: &Lab) -> anyhow::Result<()> {
    let rounds = lab.pick(5, 1);
    let duration = Duration::from_secs(lab.pick(5, 2));
    let origin = Origin::start(lab)?;
    let plan = Plan {
        upstreams: &[origin.port],
        files: None,
        threads: 1,
        core: lab.proxy_core,
        ready: "/small",
    };
    let mut proxies = peer::start_all(lab, plan)?;
    let nginx = proxies.iter().find(|proxy| proxy.peer == Peer::Nginx);
    let per_second = match nginx {
        Some(nginx) => rate(lab, nginx.http)?,
        None => RATE_WITHOUT_NGINX,
    };
    let mut tallies: Vec<Vec<Tally>> = proxies.iter().map(|_| Vec::new()).collect();
    for round in 0..rounds {
        let mut order: Vec<usize> = (0..proxies.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for at in order {
            let load = Load::rate(proxies[at].http, per_second, CLIENTS);
            let load = load.path("/small").lasting(duration);
            let core = lab.load_core;
            // On a thread of its own, so that nothing else of the bench is pinned with it.
            let thread = std::thread::spawn(move || -> anyhow::Result<Tally> {
                process::pin(core)?;
                Ok(load.run()?)
            });
            let tally = thread
                .join()
                .map_err(|_| anyhow::anyhow!("the load panicked"))??;
            proxies[at].check()?;
            tallies[at].push(tally);
        }
    }
    let rows: Vec<Vec<String>> = proxies
        .iter()
        .zip(&tallies)
        .map(|(proxy, tallies)| row(proxy.peer, tallies))
        .collect();
    table::print(
        "Latency at a fixed rate, ms",
        &format!(
            "{per_second} requests a second over at most {CLIENTS} kept connections, counted from \
             when each was due; one thread on one core, {rounds} x {} s, medians of the rounds.",
            duration.as_secs()
        ),
        &["", "p50", "p95", "p99", "p99.9", "failed"],
        &rows,
    );
    Ok(())
}

fn rate(lab: &Lab, port: u16) -> anyhow::Result<u32> {
    let seconds = 2;
    let wrk = Wrk {
        name: "nginx",
        url: &format!("http://127.0.0.1:{port}/small"),
        seconds,
        connections: 64,
        keep_alive: true,
        core: lab.load_core,
    };
    let most = wrk.run()? as f64 / seconds as f64;
    Ok(((most * SHARE / 100.0) as u32 * 100).clamp(100, MAX_RATE))
}

fn row(peer: Peer, tallies: &[Tally]) -> Vec<String> {
    let at = |q: f64| {
        let all: Vec<f64> = tallies
            .iter()
            .map(|tally| tally.quantile_us(q) as f64)
            .collect();
        format!("{:.2}", table::median(&all) / 1000.0)
    };
    let failed: u64 = tallies.iter().map(Tally::failures).sum();
    vec![
        peer.name().to_owned(),
        at(0.5),
        at(0.95),
        at(0.99),
        at(0.999),
        failed.to_string(),
    ]
}
