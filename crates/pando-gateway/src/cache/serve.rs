//! Answers made of what is stored.

use http::header::{
    AGE, CONTENT_LENGTH, CONTENT_RANGE, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, RANGE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use http_body::Body as _;
use http_cache::range::{Selection, select};
use http_cache::{Report, not_modified};

use super::entry::Entry;
use crate::body::Body;

/// The answer to this request: whole, a part, or 304 when the client has it already.
pub(super) fn answer(
    entry: &Entry,
    method: &Method,
    request: &HeaderMap,
    report: Report,
    now_ms: u64,
) -> Response<Body> {
    let mut headers = entry.headers.clone();
    headers.insert(
        AGE,
        HeaderValue::from(entry.freshness.age_ms(now_ms) / 1000),
    );
    report.write(&mut headers);
    let received_ms = entry.freshness.received_ms;
    if is_conditional(request)
        && condition_holds(entry.status, request, &entry.headers, received_ms)
    {
        return unchanged(headers);
    }
    let length = entry.body.len() as u64;
    let is_get = method == Method::GET;
    if is_get && entry.status == StatusCode::OK && request.contains_key(RANGE) {
        match select(request, &entry.headers, length) {
            Selection::Whole => {}
            Selection::Part(part) => {
                let range = format!("bytes {}-{}/{length}", part.start, part.end - 1);
                set(&mut headers, CONTENT_RANGE, &range);
                headers.insert(CONTENT_LENGTH, HeaderValue::from(part.end - part.start));
                // Both ends are within the body.
                let at = |n: u64| usize::try_from(n).unwrap_or(0);
                let bytes = entry.body.slice(at(part.start)..at(part.end));
                return response(StatusCode::PARTIAL_CONTENT, headers, bytes.into());
            }
            Selection::Unsatisfiable => {
                set(&mut headers, CONTENT_RANGE, &format!("bytes */{length}"));
                headers.insert(CONTENT_LENGTH, HeaderValue::from(0));
                return response(StatusCode::RANGE_NOT_SATISFIABLE, headers, Body::Empty);
            }
        }
    }
    let body = if is_get {
        entry.body.clone().into()
    } else {
        Body::Empty
    };
    response(entry.status, headers, body)
}

/// Whether a request asks for all bytes in the form of a range.
pub(super) fn asks_for_all(request: &HeaderMap) -> bool {
    let mut ranges = request.get_all(RANGE).iter();
    ranges.next().is_some_and(|range| range == "bytes=0-")
        && ranges.next().is_none()
        && !request.contains_key(IF_RANGE)
}

/// All bytes as the range that the client asked for and the origin did not see.
pub(super) fn all_as_part(
    mut response: Response<Body>,
    method: &Method,
    request: &HeaderMap,
) -> Response<Body> {
    let length = response
        .body()
        .size_hint()
        .exact()
        .filter(|length| *length > 0);
    if let Some(length) = length
        && method == Method::GET
        && response.status() == StatusCode::OK
        && asks_for_all(request)
    {
        let range = format!("bytes 0-{}/{length}", length - 1);
        set(response.headers_mut(), CONTENT_RANGE, &range);
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    response
}

/// The client's condition, applied to an answer that it did not reach the origin for.
pub(super) fn condition_holds(
    status: StatusCode,
    request: &HeaderMap,
    headers: &HeaderMap,
    received_ms: u64,
) -> bool {
    let conditional = status == StatusCode::OK && is_conditional(request);
    conditional && not_modified(request, headers, received_ms)
}

pub(super) fn unchanged(mut headers: HeaderMap) -> Response<Body> {
    // RFC 9110 section 15.4.5: nothing about the bytes that are not sent.
    const OF_THE_BYTES: [&str; 6] = [
        "content-length",
        "content-type",
        "content-encoding",
        "content-language",
        "content-range",
        "last-modified",
    ];
    let tagged = headers.contains_key(http::header::ETAG);
    for name in OF_THE_BYTES {
        if name != "last-modified" || tagged {
            headers.remove(name);
        }
    }
    response(StatusCode::NOT_MODIFIED, headers, Body::Empty)
}

pub(super) fn response(status: StatusCode, headers: HeaderMap, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// 504 of RFC 9111 section 5.2.1.7: only a stored answer was wanted, and there is none.
pub(super) fn absent(report: Report) -> Response<Body> {
    let mut headers = HeaderMap::new();
    report.write(&mut headers);
    headers.insert(CONTENT_LENGTH, HeaderValue::from(0));
    response(StatusCode::GATEWAY_TIMEOUT, headers, Body::Empty)
}

fn is_conditional(request: &HeaderMap) -> bool {
    request.contains_key(IF_NONE_MATCH) || request.contains_key(IF_MODIFIED_SINCE)
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}
