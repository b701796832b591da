//! From a request to its answer.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use monitor_spec::ask::{Answer, Ask};
use monitor_spec::{Replier, Word};
use tokio::sync::oneshot;

use super::Shared;
use super::health::Said;
use crate::exposition::Format;

const INDEX: &str = "Pando: /metrics /livez /readyz /readyz?app=NAME /health/NAME\n";
/// How long the metrics' thread may take for an exposition.
const EXPOSITION_LIMIT: Duration = Duration::from_secs(8);
/// Apps that `/readyz` can be asked for at once.
const MAX_APPS: usize = 256;
const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";

type Reply = Response<Full<Bytes>>;

pub(super) async fn answer(
    request: Request<Incoming>,
    shared: &Shared,
) -> Result<Reply, Infallible> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut reply = said((405, "GET and HEAD only\n".into()), TEXT);
        let allowed = HeaderValue::from_static("GET, HEAD");
        reply.headers_mut().insert(ALLOW, allowed);
        return Ok(reply);
    }
    let now = Instant::now();
    let query = request.uri().query().unwrap_or_default();
    Ok(match request.uri().path() {
        "/" => said((200, INDEX.into()), TEXT),
        "/metrics" => metrics(&request, shared).await,
        "/livez" => said(shared.health().live(now), TEXT),
        "/readyz" => said(shared.health().ready(&apps(query), now), TEXT),
        path => match path.strip_prefix("/health/").map(decode) {
            Some(name) => match shared.health().app(&name, now) {
                Some(answer) => said(answer, JSON),
                None => said((404, "{\"error\":\"there is no such app\"}\n".into()), JSON),
            },
            None => said((404, INDEX.into()), TEXT),
        },
    })
}

fn said((code, text): Said, content_type: &'static str) -> Reply {
    let mut reply = Response::new(Full::new(Bytes::from(text)));
    *reply.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}

async fn metrics(request: &Request<Incoming>, shared: &Shared) -> Reply {
    let accept = request.headers().get(ACCEPT);
    let accept = accept
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let format = Format::accepted(accept);
    let text = tokio::time::timeout(EXPOSITION_LIMIT, exposition(format, shared));
    match text.await {
        Ok(Ok(text)) => said((200, text), format.content_type()),
        Ok(Err(why)) => said((503, format!("{why}\n")), TEXT),
        Err(_) => said((503, "the metrics do not answer\n".into()), TEXT),
    }
}

async fn exposition(format: Format, shared: &Shared) -> Result<String, String> {
    let _turn = shared.exposing.acquire().await.map_err(|e| e.to_string())?;
    let (sender, receiver) = oneshot::channel();
    let ask = match format {
        Format::Text => Ask::Exposition,
        Format::OpenMetrics => Ask::OpenMetrics,
    };
    let reply = Box::new(Once(sender));
    if shared.handle.tell(Word::Ask { ask, reply }).is_err() {
        return Err("the metrics do not keep up with what they are told".into());
    }
    match receiver.await {
        Ok(Ok(Answer::Text(text))) => Ok(text),
        Ok(Ok(_)) | Err(_) => Err("the metrics gave no answer".into()),
        Ok(Err(why)) => Err(why),
    }
}

/// One answer, for one who waits.
struct Once(oneshot::Sender<Result<Answer, String>>);

impl Replier for Once {
    fn push(&self, _answer: Answer) -> bool {
        false
    }

    fn done(self: Box<Self>, answer: Answer) {
        // Who waited may have gone.
        let _ = self.0.send(Ok(answer));
    }

    fn failed(self: Box<Self>, why: String) {
        let _ = self.0.send(Err(why));
    }
}

/// The values of `app=`, one or several.
fn apps(query: &str) -> Vec<String> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let named = pairs.filter(|(key, value)| *key == "app" && !value.is_empty());
    named
        .map(|(_, value)| decode(value))
        .take(MAX_APPS)
        .collect()
}

/// Names of apps are plain, but for clients that encode what they need not.
fn decode(text: &str) -> String {
    percent_encoding::percent_decode_str(text)
        .decode_utf8_lossy()
        .into_owned()
}
