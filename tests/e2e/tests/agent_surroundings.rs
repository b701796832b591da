//! The preload where Node is set up in other ways than usual, and in processes that only inherit
//! it: the app does what it would do without, and the preload works or is silent.

use std::path::Path;

use anyhow::{Context, ensure};
use e2e::preloaded::Seen;
use e2e::{Preloaded, npm};

const NODE: &str = "node";
/// Answers twenty requests of its own and ends with 3, long enough after them for a report.
const TWENTY: &str = "
const http = require('http');
const server = http.createServer((q, r) => r.end('answer')).listen(0, '127.0.0.1', async () => {
  const agent = new http.Agent({ keepAlive: true });
  const { port } = server.address();
  for (let n = 0; n < 20; n++) {
    await new Promise((done) => http.get({ agent, port, host: '127.0.0.1', path: '/asked' }, (r) => r.resume().on('end', done)));
  }
  console.log('20 answers');
  setTimeout(() => process.exit(3), 2500);
});
";

fn has_worked(seen: &Seen) -> anyhow::Result<()> {
    let asked = seen.route("GET", "/asked").count;
    ensure!(asked == 20, "{asked} in {:?}", seen.routes);
    ensure!(seen.broken().is_empty(), "{:?}", seen.last());
    // The last report may be of a few milliseconds, in which no delay was seen.
    let mut reports = seen.reports.iter();
    let all = reports.any(|report| report.heap.is_some() && report.delay.is_some());
    ensure!(all, "{:?}", seen.reports);
    Ok(())
}

/// What a process printed on standard error beside Node's own words on its flags.
fn foreign(err: &str) -> Vec<&str> {
    let of_node = |line: &str| line.contains("Warning: ") || line.contains("--trace-warnings");
    err.lines().filter(|line| !of_node(line)).collect()
}

/// All flags at once, each in a process of its own.
fn flags_of(major: u32) -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    std::fs::write(dir.path().join("server.js"), TWENTY)?;
    let node = npm::node_bin_dir(major)?.join("node");
    let here = format!("--allow-fs-read={}", dir.path().join("*").display());
    let mut sets = vec![
        vec!["--frozen-intrinsics"],
        vec!["--disallow-code-generation-from-strings"],
        vec!["--jitless"],
        vec!["--throw-deprecation", "--pending-deprecation"],
        vec!["--disable-proto=throw", "--no-addons"],
    ];
    // Under the permission model of Node 18 and 20 a worker gets no preload.
    if major > 20 {
        let mut permission = vec!["--permission", &*here];
        if major > 24 {
            permission.push("--allow-net");
        }
        sets.push(permission);
    }
    let mut running = Vec::new();
    for flags in sets {
        let mut args = flags.clone();
        args.push("server.js");
        running.push((flags, Preloaded::start(&node, &args, dir.path(), &[])?));
    }
    for (flags, node) in running {
        let (code, out, err, seen) = node.end()?;
        let place = || format!("Node {major} {flags:?}: {code:?} {out:?} {err:?}");
        ensure!(
            code == Some(3) && out == "20 answers\n" && foreign(&err).is_empty(),
            "{}",
            place()
        );
        has_worked(&seen).with_context(place)?;
    }
    Ok(())
}

#[test]
fn flags_of_node_18() -> anyhow::Result<()> {
    flags_of(18)
}

#[test]
fn flags_of_node_20() -> anyhow::Result<()> {
    flags_of(20)
}

#[test]
fn flags_of_node_22() -> anyhow::Result<()> {
    flags_of(22)
}

#[test]
fn flags_of_node_24() -> anyhow::Result<()> {
    flags_of(24)
}

#[test]
fn flags_of_node_26() -> anyhow::Result<()> {
    flags_of(26)
}

