//! What the preload counts of HTTP/2 servers, on every Node that has them.

use anyhow::ensure;
use e2e::preloaded::{Route, Seen};
use e2e::{Preloaded, certificate, npm};

/// Three servers that are asked by the process itself: the compatibility API in the clear, the
/// stream API in the clear, and TLS with HTTP/1 beside it. `/never` stays without an answer.
const SERVERS: &str = r"
const http2 = require('http2');
const https = require('https');
const fs = require('fs');
const ask = (session, headers, read = (stream) => stream.resume().on('close', session.next)) =>
  new Promise((done) => { session.next = done; read(session.request(headers)); });
const listening = (server) => new Promise((done) => server.listen(0, '127.0.0.1', () => done(server.address().port)));

const compat = http2.createServer((q, r) => {
  if (q.url === '/never') return;
  if (q.url.startsWith('/fails')) r.statusCode = 503;
  if (q.url === '/events') {
    r.setHeader('content-type', 'text/event-stream');
    r.write(': hello\n\n');
    setTimeout(() => r.end(), 1200);
    return;
  }
  q.resume().on('end', () => r.end('answer'));
});
const streams = http2.createServer();
streams.on('stream', (stream, headers) => {
  if (headers[':path'] === '/stream/lost') { stream.respond({ ':status': 404 }); stream.end(); }
  else { stream.respond({ ':status': 200 }, { endStream: true }); }
});
const tls = { key: fs.readFileSync('key.pem'), cert: fs.readFileSync('cert.pem') };
const secure = http2.createSecureServer({ ...tls, allowHTTP1: true }, (q, r) => {
  r.statusCode = q.httpVersionMajor === 1 ? 400 : 200;
  r.end();
});

(async () => {
  const connect = async (server, scheme = 'http') =>
    http2.connect(`${scheme}://127.0.0.1:${await listening(server)}`, { rejectUnauthorized: false });
  const a = await connect(compat);
  for (let n = 0; n < 12; n++) {
    await ask(a, { ':path': `/users/${n}?page=${n}` });
    await ask(a, { ':path': '/fails', ':method': 'POST' }, (s) => s.end('body').resume().on('close', a.next));
  }
  await ask(a, { ':path': '/events' });
  await ask(a, { ':path': '/odd', ':method': 'NEVERHEARDOF' }, (s) => s.end().resume().on('close', a.next));
  const gone = http2.connect(`http://127.0.0.1:${compat.address().port}`);
  const cut = gone.request({ ':path': '/never' });
  await new Promise((done) => compat.once('request', done));
  cut.on('error', () => {}).close(http2.constants.NGHTTP2_CANCEL);
  gone.request({ ':path': '/never' }).on('error', () => {});
  await new Promise((done) => compat.once('request', done));
  const b = await connect(streams);
  for (let n = 0; n < 7; n++) {
    await ask(b, { ':path': '/stream/9/x' });
    await ask(b, { ':path': '/stream/lost' });
  }
  const c = await connect(secure, 'https');
  for (let n = 0; n < 5; n++) await ask(c, { ':path': '/tls' });
  const agent = new https.Agent({ keepAlive: true, rejectUnauthorized: false });
  for (let n = 0; n < 3; n++) {
    await new Promise((done) => https.get(
      { agent, port: secure.address().port, host: '127.0.0.1', path: '/one' }, (r) => r.resume().on('end', done)));
  }
})();
";

/// A directory with the app and a certificate.
fn project() -> anyhow::Result<tempfile::TempDir> {
    let dir = tempfile::tempdir()?;
    certificate::write(dir.path(), &["127.0.0.1"])?;
    std::fs::write(dir.path().join("server.js"), SERVERS)?;
    Ok(dir)
}

fn check(seen: &Seen) -> anyhow::Result<()> {
    let ok = |count| Route {
        count,
        ..Route::default()
    };
    let expect = [
        ("GET", "/users/:id", ok(12)),
        (
            "POST",
            "/fails",
            Route {
                errors_5xx: 12,
                ..ok(12)
            },
        ),
        (
            "GET",
            "/events",
            Route {
                streams: 1,
                ..ok(0)
            },
        ),
        ("(other)", "/odd", ok(1)),
        (
            "GET",
            "/never",
            Route {
                aborted: 1,
                ..ok(1)
            },
        ),
        ("GET", "/stream/:id/x", ok(7)),
        (
            "*",
            "(unmatched)",
            Route {
                errors_4xx: 7,
                ..ok(7)
            },
        ),
        ("GET", "/tls", ok(5)),
        (
            "GET",
            "/one",
            Route {
                errors_4xx: 3,
                ..ok(3)
            },
        ),
    ];
    for (method, route, counts) in expect {
        let found = seen.route(method, route);
        ensure!(
            found == counts,
            "{method} {route}: {found:?}, not {counts:?}"
        );
    }
    ensure!(seen.routes.len() == 9, "{:?}", seen.routes);
    let last = seen.last();
    ensure!(last.in_flight == 1 && last.broken.is_empty(), "{last:?}");
    Ok(())
}

fn counts_on(major: u32) -> anyhow::Result<()> {
    let dir = project()?;
    let node = npm::node_bin_dir(major)?.join("node");
    let mut node = Preloaded::start(&node, &["server.js"], dir.path(), &[])?;
    let seen = node.until("49 requests", |seen| seen.requests() >= 49)?;
    check(&seen)
}

#[test]
fn servers_of_node_18_are_counted() -> anyhow::Result<()> {
    counts_on(18)
}

#[test]
fn servers_of_node_20_are_counted() -> anyhow::Result<()> {
    counts_on(20)
}

#[test]
fn servers_of_node_22_are_counted() -> anyhow::Result<()> {
    counts_on(22)
}

#[test]
fn servers_of_node_24_are_counted() -> anyhow::Result<()> {
    counts_on(24)
}

#[test]
fn servers_of_node_26_are_counted() -> anyhow::Result<()> {
    counts_on(26)
}
