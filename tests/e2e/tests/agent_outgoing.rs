//! What the preload counts of calls to others: each way of asking, each way of failing.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::ensure;
use e2e::{Preloaded, certificate, npm, port, wait};

/// Asks a TLS server of its own by `https`, `fetch` and undici, and servers that are not there,
/// that hang up, that do not answer in time. A name that nobody knows costs no look-up.
const ASKS: &str = r"
process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0';
process.removeAllListeners('warning');
const fs = require('fs');
const http = require('http');
const https = require('https');
const dns = require('dns');
const undici = require('undici');
const { lookup } = dns;
dns.lookup = (name, ...rest) => {
  if (!name.endsWith('.invalid')) return lookup(name, ...rest);
  setImmediate(rest.at(-1), Object.assign(new Error(`no ${name}`), { code: 'ENOTFOUND' }));
};

const listening = (server, port = 0) =>
  new Promise((done) => server.listen(port, '127.0.0.1', () => done(`127.0.0.1:${server.address().port}`)));
const get = (from, url) => new Promise((done) => {
  const request = from.get(url, { rejectUnauthorized: false }, (r) => r.on('error', done).resume().on('close', done)).on('error', done);
  if (url.endsWith('/slow')) setTimeout(() => request.destroy(), 50);
});
const attempt = (promise) => promise.catch(() => {});
const later = (ms) => { const stop = new AbortController(); setTimeout(() => stop.abort(), ms); return stop.signal; };

(async () => {
  const answer = (q, r) => {
    if (q.url === '/fails') r.statusCode = 500;
    if (q.url === '/half') { r.write('half'); return; }
    if (q.url === '/cut') { q.socket.destroy(); return; }
    if (q.url !== '/slow') r.end('answer');
  };
  const tls = await listening(https.createServer({ key: fs.readFileSync('key.pem'), cert: fs.readFileSync('cert.pem') }, answer));
  const plain = await listening(http.createServer(answer));
  const cut = await listening(http.createServer(answer));
  const undone = await listening(http.createServer(answer));
  const closed = http.createServer();
  const refused = await listening(closed);
  closed.close();
  const insecure = new undici.Agent({ connect: { rejectUnauthorized: false } });

  for (let n = 0; n < 5; n++) {
    await get(https, `https://${tls}/`);
    await (await fetch(`https://${tls}/`)).text();
    await (await undici.request(`https://${tls}/fails`, { dispatcher: insecure })).body.text();
    await (await undici.request(`http://${plain}/`)).body.text();
    await get(http, `http://${cut}/cut`);
    await attempt(fetch(`http://${cut}/cut`));
    await get(http, `http://${refused}/`);
    await attempt(fetch(`http://${refused}/`));
    await get(http, 'http://nowhere.invalid/');
    await attempt(fetch('http://nowhere.invalid/'));
  }
  await get(http, `http://${undone}/slow`);
  await attempt(fetch(`http://${undone}/slow`, { signal: later(50) }));
  await attempt(fetch(`http://${undone}/half`, { signal: later(50) }).then((r) => r.text()));
  console.log(JSON.stringify({ tls, plain, cut, undone, refused }));
})();
";

fn outgoing_of(major: u32) -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    certificate::write(dir.path(), &["127.0.0.1"])?;
    std::fs::write(dir.path().join("server.js"), ASKS)?;
    let modules = npm::install(&["undici@6"])?.join("node_modules");
    std::os::unix::fs::symlink(modules, dir.path().join("node_modules"))?;
    let node = npm::node_bin_dir(major)?.join("node");
    let mut node = Preloaded::start(&node, &["server.js"], dir.path(), &[])?;
    wait::for_true("the app's calls", || {
        node.printed().is_ok_and(|(out, _)| out.contains('}'))
    })?;
    let names: serde_json::Value = serde_json::from_str(node.printed()?.0.trim())?;
    let seen = node.until("all calls", |seen| {
        seen.outgoing.values().map(|(calls, _)| calls).sum::<u64>() >= 53
    })?;
    for (server, calls) in [
        ("tls", (15, 5)),
        ("plain", (5, 0)),
        ("cut", (10, 10)),
        ("refused", (10, 10)),
        ("undone", (3, 3)),
    ] {
        let peer = names[server].as_str().unwrap_or_default();
        let found = seen.calls("http", peer);
        ensure!(found == calls, "{server}: {found:?} of {:?}", seen.outgoing);
    }
    ensure!(
        seen.calls("http", "nowhere.invalid") == (10, 10),
        "{:?}",
        seen.outgoing
    );
    ensure!(seen.broken().is_empty(), "{:?}", seen.last());
    Ok(())
}

