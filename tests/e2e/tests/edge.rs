//! What the gateway measures reaches the metrics whole: counts of the load generator, over reloads
//! of the gateway and of its apps.

use std::time::Duration;

use anyhow::{Context, ensure};
use e2e::{Load, Pando, app, http, local, port, process, wait};
use monitor_spec::ask::{Answer, Ask};
use rustix::process::Signal;

/// Reports come once a second, on a loaded machine later.
const SOON: Duration = Duration::from_secs(30);

fn fleet() -> anyhow::Result<(Pando, u16)> {
    let mut pando = Pando::new()?;
    let (own, port) = (port::free()?, port::free()?);
    pando.env("PORT", own.to_string());
    let script = app("hello.js").display().to_string();
    pando.write(
        "pando.toml",
        &format!(
            "[app.api]\nscript = \"{script}\"\ninstances = 2\nenv = {{ PORT = \"{own}\" }}\n\
             [gateway]\nlisten = [\"127.0.0.1:{port}\"]\nthreads = 2\nhealth = \"/livez\"\n\
             [site.\"*\"]\nroutes = [\n  {{ path = \"/teapot\", respond = {{ status = 418 }} }},\n\
             \x20 {{ path = \"/*\", app = \"api\" }},\n]\n"
        ),
    )?;
    pando.cmd(&["up"])?.ok()?;
    pando.wait_ready("api", 2)?;
    pando.wait_ready("gateway", 1)?;
    Ok((pando, port))
}

/// `pando_gateway_requests_total` of a route, by class.
fn requests(pando: &Pando, route: &str, class: &str) -> anyhow::Result<u64> {
    let answer = pando.ask_monitor(&Ask::Exposition)?;
    let Answer::Text(text) = answer else {
        anyhow::bail!("no text: {answer:?}");
    };
    let lines = text.lines().filter(|line| {
        line.starts_with("pando_gateway_requests_total{")
            && line.contains(&format!("route=\"{route}\""))
            && line.contains(&format!("status=\"{class}\""))
    });
    let counts = lines.map(|line| {
        line.rsplit(' ')
            .next()
            .context("no value")?
            .parse::<u64>()
            .context("a number")
    });
    counts.sum()
}

fn counted(pando: &Pando, route: &str, class: &str, expect: u64) -> anyhow::Result<()> {
    let mut last = None;
    let came = wait::until(SOON, || {
        last = Some(requests(pando, route, class));
        matches!(last, Some(Ok(count)) if count >= expect)
    });
    let last = last.context("never asked")??;
    ensure!(
        came && last == expect,
        "{last} of {route} {class}, not {expect}"
    );
    Ok(())
}

#[test]
fn every_request_is_counted_once_over_reloads() -> anyhow::Result<()> {
    let (pando, port) = fleet()?;
    for _ in 0..7 {
        let teapot = http::get(local(port), "/teapot")?;
        ensure!(teapot.status == 418, "{}", teapot.status);
        ensure!(http::get(local(port), "/livez")?.status == 200, "it serves");
    }
    let load = Load::keep_alive(port, 4)
        .path("/hello")
        .pausing(Duration::from_millis(2))
        .spawn()?;
    std::thread::sleep(Duration::from_millis(500));
    pando.cmd(&["reload", "gateway"])?.ok()?;
    std::thread::sleep(Duration::from_millis(500));
    pando.cmd(&["reload", "api"])?.ok()?;
    load.stop();
    let tally = load.finish()?;
    ensure!(tally.failures() == 0, "{}", tally.summary());
    counted(&pando, "/*", "2xx", tally.ok)?;
    counted(&pando, "/teapot", "4xx", 7)?;
    Ok(())
}

#[test]
fn what_is_measured_while_the_supervisor_stands_still_is_not_lost() -> anyhow::Result<()> {
    let (pando, port) = fleet()?;
    let (_, supervisor) = pando.wait_daemon()?;
    process::signal(supervisor, Signal::STOP);
    // What the gateway answers by itself: connections to apps come by the supervisor.
    let load = Load::keep_alive(port, 2)
        .path("/teapot")
        .pausing(Duration::from_millis(2))
        .lasting(Duration::from_secs(3))
        .run();
    process::signal(supervisor, Signal::CONT);
    let tally = load?;
    let answered = tally.bad_status;
    ensure!(
        tally.failures() == answered && answered > 0,
        "{}",
        tally.summary()
    );
    counted(&pando, "/teapot", "4xx", answered)
}
