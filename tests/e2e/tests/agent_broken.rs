//! A preload among those who break what it stands on: what fails is named, the rest goes on, the
//! app never hears of it.

use std::path::Path;
use std::time::Duration;

use anyhow::ensure;
use e2e::{Pando, Preloaded, http, local, port, process, wait};
use monitor_spec::ask::{Answer, Ask};

const NODE: &str = "node";
const SOON: Duration = Duration::from_secs(40);
/// Answers its own requests and says how many went wrong; what a test breaks comes before.
const ASKS_ITSELF: &str = "
const http = require('http');
process.on('uncaughtException', (error) => { console.error(error); process.exit(7); });
const server = http.createServer((q, r) => { globalThis.before?.(q, r); r.end('answer'); });
server.listen(Number(process.env.PORT || 0), '127.0.0.1', async () => {
  const agent = new http.Agent({ keepAlive: true });
  const { port } = server.address();
  for (let n = 0; n < 200; n++) {
    await new Promise((done, fail) => http.get({ agent, port, host: '127.0.0.1', path: '/asked' }, (r) => {
      if (r.statusCode !== 200) fail(new Error(String(r.statusCode)));
      r.resume().on('end', done);
    }).on('error', fail));
  }
  console.log('200 answers');
});
";

struct App {
    dir: tempfile::TempDir,
    node: Preloaded,
}

/// The app with `first` as the user's own preload and `text` at its top.
fn start(first: &str, text: &str, env: &[(&str, &str)]) -> anyhow::Result<App> {
    let dir = tempfile::tempdir()?;
    std::fs::write(dir.path().join("first.js"), first)?;
    std::fs::write(dir.path().join("server.js"), format!("{text}{ASKS_ITSELF}"))?;
    let mut all = vec![("NODE_OPTIONS", "--require=./first.js")];
    all.extend(env);
    let node = Preloaded::start(Path::new(NODE), &["server.js"], dir.path(), &all)?;
    Ok(App { dir, node })
}

/// Its 200 requests were all answered.
fn has_answered(node: &Preloaded) -> anyhow::Result<()> {
    wait::for_true("200 answers", || {
        node.printed()
            .is_ok_and(|(out, _)| out.contains("200 answers"))
    })?;
    let (_, err) = node.printed()?;
    ensure!(err.is_empty(), "{err}");
    Ok(())
}

#[test]
fn without_channels_the_runtime_is_still_measured() -> anyhow::Result<()> {
    // Node's own servers have theirs already.
    let first = "require('https'); require('cluster');
        const broken = () => { throw new TypeError('no channels'); };
        require('diagnostics_channel').channel = broken;";
    let mut app = start(first, "", &[])?;
    let seen = app
        .node
        .until("a heap", |seen| seen.last().heap.is_some())?;
    let parts = [
        "threads",
        "http2-server",
        "http-server",
        "fastify",
        "outgoing",
    ];
    ensure!(seen.broken() == parts, "{:?}", seen.last().broken);
    let why = &seen.last().broken[0].why;
    let place = app.dir.path().join("first.js:2").display().to_string();
    ensure!(
        why.starts_with("TypeError: no channels (at ") && why.contains(&place),
        "{why}"
    );
    ensure!(seen.last().delay.is_some() && seen.last().handles > 0);
    has_answered(&app.node)
}

#[test]
fn without_hooks_requests_are_still_counted() -> anyhow::Result<()> {
    let first = "
        const hooks = require('perf_hooks');
        const broken = () => { throw new Error('no hooks'); };
        hooks.performance.now = broken;
        hooks.performance.eventLoopUtilization = broken;
        hooks.monitorEventLoopDelay = broken;
        hooks.PerformanceObserver.prototype.observe = broken;
        Object.freeze(hooks);";
    let mut app = start(first, "", &[])?;
    let seen = app.node.until("requests", |seen| seen.requests() >= 200)?;
    let parts = ["clock", "event-loop-delay", "event-loop-utilization", "gc"];
    ensure!(seen.broken() == parts, "{:?}", seen.last().broken);
    ensure!(seen.route("GET", "/asked").count == 200);
    ensure!(seen.last().heap.is_some() && seen.last().delay.is_none());
    has_answered(&app.node)
}

