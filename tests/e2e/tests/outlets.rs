//! Where what is measured goes: /metrics, probes, OTLP, alerts; and the settings that say so.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use e2e::receiver::Receiver;
use e2e::{Pando, app, http, local, process, wait};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use prost::Message as _;

/// Windows, `for` and a loaded machine.
const SOON: Duration = Duration::from_secs(90);
/// Tries of a crash loop are 30 s apart.
const LATER: Duration = Duration::from_secs(150);

fn status(port: u16, path: &str) -> Option<(u16, String)> {
    let answer = http::get(local(port), path).ok()?;
    Some((answer.status, answer.text()))
}

#[track_caller]
fn wait_status(
    port: u16,
    path: &str,
    wanted: u16,
    has: &str,
    limit: Duration,
) -> anyhow::Result<()> {
    let mut last = None;
    let came = wait::until(limit, || {
        last = status(port, path);
        matches!(&last, Some((code, text)) if *code == wanted && text.contains(has))
    });
    ensure!(came, "{path} is not {wanted} with {has:?}: {last:?}");
    Ok(())
}

fn wait_alerts(pando: &Pando, has: &str, limit: Duration) -> anyhow::Result<String> {
    let mut last = String::new();
    let came = wait::until(limit, || {
        let output = pando.cmd(&["alerts"]).and_then(e2e::Output::ok);
        last = output.map_or_else(|error| format!("{error:#}"), |output| output.stdout);
        last.contains(has)
    });
    ensure!(came, "no {has:?}: {last}");
    Ok(last)
}

fn promtool(text: &str) -> anyhow::Result<()> {
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("promtool is of the Debian package prometheus")?;
    let mut stdin = promtool.stdin.take().context("stdin")?;
    stdin.write_all(text.as_bytes())?;
    drop(stdin);
    let output = promtool.wait_with_output()?;
    let said = [output.stdout, output.stderr].concat();
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&said)
    );
    Ok(())
}

/// Whether a metric of this name came, with a point that has `word` in an attribute.
fn exported(receiver: &Receiver, name: &str, word: &str) -> bool {
    receiver.posted("/v1/metrics").iter().any(|body| {
        let Ok(request) = ExportMetricsServiceRequest::decode(body.as_slice()) else {
            return false;
        };
        let scopes = request
            .resource_metrics
            .iter()
            .flat_map(|all| &all.scope_metrics);
        let mut metrics = scopes.flat_map(|scope| &scope.metrics);
        metrics.any(|metric| metric.name == name && format!("{:?}", metric.data).contains(word))
    })
}

/// Blocks the app's event loop until an alert fires, and waits for its end.
fn stall(pando: &Pando, port: u16, receiver: &Receiver, said: &Path) -> anyhow::Result<()> {
    let done = AtomicBool::new(false);
    let fired = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let _ = http::get(local(port), "/block?ms=600");
            }
        });
        let fired = wait_alerts(pando, "firing", SOON);
        done.store(true, Ordering::Relaxed);
        fired
    })?;
    ensure!(fired.contains("stall"), "{fired}");
    wait_alerts(pando, "resolved", SOON)?;
    let told =
        |text: &str, state: &str| text.contains(&format!("{state} stall on api: event-loop lag"));
    let command = || std::fs::read_to_string(said).unwrap_or_default();
    ensure!(wait::until(SOON, || told(&command(), "FIRING")
        && told(&command(), "RESOLVED")));
    ensure!(command().lines().count() == 2, "{}", command());
    let hooks = || -> Vec<serde_json::Value> {
        let all = receiver.posted("/hook");
        all.iter()
            .filter_map(|body| serde_json::from_slice(body).ok())
            .collect()
    };
    ensure!(wait::until(SOON, || hooks().len() == 2), "{:?}", hooks());
    ensure!(
        hooks()[0]["alerts"][0]["state"] == "firing",
        "{:?}",
        hooks()
    );
    Ok(())
}

