//! Which answers may be compressed, and which are worth it.

use http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_RANGE, CONTENT_TYPE, HeaderName};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

use crate::body::Body;

/// Text, and formats that are text inside or are not compressed themselves.
const BUILT_IN: [&str; 18] = [
    "text/*",
    "application/json",
    "application/javascript",
    "application/x-javascript",
    "application/ecmascript",
    "application/xml",
    "application/wasm",
    "application/x-ndjson",
    "application/yaml",
    "application/rtf",
    "application/graphql",
    "application/vnd.ms-fontobject",
    "application/*+json",
    "application/*+xml",
    "image/svg+xml",
    "image/bmp",
    "font/ttf",
    "font/otf",
];

/// Digests of the bytes as they are (RFC 9530 and before): a proxy that changes the bytes makes
/// them wrong.
const DIGESTS: [HeaderName; 4] = [
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("content-md5"),
];

/// A list of media types.
#[derive(Debug)]
pub(super) struct Types(Vec<Pattern>);

#[derive(Debug)]
struct Pattern {
    before: String,
    /// What follows the star, if there is one.
    after: Option<String>,
}

impl Types {
    pub(super) fn new(patterns: &[String]) -> Self {
        let pattern = |text: &str| {
            let text = text.to_ascii_lowercase();
            match text.split_once('*') {
                None => Pattern {
                    before: text,
                    after: None,
                },
                Some((before, after)) => Pattern {
                    before: before.to_owned(),
                    after: Some(after.to_owned()),
                },
            }
        };
        Self(if patterns.is_empty() {
            BUILT_IN.iter().map(|text| pattern(text)).collect()
        } else {
            patterns.iter().map(|text| pattern(text)).collect()
        })
    }

    pub(super) fn take(&self, content_type: Option<&HeaderValue>) -> bool {
        content_type
            .and_then(media_type)
            .is_some_and(|media| self.0.iter().any(|pattern| pattern.matches(media)))
    }
}

impl Pattern {
    fn matches(&self, media: &str) -> bool {
        match &self.after {
            None => media.eq_ignore_ascii_case(&self.before),
            Some(after) => {
                media.len() >= self.before.len() + after.len()
                    && starts_with(media.as_bytes(), self.before.as_bytes())
                    && starts_with(
                        &media.as_bytes()[media.len() - after.len()..],
                        after.as_bytes(),
                    )
            }
        }
    }
}

fn starts_with(text: &[u8], start: &[u8]) -> bool {
    text.get(..start.len())
        .is_some_and(|head| head.eq_ignore_ascii_case(start))
}

/// Without parameters.
fn media_type(value: &HeaderValue) -> Option<&str> {
    let text = value.to_str().ok()?;
    Some(text.split(';').next().unwrap_or(text).trim())
}

pub(super) fn is_event_stream(headers: &HeaderMap) -> bool {
    let media = headers.get(CONTENT_TYPE).and_then(media_type);
    media.is_some_and(|media| media.eq_ignore_ascii_case("text/event-stream"))
}

/// Whether the bytes of the answer may be others than they are.
pub(super) fn may_change(response: &Response<Body>) -> bool {
    let headers = response.headers();
    let status = response.status();
    let whole = !status.is_informational()
        && status != StatusCode::NO_CONTENT
        && status != StatusCode::RESET_CONTENT
        && status != StatusCode::PARTIAL_CONTENT
        && status != StatusCode::NOT_MODIFIED;
    whole
        && !headers.contains_key(CONTENT_ENCODING)
        && !headers.contains_key(CONTENT_RANGE)
        && !no_transform(headers)
        && !DIGESTS.iter().any(|name| headers.contains_key(name))
}

/// Whether a request may be answered with something compressed at all.
pub(super) fn may_be_asked(request: &Parts) -> bool {
    request.method != Method::HEAD
        && request.method != Method::CONNECT
        && !no_transform(&request.headers)
}

/// RFC 9111 sections 5.2.1.6 and 5.2.2.6.
fn no_transform(headers: &HeaderMap) -> bool {
    headers.get_all(CACHE_CONTROL).iter().any(|line| {
        let directives = line.to_str().unwrap_or_default().split(',');
        directives
            .map(str::trim)
            .any(|directive| directive.eq_ignore_ascii_case("no-transform"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types() {
        let check = |patterns: &[&str], media: &'static str, expected| {
            let patterns: Vec<String> = patterns.iter().map(|&text| text.into()).collect();
            let value = HeaderValue::from_static(media);
            assert_eq!(
                Types::new(&patterns).take(Some(&value)),
                expected,
                "{media}"
            );
        };
        for media in [
            "text/html; charset=utf-8",
            "TEXT/Plain",
            "application/json",
            "application/problem+json",
            "application/atom+xml;x=y",
            "image/svg+xml",
            "text/event-stream",
            "application/wasm",
        ] {
            check(&[], media, true);
        }
        for media in [
            "image/png",
            "video/mp4",
            "application/octet-stream",
            "application/zip",
            "application/grpc",
            "application/+jso",
            "font/woff2",
            "",
        ] {
            check(&[], media, false);
        }
        check(&["application/*"], "application/zip", true);
        check(&["application/json"], "text/html", false);
        check(&["*"], "anything/at-all", true);
        assert!(!Types::new(&[]).take(None));
    }
}