#[test]
fn a_request_that_throws_when_it_is_looked_at_counts_as_other() -> anyhow::Result<()> {
    let text = "
        globalThis.before = (q) => Object.defineProperty(q, 'route', { get() { throw new Error('no route'); } });";
    let mut app = start("", text, &[])?;
    let seen = app.node.until("requests", |seen| seen.requests() >= 200)?;
    ensure!(seen.route("*", "(other)").count == 200, "{:?}", seen.routes);
    ensure!(seen.broken() == ["routes"], "{:?}", seen.last().broken);
    has_answered(&app.node)
}

#[test]
fn a_server_part_that_throws_leaves_all_of_the_server_alone() -> anyhow::Result<()> {
    let text = "
        globalThis.before = (q, r) => r.prependOnceListener('finish', () =>
          Object.defineProperty(r, 'statusCode', { get() { throw new Error('no status'); } }));";
    let mut app = start("", text, &[])?;
    has_answered(&app.node)?;
    let seen = app.node.until("the broken part", |seen| {
        seen.broken().contains(&"http-server".to_owned())
    })?;
    let last = app.node.until("another report", |now| {
        now.reports.len() > seen.reports.len() + 1
    })?;
    let last = last.last();
    ensure!(last.in_flight == 0 && last.heap.is_some(), "{last:?}");
    // What the app asked of others is another part.
    let calls: u64 = seen.outgoing.values().map(|(calls, _)| calls).sum();
    ensure!(calls > 0, "{:?}", seen.outgoing);
    Ok(())
}

#[test]
fn a_report_that_throws_is_left_out_and_the_next_one_has_its_counts() -> anyhow::Result<()> {
    // For three seconds from the first look on: the whole report, and one of its parts.
    let text = "
        const { filter } = Array.prototype;
        const list = process.getActiveResourcesInfo;
        Array.prototype.filter = function (...args) {
          if (String(args[0]).includes('[native code]')) throw new Error('no report');
          return filter.apply(this, args);
        };
        process.getActiveResourcesInfo = () => { throw new Error('no list'); };
        setTimeout(() => { Array.prototype.filter = filter; }, 3000);
        setTimeout(() => { process.getActiveResourcesInfo = list; }, 6000);";
    let mut app = start("", text, &[])?;
    has_answered(&app.node)?;
    let seen = app.node.until("a report that says so", |seen| {
        seen.broken().contains(&"report".to_owned())
    })?;
    ensure!(seen.requests() == 0 && seen.last().heap.is_none());
    let seen = app.node.until("a whole one", |seen| seen.requests() > 0)?;
    ensure!(seen.route("GET", "/asked").count == 200);
    ensure!(seen.last().heap.is_some() && seen.broken() == ["handles"]);
    let seen = app
        .node
        .until("all parts", |seen| seen.broken().is_empty())?;
    ensure!(seen.last().handles > 0 && seen.requests() == 200);
    Ok(())
}

#[test]
fn a_socket_that_nobody_reads_costs_neither_answers_nor_memory() -> anyhow::Result<()> {
    let port = port::free()?;
    let port_text = port.to_string();
    let mut app = start("", "", &[("PORT", port_text.as_str())])?;
    app.node.until("reports", |seen| seen.reports.len() > 1)?;
    has_answered(&app.node)?;
    app.node.fill()?;
    let mut connection = http::Connection::open(local(port))?;
    let mut resident = Vec::new();
    for _ in 0..4 {
        for n in 0..500 {
            ensure!(connection.get(&format!("/full/{n}"))?.status == 200);
        }
        // A report finds no room meanwhile.
        std::thread::sleep(Duration::from_millis(700));
        resident.push(process::rss_bytes(app.node.pid()));
    }
    let grown = resident[3].saturating_sub(resident[0]);
    ensure!(grown < 32 << 20, "{resident:?}");
    let before = app.node.seen.reports.len();
    let seen = app
        .node
        .until("reports again", |seen| seen.requests() >= 2_200)?;
    ensure!(seen.route("GET", "/full/:id").count == 2_000);
    let again = &seen.reports[before..];
    ensure!(again.iter().any(|report| report.dropped > 0), "{again:?}");
    ensure!(seen.broken().is_empty());
    Ok(())
}

