//! The queue of spans and the task that sends them: OTLP over HTTP with protobuf, in batches.
//!
//! ```text
//! serving thread   push ──> Queue      wakes the task for the first span of a batch and for the last
//! control thread   Task ──a while after the first, or when there are enough──> takes, sends
//! ```
//! To wake the task costs more than the span itself, so most spans wake nobody.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, USER_AGENT};
use http::{HeaderName, HeaderValue, Request, StatusCode};
use monitor_spec::settings::Otlp;
use tokio::sync::{Notify, oneshot};
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

/// What waits to be sent.
#[derive(Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    /// Something of `Waiting` is worth a look.
    notify: Notify,
}

#[derive(Default)]
struct Waiting {
    spans: Vec<Span>,
    /// That found no room since it was last said.
    dropped: u64,
    flushes: Vec<oneshot::Sender<()>>,
    /// The last owner is gone.
    closed: bool,
}

impl Waiting {
    /// Whether the task is to be woken for it.
    fn add(&mut self, span: Span) -> bool {
        if self.spans.len() >= QUEUE_MAX {
            self.dropped += 1;
            return false;
        }
        self.spans.push(span);
        matches!(self.spans.len(), 1 | BATCH_MAX)
    }

    /// A batch goes out now, whole or not.
    fn is_due(&self) -> bool {
        self.spans.len() >= BATCH_MAX || self.is_last()
    }

    /// The process, or the configuration, ends soon.
    fn is_last(&self) -> bool {
        self.closed || !self.flushes.is_empty()
    }

    /// One batch, or all where no more may come.
    fn take(&mut self) -> Self {
        let most = if self.is_last() { QUEUE_MAX } else { BATCH_MAX };
        let rest = self.spans.split_off(self.spans.len().min(most));
        Self {
            spans: std::mem::replace(&mut self.spans, rest),
            dropped: std::mem::take(&mut self.dropped),
            flushes: std::mem::take(&mut self.flushes),
            closed: self.closed,
        }
    }
}

impl Queue {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes spans of one configuration. They are sent until the last owner is gone and the queue is
/// empty.
pub struct Tracer {
    queue: Arc<Queue>,
    /// Traces are recorded whose id's last 56 bits are not below it.
    threshold: u64,
}

impl Tracer {
    /// Starts the task; within a runtime. `None` where no traces are wanted.
    pub fn start(otlp: &Otlp) -> Option<Arc<Self>> {
        if !otlp.traces || otlp.endpoint.is_empty() {
            return None;
        }
        let queue = Arc::<Queue>::default();
        let task = Task {
            url: format!("{}/v1/traces", otlp.endpoint.trim_end_matches('/')),
            otlp: otlp.clone(),
            failing: false,
        };
        tokio::spawn(task.run(queue.clone()));
        Some(Arc::new(Self {
            queue,
            threshold: threshold(otlp.sample),
        }))
    }

    /// Whether a trace that begins here is recorded.
    pub fn samples(&self, trace_id: u128) -> bool {
        randomness(trace_id) >= self.threshold
    }

    pub fn push(&self, span: Span) {
        let wakes = self.queue.waiting().add(span);
        if wakes {
            self.queue.notify.notify_one();
        }
    }