#[test]
fn an_app_that_lags_is_seen_by_all_who_watch() -> anyhow::Result<()> {
    let mut pando = Pando::new()?;
    let (port, watch, edge) = (e2e::port::free()?, e2e::port::free()?, e2e::port::free()?);
    pando.env("PORT", port.to_string());
    let receiver = Receiver::start()?;
    let said = pando.work().join("said");
    let file = format!(
        "[app.api]\nscript = {script:?}\ninstances = 2\n\
         [gateway]\nlisten = [\"127.0.0.1:{edge}\"]\n[site.\"*\"]\napp = \"api\"\n\
         [metrics]\nlisten = \"127.0.0.1:{watch}\"\n\
         [otlp]\nendpoint = \"{url}\"\ninterval = \"1s\"\n\
         [alert.stall]\nwhen = \"lag > 200ms\"\nfor = \"2s\"\n\
         notify = [{{ webhook = \"{url}/hook\" }}, {{ command = \"echo $PANDO_ALERT_LINE >> {said}\" }}, \"log\"]\n",
        script = app("measured.js").display().to_string(),
        url = receiver.url(),
        said = said.display(),
    );
    pando.write("pando.toml", &file)?;
    let up = pando.cmd(&["up"])?.ok()?;
    ensure!(
        up.stdout
            .contains("metrics and alerts are as the file says"),
        "{up:?}"
    );
    let plan = pando.cmd(&["plan"])?.ok()?.stdout;
    ensure!(plan.contains("Nothing to do"), "{plan}");
    wait_status(watch, "/livez", 200, "ok", SOON)?;
    wait_status(watch, "/readyz", 200, "ok", SOON)?;
    wait_status(watch, "/health/api", 200, "\"workers_ready\":2", SOON)?;
    wait_status(watch, "/health/none", 404, "", SOON)?;
    for _ in 0..20 {
        http::get(local(port), "/wait")?;
    }
    let requests =
        "pando_http_requests_total{app=\"api\",method=\"GET\",route=\"/wait\",status=\"ok\"} 20";
    wait_status(watch, "/metrics", 200, requests, SOON)?;
    http::get(local(edge), "/truth")?;
    wait_status(
        watch,
        "/metrics",
        200,
        "app=\"api\",status=\"2xx\"} 1",
        SOON,
    )?;
    promtool(&status(watch, "/metrics").context("no /metrics")?.1)?;
    let printed = pando.cmd(&["metrics", "prometheus"])?.ok()?.stdout;
    ensure!(printed.contains(requests), "{printed}");
    ensure!(wait::until(SOON, || exported(
        &receiver,
        "http.server.request.duration",
        "/wait"
    )));

    stall(&pando, port, &receiver, &said)?;

    // The file says no more of it: as it was before.
    let bare = file.split("[metrics]").next().unwrap_or_default();
    pando.write("pando.toml", bare)?;
    let plan = pando.cmd(&["plan"])?.ok()?.stdout;
    ensure!(
        plan.contains("alert.stall: lag > 200ms for 2s → (none)"),
        "{plan}"
    );
    pando.cmd(&["up"])?.ok()?;
    ensure!(wait::until(SOON, || status(watch, "/livez").is_none()));
    Ok(())
}

#[test]
fn a_crash_loop_is_told_without_any_rule_and_outlives_the_supervisor() -> anyhow::Result<()> {
    let mut pando = Pando::new()?;
    let (port, watch) = (e2e::port::free()?, e2e::port::free()?);
    pando.env("PORT", port.to_string());
    pando.write(
        "fragile.js",
        "if (require('fs').existsSync(__dirname + '/bad')) process.exit(3);\n\
         require('http').createServer((_, res) => res.end('ok')).listen(process.env.PORT);\n",
    )?;
    let file = format!(
        "[app.api]\nscript = \"fragile.js\"\ninstances = 4\n[metrics]\nlisten = \"127.0.0.1:{watch}\"\n"
    );
    pando.write("pando.toml", &file)?;
    pando.cmd(&["up"])?.ok()?;
    wait_status(watch, "/readyz", 200, "ok", SOON)?;
    let bad = pando.write("bad", "")?;
    for pid in pando.app("api")?.pids() {
        process::kill(pid);
    }
    wait_alerts(&pando, "crash-loop  api", LATER)?;
    wait_status(watch, "/readyz", 503, "api: crash-loop", LATER)?;
    wait_status(watch, "/health/api", 503, "\"crash-loop\"", SOON)?;
    wait_status(watch, "/livez", 200, "ok", SOON)?;
    // The next supervisor knows that it was told.
    let (_, supervisor) = pando.wait_daemon()?;
    process::kill(supervisor);
    let fired = wait_alerts(&pando, "firing", SOON)?;
    ensure!(fired.contains("crash-loop"), "{fired}");
    wait_status(watch, "/livez", 200, "ok", SOON)?;
    std::fs::remove_file(bad)?;
    wait_status(watch, "/readyz", 200, "ok", LATER)?;
    let resolved = wait_alerts(&pando, "resolved", LATER)?;
    ensure!(resolved.contains("all workers are ready"), "{resolved}");
    Ok(())
}

#[test]
fn an_app_in_the_foreground_is_watched_as_its_file_says() -> anyhow::Result<()> {
    let mut pando = Pando::new()?;
    let (port, watch) = (e2e::port::free()?, e2e::port::free()?);
    pando.env("PORT", port.to_string());
    let script = app("hello.js").display().to_string();
    let file =
        format!("[app.api]\nscript = {script:?}\n[metrics]\nlisten = \"127.0.0.1:{watch}\"\n");
    pando.write("pando.toml", &file)?;
    let mut command = pando.command(&["run"]);
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let seen = wait_status(watch, "/readyz", 200, "ok", SOON);
    process::signal(child.id(), rustix::process::Signal::TERM);
    e2e::wait_within(&mut child, SOON).context("it does not end")?;
    seen
}