/// A module that awaits before it listens, after another that `--import` brought, and TypeScript.
#[test]
fn modules_and_typescript() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let modules = npm::install(&["tsx@4"])?.join("node_modules");
    std::os::unix::fs::symlink(modules, dir.path().join("node_modules"))?;
    let first = "globalThis.first = await new Promise((done) => setTimeout(done, 50, 'first'));";
    std::fs::write(dir.path().join("first.mjs"), first)?;
    let module = "
        import { createServer, get } from 'node:http';
        import { once } from 'node:events';
        const path /*: string*/ = '/asked';
        const server = createServer((q, r) => r.end('answer')).listen(0, '127.0.0.1');
        await once(server, 'listening');
        const { port } = server.address() /*as any*/;
        for (let n = 0; n < 20; n++) {
          const [answer] = await once(get({ port, path, host: '127.0.0.1' }), 'response');
          await once(answer.resume(), 'end');
        }
        console.log('20 answers', globalThis.first /*as any*/);
        setTimeout(() => process.exit(3), 2500);";
    std::fs::write(dir.path().join("server.mjs"), module)?;
    let typed = module.replace("/*", "").replace("*/", "");
    std::fs::write(dir.path().join("server.mts"), typed)?;
    let plain = ["--import", "./first.mjs", "server.mjs"];
    let by_tsx = ["--import", "./first.mjs", "--import", "tsx", "server.mts"];
    let mut running = Vec::new();
    for args in [&plain[..], &by_tsx] {
        running.push(Preloaded::start(Path::new(NODE), args, dir.path(), &[])?);
    }
    for node in running {
        let (code, out, err, seen) = node.end()?;
        ensure!(
            code == Some(3) && out == "20 answers first\n" && err.is_empty(),
            "{code:?} {out:?} {err:?}"
        );
        has_worked(&seen)?;
    }
    Ok(())
}

/// Five threads that each answer five requests: as usual, of a text, with the process's own
/// environment, with an empty one, and one that is ended while it serves.
#[test]
fn threads_of_every_kind() -> anyhow::Result<()> {
    let text = "
        const { Worker, isMainThread, parentPort, workerData, SHARE_ENV } = require('worker_threads');
        const http = require('http');
        const serve = async (path, then) => {
          const server = http.createServer((q, r) => r.end('answer')).listen(0, '127.0.0.1');
          await new Promise((done) => server.on('listening', done));
          for (let n = 0; n < 5; n++) {
            await new Promise((done) => http.get({ port: server.address().port, host: '127.0.0.1', path }, (r) => r.resume().on('end', done)));
          }
          then();
        };
        if (!isMainThread) serve(workerData, () => parentPort.postMessage('done'));
        else {
          const done = (worker) => new Promise((heard) => worker.on('message', heard));
          (async () => {
            const all = [
              new Worker(__filename, { workerData: '/usual' }),
              new Worker(require('fs').readFileSync(__filename, 'utf8'), { eval: true, workerData: '/text' }),
              new Worker(__filename, { workerData: '/shared', env: SHARE_ENV }),
              new Worker(__filename, { workerData: '/empty', env: {} }),
              new Worker(__filename, { workerData: '/ended' }),
            ];
            await Promise.all(all.map(done));
            await all[4].terminate();
            await serve('/main', () => console.log('all'));
            setTimeout(() => process.exit(3), 2500);
          })();
        }";
    let dir = tempfile::tempdir()?;
    std::fs::write(dir.path().join("server.js"), text)?;
    let node = Preloaded::start(Path::new(NODE), &["server.js"], dir.path(), &[])?;
    let (code, out, err, seen) = node.end()?;
    ensure!(
        code == Some(3) && out == "all\n" && err.is_empty(),
        "{code:?} {out:?} {err:?}"
    );
    for path in ["/usual", "/text", "/shared", "/main"] {
        ensure!(
            seen.route("GET", path).count == 5,
            "{path}: {:?}",
            seen.routes
        );
    }
    // Its environment does not say whose it is, so it might be another process's.
    ensure!(seen.route("GET", "/empty").count == 0, "{:?}", seen.routes);
    let threads = seen.reports.iter().map(|report| report.thread);
    ensure!(threads.clone().any(|thread| thread == 0));
    ensure!(seen.broken().is_empty(), "{:?}", seen.last());
    Ok(())
}

