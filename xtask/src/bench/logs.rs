//! One worker writes as fast as it can: lines a second until the last is in the file, and losses.

use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::ensure;
use e2e::{http, local, wait};

use super::lab::Lab;
use super::table;
use super::target::{Kind, Plan, Target};
use crate::shell;

const LIMIT: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(5);
const TAIL_BYTES: u64 = 4096;

pub fn run(lab: &Lab) -> anyhow::Result<()> {
    let rounds = lab.pick(3, 1);
    let mut rows = Vec::new();
    for (how, lines) in [
        ("write", lab.pick(2_000_000, 500_000)),
        ("console", lab.pick(500_000, 200_000)),
    ] {
        for kind in [Kind::Pm2, Kind::PandoSteered] {
            if kind.is_pando() && lab.pando.is_none() {
                continue;
            }
            let mut rates = Vec::new();
            let mut lost = 0;
            for _ in 0..rounds {
                let (rate, missing) = measure(lab, kind, how, lines)?;
                rates.push(rate);
                lost += missing;
            }
            rows.push(vec![
                kind.name().to_owned(),
                if how == "write" {
                    "stdout.write of 60 kB"
                } else {
                    "console.log"
                }
                .into(),
                (lines * rounds).to_string(),
                format!("{:.0}k", table::median(&rates) / 1000.0),
                lost.to_string(),
            ]);
        }
    }
    table::print(
        "Log throughput",
        &format!(
            "One worker, lines of 100 bytes, {rounds} runs, median; until the last line is in the file."
        ),
        &["", "how", "lines", "lines/s", "lost"],
        &rows,
    );
    Ok(())
}

fn measure(lab: &Lab, kind: Kind, how: &str, lines: i64) -> anyhow::Result<(f64, i64)> {
    let count = lines.to_string();
    let env = [("HOW", how), ("LINES", count.as_str())];
    let target = Target::start(
        lab,
        kind,
        Plan {
            workers: 1,
            script: "lines.js",
            env: &env,
        },
    )?;
    let dir = target.log_dir()?;
    let last = format!("{:011} ", lines - 1);
    let start = Instant::now();
    wait::for_true("the writer starts", || {
        http::get(local(target.port), "/").is_ok()
    })?;
    while !ends_with(&dir, &last)? {
        ensure!(
            start.elapsed() < LIMIT,
            "the last line is not there after {LIMIT:?}"
        );
        std::thread::sleep(LOOK);
    }
    let rate = lines as f64 / start.elapsed().as_secs_f64();
    Ok((rate, lines - settled_count(&dir)?))
}

fn files(dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        // Before the first line there may be none.
        let Ok(entries) = fs::read_dir(dir) else {
            continue;
        };
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() {
                dirs.push(path)
            } else {
                found.push(path)
            }
        }
    }
    Ok(found)
}

fn ends_with(dir: &Path, last: &str) -> anyhow::Result<bool> {
    for path in files(dir)? {
        // A rotation may rename a file between listing and opening.
        let Ok(mut file) = fs::File::open(path) else {
            continue;
        };
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
        let mut tail = Vec::new();
        file.read_to_end(&mut tail)?;
        if String::from_utf8_lossy(&tail).contains(last) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The lines in all files, looked at again until compression of rotated ones is through.
fn settled_count(dir: &Path) -> anyhow::Result<i64> {
    let start = Instant::now();
    let mut before = -1;
    while start.elapsed() < LIMIT {
        std::thread::sleep(Duration::from_secs(1));
        let now = count(dir)?;
        if now == before {
            return Ok(now);
        }
        before = now;
    }
    Ok(before)
}

fn count(dir: &Path) -> anyhow::Result<i64> {
    // Numbered lines, each counted once: a file and its compressed twin may both be there.
    let script = "find \"$0\" -type f -exec zcat -f {} + | grep -aoE '[0-9]{11} \\.{80}' \
                  | sort -u --parallel=2 | wc -l";
    let mut command = Command::new("sh");
    Ok(shell::output(command.arg("-c").arg(script).arg(dir))?
        .trim()
        .parse()?)
}