#[test]
fn what_is_broken_is_told_once_an_app_and_shown() -> anyhow::Result<()> {
    let mut pando = Pando::new()?;
    let port = port::free()?;
    pando.env("PORT", port.to_string());
    let first =
        "require('perf_hooks').monitorEventLoopDelay = () => { throw new Error('no delay'); };";
    let first = pando.write("first.js", first)?;
    pando.env("NODE_OPTIONS", format!("--require={}", first.display()));
    let text = "require('http').createServer((q, r) => r.end('answer')).listen(process.env.PORT);";
    let script = pando.write("server.js", text)?.display().to_string();
    pando
        .cmd(&["start", &script, "--name", "api", "-i", "2"])?
        .ok()?;
    pando.wait_now("api", "reports of both", SOON, |app| {
        app.workers.iter().filter(|worker| worker.agent).count() == 2
    })?;
    let says = "cannot measure the event loop's delay in 2 of 2 workers: Error: no delay (at ";
    let shown = wait::until(SOON, || {
        let problems = pando.now().map(|now| now.problems).unwrap_or_default();
        problems.iter().any(|problem| problem.contains(says))
    });
    ensure!(shown, "{:?}", pando.now()?.problems);
    pando.cmd(&["restart", "api"])?.ok()?;
    pando.wait_now("api", "reports of the next", SOON, |app| {
        let of_next = |worker: &monitor_spec::now::Worker| worker.agent && worker.uptime_ms > 3_000;
        app.workers.iter().filter(|worker| of_next(worker)).count() == 2
    })?;
    let ask = Ask::Events {
        app: "api".into(),
        from_ms: 0,
        to_ms: i64::MAX,
    };
    let Answer::Events(events) = pando.ask_monitor(&ask)? else {
        anyhow::bail!("no events");
    };
    let told: Vec<_> = events
        .iter()
        .filter(|e| e.kind == "preload-broken")
        .collect();
    ensure!(told.len() == 1, "{events:?}");
    ensure!(
        told[0].text.contains("first.js:1") && told[0].text.contains("docs/agent.md"),
        "{told:?}"
    );
    ensure!(http::get(local(port), "/")?.text() == "answer");
    Ok(())
}

#[test]
fn an_app_that_closes_the_socket_is_seen_from_outside() -> anyhow::Result<()> {
    let mut pando = Pando::new()?;
    let port = port::free()?;
    pando.env("PORT", port.to_string());
    let text = "require('http').createServer((q, r) => {
        if (q.url === '/close') require('fs').closeSync(4);
        r.end('answer');
      }).listen(process.env.PORT);";
    let script = pando.write("server.js", text)?.display().to_string();
    pando.cmd(&["start", &script, "--name", "api"])?.ok()?;
    pando.wait_now("api", "reports", SOON, |app| {
        app.workers.iter().all(|w| w.agent)
    })?;
    ensure!(http::get(local(port), "/close")?.text() == "answer");
    // Not as one whose loop stands still since its last report.
    pando.wait_now("api", "the view from outside", SOON, |app| {
        app.workers
            .iter()
            .all(|w| !w.agent && w.heap_used_bytes.is_none())
    })?;
    ensure!(http::get(local(port), "/")?.text() == "answer");
    Ok(())
}
