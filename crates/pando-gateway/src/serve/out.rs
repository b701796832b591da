//! The body that goes to a client: counts what is sent and writes the access log when it ends,
//! however it ends.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::{HeaderValue, Method, Uri, Version};
use http_body::{Frame, SizeHint};

use super::conn::ConnState;
use crate::access_log::{AccessLog, Entry};
use crate::body::{Body, BodyError};
use crate::clock;
use crate::forward::Served;
use crate::ids::Ids;
use crate::limits::Pass;

/// What the log says of one request.
pub struct Record {
    pub log: Arc<AccessLog>,
    pub time: SystemTime,
    pub begun: Instant,
    pub client: std::net::IpAddr,
    pub method: Method,
    pub uri: Uri,
    pub host: Arc<str>,
    pub version: Version,
    pub status: u16,
    pub bytes_in: u64,
    pub site: Arc<str>,
    pub route: Arc<str>,
    pub served: Served,
    pub cache: &'static str,
    pub ids: Arc<Ids>,
    pub user: Option<Arc<str>>,
    pub user_agent: Option<HeaderValue>,
    pub referer: Option<HeaderValue>,
    pub tls: &'static str,
}

/// See the module.
pub struct OutBody {
    body: Body,
    sent: u64,
    record: Option<Box<Record>>,
    conn: Arc<ConnState>,
    _pass: Pass,
}

impl OutBody {
    pub fn new(body: Body, record: Option<Box<Record>>, conn: Arc<ConnState>, pass: Pass) -> Self {
        Self {
            body,
            sent: 0,
            record,
            conn,
            _pass: pass,
        }
    }
}

impl Record {
    fn write(&self, sent: u64) {
        let path = self.uri.path_and_query().map_or("*", |pq| pq.as_str());
        self.log.record(&Entry {
            time: self.time,
            client: self.client,
            method: &self.method,
            host: &self.host,
            path,
            version: self.version,
            status: self.status,
            bytes_in: self.bytes_in,
            bytes_out: sent,
            site: &self.site,
            route: &self.route,
            upstream: self.served.upstream.as_deref().unwrap_or(""),
            worker: self.served.worker.as_deref().unwrap_or(""),
            queue: self.served.queue,
            upstream_time: self.served.upstream_time,
            total: self.begun.elapsed().max(Duration::from_micros(1)),
            retries: self.served.retries,
            cache: self.cache,
            request_id: self.ids.request_id(),
            trace_id: self.ids.trace_id(),
            user: self.user.as_deref().unwrap_or(""),
            user_agent: self.user_agent.as_ref().map_or(b"", |v| v.as_bytes()),
            referer: self.referer.as_ref().map_or(b"", |v| v.as_bytes()),
            tls: self.tls,
        });
    }
}

impl Drop for OutBody {
    fn drop(&mut self) {
        self.conn.request_ends(clock::now_ms());
        if let Some(record) = &self.record {
            record.write(self.sent);
        }
    }
}

impl http_body::Body for OutBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let frame = Pin::new(&mut this.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &frame
            && let Some(data) = frame.data_ref()
        {
            this.sent += data.len() as u64;
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