#[test]
fn each_way_to_ask_and_to_fail_on_node_18() -> anyhow::Result<()> {
    outgoing_of(18)
}

#[test]
fn each_way_to_ask_and_to_fail_on_node_22() -> anyhow::Result<()> {
    outgoing_of(22)
}

#[test]
fn each_way_to_ask_and_to_fail_on_node_26() -> anyhow::Result<()> {
    outgoing_of(26)
}

#[test]
fn hundreds_of_peers_become_one() -> anyhow::Result<()> {
    let text = "
        const http = require('http');
        const server = http.createServer((q, r) => r.end('answer')).listen(0, async () => {
          const { port } = server.address();
          for (let n = 0; n < 300; n++) {
            const host = `127.0.${n >> 7}.${1 + (n & 127)}`;
            for (let twice = 0; twice < 2; twice++) {
              await new Promise((done) => http.get({ host, port }, (r) => r.resume().on('end', done)));
            }
          }
        });";
    let dir = tempfile::tempdir()?;
    std::fs::write(dir.path().join("server.js"), text)?;
    let mut node = Preloaded::start(Path::new("node"), &["server.js"], dir.path(), &[])?;
    let seen = node.until("600 calls", |seen| {
        seen.outgoing.values().map(|(calls, _)| calls).sum::<u64>() >= 600
    })?;
    ensure!(seen.outgoing.len() == 101, "{}", seen.outgoing.len());
    ensure!(
        seen.calls("*", "(other)") == (400, 0),
        "{:?}",
        seen.outgoing
    );
    Ok(())
}

/// Ends the server that the test started.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn statements_to_mysql_are_seen() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let port = port::free()?;
    let data = dir.path().join("data");
    std::fs::create_dir(&data)?;
    // Without its tables of users it asks nobody who they are.
    let mut command = Command::new("mariadbd");
    let sbin = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin";
    command
        .env("PATH", sbin)
        .args(["--no-defaults", "--skip-grant-tables", "--user=root"])
        .args(["--bind-address=127.0.0.1", "--skip-log-bin"])
        .args(["--innodb-buffer-pool-size=8M", "--innodb-log-file-size=4M"])
        .arg(format!("--port={port}"))
        .arg(format!("--datadir={}", data.display()))
        .arg(format!("--socket={}", dir.path().join("s").display()));
    let _server = Server(
        command
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(dir.path().join("log"))?)
            .spawn()?,
    );
    let text = "
        const mysql = require('mysql2/promise');
        (async () => {
          let pool = mysql.createPool({ host: '127.0.0.1', port: Number(process.env.MYSQL), user: 'root' });
          while (!await pool.query('SELECT 1').catch(() => false)) await new Promise((done) => setTimeout(done, 50));
          await pool.query('CREATE DATABASE shop');
          for (let n = 0; n < 9; n++) await pool.execute('select ? as number', [n]);
          for (let n = 0; n < 4; n++) await pool.query('update nowhere set a = 1').catch(() => {});
          const local = await mysql.createConnection({ socketPath: 's', user: 'root' });
          await local.query('SHOW DATABASES');
          console.log('asked');
        })();";
    std::fs::write(dir.path().join("server.js"), text)?;
    let modules = npm::install(&["mysql2@3"])?.join("node_modules");
    std::os::unix::fs::symlink(modules, dir.path().join("node_modules"))?;
    let env = [("MYSQL", &*port.to_string())];
    let mut node = Preloaded::start(Path::new("node"), &["server.js"], dir.path(), &env)?;
    let seen = node.until("the last statement", |seen| {
        seen.calls("mysql", "s SHOW").0 > 0
    });
    let log = std::fs::read_to_string(dir.path().join("log")).unwrap_or_default();
    let seen = seen.map_err(|error| error.context(log))?;
    let at = |verb: &str| seen.calls("mysql", &format!("127.0.0.1:{port} {verb}"));
    // One SELECT is the first that was answered; before that no connection came about.
    ensure!(at("SELECT") == (10, 0), "{:?}", seen.outgoing);
    ensure!(
        at("CREATE") == (1, 0) && at("UPDATE") == (4, 4),
        "{:?}",
        seen.outgoing
    );
    Ok(())
}
