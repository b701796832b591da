//! HTTP/2 as its specification has it: httpwg-cli against the gateway, case by case.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use e2e::{Origin, Pando};

use crate::shell;

const TOOL: &str = "httpwg-cli";
const VERSION: &str = "0.2.5";
const LIMIT: Duration = Duration::from_secs(120);
/// Cases that fail and why they may: docs/http2-conformance.md argues each.
const ARGUED: [&str; 16] = [
    "RFC 9113 :: 4. http frames :: invalid header block fragment",
    "RFC 9113 :: 5. streams and multiplexing :: half closed remote sends data frame",
    "RFC 9113 :: 5. streams and multiplexing :: half closed remote sends headers frame",
    "RFC 9113 :: 5. streams and multiplexing :: closed sends headers frame",
    "RFC 9113 :: 5. streams and multiplexing :: closed sends headers frame after rst stream",
    "RFC 9113 :: 6. frame definitions :: sends data frame on invalid stream state",
    "RFC 9113 :: 6. frame definitions :: sends settings frame with invalid length",
    "RFC 9113 :: 6. frame definitions :: sends settings frame with ack and payload",
    "RFC 9113 :: 6. frame definitions :: sends rst stream frame with invalid length",
    "RFC 9113 :: 6. frame definitions :: sends priority frame with invalid length",
    "RFC 9113 :: 6. frame definitions :: sends ping frame with invalid length",
    "RFC 9113 :: 6. frame definitions :: sends window update frame with invalid length",
    "RFC 9113 :: 6. frame definitions :: sends settings initial window size with invalid value",
    "RFC 9113 :: 6. frame definitions :: sends settings initial window size with exceeded max window size value",
    "RFC 9113 :: 8. expressing http semantics in http2 :: sends connect without authority",
    "RFC 9113 :: 8. expressing http semantics in http2 :: sends headers frame with mismatched host authority",
];

pub fn run() -> anyhow::Result<()> {
    let tool = install()?;
    shell::run("cargo", &["build", "--package", "pando"])?;
    let origin = Origin::answering(|_, stream| {
        use std::io::Write;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\nHello, World!")?;
        Ok(true)
    })?;
    let pando = Pando::new()?;
    let port = e2e::port::free()?;
    let config = pando.write(
        "pando.toml",
        &format!(
            "[gateway]\nlisten = [\"127.0.0.1:{port}\"]\n[site.\"*\"]\n\
             routes = [{{ path = \"/*\", upstreams = [\"127.0.0.1:{}\"] }}]\n",
            origin.port
        ),
    )?;
    let log = pando.work().join("httpwg");
    let output = std::fs::File::create(&log)?;
    // It starts the server itself, and ends it.
    let gateway = pando.command(&["gateway", "-c", &config.display().to_string()]);
    let mut child = Command::new(tool);
    child
        .args(["-a", &format!("127.0.0.1:{port}"), "--"])
        .arg(gateway.get_program())
        .args(gateway.get_args())
        .env("PANDO_HOME", pando.home())
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output);
    let mut child = child.spawn().context("httpwg does not start")?;
    ensure!(
        e2e::wait_within(&mut child, LIMIT).is_some(),
        "httpwg does not end within {LIMIT:?}"
    );
    judge(&std::fs::read_to_string(&log)?)
}

fn install() -> anyhow::Result<PathBuf> {
    let root = e2e::npm::cache_dir().join(format!("{TOOL}-{VERSION}"));
    let tool = root.join("bin/httpwg");
    if !tool.exists() {
        let root = root.display().to_string();
        let args = [
            "install",
            "--locked",
            TOOL,
            "--version",
            VERSION,
            "--root",
            &root,
        ];
        shell::run("cargo", &args)?;
    }
    Ok(tool)
}

fn judge(report: &str) -> anyhow::Result<()> {
    let report = without_colours(report);
    let named = |mark: &str| -> BTreeSet<&str> {
        report
            .lines()
            .filter_map(|line| Some(line.split_once(mark)?.1.trim()))
            .collect()
    };
    let (passed, failed) = (named("Test passed: "), named("Test failed: "));
    println!("httpwg: {} passed, {} failed", passed.len(), failed.len());
    ensure!(!passed.is_empty(), "httpwg says nothing: {report}");
    for case in &failed {
        let argued = if ARGUED.contains(case) {
            "argued in docs/http2-conformance.md"
        } else {
            "FAILED"
        };
        println!("  {case}: {argued}");
    }
    for case in ARGUED.iter().filter(|case| !failed.contains(*case)) {
        println!("  {case}: passes now, argue for it no more");
    }
    let unargued = failed.iter().filter(|case| !ARGUED.contains(case)).count();
    ensure!(
        unargued == 0,
        "{unargued} cases fail that nobody argued for"
    );
    Ok(())
}

/// Without what colours a terminal: ESC [ numbers m.
fn without_colours(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut parts = text.split("\u{1b}[");
    plain.push_str(parts.next().unwrap_or(""));
    for part in parts {
        plain.push_str(part.split_once('m').map_or(part, |(_, rest)| rest));
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_taken_off() {
        assert_eq!(without_colours("a\u{1b}[1;32mb\u{1b}[0mc"), "abc");
    }

    #[test]
    fn a_report_with_a_failure_fails() {
        assert!(judge("✅ Test passed: a :: b\n").is_ok());
        assert!(judge("✅ Test passed: a :: b\n❌ Test failed: a :: c\n").is_err());
    }
}
