//! Questions to the metrics, as a script would ask them: `POST /v1/call` on the control socket.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use monitor_spec::ask::{Answer, Ask};
use monitor_spec::now::{App, Now};
use serde_json::{Value, json};

use crate::{Pando, wait};

const LIMIT: Duration = Duration::from_secs(20);

impl Pando {
    /// The answer to a question that has one.
    pub fn ask_monitor(&self, ask: &Ask) -> anyhow::Result<Answer> {
        let body = json!({ "call": "monitor", "ask": ask }).to_string();
        let mut stream = UnixStream::connect(self.home().join("pando.sock"))?;
        stream.set_read_timeout(Some(LIMIT))?;
        write!(
            stream,
            "POST /v1/call HTTP/1.0\r\nhost: pando\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        let (_, frames) = text.split_once("\r\n\r\n").context("no HTTP answer")?;
        let last = frames.lines().last().context("no frame")?;
        let frame: Value = serde_json::from_str(last)?;
        let answer = frame.get("done").and_then(|done| done.get("monitor"));
        match answer {
            Some(answer) => Ok(serde_json::from_value(answer.clone())?),
            None => bail!("not answered: {frame}"),
        }
    }

    /// The picture of this second.
    pub fn now(&self) -> anyhow::Result<Now> {
        let answer = self.ask_monitor(&Ask::Now)?;
        let Answer::Now(now) = answer else {
            bail!("not a picture: {answer:?}");
        };
        Ok(*now)
    }

    /// Waits until the metrics' picture of an app is as `wanted`.
    pub fn wait_now(
        &self,
        app: &str,
        what: &str,
        limit: Duration,
        mut wanted: impl FnMut(&App) -> bool,
    ) -> anyhow::Result<App> {
        let mut last = None;
        let came = wait::until(limit, || {
            let now = self.now();
            let found = now.map(|now| now.apps.into_iter().find(|found| found.name == app));
            let fits = matches!(&found, Ok(Some(app)) if wanted(app));
            last = Some(found);
            fits
        });
        let last = last.context("never asked")?;
        ensure!(came, "{what} did not come within {limit:?}: {last:?}");
        last?.context("the app is gone")
    }
}
