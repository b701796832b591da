//! What the metrics say is true: against the app's own exact times, stalls of known length, leaks
//! of a known rate, and the load generator's counts.

use std::time::Duration;

use anyhow::{Context, ensure};
use e2e::http;
use e2e::{Load, Pando, app, local};
use monitor_spec::ask::{Answer, Ask};
use monitor_spec::now::Endpoint;

/// Reports come once a second, on a loaded machine later.
const SOON: Duration = Duration::from_secs(30);
/// Until a line through the heap's floors is steady.
const SLOPE_LIMIT: Duration = Duration::from_secs(240);

fn start(instances: &str) -> anyhow::Result<(Pando, u16)> {
    let mut pando = Pando::new()?;
    let port = e2e::port::free()?;
    pando.env("PORT", port.to_string());
    let script = app("measured.js").display().to_string();
    pando
        .cmd(&["start", &script, "--name", "api", "-i", instances])?
        .ok()?;
    pando.wait_now("api", "its preload's report", SOON, |app| {
        app.workers.iter().all(|worker| worker.agent) && !app.workers.is_empty()
    })?;
    Ok((pando, port))
}

fn endpoints(pando: &Pando) -> anyhow::Result<Vec<Endpoint>> {
    let ask = Ask::Endpoints {
        app: "api".into(),
        from_ms: 0,
        to_ms: i64::MAX,
    };
    let answer = pando.ask_monitor(&ask)?;
    let Answer::Endpoints(endpoints) = answer else {
        anyhow::bail!("no endpoints: {answer:?}");
    };
    Ok(endpoints)
}

/// Waits until an endpoint has so many requests.
fn counted(pando: &Pando, route: &str, requests: u64) -> anyhow::Result<Endpoint> {
    let mut last = Vec::new();
    e2e::wait::until(SOON, || {
        last = endpoints(pando).unwrap_or_default();
        last.iter()
            .any(|e| e.route == route && e.requests >= requests)
    });
    let found = last.iter().find(|e| e.route == route);
    let found = found.with_context(|| format!("no {route}: {last:?}"))?;
    ensure!(found.requests == requests, "{found:?}, not {requests}");
    Ok(found.clone())
}

#[test]
fn percentiles_are_the_exact_ones() -> anyhow::Result<()> {
    let (pando, port) = start("2")?;
    let load = Load::rate(port, 60, 20)
        .path("/wait")
        .lasting(Duration::from_secs(12));
    let tally = load.run()?;
    ensure!(tally.failures() == 0, "{}", tally.summary());
    let measured = counted(&pando, "/wait", tally.ok)?;
    // Each worker knows its own; together they are the truth.
    let mut exact = Vec::new();
    let mut seen = 0;
    e2e::wait::until(SOON, || {
        let truth = http::get(local(port), "/truth").ok();
        let times: Option<serde_json::Value> =
            truth.and_then(|answer| serde_json::from_slice(&answer.body).ok());
        let own: Vec<f64> = times
            .and_then(|times| serde_json::from_value(times["/wait"].clone()).ok())
            .unwrap_or_default();
        if !own.is_empty() && !exact.contains(&own[0]) {
            exact.extend(own);
            seen += 1;
        }
        seen == 2
    });
    ensure!(exact.len() as u64 == tally.ok, "{} times", exact.len());
    exact.sort_unstable_by(f64::total_cmp);
    let latency = measured.traffic.latency.context("no latency")?;
    for (share, got) in [
        (0.5, latency.p50_us),
        (0.95, latency.p95_us),
        (0.99, latency.p99_us),
        (1.0, latency.max_us),
    ] {
        let at = ((exact.len() as f64 * share).ceil() as usize).max(1) - 1;
        // A neighbour in rank may be far away in time where the waits are sparse.
        let near = |at: usize| exact[at.min(exact.len() - 1)];
        let low = near(at.saturating_sub(1)) * 0.98 - 500.0;
        let high = near(at + 1) * 1.02 + 500.0;
        ensure!(
            (low..=high).contains(&got),
            "p{}: {got} us, exactly {} us",
            share * 100.0,
            near(at)
        );
    }
    let mean = exact.iter().sum::<f64>() / exact.len() as f64;
    ensure!(
        (latency.mean_us - mean).abs() < mean * 0.02 + 500.0,
        "mean {} us, exactly {mean} us",
        latency.mean_us
    );
    Ok(())
}

#[test]
fn errors_by_endpoint_are_the_load_generators_count() -> anyhow::Result<()> {
    let (pando, port) = start("2")?;
    let fail = Load::rate(port, 100, 10)
        .path("/fail")
        .lasting(Duration::from_secs(6))
        .run()?;
    let lost = Load::rate(port, 50, 10)
        .path("/nowhere")
        .lasting(Duration::from_secs(2))
        .run()?;
    let broken = fail.refused + fail.broken + fail.timed_out;
    ensure!(broken == 0, "{}", fail.summary());
    let of = |body: &str| fail.bodies.get(body).copied().unwrap_or(0);
    let endpoint = counted(&pando, "/fail", fail.sent)?;
    let seconds = endpoint.requests as f64 / endpoint.traffic.rate;
    let errors = |rate: f64| (rate * seconds).round() as u64;
    ensure!(
        errors(endpoint.traffic.errors_5xx) == of("503")
            && errors(endpoint.traffic.errors_4xx) == of("410"),
        "{endpoint:?}, counted {:?}",
        fail.bodies
    );
    ensure!(of("503") > 0 && of("410") > 0, "{:?}", fail.bodies);
    // A path that no route took has no row of its own.
    let nowhere = counted(&pando, monitor_spec::UNMATCHED, lost.sent)?;
    ensure!(nowhere.traffic.errors_4xx > 0.0, "{nowhere:?}");
    Ok(())
}

#[test]
fn a_stall_of_known_length_is_that_lag() -> anyhow::Result<()> {
    let (pando, port) = start("1")?;
    let before = pando.wait_now("api", "calm", SOON, |app| {
        app.lag_max_us.is_some_and(|us| us < 400_000)
    })?;
    ensure!(before.utilization.is_some(), "{before:?}");
    http::get(local(port), "/block?ms=1500")?;
    let stalled = pando.wait_now("api", "the stall", SOON, |app| {
        app.lag_max_us.is_some_and(|us| us > 1_000_000)
    })?;
    let lag = stalled.lag_max_us.unwrap_or(0);
    // The machine's own pauses come on top.
    ensure!((1_350_000..=2_400_000).contains(&lag), "lag {lag} us");
    Ok(())
}

#[test]
fn a_leak_of_known_rate_is_that_slope() -> anyhow::Result<()> {
    let (pando, port) = start("1")?;
    http::get(local(port), "/leak?kb=1024")?;
    let leaking = pando.wait_now("api", "the slope", SLOPE_LIMIT, |app| {
        app.leak_bytes_per_hour.is_some()
    })?;
    let slope = leaking.leak_bytes_per_hour.unwrap_or(0.0);
    let truth = 1024.0 * 1024.0 * 3600.0;
    ensure!(
        (slope / truth - 1.0).abs() < 0.25,
        "{slope} bytes an hour, in truth {truth}"
    );
    Ok(())
}
