//! What the preload reports of real frameworks: routes by their own patterns, and what the app
//! asks of others.

use std::time::Duration;

use anyhow::ensure;
use e2e::{Pando, http, local, npm};
use monitor_spec::now::App;

const SOON: Duration = Duration::from_secs(40);
const FASTIFY: &str = "
const app = require('fastify')();
app.get('/users/:id', async (q) => ({ id: q.params.id }));
app.get('/fails', async () => { throw new Error('no'); });
app.register(async (api) => { api.get('/orders/:order/items', async () => 'items'); }, { prefix: '/api' });
app.listen({ port: Number(process.env.PORT) });
";
const EXPRESS: &str = "
const express = require('express');
const app = express();
const api = express.Router();
api.get('/orders/:order/items', (q, r) => r.send('items'));
app.get('/users/:id', (q, r) => r.json({ id: q.params.id }));
app.get('/fails', () => { throw new Error('no'); });
app.use('/api', api);
app.use((error, q, r, next) => r.status(500).send('no'));
app.listen(process.env.PORT);
";
/// An ES module that asks itself, by `http` and by `fetch`.
const ASKS: &str = "
import http from 'node:http';
const port = Number(process.env.PORT);
const server = http.createServer(async (q, r) => {
  if (q.url === '/fetch') r.end(await (await fetch(`http://127.0.0.1:${port}/plain`)).text());
  else if (q.url === '/get') http.get({ port, host: '127.0.0.1', path: '/broken' }, (a) => a.resume().on('end', () => r.end('got')));
  else if (q.url === '/broken') { r.statusCode = 500; r.end('no'); }
  else r.end('plain');
});
server.listen(port);
";

const REDIS: &str = "
const Redis = require('ioredis');
const redis = new Redis(Number(process.env.REDIS_PORT), '127.0.0.1');
require('http').createServer(async (q, r) => {
  await redis.set('key', 'value');
  await redis.incr('key').catch(() => {});
  r.end(await redis.get('key'));
}).listen(process.env.PORT);
";
/// Forks a process and starts a thread, each with a server of its own, and leaves one request
/// without an answer.
const FAMILY: &str = "
const http = require('http');
const threads = require('worker_threads');
const serve = (text, then) => {
  const server = http.createServer((q, r) => { if (q.url !== '/never') r.end(text); });
  server.listen(0, '127.0.0.1', () => then(server.address().port));
};
if (!threads.isMainThread) serve('thread', (port) => threads.parentPort.postMessage(port));
else if (process.argv[2] === 'child') serve('child', (port) => process.send(port));
else {
  const ports = {};
  new threads.Worker(__filename).on('message', (port) => { ports.thread = port; });
  require('child_process').fork(__filename, ['child']).on('message', (port) => { ports.child = port; });
  http.createServer((q, r) => {
    if (q.url === '/never') return;
    r.end(JSON.stringify({ ...ports, fd: process.env.PANDO_AGENT_FD || null }));
  }).listen(process.env.PORT);
}
";

/// Asks all the time where a link leads, and says how often the answer was wrong.
const LINKED: &str = "
const fs = require('fs');
let asked = 0;
let wrong = 0;
setInterval(() => {
  asked++;
  if (fs.realpathSync(process.argv[1]) !== __filename) wrong++;
}, 5);
require('http').createServer((q, r) => r.end(JSON.stringify({ file: __filename, asked, wrong }))).listen(process.env.PORT);
";

fn start(name: &str, source: &str, packages: &[&str]) -> anyhow::Result<(Pando, u16)> {
    let mut pando = Pando::new()?;
    let port = e2e::port::free()?;
    pando.env("PORT", port.to_string());
    let script = pando.write(name, source)?;
    if !packages.is_empty() {
        let modules = npm::install(packages)?.join("node_modules");
        std::os::unix::fs::symlink(modules, pando.work().join("node_modules"))?;
    }
    let script = script.display().to_string();
    pando.cmd(&["start", &script, "--name", "api"])?.ok()?;
    Ok((pando, port))
}

fn requests(app: &App, method: &str, route: &str) -> u64 {
    let mut of_route = app.endpoints.iter();
    let found = of_route.find(|e| e.method == method && e.route == route);
    found.map_or(0, |endpoint| endpoint.requests)
}

