//! The queue of spans and the task that sends them: OTLP over HTTP with protobuf, in batches.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, USER_AGENT};
use http::{HeaderName, HeaderValue, Request, StatusCode};
use monitor_spec::settings::Otlp;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};

use super::encode::encode;
use super::span::Span;
use crate::fetch;

/// Spans that wait; further ones are dropped.
const QUEUE_MAX: usize = 4096;
const BATCH_MAX: usize = 512;
/// A batch that is not full goes out after this.
const BATCH_EVERY: Duration = Duration::from_secs(2);
/// Of one sending.
const TIMEOUT: Duration = Duration::from_secs(10);
/// A batch is sent again after these, then dropped.
const PAUSES: [Duration; 4] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
];
/// An answer's body; nothing in it is needed.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

enum Word {
    Span(Box<Span>),
    Flush(oneshot::Sender<()>),
}

/// Takes spans of one configuration. They are sent until the last owner is gone and the queue is
/// empty.
pub struct Tracer {
    queue: mpsc::Sender<Word>,
    dropped: Arc<AtomicU64>,
    /// Traces whose id's last 56 bits are below it are recorded.
    threshold: u64,
}

impl Tracer {
    /// Starts the task; within a runtime. `None` where no traces are wanted.
    pub fn start(otlp: &Otlp) -> Option<Arc<Self>> {
        if !otlp.traces || otlp.endpoint.is_empty() {
            return None;
        }
        let (queue, spans) = mpsc::channel(QUEUE_MAX);
        let dropped = Arc::new(AtomicU64::new(0));
        let task = Task {
            url: format!("{}/v1/traces", otlp.endpoint.trim_end_matches('/')),
            otlp: otlp.clone(),
            dropped: dropped.clone(),
            failing: false,
        };
        tokio::spawn(task.run(spans));
        let share = otlp.sample.clamp(0.0, 1.0);
        Some(Arc::new(Self {
            queue,
            dropped,
            threshold: (share * (1u64 << 56) as f64) as u64,
        }))
    }

    /// Whether a trace that begins here is recorded.
    pub fn samples(&self, trace_id: u128) -> bool {
        let low = trace_id as u64 & ((1 << 56) - 1);
        low < self.threshold
    }

    pub fn push(&self, span: Span) {
        if self.queue.try_send(Word::Span(Box::new(span))).is_err() {
            self.dropped.fetch_add(1, Relaxed);
        }
    }

    /// Waits until what is in the queue was sent or given up, at most for `limit`.
    pub async fn flush(&self, limit: Duration) {
        let (reply, done) = oneshot::channel();
        let flush = async {
            // The task outlives its queue.
            let _ = self.queue.send(Word::Flush(reply)).await;
            let _ = done.await;
        };
        // What has not gone by then is lost with the process.
        let _ = timeout(limit, flush).await;
    }
}

struct Task {
    url: String,
    otlp: Otlp,
    dropped: Arc<AtomicU64>,
    /// It was said that nothing gets through.
    failing: bool,
}

/// Why a batch did not arrive.
enum Failure {
    /// Another time it may.
    Passing(String),
    Final(String),
}

impl Task {
    async fn run(mut self, mut spans: mpsc::Receiver<Word>) {
        let mut open = true;
        while open {
            let (batch, flushes);
            (batch, flushes, open) = gather(&mut spans).await;
            if !batch.is_empty() {
                self.deliver(&batch, !open || !flushes.is_empty()).await;
            }
            for flush in flushes {
                // Whoever asked may have gone.
                let _ = flush.send(());
            }
            let dropped = self.dropped.swap(0, Relaxed);
            if dropped > 0 {
                tracing::warn!(dropped, url = self.url, "spans were dropped: too many wait");
            }
        }
    }

    /// `last`: the process ends soon, so there is one try.
    async fn deliver(&mut self, batch: &[Span], last: bool) {
        let body = Bytes::from(encode(batch, &self.otlp.service));
        let mut pauses = PAUSES.iter();
        let why = loop {
            match self.send(body.clone()).await {
                Ok(()) => {
                    if std::mem::take(&mut self.failing) {
                        tracing::info!(url = self.url, "spans are taken again");
                    }
                    return;
                }
                Err(Failure::Final(why)) => break why,
                Err(Failure::Passing(why)) => match pauses.next().filter(|_| !last) {
                    Some(pause) => tokio::time::sleep(*pause).await,
                    None => break why,
                },
            }
        };
        if !std::mem::replace(&mut self.failing, true) {
            let spans = batch.len();
            tracing::warn!(url = self.url, spans, "spans were not taken: {why}");
        }
    }

    async fn send(&self, body: Bytes) -> Result<(), Failure> {
        let mut request = Request::post(&self.url)
            .header(CONTENT_TYPE, "application/x-protobuf")
            .header(USER_AGENT, concat!("pando/", env!("CARGO_PKG_VERSION")))
            .body(body)
            .map_err(|error| Failure::Final(format!("no URL: {error}")))?;
        for (name, value) in &self.otlp.headers {
            let name = HeaderName::from_bytes(name.as_bytes());
            let value = HeaderValue::from_str(value);
            // Their values are secrets, so the error does not say them.
            let (Ok(name), Ok(value)) = (name, value) else {
                return Err(Failure::Final("a header of [otlp] is none".into()));
            };
            request.headers_mut().insert(name, value);
        }
        match timeout(TIMEOUT, fetch::send(request, MAX_ANSWER_BYTES)).await {
            Ok(Ok(answer)) => judge(answer.status()),
            Ok(Err(why)) => Err(Failure::Passing(why)),
            Err(_) => Err(Failure::Passing("no answer in time".into())),
        }
    }
}

/// OTLP 1.x, "Failures": these may be tried again, others not.
fn judge(status: StatusCode) -> Result<(), Failure> {
    let why = || format!("the answer is {status}");
    match status.as_u16() {
        200..=299 => Ok(()),
        429 | 502..=504 => Err(Failure::Passing(why())),
        _ => Err(Failure::Final(why())),
    }
}

/// Spans until there are enough or it is time; whether more may come.
async fn gather(spans: &mut mpsc::Receiver<Word>) -> (Vec<Span>, Vec<oneshot::Sender<()>>, bool) {
    let (mut batch, mut flushes) = (Vec::new(), Vec::new());
    let mut until = None;
    loop {
        // An empty batch waits for ever.
        let word = match until {
            None => spans.recv().await,
            Some(until) => match timeout_at(until, spans.recv()).await {
                Ok(word) => word,
                Err(_) => return (batch, flushes, true),
            },
        };
        match word {
            Some(Word::Span(span)) => batch.push(*span),
            Some(Word::Flush(reply)) => flushes.push(reply),
            None => return (batch, flushes, false),
        }
        if batch.len() >= BATCH_MAX || !flushes.is_empty() {
            return (batch, flushes, true);
        }
        until.get_or_insert_with(|| Instant::now() + BATCH_EVERY);
    }
}
