//! What a route matches, and where it goes.

use gateway_spec::*;

use super::{route, upstreams};

#[test]
fn what_a_route_matches() {
    let got = route(
        r#"path = "/u/{id}/*", name = "users", methods = ["get", "HEAD"], headers = { X-V = "2", accept = true }, app = "a""#,
    );
    assert_eq!(got.name, "users");
    assert_eq!(
        got.matches,
        Matches {
            path: PathMatch::Params("/u/{id}/*".into()),
            methods: vec!["GET".into(), "HEAD".into()],
            headers: vec![
                HeaderMatch {
                    name: "x-v".into(),
                    value: Some("2".into())
                },
                HeaderMatch {
                    name: "accept".into(),
                    value: None
                },
            ],
        }
    );
    let got = route("app = \"a\"");
    assert_eq!(
        got,
        Route::new(
            PathMatch::Prefix("/".into()),
            Action::Proxy(Upstreams::app("a"))
        )
    );
    assert_eq!(got.name, "/*");
}

#[test]
fn where_a_route_goes() {
    let got = upstreams(
        r#"upstreams = ["app1.internal:3000", "https://h:444", "unix:/run/x.sock", { address = "h2c://b:1", weight = 3, backup = true }, { address = "unix:y", protocol = "h2c" }]"#,
    );
    let one = |address: &str, protocol, weight, backup| Upstream {
        address: address.into(),
        weight,
        protocol,
        backup,
    };
    assert_eq!(
        got.target,
        Target::Addresses(vec![
            one("app1.internal:3000", Protocol::Http1, 1, false),
            one("h:444", Protocol::Https, 1, false),
            one("unix:/run/x.sock", Protocol::Http1, 1, false),
            one("b:1", Protocol::H2c, 3, true),
            one("unix:/srv/y", Protocol::H2c, 1, false),
        ])
    );
    let got = route(
        r#"split = [{ weight = 90, app = "a" }, { weight = 10, upstreams = "b:1", header = "X-Canary: 1", cookie = "canary=1", balance = "random" }], balance = "round-robin""#,
    );
    let Action::Split(branches) = &got.action else {
        panic!("{got:?}")
    };
    assert_eq!(branches[0].weight, 90);
    assert_eq!(branches[0].upstreams.balance, Balance::RoundRobin);
    assert_eq!(branches[1].upstreams.balance, Balance::Random);
    assert_eq!(
        branches[1].header,
        Some(HeaderMatch {
            name: "x-canary".into(),
            value: Some("1".into())
        })
    );
    assert_eq!(branches[1].cookie, Some(("canary".into(), "1".into())));
    for (keys, status, body, content_type) in [
        ("respond = 204", 204, "", None),
        ("respond = \"ok\"", 200, "ok", None),
        (
            r#"respond = { status = 503, body = "{}", content_type = "application/json" }"#,
            503,
            "{}",
            Some("application/json".to_owned()),
        ),
    ] {
        let body = body.to_owned();
        assert_eq!(
            route(keys).action,
            Action::Respond {
                status,
                body,
                content_type
            },
            "{keys}"
        );
    }
    let got = route(r#"path = "/old/{id}", redirect = { to = "/new/{id}", status = 308 }"#);
    assert_eq!(
        got.action,
        Action::Redirect {
            status: 308,
            to: "/new/{id}".into()
        }
    );
    let files = route(
        r#"files = { root = "public", index = [], spa = "app.html", precompressed = false, fall_through = true, dotfiles = true }"#,
    );
    let at_route = route(
        r#"files = "public", index = [], spa = "/app.html", precompressed = false, fall_through = true, dotfiles = true"#,
    );
    assert_eq!(files, at_route);
    let Action::Files(files) = files.action else {
        panic!()
    };
    assert_eq!(files.spa.as_deref(), Some("app.html"));
    assert!(files.fall_through && files.dotfiles && !files.precompressed && files.index.is_empty());
    let Action::Files(files) = route("files = \"public\", spa = true").action else {
        panic!()
    };
    assert_eq!(files.spa.as_deref(), Some("index.html"));
}

#[test]
fn how_it_balances_and_fails() {
    for (text, expect) in [
        ("balance = \"peak-ewma\"", Balance::PeakEwma),
        ("balance = \"round-robin\"", Balance::RoundRobin),
        ("balance = \"least-connections\"", Balance::LeastConnections),
        ("balance = \"random\"", Balance::Random),
        ("balance = \"two-choices\"", Balance::TwoChoices),
        ("balance = \"ip-hash\"", Balance::IpHash),
        ("balance = \"ring-hash\"", Balance::RingHash(HashKey::Ip)),
        (
            "balance = \"ring-hash\", hash_key = \"uri\"",
            Balance::RingHash(HashKey::Uri),
        ),
        (
            "hash_key = \"header:X-User\"",
            Balance::RingHash(HashKey::Header("x-user".into())),
        ),
        (
            "hash_key = \"cookie:sid\"",
            Balance::RingHash(HashKey::Cookie("sid".into())),
        ),
    ] {
        assert_eq!(
            upstreams(&format!("app = \"a\", {text}")).balance,
            expect,
            "{text}"
        );
    }
    let got = upstreams(
        r#"app = "a", sticky = "sid", retry = { attempts = 3, budget = "10%", statuses = [502, 503] },
        health = { path = "/up", interval = "1s", timeout = "2s", fall = 4, rise = 5, statuses = [200, 204], host = "h" },
        outlier = { consecutive = 7, eject = "1s", max_eject = "2s", max_share = 0.3 },
        breaker = { error_share = 0.5, window = "3s", min_requests = 9, open = "4s" }, max_connections = 100,
        queue = { max = 10, wait = "5s" }, pool = { connect = "1s", idle = 8, idle_timeout = "2s", read = "3s" },
        slow_start = "0s", resolve = "9s", preserve_host = false, proxy_protocol = "v2",
        upstream_tls = { server_name = "n", ca = "ca.pem", cert = "cert.pem", key = "key.pem" }"#
            .replace('\n', " ")
            .as_str(),
    );
    let expect = Upstreams {
        sticky_cookie: Some("sid".into()),
        retry: Retry {
            attempts: 3,
            budget: 0.1,
            statuses: vec![502, 503],
        },
        health: Some(Health {
            path: "/up".into(),
            interval_ms: 1000,
            timeout_ms: 2000,
            fall: 4,
            rise: 5,
            statuses: (200, 204),
            host: Some("h".into()),
        }),
        outlier: Outlier {
            on: true,
            consecutive: 7,
            eject_ms: 1000,
            max_eject_ms: 2000,
            max_share: 0.3,
        },
        breaker: Breaker {
            max_requests: Some(100),
            max_pending: 10,
            pending_ms: 5000,
            error_share: Some(0.5),
            window_ms: 3000,
            min_requests: 9,
            open_ms: 4000,
        },
        pool: Pool {
            connect_ms: 1000,
            idle: 8,
            idle_ms: 2000,
            read_ms: 3000,
        },
        slow_start_ms: 0,
        tls: UpstreamTls {
            server_name: Some("n".into()),
            ca: Some("/srv/ca.pem".into()),
            insecure: false,
            client: Some(("/srv/cert.pem".into(), "/srv/key.pem".into())),
        },
        proxy_protocol: Some(ProxyVersion::V2),
        resolve_ms: 9000,
        preserve_host: false,
        ..Upstreams::app("a")
    };
    assert_eq!(got, expect);
    let got = upstreams(
        "app = \"a\", retry = false, health = \"/up\", outlier = false, queue = 0, sticky = true",
    );
    assert_eq!(
        (got.retry.attempts, got.outlier.on, got.breaker.max_pending),
        (0, false, 0)
    );
    assert_eq!(got.health.unwrap().path, "/up");
    assert_eq!(got.sticky_cookie.as_deref(), Some("pando_sticky"));
}
