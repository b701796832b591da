//! The picture of each second: one subscription to the daemon for all browsers, and none while
//! nobody looks. Who reads slowly gets the newest picture when it reads again.
//!
//! ```text
//! idle ──first browser──► watching ──the daemon goes──► lost ──pause──► watching
//!   ▲                        └────────last browser goes───┴──► idle
//! ```

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Bytes;
use monitor_spec::ask::{Answer, Ask};
use pando_control::api::{Frame, Request};
use pando_control::{CallError, Client};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{sleep, timeout};

use super::{respond, sse};

/// Between two tries to reach a daemon that is away.
const PAUSE: Duration = Duration::from_secs(1);
/// A browser that hears nothing else hears this often that we are there.
const PING_EVERY: Duration = Duration::from_secs(15);

/// An event as it goes out; `None` before the first one.
type Latest = Option<Bytes>;

#[derive(Clone)]
pub struct Live {
    latest: Arc<watch::Sender<Latest>>,
    wanted: Arc<Notify>,
}

impl Live {
    pub fn new() -> Self {
        Self {
            latest: Arc::new(watch::channel(None).0),
            wanted: Arc::new(Notify::new()),
        }
    }

    /// Serves those who look; never ends.
    pub async fn run(self, home: PathBuf) {
        loop {
            while self.latest.receiver_count() == 0 {
                self.wanted.notified().await;
            }
            tokio::select! {
                () = self.latest.closed() => {}
                () = self.watch(&home) => {}
            }
            // An old picture must not be taken for a new one.
            self.latest.send_replace(None);
        }
    }

    /// Follows the daemon, and the next one.
    async fn watch(&self, home: &Path) {
        loop {
            if let Err(error) = self.follow(home).await {
                let problem = respond::call_problem(error);
                self.tell(sse::event("lost", &problem));
            }
            sleep(PAUSE).await;
        }
    }

    async fn follow(&self, home: &Path) -> Result<(), CallError> {
        let mut client = Client::connect(home).await?;
        let request = Request::Monitor { ask: Ask::Watch };
        let each = |frame: Frame| {
            if let Frame::Monitor(answer) = frame
                && let Answer::Now(now) = *answer
            {
                self.tell(sse::event("now", &now));
            }
        };
        client.call(request, each).await.map(|_| ())
    }

    fn tell(&self, event: serde_json::Result<Bytes>) {
        if let Ok(event) = event {
            self.latest.send_replace(Some(event));
        }
    }

    /// Writes pictures to one browser until it goes.
    pub fn serve(&self, out: mpsc::Sender<Bytes>) -> impl Future<Output = ()> + Send + 'static {
        let mut latest = self.latest.subscribe();
        self.wanted.notify_one();
        async move {
            if out.send(sse::hello()).await.is_err() {
                return;
            }
            // What is there now is news to this one.
            latest.mark_changed();
            loop {
                let piece = match timeout(PING_EVERY, latest.changed()).await {
                    Err(_) => Bytes::from_static(sse::PING),
                    Ok(Err(_)) => return,
                    Ok(Ok(())) => match latest.borrow_and_update().clone() {
                        Some(event) => event,
                        None => continue,
                    },
                };
                let gone = tokio::select! {
                    sent = out.send(piece) => sent.is_err(),
                    () = out.closed() => true,
                };
                if gone {
                    return;
                }
            }
        }
    }
}
