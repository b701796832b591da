//! Arbitrary fields to every reader of them: no panic, and what is decided holds together.
//! `cargo +nightly fuzz run fields`.
#![no_main]

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use http_cache::range::{Selection, select};
use http_cache::{
    Asked, Origin, RequestControl, Rules, Usable, Vary, assess, condition, freshen, invalidated,
    not_modified, stored_fields,
};
use libfuzzer_sys::fuzz_target;

const NAMES: [&str; 20] = [
    "cache-control",
    "cdn-cache-control",
    "surrogate-control",
    "age",
    "date",
    "expires",
    "vary",
    "pragma",
    "etag",
    "last-modified",
    "if-none-match",
    "if-modified-since",
    "if-range",
    "range",
    "connection",
    "location",
    "content-location",
    "accept-language",
    "content-language",
    "set-cookie",
];
const NOW_MS: u64 = 1_577_836_800_000;
const LENGTH: u64 = 1000;

type Lines<'a> = Vec<(u8, &'a [u8])>;

fuzz_target!(|input: (Lines, Lines, u8, u32)| {
    let (request, response) = (headers(&input.0), headers(&input.1));
    let status = [200, 206, 301, 404, 503, 599][usize::from(input.2) % 6];
    let status = StatusCode::from_u16(status).expect("listed");
    let later_ms = NOW_MS + u64::from(input.3);
    let asked = RequestControl::parse(&request);
    if let Ok(freshness) = assess(
        &Rules::default(),
        Asked::default(),
        status,
        &response,
        NOW_MS,
        NOW_MS,
    ) {
        if freshness.usable(&RequestControl::default(), NOW_MS) != Usable::Fresh {
            assert_ne!(
                freshness.usable(&RequestControl::default(), later_ms),
                Usable::Fresh
            );
        }
        freshness.usable(&asked, later_ms);
    }
    let stored = stored_fields(&response);
    assert_eq!(stored_fields(&stored), stored);
    if let Some(vary) = Vary::of(&response) {
        vary.key(&request);
        vary.language_fits(&request, &response);
    }
    if let Selection::Part(part) = select(&request, &stored, LENGTH) {
        assert!(part.start < part.end && part.end <= LENGTH);
    }
    not_modified(&request, &stored, NOW_MS);
    let _ = freshen(&stored, &response);
    let origin = Origin {
        scheme: "http",
        host: "a.example",
        path_and_query: "/x/y?z",
    };
    for path in invalidated(&Method::POST, status, origin, &response) {
        assert!(path.starts_with('/'), "{path}");
    }
    condition(&mut request.clone(), &stored);
});

fn headers(lines: &Lines) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines.iter().take(64) {
        let name = NAMES[usize::from(*name) % NAMES.len()];
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(HeaderName::from_static(name), value);
        }
    }
    headers
}
