//! What the cache answers, request by request.

use crate::origin::{Bench, get, ok, text};
use gateway_spec::Cache;
use http::{Method, Request, StatusCode};
use pando_gateway::body::Body;
use pando_gateway::cache::{CacheStatus, FetchFailed, Purge};

const FRESH: (&str, &str) = ("cache-control", "max-age=60");

fn fresh(n: usize) -> http::Response<Body> {
    ok(&[FRESH, ("etag", "\"1\"")], format!("body {n}"))
}

#[tokio::test]
async fn a_miss_then_hits() {
    let bench = Bench::new(&Cache::default(), fresh);
    let (response, status) = bench.get("/x").await;
    assert_eq!(status, CacheStatus::Miss);
    assert_eq!(
        response.headers()["cache-status"],
        "pando; fwd=uri-miss; stored"
    );
    assert_eq!(text(response).await, "body 0");
    let (response, status) = bench.get("/x").await;
    assert_eq!(status, CacheStatus::Hit);
    assert_eq!(response.headers()["age"], "0");
    assert_eq!(response.headers()["content-length"], "6");
    assert!(
        response.headers()["cache-status"]
            .to_str()
            .unwrap()
            .starts_with("pando; hit; ttl=")
    );
    assert_eq!(text(response).await, "body 0");
    assert_eq!(bench.read("/x?y").await.0, CacheStatus::Miss);
    assert_eq!(bench.asked(), 2);
    let statistics = bench.store.statistics();
    assert_eq!((statistics.stored, statistics.addresses), (2, 2));
    assert!(statistics.requests.contains(&("hit", 1)));
}

