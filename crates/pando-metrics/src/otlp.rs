//! Metrics to an OpenTelemetry collector: OTLP over HTTP with protobuf, cumulative, once an
//! interval. A thread of its own sends; what finds no room or no collector is dropped and counted,
//! and the next one says the same with newer numbers. Spans are the gateway's.

mod encode;

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use monitor_spec::settings::Otlp;

use crate::family::Picture;
use crate::post::{self, Sent};

pub use encode::Origin;

/// Exports that wait for the thread: more would be old before they are sent.
const QUEUE: usize = 2;
const LIMIT: Duration = Duration::from_secs(10);
const TRIES: u32 = 4;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Also of what a server asks for: a newer export is worth more than a late one.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
const CONTENT_TYPE: &str = "application/x-protobuf";
const PATH: &str = "/v1/metrics";

#[derive(Debug, Default)]
struct Status {
    /// Since exports last arrived.
    dropped: u64,
    /// Why the last one did not arrive; `None` if it did.
    failing: Option<String>,
}

type Shared = Arc<Mutex<Status>>;

fn lock(status: &Shared) -> MutexGuard<'_, Status> {
    status.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An exporter to one collector; dropped, it ends after what it is sending.
pub struct Exporter {
    spec: Otlp,
    due_ms: i64,
    queue: SyncSender<Vec<u8>>,
    status: Shared,
}

impl Exporter {
    /// # Errors
    /// No thread can be started.
    pub fn start(spec: &Otlp) -> std::io::Result<Self> {
        let (queue, bodies) = sync_channel(QUEUE);
        let status = Shared::default();
        let (shared, own) = (status.clone(), spec.clone());
        std::thread::Builder::new()
            .name("metrics-otlp".into())
            .spawn(move || send_all(&own, bodies, &shared))?;
        Ok(Self {
            spec: spec.clone(),
            due_ms: i64::MIN,
            queue,
            status,
        })
    }

    pub fn spec(&self) -> &Otlp {
        &self.spec
    }

    /// Once a second; exports when it is time. Never waits.
    pub fn tick(&mut self, now_ms: i64, picture: &Picture<'_>, origin: &Origin<'_>) {
        let interval = i64::try_from(self.spec.interval_ms).unwrap_or(i64::MAX);
        // A clock that was set back must not end the exports.
        let set_back = self.due_ms.saturating_sub(now_ms) > interval;
        if now_ms < self.due_ms && !set_back {
            return;
        }
        self.due_ms = now_ms.saturating_add(interval);
        let body = encode::metrics(picture, now_ms, &self.spec.service, origin);
        match self.queue.try_send(body) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => lock(&self.status).dropped += 1,
            Err(TrySendError::Disconnected(_)) => {
                let mut status = lock(&self.status);
                status.dropped += 1;
                status.failing = Some("its thread has ended".into());
            }
        }
    }

    pub fn problem(&self) -> Option<String> {
        let status = lock(&self.status);
        let why = status.failing.as_ref()?;
        let endpoint = &self.spec.endpoint;
        let count = status.dropped;
        Some(format!(
            "metrics do not reach {endpoint}: {why} ({count} exports lost)"
        ))
    }
}

fn send_all(spec: &Otlp, bodies: Receiver<Vec<u8>>, status: &Shared) {
    let agent = post::agent(LIMIT);
    let url = format!("{}{PATH}", spec.endpoint.trim_end_matches('/'));
    for body in bodies {
        let headers = || spec.headers.iter().map(|(k, v)| (k.as_str(), v.as_str()));
        let send = || {
            post::post(
                &agent,
                &url,
                CONTENT_TYPE,
                headers(),
                &body,
                post::otlp_may_work_later,
            )
        };
        arrived(deliver(send, std::thread::sleep), &spec.endpoint, status);
    }
}

/// Said once when it begins to fail, and once when it is over.
fn arrived(result: Result<(), String>, endpoint: &str, status: &Shared) {
    let mut status = lock(status);
    match result {
        Ok(()) => {
            if status.failing.take().is_some() {
                let lost = status.dropped;
                tracing::info!(%endpoint, lost, "metrics reach the collector again");
            }
            status.dropped = 0;
        }
        Err(why) => {
            status.dropped += 1;
            if status.failing.is_none() {
                tracing::warn!(%endpoint, %why, "metrics do not reach the collector");
            }
            status.failing = Some(why);
        }
    }
}

fn deliver(mut send: impl FnMut() -> Sent, mut sleep: impl FnMut(Duration)) -> Result<(), String> {
    for attempt in 1..TRIES {
        match send() {
            Sent::Done => return Ok(()),
            Sent::Refused(why) => return Err(why),
            Sent::Later { after, .. } => {
                let pause = post::pause(FIRST_PAUSE, LONGEST_PAUSE, attempt);
                sleep(after.unwrap_or(pause).min(LONGEST_PAUSE));
            }
        }
    }
    match send() {
        Sent::Done => Ok(()),
        Sent::Refused(why) | Sent::Later { why, .. } => Err(why),
    }
}

#[cfg(test)]
mod tests;
