//! HTTP/2 clients on kept connections while workers are replaced: they are told to go elsewhere
//! and lose no request.

use std::process::Command;
use std::time::Duration;

use anyhow::ensure;
use e2e::{Pando, npm, port, wait};

const SERVER: &str = "
const server = require('http2').createServer((q, r) => setTimeout(() => r.end(String(process.pid)), 20));
server.listen(process.env.PORT);
";
/// One request at a time on each of four connections for as long as the file `stop` is not there;
/// a connection that is going is replaced for the next request, as clients do. A request that the
/// client's own library held back because of that (`REFUSED_STREAM`, RFC 9113 8.7) is made anew.
const CLIENT: &str = "
const http2 = require('http2');
const fs = require('fs');
const pids = new Set();
const sum = { answers: 0, failures: [], refused: 0, goaways: 0 };
const { NGHTTP2_REFUSED_STREAM } = http2.constants;
const connect = () => {
  const session = http2.connect(`http://127.0.0.1:${process.env.PORT}`);
  session.on('error', (error) => sum.failures.push(`session: ${error}`)).on('goaway', () => { sum.goaways++; });
  return session;
};
const ask = (session) => new Promise((done) => {
  const stream = session.request({ ':path': '/' });
  let text = '';
  stream.setEncoding('utf8').on('data', (data) => { text += data; });
  stream.on('error', (error) => { if (stream.rstCode !== NGHTTP2_REFUSED_STREAM) sum.failures.push(String(error)); });
  stream.on('close', () => {
    if (stream.rstCode === NGHTTP2_REFUSED_STREAM) sum.refused++;
    else if (text === '') sum.failures.push(`no answer, ${stream.rstCode}`);
    else { sum.answers++; pids.add(text); }
    done();
  });
});
const client = async () => {
  let session = connect();
  while (!fs.existsSync('stop')) {
    if (session.closed || session.destroyed) session = connect();
    await ask(session);
  }
  session.close();
};
Promise.all([1, 2, 3, 4].map(client)).then(() => console.log(JSON.stringify({ ...sum, pids: [...pids] })));
";

fn drained_on(major: u32) -> anyhow::Result<()> {
    let mut pando = Pando::new()?;
    let port = port::free()?;
    let bin = npm::node_bin_dir(major)?;
    pando.env("PATH", npm::path_with(&bin)?);
    pando.env("PORT", port.to_string());
    let script = pando.write("server.js", SERVER)?.display().to_string();
    pando.write("client.js", CLIENT)?;
    // Longer than any answer takes: what is left then is cut.
    let args = [
        "start",
        &script,
        "-n",
        "api",
        "-i",
        "2",
        "--drain-timeout",
        "20s",
    ];
    pando.cmd(&args)?.ok()?;
    let before = pando.wait_ready("api", 2)?.pids();
    let client = Command::new(bin.join("node"))
        .arg("client.js")
        .current_dir(pando.work())
        .env("PORT", port.to_string())
        .stdout(std::process::Stdio::piped())
        .spawn()?;
    std::thread::sleep(Duration::from_millis(500));
    pando.cmd(&["reload", "api"])?.ok()?;
    let replaced = wait::until(Duration::from_secs(60), || {
        pando
            .wait_ready("api", 2)
            .is_ok_and(|app| before.iter().all(|pid| !app.pids().contains(pid)))
    });
    pando.write("stop", "")?;
    let told: serde_json::Value = serde_json::from_slice(&client.wait_with_output()?.stdout)?;
    ensure!(replaced, "{told:#}");
    let failures = told["failures"].as_array().map_or(1, Vec::len);
    ensure!(failures == 0, "{told:#}");
    ensure!(told["goaways"].as_u64() >= Some(1), "{told:#}");
    // Old ones and new ones have answered.
    ensure!(
        told["pids"].as_array().is_some_and(|pids| pids.len() >= 2),
        "{told:#}"
    );
    Ok(())
}

#[test]
fn a_reload_costs_no_http2_request_on_node_18() -> anyhow::Result<()> {
    drained_on(18)
}

#[test]
fn a_reload_costs_no_http2_request_on_node_24() -> anyhow::Result<()> {
    drained_on(24)
}
