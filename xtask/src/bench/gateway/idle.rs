//! What ten thousand kept connections hold in memory.

use std::fs;
use std::time::Duration;

use anyhow::{Context, ensure};
use e2e::http::Connection;
use e2e::{local, process};
use rustix::process::{Resource, getrlimit, setrlimit};

use super::Lab;
use super::origin::Origin;
use super::peer::{Plan, Proxy};
use crate::bench::table;

const CONNECTIONS: usize = 10_000;
/// Whoever gives memory back when nothing happens has this long for it.
const REST: Duration = Duration::from_secs(5);
/// Beside the connections themselves.
const OTHER_FILES: u64 = 200;

pub fn run(lab: &Lab) -> anyhow::Result<()> {
    more_open_files()?;
    let origin = Origin::start(lab)?;
    let mut rows = Vec::new();
    for peer in &lab.peers {
        let plan = Plan {
            upstreams: &[origin.port],
            files: None,
            threads: 1,
            core: lab.proxy_core,
            ready: "/small",
        };
        let mut proxy = Proxy::start(lab, *peer, plan)?;
        let before = pss_bytes(&proxy.pids());
        let mut connections = Vec::with_capacity(CONNECTIONS);
        for number in 0..CONNECTIONS {
            let what = || format!("{}: connection {number}", peer.key());
            let mut connection = Connection::open(local(proxy.http)).with_context(what)?;
            let answer = connection.get("/small").with_context(what)?;
            ensure!(answer.status == 200, "{}: {}", what(), answer.status);
            connections.push(connection);
        }
        std::thread::sleep(REST);
        proxy.check()?;
        let pids = proxy.pids();
        let (pss, rss) = (
            pss_bytes(&pids),
            pids.iter().map(|pid| process::rss_bytes(*pid)).sum(),
        );
        // All are still there: each answers once more.
        for connection in connections.iter_mut().step_by(100) {
            connection
                .get("/small")
                .with_context(|| format!("{}: a kept connection", peer.key()))?;
        }
        rows.push(vec![
            peer.name().to_owned(),
            table::mib(before),
            table::mib(pss),
            table::mib(rss),
            format!(
                "{:.1}",
                pss.saturating_sub(before) as f64 / 1024.0 / CONNECTIONS as f64
            ),
        ]);
    }
    table::print(
        "Memory of idle connections, MiB",
        &format!(
            "{CONNECTIONS} plain connections, each after one request; all processes of the proxy."
        ),
        &["", "PSS before", "PSS", "RSS", "KiB a connection"],
        &rows,
    );
    Ok(())
}

fn pss_bytes(pids: &[u32]) -> u64 {
    let pss = |pid: &u32| {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        kib.unwrap_or(0) * 1024
    };
    pids.iter().map(pss).sum()
}

/// For the bench itself and for what it starts.
fn more_open_files() -> anyhow::Result<()> {
    let mut limit = getrlimit(Resource::Nofile);
    let wanted = CONNECTIONS as u64 + OTHER_FILES;
    if limit.current.is_some_and(|current| current < wanted) {
        limit.current = limit.maximum;
        setrlimit(Resource::Nofile, limit)?;
    }
    let enough = getrlimit(Resource::Nofile)
        .current
        .is_none_or(|current| current >= wanted);
    ensure!(
        enough,
        "needs {wanted} open files: raise the hard limit (ulimit -Hn)"
    );
    Ok(())
}