fn patterns_of(source: &str, package: &str) -> anyhow::Result<()> {
    let (pando, port) = start("server.js", source, &[package])?;
    for n in 0..30 {
        for path in [
            format!("/users/user-{n}"),
            format!("/api/orders/{n}x/items?page={n}"),
            "/fails".to_owned(),
            format!("/nowhere/{n}"),
        ] {
            http::get(local(port), &path)?;
        }
    }
    let app = pando.wait_now("api", "all requests", SOON, |app| {
        app.endpoints.iter().map(|e| e.requests).sum::<u64>() >= 120
    })?;
    for (method, route) in [
        ("GET", "/users/:id"),
        ("GET", "/api/orders/:order/items"),
        ("GET", "/fails"),
        ("*", monitor_spec::UNMATCHED),
    ] {
        let count = requests(&app, method, route);
        ensure!(
            count == 30,
            "{method} {route}: {count} of {:?}",
            app.endpoints
        );
    }
    let fails = app.endpoints.iter().find(|e| e.route == "/fails");
    let fails = fails.map(|e| (e.traffic.errors_5xx, e.traffic.rate));
    ensure!(
        fails.is_some_and(|(errors, rate)| errors == rate),
        "{fails:?}"
    );
    Ok(())
}

#[test]
fn fastify_names_its_routes() -> anyhow::Result<()> {
    patterns_of(FASTIFY, "fastify@5")
}

#[test]
fn express_names_its_routes() -> anyhow::Result<()> {
    patterns_of(EXPRESS, "express@5")
}

#[test]
fn what_an_app_asks_of_others_is_seen() -> anyhow::Result<()> {
    let (pando, port) = start("server.mjs", ASKS, &[])?;
    for _ in 0..10 {
        ensure!(http::get(local(port), "/fetch")?.text() == "plain");
        ensure!(http::get(local(port), "/get")?.text() == "got");
    }
    let peer = format!("127.0.0.1:{port}");
    let of = |app: &App| app.outgoing.iter().find(|o| o.peer == peer).cloned();
    let app = pando.wait_now("api", "outgoing calls", SOON, |app| of(app).is_some())?;
    let outgoing = of(&app).unwrap_or_default();
    ensure!(
        outgoing.kind == "http" && outgoing.latency.is_some(),
        "{outgoing:?}"
    );
    pando.wait_now("api", "the failed ones", SOON, |app| {
        of(app).is_some_and(|o| o.errors > 0.0 && o.errors < o.rate)
    })?;
    Ok(())
}

#[test]
fn threads_count_and_children_do_not() -> anyhow::Result<()> {
    let (pando, port) = start("family.js", FAMILY, &[])?;
    let mut ports = serde_json::Value::Null;
    let up = e2e::wait::until(SOON, || {
        let answer = http::get(local(port), "/ports").map(|answer| answer.body);
        ports = answer
            .ok()
            .and_then(|body| serde_json::from_slice(&body).ok())
            .unwrap_or_default();
        ports["thread"].is_u64() && ports["child"].is_u64()
    });
    ensure!(up, "{ports}");
    ensure!(
        ports["fd"].is_null(),
        "the app sees the descriptor: {ports}"
    );
    let of = |name: &str| u16::try_from(ports[name].as_u64().unwrap_or(0));
    for _ in 0..7 {
        ensure!(http::get(local(of("thread")?), "/in-thread")?.text() == "thread");
        ensure!(http::get(local(of("child")?), "/in-child")?.text() == "child");
    }
    {
        use std::io::Write;
        let mut gone = std::net::TcpStream::connect(local(port))?;
        gone.write_all(b"GET /never HTTP/1.1\r\nhost: x\r\n\r\n")?;
        std::thread::sleep(Duration::from_millis(300));
    }
    let app = pando.wait_now(
        "api",
        "requests of the thread and the lost one",
        SOON,
        |app| requests(app, "GET", "/in-thread") == 7 && requests(app, "GET", "/never") == 1,
    )?;
    ensure!(
        requests(&app, "GET", "/in-child") == 0,
        "{:?}",
        app.endpoints
    );
    Ok(())
}