    /// Waits until what is in the queue was sent or given up, at most for `limit`.
    pub async fn flush(&self, limit: Duration) {
        let (reply, done) = oneshot::channel();
        self.queue.waiting().flushes.push(reply);
        self.queue.notify.notify_one();
        // What has not gone by then is lost with the process.
        let _ = timeout(limit, done).await;
    }
}

/// The rejection threshold of a share, by which all who follow OpenTelemetry's "TraceState: Probability
/// Sampling" decide alike.
fn threshold(share: f64) -> u64 {
    ((1.0 - share.clamp(0.0, 1.0)) * (1u64 << 56) as f64) as u64
}

/// The part of a trace's id that is random (W3C Trace Context level 2, section 3.2.2.3).
fn randomness(trace_id: u128) -> u64 {
    trace_id as u64 & ((1 << 56) - 1)
}

impl Drop for Tracer {
    fn drop(&mut self) {
        self.queue.waiting().closed = true;
        self.queue.notify.notify_one();
    }
}

struct Task {
    url: String,
    otlp: Otlp,
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
    async fn run(mut self, queue: Arc<Queue>) {
        let mut open = true;
        while open {
            let mut batch = gather(&queue).await;
            open = !batch.closed;
            let last = batch.is_last();
            // More than one where a sending took long.
            while !batch.spans.is_empty() {
                let more = batch.spans.split_off(batch.spans.len().min(BATCH_MAX));
                self.deliver(&std::mem::replace(&mut batch.spans, more), last)
                    .await;
            }
            for flush in batch.flushes {
                // Whoever asked may have gone.
                let _ = flush.send(());
            }
            let dropped = batch.dropped;
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

/// What waits, once it is enough or time; an empty queue waits for ever.
async fn gather(queue: &Queue) -> Waiting {
    let mut until = None;
    loop {
        let notified = queue.notify.notified();
        {
            let mut waiting = queue.waiting();
            let late = until.is_some_and(|until| Instant::now() >= until);
            if waiting.is_due() || (late && !waiting.spans.is_empty()) {
                return waiting.take();
            }
            if !waiting.spans.is_empty() {
                until.get_or_insert_with(|| Instant::now() + BATCH_EVERY);
            }
        }
        match until {
            None => notified.await,
            // Either way it is looked at again.
            Some(until) => {
                let _ = timeout_at(until, notified).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::trace::context::Context;
    use crate::trace::span::Kind;

    fn span(span_id: u64) -> Span {
        Span {
            context: Context {
                trace_id: 1,
                span_id,
                flags: 1,
            },
            parent: None,
            state: None,
            kind: Kind::Server,
            name: String::new(),
            start: SystemTime::UNIX_EPOCH,
            took: Duration::ZERO,
            failed: false,
            attributes: Vec::new(),
        }
    }

    #[test]
    fn shares_are_thresholds_from_above() {
        let all = (1u64 << 56) - 1;
        for (share, at) in [(1.0, 0), (0.5, 1 << 55), (0.25, 3 << 54), (0.0, all + 1)] {
            assert_eq!(threshold(share), at, "{share}");
        }
        // Half of all are those with the highest bit of the 56, whatever stands before it.
        let id = |low: u64| u128::from(low) | 0xabcd << 64 | 0xff << 56;
        assert!(randomness(id(1 << 55)) >= threshold(0.5));
        assert!(randomness(id((1 << 55) - 1)) < threshold(0.5));
        assert!(randomness(id(all)) < threshold(0.0));
    }

    /// A wake costs more than the span.
    #[test]
    fn the_task_is_woken_twice_a_batch() {
        let mut waiting = Waiting::default();
        let wakes: Vec<usize> = (1..=BATCH_MAX).filter(|_| waiting.add(span(1))).collect();
        assert_eq!(wakes, [1, BATCH_MAX]);
        assert!(waiting.is_due());
        assert_eq!(waiting.take().spans.len(), BATCH_MAX);
        assert!(waiting.add(span(1)), "the first of the next batch");
    }

    #[test]
    fn what_finds_no_room_is_counted_and_the_oldest_go_first() {
        let mut waiting = Waiting::default();
        for id in 0..QUEUE_MAX as u64 + 3 {
            waiting.add(span(id));
        }
        let batch = waiting.take();
        assert_eq!((batch.dropped, batch.spans.len()), (3, BATCH_MAX));
        assert_eq!(batch.spans[1].context.span_id, 1);
        waiting.closed = true;
        let rest = waiting.take();
        assert_eq!((rest.dropped, rest.spans.len()), (0, QUEUE_MAX - BATCH_MAX));
        assert_eq!(rest.spans[0].context.span_id, BATCH_MAX as u64);
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_goes_when_it_is_time() {
        let queue = Arc::<Queue>::default();
        let gathers = tokio::spawn({
            let queue = queue.clone();
            async move { (gather(&queue).await.spans.len(), Instant::now()) }
        });
        tokio::time::sleep(Duration::from_secs(60)).await;
        let first = Instant::now();
        for id in 0..5 {
            if queue.waiting().add(span(id)) {
                queue.notify.notify_one();
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let (spans, at) = gathers.await.unwrap();
        // By the virtual clock.
        let took = at - first;
        assert!(
            spans == 5 && took.abs_diff(BATCH_EVERY) < Duration::from_millis(50),
            "{took:?}"
        );
    }
}
