//! Against another implementation of the same standard, where the two mean to do the same.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use http_cache::{Asked, RequestControl, Rules, Usable, assess};
use http_cache_semantics::{CacheOptions, CachePolicy};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

/// 2020-01-01 00:00:00 UTC.
const NOW_S: u64 = 1_577_836_800;

/// Left out: `proxy-revalidate` and `immutable`, which the other reads as nobody else does, and
/// statuses that it does not know.
const DIRECTIVES: [&str; 7] = [
    "public",
    "private",
    "no-store",
    "no-cache",
    "must-revalidate",
    "max-age",
    "s-maxage",
];
const STATUSES: [u16; 12] = [200, 203, 204, 300, 301, 302, 303, 307, 404, 405, 410, 501];

#[derive(Debug)]
struct Case {
    status: u16,
    control: Vec<String>,
    expires: Option<i64>,
    changed: Option<u32>,
    age: Option<u32>,
    authorization: bool,
    cookie: bool,
}

fn cases() -> impl Strategy<Value = Case> {
    let parts = (
        select(&STATUSES[..]),
        subsequence(&DIRECTIVES[..], 0..4),
        (0u32..100, 0u32..100),
        prop::option::of(-100i64..100_000),
        // Short of where our heuristic ends, which the other's does not.
        prop::option::of(0u32..800_000),
        prop::option::of(0u32..100),
        any::<bool>(),
        any::<bool>(),
    );
    parts.prop_map(
        |(status, words, seconds, expires, changed, age, authorization, cookie)| Case {
            status,
            // With a cookie, `s-maxage` says enough to us, but not to the other.
            cookie: cookie && !words.contains(&"s-maxage"),
            control: words
                .into_iter()
                .map(|word| match word {
                    "max-age" => format!("max-age={}", seconds.0),
                    "s-maxage" => format!("s-maxage={}", seconds.1),
                    word => word.to_owned(),
                })
                .collect(),
            expires,
            changed,
            age,
            authorization,
        },
    )
}

fn date(seconds: i64) -> String {
    let seconds = u64::try_from(seconds).unwrap_or(0);
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds))
}

fn headers(case: &Case) -> HeaderMap {
    let now = NOW_S.cast_signed();
    let mut lines = vec![("date", date(now))];
    if !case.control.is_empty() {
        lines.push(("cache-control", case.control.join(", ")));
    }
    lines.extend(case.expires.map(|offset| ("expires", date(now + offset))));
    lines.extend(
        case.changed
            .map(|ago| ("last-modified", date(now - i64::from(ago)))),
    );
    lines.extend(case.age.map(|age| ("age", age.to_string())));
    lines.extend(case.cookie.then(|| ("set-cookie", "a=b".to_owned())));
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.append(HeaderName::from_static(name), value);
        }
    }
    headers
}

/// Seconds of freshness left, by the other.
fn theirs(case: &Case, now: SystemTime) -> u64 {
    let mut request = Request::new(());
    if case.authorization {
        let value = HeaderValue::from_static("Basic eA==");
        request.headers_mut().insert("authorization", value);
    }
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::from_u16(case.status).unwrap_or_default();
    *response.headers_mut() = headers(case);
    let options = CacheOptions {
        shared: true,
        ..CacheOptions::default()
    };
    let policy = CachePolicy::new_options(&request, &response, now, options);
    policy.time_to_live(now).as_secs()
}

fn ours(case: &Case) -> u64 {
    let asked = Asked {
        authorization: case.authorization,
        no_store: false,
    };
    let now_ms = NOW_S * 1000;
    let status = StatusCode::from_u16(case.status).unwrap_or_default();
    let rules = Rules::default();
    match assess(&rules, asked, status, &headers(case), now_ms, now_ms) {
        Ok(fresh) if fresh.usable(&RequestControl::default(), now_ms) == Usable::Fresh => {
            fresh.remaining_ms(now_ms) / 1000
        }
        Ok(_) | Err(_) => 0,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]
    #[test]
    fn the_same_time_to_live(case in cases()) {
        let now = UNIX_EPOCH + Duration::from_secs(NOW_S);
        prop_assert_eq!(ours(&case), theirs(&case, now));
    }
}