/// What was counted since the last report goes with a worker that is replaced or ends itself.
#[test]
fn the_last_words_of_a_worker_count() -> anyhow::Result<()> {
    let source = "
require('http').createServer((q, r) => {
  r.end('x', () => { if (q.url === '/exit') process.exit(0); });
}).listen(process.env.PORT);
";
    let (pando, port) = start("server.js", source, &[])?;
    let ask = |path: &str| http::get(local(port), path).map(|_| ());
    for _ in 0..3 {
        for _ in 0..40 {
            ask("/asked")?;
        }
        pando.cmd(&["reload", "api"])?.ok()?;
    }
    for _ in 0..40 {
        ask("/asked")?;
    }
    ask("/exit")?;
    let row = |path: &str, count: u32| {
        format!(
            "pando_http_requests_total{{app=\"api\",method=\"GET\",route=\"{path}\",status=\"ok\"}} {count}\n"
        )
    };
    let mut text = String::new();
    let all = e2e::wait::until(SOON, || {
        let out = pando.cmd(&["metrics", "prometheus"]);
        text = out.map(|out| out.stdout).unwrap_or_default();
        text.contains(&row("/asked", 160)) && text.contains(&row("/exit", 1))
    });
    let seen: Vec<&str> = text
        .lines()
        .filter(|l| l.contains("requests_total"))
        .collect();
    ensure!(all, "{seen:#?}");
    Ok(())
}

/// As `node_modules/.bin` has them. Node's `realpathSync` looks at what the last `stat` of anybody
/// left behind, so that of the preload must leave nothing.
#[test]
fn a_script_behind_a_link_is_what_it_leads_to() -> anyhow::Result<()> {
    let mut pando = Pando::new()?;
    let port = e2e::port::free()?;
    pando.env("PORT", port.to_string());
    let script = pando.write("real.js", LINKED)?;
    let link = pando.work().join("link.js");
    std::os::unix::fs::symlink(&script, &link)?;
    let link = link.display().to_string();
    pando.cmd(&["start", &link, "--name", "api"])?.ok()?;
    pando.wait_now("api", "reports", SOON, |app| app.lag_p99_us.is_some())?;
    std::thread::sleep(Duration::from_secs(3));
    let answer: serde_json::Value = serde_json::from_slice(&http::get(local(port), "/")?.body)?;
    let real = std::fs::canonicalize(script)?;
    ensure!(answer["file"] == real.display().to_string(), "{answer}");
    ensure!(answer["asked"].as_u64() > Some(10), "{answer}");
    ensure!(answer["wrong"] == 0, "{answer}");
    Ok(())
}

/// Ends the server that the test started.
struct Redis(std::process::Child);

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn commands_to_redis_are_seen() -> anyhow::Result<()> {
    let redis_port = e2e::port::free()?;
    let mut command = std::process::Command::new("redis-server");
    command.args([
        "--bind",
        "127.0.0.1",
        "--save",
        "",
        "--appendonly",
        "no",
        "--port",
    ]);
    command.arg(redis_port.to_string());
    let _redis = Redis(command.stdout(std::process::Stdio::null()).spawn()?);
    let mut pando = Pando::new()?;
    let port = e2e::port::free()?;
    pando.env("PORT", port.to_string());
    pando.env("REDIS_PORT", redis_port.to_string());
    let modules = npm::install(&["ioredis@5"])?.join("node_modules");
    std::os::unix::fs::symlink(modules, pando.work().join("node_modules"))?;
    let script = pando.write("server.js", REDIS)?.display().to_string();
    pando.cmd(&["start", &script, "--name", "api"])?.ok()?;
    for _ in 0..5 {
        ensure!(http::get(local(port), "/")?.text() == "value");
    }
    let rows = |app: &App| {
        let redis = app.outgoing.iter().filter(|o| o.kind == "redis");
        redis
            .map(|o| (o.peer.clone(), o.errors > 0.0))
            .collect::<Vec<_>>()
    };
    let server = format!("127.0.0.1:{redis_port}");
    let app = pando.wait_now("api", "commands", SOON, |app| rows(app).len() >= 3)?;
    let rows = rows(&app);
    for (command, fails) in [("set", false), ("get", false), ("incr", true)] {
        let row = (format!("{server} {command}"), fails);
        ensure!(rows.contains(&row), "{row:?} is not in {rows:?}");
    }
    Ok(())
}
