//! Fields behind a body. Those that frame, route or authorise a message, or say who it is from, count
//! only in its head (RFC 9110 section 6.5.1): a program behind us that merges both would be deceived.

use http::header::{self, HeaderMap, HeaderName};

use crate::forward::head;
use crate::serve::frames;

const MARK: HeaderName = HeaderName::from_static(frames::MARK);

/// Whether a field may stand behind a body that is passed on.
pub fn is_allowed(name: &HeaderName) -> bool {
    let refused = [
        header::CONTENT_LENGTH,
        header::HOST,
        header::TRAILER,
        header::CONTENT_ENCODING,
        header::CONTENT_TYPE,
        header::CONTENT_RANGE,
        header::AUTHORIZATION,
        header::PROXY_AUTHORIZATION,
        header::COOKIE,
        header::SET_COOKIE,
        header::FORWARDED,
        head::X_FORWARDED_FOR,
        head::X_FORWARDED_PROTO,
        head::X_FORWARDED_HOST,
        head::X_REAL_IP,
        head::X_REQUEST_ID,
        head::TRACEPARENT,
        head::TRACESTATE,
        MARK,
    ];
    !head::is_hop_by_hop(name) && !refused.contains(name)
}

/// Takes out what may not stand there.
pub fn clean(trailers: &mut HeaderMap) {
    let refused: Vec<HeaderName> = trailers
        .keys()
        .filter(|name| !is_allowed(name))
        .cloned()
        .collect();
    for name in refused {
        trailers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn only_what_says_something_of_the_body_stays() {
        let mut trailers = HeaderMap::new();
        let kept = ["grpc-status", "x-sum", "digest", "server-timing"];
        let gone = [
            "-",
            "te",
            "connection",
            "keep-alive",
            "transfer-encoding",
            "cookie",
            "host",
        ];
        for name in kept.iter().chain(&gone) {
            trailers.append(*name, HeaderValue::from_static("1"));
            trailers.append(*name, HeaderValue::from_static("2"));
        }
        clean(&mut trailers);
        let left: Vec<&str> = trailers.keys().map(HeaderName::as_str).collect();
        assert_eq!(left, kept);
        assert_eq!(trailers.len(), 2 * kept.len());
    }
}