/// An app whose children inherit `NODE_OPTIONS`: jest over tests that pass and that fail, and a
/// plain child. They print and end as they would without, and none of them reports.
#[test]
fn children_do_not_notice() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let modules = npm::install(&["jest@30"])?.join("node_modules");
    std::os::unix::fs::symlink(modules, dir.path().join("node_modules"))?;
    let jest_test = |expect: &str| {
        format!(
            "const http = require('http');
             beforeEach(() => jest.useFakeTimers({{ doNotFake: ['setImmediate', 'nextTick'] }}));
             test('asks', (done) => {{
               const server = http.createServer((q, r) => r.end('answer')).listen(0, '127.0.0.1', () => {{
                 http.get({{ port: server.address().port, host: '127.0.0.1', path: '/in-jest' }}, (r) => {{
                   let text = '';
                   r.on('data', (data) => {{ text += data; }}).on('end', () => {{
                     server.close();
                     server.closeAllConnections();
                     try {{ expect(text).toBe('{expect}'); done(); }} catch (error) {{ done(error); }}
                   }});
                 }});
               }});
             }});"
        )
    };
    std::fs::write(dir.path().join("package.json"), "{\"private\":true}")?;
    std::fs::write(dir.path().join("good.test.js"), jest_test("answer"))?;
    std::fs::write(dir.path().join("bad.test.js"), jest_test("another"))?;
    let app = "
        const { spawn } = require('child_process');
        const run = (...args) => new Promise((done) => {
          const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] });
          let [out, err] = ['', ''];
          child.stdout.on('data', (data) => { out += data; });
          child.stderr.on('data', (data) => { err += data; });
          child.on('close', (code, signal) => done({ code, signal, out, err }));
        });
        (async () => {
          const jest = 'node_modules/jest/bin/jest.js';
          const good = await run(jest, '--ci', '--detectOpenHandles', 'good');
          const bad = await run(jest, '--ci', 'bad');
          const plain = await run('-e', `console.log('out'); console.error('err'); process.exitCode = 5;`);
          const killed = await run('-e', `process.kill(process.pid, 'SIGKILL'); setInterval(() => {}, 1000)`);
          console.log(JSON.stringify({ good, bad, plain, killed }));
          setTimeout(() => process.exit(3), 1500);
        })();";
    std::fs::write(dir.path().join("server.js"), app)?;
    let node = Preloaded::start(Path::new(NODE), &["server.js"], dir.path(), &[])?;
    let (code, out, err, seen) = node.end()?;
    ensure!(code == Some(3) && err.is_empty(), "{code:?} {out} {err}");
    let told: serde_json::Value = serde_json::from_str(&out)?;
    let text = |name: &str, of: &str| told[name][of].as_str().unwrap_or_default().to_owned();
    let good = text("good", "err");
    ensure!(told["good"]["code"] == 0, "{told:#}");
    // It would list what the preload keeps open.
    ensure!(
        good.contains("Tests:       1 passed, 1 total") && !good.contains("open handle"),
        "{good}"
    );
    let bad = text("bad", "err");
    ensure!(told["bad"]["code"] == 1, "{told:#}");
    ensure!(bad.contains("Tests:       1 failed, 1 total"), "{bad}");
    ensure!(told["plain"]["code"] == 5, "{told:#}");
    ensure!(
        text("plain", "out") == "out\n" && text("plain", "err") == "err\n",
        "{told:#}"
    );
    ensure!(text("killed", "signal") == "SIGKILL", "{told:#}");
    ensure!(seen.requests() == 0, "{:?}", seen.routes);
    ensure!(seen.reports.iter().all(|report| report.thread == 0));
    Ok(())
}
