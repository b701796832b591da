//! Answers that the gateway makes itself.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};

use crate::body::Body;
use crate::ids::Ids;

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const CLOSE: HeaderValue = HeaderValue::from_static("close");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// One line for a person, and the id to look for in the log.
pub fn error(status: StatusCode, why: &str, ids: &Ids) -> Response<Body> {
    let id = ids.request_id();
    let text = format!("{status}: {why}\nrequest {id}\n");
    let mut response = plain(status, Bytes::from(text));
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, NO_STORE);
    if let Ok(id) = HeaderValue::from_str(id) {
        headers.insert(crate::forward::head::X_REQUEST_ID, id);
    }
    if status == StatusCode::BAD_REQUEST {
        // What else comes from there is not to be trusted either.
        headers.insert(header::CONNECTION, CLOSE);
    }
    response
}

/// Plain text.
pub fn plain(status: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    let text: Bytes = text.into();
    let mut response = Response::new(text.into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, TEXT);
    response
}

/// To another place.
pub fn redirect(status: StatusCode, to: &str) -> Response<Body> {
    let mut response = Response::new(Body::Empty);
    match HeaderValue::from_str(to) {
        Ok(to) => {
            *response.status_mut() = status;
            response.headers_mut().insert(header::LOCATION, to);
        }
        Err(_) => *response.status_mut() = StatusCode::BAD_REQUEST,
    }
    response
}
