//! wrk, run and read.

use std::process::Command;

use anyhow::Context;

use crate::shell;

/// One run against one address.
#[derive(Clone, Copy, Debug)]
pub struct Wrk<'a> {
    /// Who is asked, for what is said of bad answers.
    pub name: &'a str,
    pub url: &'a str,
    pub seconds: u64,
    pub connections: u32,
    pub keep_alive: bool,
    /// The one core that it may use.
    pub core: Option<usize>,
}

impl Wrk<'_> {
    /// The requests that were answered well. What was answered otherwise is said.
    pub fn run(self) -> anyhow::Result<u64> {
        let mut wrk = match self.core {
            Some(core) => {
                let mut taskset = Command::new("taskset");
                taskset.args(["-c", &core.to_string(), "wrk"]);
                taskset
            }
            None => Command::new("wrk"),
        };
        wrk.args(["-t1", &format!("-c{}", self.connections)]);
        wrk.arg(format!("-d{}s", self.seconds));
        if !self.keep_alive {
            wrk.args(["-H", "Connection: close"]);
        }
        let report = shell::output(wrk.arg(self.url))?;
        let number = |mark: &str, at: usize| {
            let line = report.lines().find(|line| line.contains(mark))?;
            line.split_whitespace().nth(at)?.parse::<u64>().ok()
        };
        let bad = number("Non-2xx", 4).unwrap_or(0);
        if bad > 0 || report.contains("Socket errors") {
            let errors = report.lines().find(|line| line.contains("Socket errors"));
            let errors = errors.unwrap_or("").trim();
            println!("{}: {bad} bad answers; {errors}", self.name);
        }
        let requests = number("requests in", 0);
        let requests = requests.with_context(|| format!("wrk's report is odd: {report}"))?;
        Ok(requests.saturating_sub(bad))
    }
}
