//! CPU a request, case by case.

use std::time::Instant;

use e2e::process as proc;

use super::Lab;
use super::origin::Origin;
use super::peer::{self, Peer, Plan, Proxy};
use crate::bench::table;
use crate::bench::wrk::Wrk;

const CONNECTIONS: u32 = 64;

struct Case {
    name: &'static str,
    tls: bool,
    path: &'static str,
    /// Who can do it.
    runs: fn(Peer) -> bool,
}

const CASES: [Case; 7] = [
    Case {
        name: "proxy, 13 B",
        tls: false,
        path: "/small",
        runs: |_| true,
    },
    Case {
        name: "proxy, 64 KB",
        tls: false,
        path: "/big",
        runs: |_| true,
    },
    Case {
        name: "proxy, TLS 1.3, 13 B",
        tls: true,
        path: "/small",
        runs: |_| true,
    },
    Case {
        name: "proxy, TLS 1.3, 64 KB",
        tls: true,
        path: "/big",
        runs: |_| true,
    },
    Case {
        name: "cached, 13 B",
        tls: false,
        path: "/cached/small",
        runs: Peer::caches,
    },
    Case {
        name: "file, 13 B",
        tls: false,
        path: "/static/small",
        runs: Peer::serves_files,
    },
    Case {
        name: "file, 64 KB",
        tls: false,
        path: "/static/big",
        runs: Peer::serves_files,
    },
];

#[derive(Clone, Copy)]
struct Sample {
    cpu_us: f64,
    per_second: f64,
}

pub fn run(lab: &Lab) -> anyhow::Result<()> {
    let rounds = lab.pick(5, 1);
    let seconds = lab.pick(4, 2);
    let origin = Origin::start(lab)?;
    let plan = Plan {
        upstreams: &[origin.port],
        files: Some(&origin.files),
        threads: 1,
        core: lab.proxy_core,
        ready: "/small",
    };
    let mut proxies = peer::start_all(lab, plan)?;
    let mut rows = Vec::new();
    for case in &CASES {
        let mut samples: Vec<Vec<Sample>> = proxies.iter().map(|_| Vec::new()).collect();
        // The first fills caches and pools, and is not looked at.
        for round in 0..=rounds {
            let mut order: Vec<usize> = (0..proxies.len()).collect();
            if round % 2 == 1 {
                order.reverse();
            }
            for at in order {
                let proxy = &mut proxies[at];
                if (case.runs)(proxy.peer) {
                    let sample = measure(lab, proxy, case, if round == 0 { 1 } else { seconds })?;
                    samples[at].extend((round > 0).then_some(sample));
                }
            }
        }
        rows.extend(report(case, &proxies, &samples));
    }
    table::print(
        "CPU per request at the edge",
        &format!(
            "User and system time of the proxy, microseconds a request; one thread on one core, \
             wrk -t1 -c{CONNECTIONS} kept connections, {rounds} x {seconds} s, medians."
        ),
        &["", "", "us", "of nginx", "spread", "req/s"],
        &rows,
    );
    Ok(())
}

fn measure(lab: &Lab, proxy: &mut Proxy, case: &Case, seconds: u64) -> anyhow::Result<Sample> {
    let url = if case.tls {
        format!("https://localhost:{}{}", proxy.https, case.path)
    } else {
        format!("http://localhost:{}{}", proxy.http, case.path)
    };
    let pids = proxy.pids();
    let before = proc::cpu_us(&pids);
    let start = Instant::now();
    let wrk = Wrk {
        name: proxy.peer.key(),
        url: &url,
        seconds,
        connections: CONNECTIONS,
        keep_alive: true,
        core: lab.load_core,
    };
    let requests = wrk.run()?.max(1) as f64;
    let took = start.elapsed().as_secs_f64();
    let cpu_us = proc::cpu_us(&pids).saturating_sub(before) as f64;
    proxy.check()?;
    Ok(Sample {
        cpu_us: cpu_us / requests,
        per_second: requests / took,
    })
}

fn report(case: &Case, proxies: &[Proxy], samples: &[Vec<Sample>]) -> Vec<Vec<String>> {
    let cpu = |list: &[Sample]| list.iter().map(|s| s.cpu_us).collect::<Vec<_>>();
    let rate = |list: &[Sample]| list.iter().map(|s| s.per_second).collect::<Vec<_>>();
    let nginx = proxies
        .iter()
        .position(|proxy| proxy.peer == Peer::Nginx)
        .map_or(0.0, |at| table::median(&cpu(&samples[at])));
    let measured = proxies
        .iter()
        .zip(samples)
        .filter(|(_, list)| !list.is_empty());
    measured
        .enumerate()
        .map(|(row, (proxy, list))| {
            let cpu = cpu(list);
            let least = cpu.iter().copied().fold(f64::INFINITY, f64::min);
            let most = cpu.iter().copied().fold(0.0, f64::max);
            vec![
                if row == 0 {
                    case.name.to_owned()
                } else {
                    String::new()
                },
                proxy.peer.name().to_owned(),
                format!("{:.1}", table::median(&cpu)),
                table::ratio(table::median(&cpu), nginx),
                format!("{least:.1}-{most:.1}"),
                table::thousands(table::median(&rate(list))),
            ]
        })
        .collect()
}
