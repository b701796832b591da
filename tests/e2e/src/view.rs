//! The JSON that `pando ls --json` prints, as a script would read it.

use anyhow::Context;
use serde_json::Value;

#[derive(Clone, Debug)]
pub struct App(pub Value);

#[derive(Clone, Debug)]
pub struct Worker(pub Value);

impl App {
    pub fn name(&self) -> &str {
        text(&self.0, "name")
    }

    pub fn status(&self) -> &str {
        text(&self.0, "status")
    }

    pub fn mode(&self) -> &str {
        text(&self.0, "mode")
    }

    pub fn ready(&self) -> u64 {
        number(&self.0, "ready")
    }

    pub fn wanted(&self) -> u64 {
        number(&self.0, "wanted")
    }

    pub fn restarts(&self) -> u64 {
        number(&self.0, "restarts")
    }

    pub fn workers(&self) -> Vec<Worker> {
        let workers = self.0.get("workers").and_then(Value::as_array);
        workers.into_iter().flatten().cloned().map(Worker).collect()
    }

    /// Process ids of workers that have one, by instance.
    pub fn pids(&self) -> Vec<u32> {
        let mut workers = self.workers();
        workers.sort_by_key(Worker::instance);
        workers.iter().filter_map(Worker::pid).collect()
    }

    /// The ready workers' process ids.
    pub fn ready_pids(&self) -> Vec<u32> {
        let ready = self
            .workers()
            .into_iter()
            .filter(|worker| worker.state() == "ready");
        ready.filter_map(|worker| worker.pid()).collect()
    }
}

impl Worker {
    pub fn pid(&self) -> Option<u32> {
        self.0
            .get("pid")
            .and_then(Value::as_u64)
            .and_then(|pid| u32::try_from(pid).ok())
    }

    pub fn instance(&self) -> u64 {
        number(&self.0, "instance")
    }

    pub fn state(&self) -> &str {
        text(&self.0, "state")
    }

    pub fn port(&self) -> Option<u16> {
        self.0
            .get("port")
            .and_then(Value::as_u64)
            .and_then(|port| u16::try_from(port).ok())
    }
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or("")
}

fn number(value: &Value, key: &str) -> u64 {
    value.get(key).and_then(Value::as_u64).unwrap_or(0)
}

/// The apps of an `ls --json`.
pub fn apps(json: &str) -> anyhow::Result<Vec<App>> {
    let value: Value = serde_json::from_str(json).with_context(|| format!("not JSON: {json}"))?;
    let apps = value.as_array().context("ls --json is no array")?;
    Ok(apps.iter().cloned().map(App).collect())
}
