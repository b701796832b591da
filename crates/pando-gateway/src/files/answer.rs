//! From a representation and what the client asks to an answer.

use std::fs::File;
use std::time::SystemTime;

use bytes::{Bytes, BytesMut};
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE,
    ETAG, LAST_MODIFIED, RANGE, VARY,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

use super::condition::{self, Validators, Verdict};
use super::content::{Piece, Pieces};
use super::page::{Page, Variant};
use super::range::{self, Span, Wanted};
use crate::body::Body;
use crate::compress::Accepted;

/// The plain file or the copy that the client likes best; of those it likes as much, the smallest.
pub(super) fn choose<'a>(headers: &HeaderMap, page: &'a Page) -> &'a Variant {
    if page.copies.is_empty() {
        return &page.plain;
    }
    let offered = page.copies.iter().filter_map(|copy| copy.encoding);
    let best = Accepted::of(headers).best(offered);
    let copy = page.copies.iter().find(|copy| copy.encoding == best);
    copy.unwrap_or(&page.plain)
}

/// A request, and what the answer says beside the representation.
pub(super) struct Ask<'a> {
    pub head: &'a Parts,
    pub content_type: &'a HeaderValue,
    pub varies: bool,
    pub policy: Option<&'a HeaderValue>,
    pub now: fn() -> SystemTime,
}

impl Ask<'_> {
    pub(super) fn kept(&self, variant: &Variant, content: &Bytes) -> Response<Body> {
        let mut response = self.begin(variant);
        let body = match self.wanted(variant, &mut response) {
            None => Body::empty(),
            Some(pieces) => match pieces.as_slice() {
                [Piece::File(span)] => slice(content, *span).into(),
                pieces => joined(content, pieces).into(),
            },
        };
        *response.body_mut() = body;
        response
    }

    pub(super) fn file(&self, variant: &Variant, file: File) -> Response<Body> {
        let mut response = self.begin(variant);
        if let Some(pieces) = self.wanted(variant, &mut response) {
            *response.body_mut() = Body::new(Pieces::new(file, pieces));
        }
        response
    }

    fn begin(&self, variant: &Variant) -> Response<Body> {
        let mut response = Response::new(Body::empty());
        let headers = response.headers_mut();
        headers.reserve(9);
        headers.insert(ETAG, variant.etag.clone());
        headers.insert(LAST_MODIFIED, variant.last_modified.clone());
        if let Some(policy) = self.policy {
            headers.insert(CACHE_CONTROL, policy.clone());
        }
        if self.varies {
            headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
        }
        response
    }

    /// Sets status and headers, and says which pieces the body has; `None` if it has no body.
    fn wanted(&self, variant: &Variant, response: &mut Response<Body>) -> Option<Vec<Piece>> {
        let request = &self.head.headers;
        let validators = Validators {
            etag: variant.etag.to_str().unwrap_or_default(),
            modified: variant.modified,
        };
        match condition::evaluate(request, validators) {
            Verdict::Serve => {}
            Verdict::NotModified => {
                *response.status_mut() = StatusCode::NOT_MODIFIED;
                return None;
            }
            Verdict::Failed => {
                *response.status_mut() = StatusCode::PRECONDITION_FAILED;
                return None;
            }
        }
        let headers = response.headers_mut();
        headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        headers.insert(CONTENT_TYPE, self.content_type.clone());
        if let Some(encoding) = variant.encoding {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static(encoding.name()));
        }
        let get = self.head.method == Method::GET;
        if get
            && let Some(range) = request.get(RANGE)
            && condition::range_counts(request, validators, (self.now)())
        {
            match range::parse(range.as_bytes(), variant.stamp.size) {
                Wanted::Whole => {}
                Wanted::Parts(parts) => return Some(self.partial(variant, &parts, response)),
                Wanted::Refused => {
                    refuse(variant, response);
                    return None;
                }
            }
        }
        headers.insert(CONTENT_LENGTH, variant.content_length.clone());
        let whole = Span {
            start: 0,
            end: variant.stamp.size,
        };
        get.then(|| vec![Piece::File(whole)])
    }

    fn partial(
        &self,
        variant: &Variant,
        parts: &[Span],
        response: &mut Response<Body>,
    ) -> Vec<Piece> {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        let headers = response.headers_mut();
        let size = variant.stamp.size;
        if let [span] = parts {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(span.length()));
            insert(headers, CONTENT_RANGE, &content_range(*span, size));
            return vec![Piece::File(*span)];
        }
        let boundary = format!("{:032x}", fastrand::u128(..));
        let content_type = self.content_type.to_str().unwrap_or_default();
        let mut pieces = Vec::with_capacity(parts.len() * 2 + 1);
        for span in parts {
            let range = content_range(*span, size);
            pieces.push(Piece::Text(Bytes::from(format!(
                "\r\n--{boundary}\r\ncontent-type: {content_type}\r\ncontent-range: {range}\r\n\r\n"
            ))));
            pieces.push(Piece::File(*span));
        }
        pieces.push(Piece::Text(Bytes::from(format!("\r\n--{boundary}--\r\n"))));
        headers.insert(CONTENT_LENGTH, HeaderValue::from(total(&pieces)));
        let multipart = format!("multipart/byteranges; boundary={boundary}");
        insert(headers, CONTENT_TYPE, &multipart);
        pieces
    }
}

fn refuse(variant: &Variant, response: &mut Response<Body>) {
    *response.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
    let headers = response.headers_mut();
    // These are the representation's, not this answer's.
    headers.remove(CONTENT_TYPE);
    headers.remove(CONTENT_ENCODING);
    insert(
        headers,
        CONTENT_RANGE,
        &format!("bytes */{}", variant.stamp.size),
    );
}

fn content_range(span: Span, size: u64) -> String {
    format!("bytes {}-{}/{size}", span.start, span.end - 1)
}

fn insert(headers: &mut HeaderMap, name: http::HeaderName, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        headers.insert(name, value);
    }
}

fn total(pieces: &[Piece]) -> u64 {
    let len = |piece: &Piece| match piece {
        Piece::Text(text) => text.len() as u64,
        Piece::File(span) => span.length(),
    };
    pieces.iter().map(len).sum()
}

fn slice(content: &Bytes, span: Span) -> Bytes {
    if span.length() == content.len() as u64 {
        content.clone()
    } else {
        content.slice(span.start as usize..span.end as usize)
    }
}

/// Parts never overlap, so this is at most the content and a few headers.
fn joined(content: &Bytes, pieces: &[Piece]) -> Bytes {
    let mut out = BytesMut::with_capacity(total(pieces) as usize);
    for piece in pieces {
        match piece {
            Piece::Text(text) => out.extend_from_slice(text),
            Piece::File(span) => out.extend_from_slice(&slice(content, *span)),
        }
    }
    out.freeze()
}
