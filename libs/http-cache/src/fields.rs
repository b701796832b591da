//! Which fields of an answer are stored (RFC 9111 section 3.1).

use bytes::BytesMut;
use http::header::{AGE, CONNECTION, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER};
use http::header::{TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::control::{ResponseControl, Scope, members};
use crate::targeted::SURROGATE_CONTROL;

/// Meant for one connection or one hop, and `Age`, which is made anew at each use.
fn belongs_to_the_hop(name: &HeaderName) -> bool {
    const STANDARD: [HeaderName; 8] = [
        AGE,
        CONNECTION,
        PROXY_AUTHENTICATE,
        PROXY_AUTHORIZATION,
        TE,
        TRAILER,
        TRANSFER_ENCODING,
        UPGRADE,
    ];
    const OTHERS: [&str; 3] = [
        "keep-alive",
        "proxy-authentication-info",
        "proxy-connection",
    ];
    STANDARD.contains(name) || OTHERS.contains(&name.as_str()) || name == SURROGATE_CONTROL
}

/// A copy of the fields to be stored. Values share one allocation of their own, so that nothing of
/// the buffer they were read into is kept.
pub fn stored_fields(headers: &HeaderMap) -> HeaderMap {
    let control = ResponseControl::parse(headers);
    let mut left_out: Vec<HeaderName> = Vec::new();
    for scope in [control.no_cache, control.private] {
        if let Scope::Fields(names) = scope {
            left_out.extend(names);
        }
    }
    for line in headers.get_all(CONNECTION) {
        let names = members(line.as_bytes(), b',').map(HeaderName::from_bytes);
        left_out.extend(names.flatten());
    }
    let kept = || {
        headers
            .iter()
            .filter(|(name, _)| !belongs_to_the_hop(name) && !left_out.contains(name))
    };
    let mut buffer = BytesMut::with_capacity(kept().map(|(_, value)| value.len()).sum());
    for (_, value) in kept() {
        buffer.extend_from_slice(value.as_bytes());
    }
    let mut buffer = buffer.freeze();
    let mut stored = HeaderMap::with_capacity(kept().count());
    for (name, value) in kept() {
        let bytes = buffer.split_to(value.len());
        if let Ok(value) = HeaderValue::from_maybe_shared(bytes) {
            stored.append(name, value);
        }
    }
    stored
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_the_connection_and_named_ones_are_left_out() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "a, close"),
            ("a", "1"),
            ("b", "2"),
            ("b", "3"),
            ("keep-alive", "timeout=5"),
            (
                "cache-control",
                "max-age=1, no-cache=\"set-cookie\", private=\"c\"",
            ),
            ("set-cookie", "x=y"),
            ("c", "4"),
            ("age", "5"),
            ("transfer-encoding", "chunked"),
        ] {
            headers.append(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        }
        let stored = stored_fields(&headers);
        let names: Vec<_> = stored
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
            .collect();
        let control = "max-age=1, no-cache=\"set-cookie\", private=\"c\"";
        assert_eq!(names, [("b", "2"), ("b", "3"), ("cache-control", control)]);
    }
}