#[tokio::test]
async fn conditions_ranges_and_head_are_answered_from_the_store() {
    let bench = Bench::new(&Cache::default(), fresh);
    bench.read("/x").await;
    let (response, _) = bench.send(get("/x", &[("if-none-match", "W/\"1\"")])).await;
    assert_eq!(response.status(), StatusCode::NOT_MODIFIED);
    assert_eq!(response.headers()["etag"], "\"1\"");
    let (response, _) = bench.send(get("/x", &[("range", "bytes=-1")])).await;
    assert_eq!(response.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(response.headers()["content-range"], "bytes 5-5/6");
    assert_eq!(text(response).await, "0");
    let (response, _) = bench.send(get("/x", &[("range", "bytes=9-")])).await;
    assert_eq!(response.status(), StatusCode::RANGE_NOT_SATISFIABLE);
    let mut head = get("/x", &[]);
    *head.method_mut() = Method::HEAD;
    let (response, status) = bench.send(head).await;
    assert_eq!(
        (status, &response.headers()["content-length"]),
        (CacheStatus::Hit, &"6".parse().unwrap())
    );
    assert_eq!(text(response).await, "");
    assert_eq!(bench.asked(), 1);
}

#[tokio::test]
async fn all_bytes_as_a_range_are_stored_and_a_part_passes_by() {
    let bench = Bench::new(&Cache::default(), fresh);
    let (response, _) = bench.send(get("/x", &[("range", "bytes=2-3")])).await;
    assert_eq!(bench.last.lock().unwrap()["range"], "bytes=2-3");
    drop(response);
    let (response, status) = bench.send(get("/x", &[("range", "bytes=0-")])).await;
    assert_eq!(
        (response.status(), status),
        (StatusCode::PARTIAL_CONTENT, CacheStatus::Miss)
    );
    assert_eq!(response.headers()["content-range"], "bytes 0-5/6");
    assert!(!bench.last.lock().unwrap().contains_key("range"));
    assert_eq!(text(response).await, "body 1");
    let (response, status) = bench.send(get("/x", &[("range", "bytes=0-3")])).await;
    assert_eq!(
        (response.status(), status),
        (StatusCode::PARTIAL_CONTENT, CacheStatus::Hit)
    );
    assert_eq!(text(response).await, "body");
}

#[tokio::test]
async fn the_clients_condition_is_kept_from_the_origin_so_that_there_is_something_to_store() {
    let bench = Bench::new(&Cache::default(), fresh);
    let (response, status) = bench.send(get("/x", &[("if-none-match", "\"1\"")])).await;
    assert_eq!(
        (response.status(), status),
        (StatusCode::NOT_MODIFIED, CacheStatus::Miss)
    );
    assert!(!bench.last.lock().unwrap().contains_key("if-none-match"));
    tokio::task::yield_now().await;
    assert_eq!(bench.read("/x").await, (CacheStatus::Hit, "body 0".into()));
}

#[tokio::test]
async fn what_is_stale_is_validated() {
    let bench = Bench::new(&Cache::default(), |n| {
        let fields = [
            ("cache-control", "max-age=0"),
            ("etag", "\"1\""),
            ("x", ["a", "b"][n.min(1)]),
        ];
        let mut response = ok(&fields, if n == 0 { "body" } else { "" });
        if n > 0 {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        }
        response
    });
    bench.read("/x").await;
    let (response, status) = bench.get("/x").await;
    assert_eq!(status, CacheStatus::Revalidated);
    assert_eq!(bench.last.lock().unwrap()["if-none-match"], "\"1\"");
    assert_eq!(response.headers()["x"], "b");
    assert_eq!(text(response).await, "body");
}

#[tokio::test]
async fn a_cookie_of_a_304_is_for_the_client_that_asked() {
    let bench = Bench::new(&Cache::default(), |n| {
        let mut response = ok(&[("cache-control", "max-age=0"), ("etag", "\"1\"")], "body");
        if n == 1 {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            let cookie = http::HeaderValue::from_static("a=b");
            response.headers_mut().insert("set-cookie", cookie);
            let control = http::HeaderValue::from_static("max-age=60");
            response.headers_mut().insert("cache-control", control);
        }
        response
    });
    bench.read("/x").await;
    let (response, status) = bench.get("/x").await;
    assert_eq!(
        (status, &response.headers()["set-cookie"]),
        (CacheStatus::Revalidated, &"a=b".parse().unwrap())
    );
    let (response, status) = bench.get("/x").await;
    assert_eq!(
        (status, response.headers().get("set-cookie")),
        (CacheStatus::Hit, None)
    );
}

#[tokio::test]
async fn a_304_about_something_else_is_not_used() {
    let bench = Bench::new(&Cache::default(), |n| {
        let tag = ["\"1\"", "\"2\"", "\"2\""][n.min(2)];
        let mut response = ok(
            &[("cache-control", "max-age=0"), ("etag", tag)],
            format!("body {n}"),
        );
        if n == 1 {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        }
        response
    });
    bench.read("/x").await;
    assert_eq!(bench.read("/x").await, (CacheStatus::Miss, "body 2".into()));
    assert!(!bench.last.lock().unwrap().contains_key("if-none-match"));
}

#[tokio::test]
async fn a_stored_answer_stands_in_for_a_failed_one() {
    let spec = Cache {
        stale_if_error_ms: 60_000,
        ..Cache::default()
    };
    for marked in [true, false] {
        let bench = Bench::new(&spec, move |n| {
            if n == 0 {
                return ok(&[("cache-control", "max-age=0")], "body");
            }
            let mut response = ok(&[], "failed");
            *response.status_mut() = StatusCode::BAD_GATEWAY;
            if marked {
                response.extensions_mut().insert(FetchFailed);
            }
            response
        });
        bench.read("/x").await;
        assert_eq!(bench.read("/x").await, (CacheStatus::Stale, "body".into()));
        assert_eq!(
            bench.read("/other").await,
            (CacheStatus::Miss, "failed".into())
        );
    }
}

#[tokio::test]
async fn stale_is_served_while_one_request_fetches_anew() {
    let bench = Bench::new(&Cache::default(), |n| {
        let control = ["max-age=0, stale-while-revalidate=60", "max-age=60"][n.min(1)];
        ok(&[("cache-control", control)], format!("body {n}"))
    });
    bench.read("/x").await;
    assert_eq!(
        bench.read("/x").await,
        (CacheStatus::Updating, "body 0".into())
    );
    assert_eq!(
        bench.read("/x").await,
        (CacheStatus::Updating, "body 0".into())
    );
    while bench.asked() < 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(bench.read("/x").await, (CacheStatus::Hit, "body 1".into()));
    assert_eq!(bench.asked(), 2);
}

#[tokio::test]
async fn unsafe_methods_invalidate() {
    let bench = Bench::new(&Cache::default(), |n| {
        ok(&[FRESH, ("location", "/y")], format!("body {n}"))
    });
    bench.read("/x").await;
    bench.read("/y").await;
    let post = Request::post("/x").body(Body::from("data")).unwrap();
    assert_eq!(bench.send(post).await.1, CacheStatus::Bypass);
    assert_eq!(bench.read("/x").await.1, "body 3");
    assert_eq!(bench.read("/y").await.1, "body 4");
}

#[tokio::test]
async fn purging() {
    let bench = Bench::new(&Cache::default(), |n| {
        ok(&[FRESH, ("surrogate-key", "one two")], format!("{n}"))
    });
    for path in ["/a", "/b/1", "/b/2"] {
        bench.read(path).await;
    }
    assert_eq!(bench.store.purge(&Purge::url("a.example/b/*")), 2);
    assert_eq!(bench.read("/a").await.0, CacheStatus::Hit);
    assert_eq!(bench.store.purge(&Purge::Key("two".into())), 1);
    assert_eq!(bench.read("/a").await.0, CacheStatus::Miss);
}

#[tokio::test]
async fn options_of_a_route() {
    let spec = Cache {
        default_ttl_ms: Some(60_000),
        key_headers: vec!["X-Country".into()],
        ignore_query: vec!["utm_source".into()],
        bypass_cookies: vec!["sid".into()],
        max_object_bytes: 10,
        ..Cache::default()
    };
    let bench = Bench::new(&spec, |n| ok(&[], format!("body {n}")));
    assert_eq!(bench.read("/x?utm_source=a").await.1, "body 0");
    assert_eq!(bench.read("/x?utm_source=b").await.1, "body 0");
    let (response, _) = bench.send(get("/x", &[("x-country", "NO")])).await;
    assert_eq!(text(response).await, "body 1");
    let (_, status) = bench.send(get("/x", &[("cookie", "a=b; sid=c")])).await;
    assert_eq!(status, CacheStatus::Bypass);
    let large = Bench::new(&spec, |n| ok(&[], format!("a larger body {n}")));
    assert_eq!(large.read("/x").await.1, "a larger body 0");
    assert_eq!(large.read("/x").await.1, "a larger body 1");
}

#[tokio::test]
async fn what_is_not_for_others_is_not_stored() {
    for fields in [
        [("cache-control", "private, max-age=60"), ("x", "y")],
        [FRESH, ("set-cookie", "a=b")],
        [FRESH, ("vary", "*")],
        [FRESH, ("content-type", "text/event-stream; charset=utf-8")],
    ] {
        let bench = Bench::new(&Cache::default(), move |n| ok(&fields, format!("{n}")));
        assert_eq!(bench.read("/x").await.1, "0", "{fields:?}");
        assert_eq!(bench.read("/x").await.1, "1", "{fields:?}");
    }
    let bench = Bench::new(&Cache::default(), fresh);
    let login = get("/x", &[("authorization", "Basic eA==")]);
    bench.send(login).await;
    assert_eq!(bench.read("/x").await.0, CacheStatus::Miss);
}

#[tokio::test]
async fn only_if_cached() {
    let bench = Bench::new(&Cache::default(), fresh);
    let (response, status) = bench
        .send(get("/x", &[("cache-control", "only-if-cached")]))
        .await;
    assert_eq!(
        (response.status(), status),
        (StatusCode::GATEWAY_TIMEOUT, CacheStatus::Absent)
    );
    assert_eq!(bench.asked(), 0);
}

#[tokio::test]
async fn a_request_in_the_cache_needs_little_room() {
    // Every connection has room for it, idle ones too.
    const MOST: usize = 1024;
    let bench = Bench::new(&Cache::default(), fresh);
    let fetch = |_| async { ok(&[], "") };
    let handling = bench.cache.handle("http", "a", get("/", &[]), fetch);
    assert!(size_of_val(&handling) <= MOST, "{}", size_of_val(&handling));
}
