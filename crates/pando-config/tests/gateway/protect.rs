//! Who may ask, and what is done around it.

use gateway_spec::*;

use super::route;

#[test]
fn who_may_ask() {
    let got = route(
        r#"app = "a", allow = ["10.0.0.0/8"], deny = "10.0.0.7", connections = { per = ["header:X-Key", "path"], max = 3 },
        limit = [{ rate = "100/m", per = "cookie:sid", nodelay = false, shared = true }, { rate = "5/30s", per = "everything", zone = "z", dry_run = true, burst = 2 }]"#
            .replace('\n', " ").as_str(),
    );
    assert_eq!(got.protect.allow[0].to_string(), "10.0.0.0/8");
    assert_eq!(got.protect.deny[0].to_string(), "10.0.0.7/32");
    assert_eq!(
        got.protect.connections,
        Some(ConnectionLimit {
            per: vec![KeyPart::Header("x-key".into()), KeyPart::Path],
            max: 3
        })
    );
    let [first, second] = &got.protect.limits[..] else {
        panic!()
    };
    assert_eq!(
        (first.rate, first.period_ms, first.nodelay, first.shared),
        (100, 60_000, false, true)
    );
    assert_eq!(
        (second.rate, second.period_ms, second.burst, second.dry_run),
        (5, 30_000, 2, true)
    );
    assert_eq!(second.per, [KeyPart::Everything]);
    let auth = |keys: &str| route(&format!("app = \"a\", {keys}")).protect.auth.unwrap();
    assert_eq!(
        auth(
            r#"basic_auth = { realm = "r", users = { bob = "$2y$05$x", al = "{SHA}x" }, file = "htpasswd" }"#
        ),
        Auth::Basic(Basic {
            realm: "r".into(),
            users: vec![
                ("bob".into(), Secret::new("$2y$05$x")),
                ("al".into(), Secret::new("{SHA}x"))
            ],
            file: Some("/srv/htpasswd".into()),
        })
    );
    assert_eq!(
        auth(
            r#"jwt = { jwks = "jwks.json", secret = "0123456789abcdef0123456789abcdef", algorithms = ["HS256"], issuer = "i", audience = "x", cookie = "c", forward = { sub = "X-User" }, leeway = "5s" }"#
        ),
        Auth::Jwt(Jwt {
            jwks: Some("/srv/jwks.json".into()),
            secret: Some(Secret::new("0123456789abcdef0123456789abcdef")),
            algorithms: vec!["HS256".into()],
            issuer: Some("i".into()),
            audience: vec!["x".into()],
            cookie: Some("c".into()),
            forward: vec![("sub".into(), "x-user".into())],
            leeway_seconds: 5,
        })
    );
    let Auth::Jwt(jwt) = auth("jwt = \"https://i/jwks\"") else {
        panic!()
    };
    assert_eq!(jwt.jwks.as_deref(), Some("https://i/jwks"));
    assert_eq!(
        auth(r#"api_keys = { header = "X-Key", query = "key", keys = { bob = "k" } }"#),
        Auth::ApiKeys(ApiKeys {
            header: "x-key".into(),
            query: Some("key".into()),
            keys: vec![("bob".into(), Secret::new("k"))],
            file: None,
        })
    );
}

#[test]
fn what_is_done_around_it() {
    let got = route(
        r#"path = "/a/*", app = "a", strip_prefix = true, request_headers = { remove = "X-B", set = { X-A = "{client_ip}" } },
        response_headers = [{ add = { x = "" } }, { set = { y = "{host}" } }, { add = { x = "2" } }], cache_control = "no-store",
        cors = { origins = "https://A.example", methods = "get", headers = "X-H", expose = "x-e", credentials = true, max_age = "1h" },
        security_headers = { frame_options = "DENY", referrer_policy = false }, cache = "10m", compress = { encodings = "br", min_size = "2K", types = "Text/*", level = 5 },
        body = "1M", buffer = false, timeout = "5s""#.replace('\n', " ").as_str(),
    );
    let set = |name: &str, value: &str| HeaderEdit::Set {
        name: name.into(),
        value: value.into(),
    };
    let add = |name: &str, value: &str| HeaderEdit::Add {
        name: name.into(),
        value: value.into(),
    };
    assert_eq!(got.rewrite, Some(Rewrite::StripPrefix));
    assert_eq!(
        got.request_headers,
        [
            HeaderEdit::Remove { name: "x-b".into() },
            set("x-a", "{client_ip}")
        ]
    );
    assert_eq!(
        got.response_headers,
        [
            add("x", ""),
            set("y", "{host}"),
            add("x", "2"),
            set("cache-control", "no-store")
        ]
    );
    assert_eq!(
        got.protect.cors,
        Some(Cors {
            origins: vec!["https://a.example".into()],
            methods: vec!["GET".into()],
            headers: vec!["x-h".into()],
            expose: vec!["x-e".into()],
            credentials: true,
            max_age_seconds: 3600,
        })
    );
    let headers = got.protect.headers.unwrap();
    assert_eq!(
        (headers.frame_options.as_deref(), headers.referrer_policy),
        (Some("DENY"), None)
    );
    assert_eq!(got.cache.unwrap().default_ttl_ms, Some(600_000));
    assert_eq!(
        got.compress,
        Some(Compress {
            encodings: vec!["br".into()],
            min_bytes: 2048,
            types: vec!["text/*".into()],
            level: Some(5),
        })
    );
    assert_eq!(
        (got.body_bytes, got.buffer_request, got.timeout_ms),
        (1 << 20, false, 5000)
    );
    for (keys, expect) in [
        (
            "rewrite = \"/x{path}\"",
            Rewrite::Template("/x{path}".into()),
        ),
        (
            "rewrite = { prefix = \"/v2/\" }",
            Rewrite::ReplacePrefix("/v2/".into()),
        ),
        (
            "rewrite = { regex = '^/a/(\\d+)$', to = '/b/$1' }",
            Rewrite::Regex {
                pattern: "^/a/(\\d+)$".into(),
                replacement: "/b/$1".into(),
            },
        ),
    ] {
        assert_eq!(
            route(&format!("app = \"a\", {keys}")).rewrite,
            Some(expect),
            "{keys}"
        );
    }
    let got = route(
        r#"app = "a", cache = { ttl = "1d", force_ttl = "2h", stale_while_revalidate = "1m", stale_if_error = "7d", max_object = "1M", key_headers = "Accept", ignore_query = "utm_source", bypass_cookies = "sid", surrogate_header = "X-Tags" }, compress = false, body = "unlimited", security_headers = true, cors = true"#,
    );
    assert_eq!(
        got.cache,
        Some(Cache {
            default_ttl_ms: Some(86_400_000),
            force_ttl_ms: Some(7_200_000),
            stale_while_revalidate_ms: 60_000,
            stale_if_error_ms: 604_800_000,
            max_object_bytes: 1 << 20,
            key_headers: vec!["accept".into()],
            ignore_query: vec!["utm_source".into()],
            bypass_cookies: vec!["sid".into()],
            surrogate_header: "x-tags".into(),
        })
    );
    assert_eq!((got.compress, got.body_bytes), (None, u64::MAX));
    assert_eq!(got.protect.cors, Some(Cors::default()));
    assert_eq!(got.protect.headers, Some(SecurityHeaders::default()));
}
