//! What was measured outlives the supervisor, and a worker that lies disturbs nobody.

use std::time::Duration;

use anyhow::ensure;
use e2e::{Load, Pando, process, wait};
use serde_json::Value;

const SOON: Duration = Duration::from_secs(40);

/// Known points of a series, as a script gets them.
fn points(pando: &Pando, args: &[&str]) -> anyhow::Result<Vec<f64>> {
    let mut all = vec!["metrics", "query"];
    all.extend(args);
    all.push("--json");
    let series: Value = serde_json::from_str(&pando.cmd(&all)?.ok()?.stdout)?;
    let values = series[0]["values"].as_array().cloned().unwrap_or_default();
    Ok(values.iter().filter_map(Value::as_f64).collect())
}

#[test]
fn histories_outlive_the_supervisor() -> anyhow::Result<()> {
    let mut pando = Pando::new()?;
    let port = pando.start_hello("1", &[])?;
    pando.wait_now("api", "a report", SOON, |app| {
        app.workers.iter().any(|w| w.agent)
    })?;
    let tally = Load::rate(port, 50, 5)
        .lasting(Duration::from_secs(4))
        .run()?;
    ensure!(tally.failures() == 0, "{}", tally.summary());
    let counted = |pando: &Pando| points(pando, &["rps", "--app", "api"]);
    let total = |values: &[f64]| values.iter().sum::<f64>();
    let came = wait::until(SOON, || counted(&pando).is_ok_and(|v| total(&v) >= 190.0));
    ensure!(came, "{:?}", counted(&pando));
    ensure!(
        !points(&pando, &["p95", "--app", "api"])?.is_empty(),
        "no latency"
    );
    // Batches are written every ten seconds.
    std::thread::sleep(Duration::from_secs(12));
    let (_, supervisor) = pando.wait_daemon()?;
    process::kill(supervisor);
    let kept = wait::until(SOON, || {
        pando.daemon().is_some_and(|(_, now)| now != supervisor)
            && counted(&pando).is_ok_and(|v| total(&v) >= 190.0)
    });
    ensure!(kept, "after the kill: {:?}", counted(&pando));
    let now = pando.now()?;
    ensure!(now.problems.is_empty(), "{:?}", now.problems);
    let hint = pando.cmd(&["metrics", "query", "latencyp95"])?.exits(2)?;
    hint.says(&["latency_p95"])?;
    Ok(())
}

#[test]
fn a_damaged_store_costs_no_app() -> anyhow::Result<()> {
    let mut pando = Pando::new()?;
    pando.start_hello("1", &[])?;
    pando.cmd(&["kill"])?.ok()?;
    let store = pando.home().join("metrics/history.db");
    std::fs::write(&store, "no database at all ".repeat(1_000))?;
    pando.cmd(&["resurrect"])?.ok()?;
    pando.wait_ready("api", 1)?;
    let said = wait::until(SOON, || {
        let now = pando.now();
        now.is_ok_and(|now| now.problems.iter().any(|p| p.contains("damaged")))
    });
    ensure!(said, "{:?}", pando.now()?.problems);
    Ok(())
}

#[test]
fn a_worker_that_floods_and_lies_disturbs_nobody() -> anyhow::Result<()> {
    let mut pando = Pando::new()?;
    let port = pando.start_hello("1", &[])?;
    let liar = pando.write(
        "liar.js",
        "const fs = require('fs');
         const wild = Buffer.from('{\"v\":1,\"took_ms\":1e99,\"routes\":[{\"method\":\"GET\",\"route\":\"/x\",\"h\":[3,9007199254740991]}]}');
         setInterval(() => {
           for (let n = 0; n < 2000; n += 1) {
             try { fs.writeSync(4, n % 2 ? wild : Buffer.from('nonsense' + n)); } catch { break; }
           }
         }, 5);
         require('http').createServer((q, r) => r.end('liar')).listen(0);",
    )?;
    let liar = liar.display().to_string();
    pando.cmd(&["start", &liar, "--name", "liar"])?.ok()?;
    let tally = Load::rate(port, 50, 5)
        .lasting(Duration::from_secs(6))
        .run()?;
    ensure!(tally.failures() == 0, "{}", tally.summary());
    let api = pando.wait_now("api", "its own rate", SOON, |app| app.traffic.rate > 1.0)?;
    ensure!(api.traffic.rate < 200.0, "{api:?}");
    let told = wait::until(SOON, || {
        let now = pando.now();
        now.is_ok_and(|now| now.problems.iter().any(|p| p.contains("liar")))
    });
    ensure!(told, "{:?}", pando.now()?.problems);
    let liar = pando.wait_now("liar", "the liar's picture", SOON, |_| true)?;
    ensure!(liar.traffic.rate < 10_000_000.0, "{:?}", liar.traffic);
    pando.wait_ready("api", 1)?;
    Ok(())
}
