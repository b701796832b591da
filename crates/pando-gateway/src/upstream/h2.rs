//! HTTP/2 to an upstream: one connection a thread and endpoint, shared by its requests.

use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};

use super::stream::Stream;
use crate::body::Body;

const PING_EVERY: Duration = Duration::from_secs(10);
const PING_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection that any number of requests may use.
#[derive(Clone)]
pub struct Shared(http2::SendRequest<Body>);

impl Shared {
    /// Speaks HTTP/2 over a stream; its task ends when the last `Shared` is gone or the peer
    /// closes.
    pub async fn open(stream: Stream) -> hyper::Result<Self> {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_TIMEOUT)
            .adaptive_window(true);
        let (sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "an upstream's HTTP/2 connection ended");
            }
        });
        Ok(Self(sender))
    }

    pub fn is_closed(&self) -> bool {
        self.0.is_closed()
    }

    /// The request comes back if it was not sent.
    pub async fn send(
        &mut self,
        request: Request<Body>,
    ) -> Result<Response<Incoming>, (hyper::Error, Option<Request<Body>>)> {
        if let Err(error) = self.0.ready().await {
            return Err((error, Some(request)));
        }
        self.0
            .try_send_request(request)
            .await
            .map_err(|mut failed| {
                let request = failed.take_message();
                (failed.into_error(), request)
            })
    }
}
