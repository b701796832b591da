//! Compression of answers: what the client takes (`accept`), what is worth it (`rules`), and the
//! body that is compressed as it comes (`stream`).

mod accept;
mod encoder;
mod rules;
mod stream;

use http::header::{ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, VARY};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response};
use http_body::Body as _;

use crate::body::Body;
pub use accept::{Accepted, Encoding};
use rules::Types;
use stream::{Compressed, Flush};

/// Bodies that are here and at most so large are compressed at once, so that their length is
/// known; longer ones would hold up the thread.
const MAX_AT_ONCE_BYTES: usize = 64 * 1024;

/// The compression of one route.
#[derive(Debug)]
pub struct Compressor {
    encodings: Vec<Encoding>,
    min_bytes: u64,
    types: Types,
    level: Option<u8>,
}

/// What a request says of compression; taken from it before it goes on.
#[derive(Clone, Copy, Debug)]
pub struct Asked(Option<Accepted>);

impl Asked {
    pub fn of(request: &Parts) -> Self {
        Self(rules::may_be_asked(request).then(|| Accepted::of(&request.headers)))
    }
}

impl Compressor {
    /// Encodings that are not known are said in the log and left out.
    pub fn new(spec: &gateway_spec::Compress) -> Self {
        let known = |name: &String| {
            let encoding = Encoding::parse(name);
            if encoding.is_none() {
                tracing::error!(name, "no encoding that Pando knows: it is not used");
            }
            encoding
        };
        Self {
            encodings: spec.encodings.iter().filter_map(known).collect(),
            min_bytes: spec.min_bytes,
            types: Types::new(&spec.types),
            level: spec.level,
        }
    }

    /// The answer, compressed if the client takes it and it is worth it.
    pub fn apply(&self, asked: Asked, response: Response<Body>) -> Response<Body> {
        if !self.types.take(response.headers().get(CONTENT_TYPE))
            || self.is_small(&response)
            || !rules::may_change(&response)
        {
            return response;
        }
        let Some(accepted) = asked.0 else {
            return response;
        };
        let (mut parts, body) = response.into_parts();
        vary(&mut parts.headers);
        let Some(encoding) = accepted.best(self.encodings.iter().copied()) else {
            return Response::from_parts(parts, body);
        };
        let length = length(&parts.headers, &body);
        let Ok(encoder) = encoder::new(encoding, self.level, length) else {
            return Response::from_parts(parts, body);
        };
        let flush = if rules::is_event_stream(&parts.headers) {
            Flush::AtOnce
        } else {
            Flush::Soon
        };
        transformed(&mut parts.headers, encoding);
        let body = match body {
            Body::Full(Some(bytes)) if bytes.len() <= MAX_AT_ONCE_BYTES => {
                match encoder::at_once(encoder, &bytes) {
                    Ok(compressed) => {
                        let length = HeaderValue::from(compressed.len());
                        parts.headers.insert(CONTENT_LENGTH, length);
                        compressed.into()
                    }
                    Err(error) => Body::new(Compressed::failed(error)),
                }
            }
            body @ (Body::Empty | Body::Full(_) | Body::Incoming(_) | Body::Boxed(_)) => {
                Body::new(Compressed::new(body, encoder, flush))
            }
        };
        Response::from_parts(parts, body)
    }

    fn is_small(&self, response: &Response<Body>) -> bool {
        length(response.headers(), response.body()).is_some_and(|length| length < self.min_bytes)
    }
}

/// Of the body, or `None` while nobody knows.
fn length(headers: &HeaderMap, body: &Body) -> Option<u64> {
    body.size_hint().exact().or_else(|| {
        let length = headers.get(CONTENT_LENGTH)?;
        length.to_str().ok()?.parse().ok()
    })
}

/// What no longer holds of a body that was compressed here.
fn transformed(headers: &mut HeaderMap, encoding: Encoding) {
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static(encoding.name()));
    headers.remove(CONTENT_LENGTH);
    headers.remove(ACCEPT_RANGES);
    let weak = headers.get(ETAG).and_then(|tag| {
        let strong = tag.as_bytes().first() == Some(&b'"');
        strong.then(|| HeaderValue::from_bytes(&[b"W/", tag.as_bytes()].concat()))
    });
    match weak {
        Some(Ok(weak)) => drop(headers.insert(ETAG, weak)),
        Some(Err(_)) => drop(headers.remove(ETAG)),
        None => {}
    }
}

/// Says that the answer depends on `Accept-Encoding`, once.
fn vary(headers: &mut HeaderMap) {
    let said = headers.get_all(VARY).iter().any(|line| {
        let names = line.to_str().unwrap_or_default().split(',');
        names
            .map(str::trim)
            .any(|name| name == "*" || name.eq_ignore_ascii_case("accept-encoding"))
    });
    if !said {
        headers.append(VARY, HeaderValue::from_static("accept-encoding"));
    }
}
