//! The span of one try at an upstream, a child of the request's.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use http::Uri;

use super::context::Context;
use super::export::Tracer;
use super::span::{Kind, Span};
use crate::ids::Recorded;
use crate::measure::method_name;
use crate::upstream::Endpoint;

/// Until the head of the answer. One that is dropped without an end was given up by the client.
pub struct AttemptSpan {
    tracer: Arc<Tracer>,
    begun: Instant,
    /// `None` once it was sent.
    span: Option<Span>,
    traceparent: String,
}

impl AttemptSpan {
    pub fn begin(
        tracer: &Arc<Tracer>,
        recorded: &Recorded,
        endpoint: &Endpoint,
        (method, uri): (&http::Method, &Uri),
        retries: u32,
    ) -> Self {
        let context = Context {
            span_id: fastrand::u64(1..),
            ..recorded.context
        };
        let method = method_name(method);
        let mut span = Span {
            context,
            parent: Some(recorded.context.span_id),
            state: None,
            kind: Kind::Client,
            name: if method == "_OTHER" { "HTTP" } else { method }.to_owned(),
            start: SystemTime::now(),
            took: Duration::ZERO,
            failed: false,
            attributes: Vec::with_capacity(10),
        };
        let address = endpoint.known.address.to_string();
        span.put("http.request.method", method);
        span.put_server(&address);
        span.put("url.full", format!("http://{address}{}", uri.path()));
        span.put("pando.upstream", &*endpoint.known.label);
        if let Some(instance) = endpoint.known.instance {
            span.put("pando.instance", u64::from(instance));
        }
        if retries > 0 {
            span.put("http.request.resend_count", u64::from(retries));
        }
        Self {
            tracer: tracer.clone(),
            begun: Instant::now(),
            traceparent: context.header(),
            span: Some(span),
        }
    }

    pub fn traceparent(&self) -> &str {
        &self.traceparent
    }

    /// A status, or the kind of what went wrong.
    pub fn end(mut self, outcome: Result<u16, &'static str>) {
        self.finish(outcome);
    }

    fn finish(&mut self, outcome: Result<u16, &'static str>) {
        let Some(mut span) = self.span.take() else {
            return;
        };
        span.took = self.begun.elapsed();
        match outcome {
            Ok(status) => {
                span.put("http.response.status_code", status);
                span.failed = status >= 400;
                if span.failed {
                    span.put("error.type", status.to_string());
                }
            }
            Err(kind) => {
                span.failed = true;
                span.put("error.type", kind);
            }
        }
        self.tracer.push(span);
    }
}

impl Drop for AttemptSpan {
    fn drop(&mut self) {
        self.finish(Err("cancelled"));
    }
}
