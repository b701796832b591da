//! One of four workers does nothing but compute for five seconds: who waits for it?

use std::time::Duration;

use e2e::{Load, http, local};

use super::Lab;
use super::origin::Nodes;
use super::peer::{Plan, Proxy};
use crate::bench::table;

const WORKERS: usize = 4;
const PER_SECOND: u32 = 500;
const CLIENTS: usize = 512;
const SLOW: Duration = Duration::from_millis(200);
/// Long enough for a balance that learns.
const BEFORE: Duration = Duration::from_secs(2);
const DURATION: Duration = Duration::from_secs(10);

pub fn run(lab: &Lab) -> anyhow::Result<()> {
    let rounds = lab.pick(3, 1);
    let mut rows = Vec::new();
    for peer in &lab.peers {
        let (mut sent, mut slow, mut failed, mut p99, mut worst) = (0, 0, 0, Vec::new(), 0);
        for _ in 0..rounds {
            // New ones each time: what a proxy learnt of a stalled one would be known.
            let nodes = Nodes::start(WORKERS)?;
            let plan = Plan {
                upstreams: &nodes.ports,
                files: None,
                threads: 2,
                core: None,
                ready: "/",
            };
            let mut proxy = Proxy::start(lab, *peer, plan)?;
            let load = Load::rate(proxy.http, PER_SECOND, CLIENTS)
                .lasting(DURATION)
                .spawn()?;
            std::thread::sleep(BEFORE);
            // Past the proxy, so that none of them sees the request that stalls.
            http::get(local(nodes.ports[0]), "/stall")?;
            let tally = load.finish_in_time()?;
            proxy.check()?;
            sent += tally.sent;
            slow += tally.slower_than(SLOW) + tally.broken + tally.timed_out;
            failed += tally.failures();
            p99.push(tally.quantile_us(0.99) as f64);
            worst = worst.max(tally.quantile_us(1.0));
        }
        rows.push(vec![
            peer.name().to_owned(),
            sent.to_string(),
            slow.to_string(),
            format!("{:.2} %", 100.0 * slow as f64 / f64::max(sent as f64, 1.0)),
            table::ms(table::median(&p99) as u64),
            table::ms(worst),
            failed.to_string(),
        ]);
    }
    table::print(
        "One of four workers stalls for 5 s",
        &format!(
            "Node upstreams, {PER_SECOND} requests a second for {} s, {rounds} rounds; slow is over \
             {} ms from when the request was due.",
            DURATION.as_secs(),
            SLOW.as_millis()
        ),
        &["", "sent", "slow", "share", "p99 ms", "worst ms", "failed"],
        &rows,
    );
    Ok(())
}
