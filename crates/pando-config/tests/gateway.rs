//! `[gateway]` and `[site]`: every key and what it becomes.

#![allow(
    clippy::too_many_lines,
    reason = "tables of inputs and what is expected"
)]

mod world;

use std::path::Path;

use gateway_spec::*;
use pando_config::{MemoryFs, Problem, parse};
use world::{base_env, fs, show};

fn gateway_fs() -> MemoryFs {
    fs().with("/srv/public/index.html", "")
        .with("/srv/cert.pem", "")
        .with("/srv/key.pem", "")
        .with("/srv/htpasswd", "")
        .with("/srv/jwks.json", "{}")
        .with("/srv/token", "from a file of some length\n")
}

fn read(text: &str) -> Result<(Option<GatewaySpec>, Vec<Problem>), Vec<Problem>> {
    let mut env = base_env();
    env.insert("REDIS".into(), "redis://from-env".into());
    parse(text, Path::new("/srv/pando.toml"), &env, &gateway_fs())
        .map(|(file, warnings)| (file.gateway, warnings))
}

#[track_caller]
fn whole(text: &str) -> GatewaySpec {
    let (spec, warnings) = read(text).unwrap_or_else(|p| panic!("{text}\n{}", show(&p)));
    assert_eq!(warnings, [], "{text}\n{}", show(&warnings));
    spec.expect("there is a gateway")
}

/// The one route of a site with these keys.
#[track_caller]
fn route(keys: &str) -> Route {
    let text = format!("[gateway]\nredis = \"redis://h\"\n[site.\"*\"]\nroutes = [{{ {keys} }}]\n");
    whole(&text).sites.remove(0).routes.remove(0)
}

#[track_caller]
fn upstreams(keys: &str) -> Upstreams {
    let route = route(keys);
    route.action.upstreams()[0].clone()
}

const DESIGN: &str = r#"
[app.api]
script    = "s.js"

[gateway]
listen = ["0.0.0.0:8080", "0.0.0.0:8443 tls"]

[site."api.example.com"]
tls       = { cert = "cert.pem", key = "key.pem" }
routes = [
  { path = "/static/*", files = "public", cache_control = "public, max-age=31536000, immutable" },
  { path = "/api/*", app = "api", balance = "least-connections", limit = { per = "ip", rate = "10/s", burst = 20 } },
  { path = "/*", upstreams = ["app1.internal:3000", "app2.internal:3000"] },
]
"#;

#[test]
fn the_example_of_the_design() {
    let spec = whole(DESIGN);
    let files = Files {
        root: "/srv/public".into(),
        index: vec!["index.html".into()],
        spa: None,
        cache_control: Some("public, max-age=31536000, immutable".into()),
        precompressed: true,
        fall_through: false,
        dotfiles: false,
    };
    let api = Upstreams {
        balance: Balance::LeastConnections,
        ..Upstreams::app("api")
    };
    let mut limited = Route::new(PathMatch::Prefix("/api/".into()), Action::Proxy(api));
    limited.protect.limits = vec![Limit {
        per: vec![KeyPart::Ip],
        zone: None,
        rate: 10,
        period_ms: 1000,
        burst: 20,
        nodelay: true,
        shared: false,
        dry_run: false,
    }];
    let both = Upstreams::addresses(["app1.internal:3000", "app2.internal:3000"]);
    let site = Site {
        tls: Some(Tls::Files {
            cert: "/srv/cert.pem".into(),
            key: "/srv/key.pem".into(),
        }),
        ..Site::new(
            ["api.example.com"],
            vec![
                Route::new(PathMatch::Prefix("/static/".into()), Action::Files(files)),
                limited,
                Route::new(PathMatch::Prefix("/".into()), Action::Proxy(both)),
            ],
        )
    };
    let expect = GatewaySpec {
        listen: vec![
            Listen::plain("0.0.0.0:8080".parse().unwrap()),
            Listen::tls("0.0.0.0:8443".parse().unwrap()),
        ],
        sites: vec![site],
        ..GatewaySpec::default()
    };
    assert_eq!(spec, expect);
    // The same, each route below a header of its own.
    let tables = DESIGN.split("routes = [").next().unwrap().to_owned()
        + r#"
[[site."api.example.com".routes]]
path = "/static/*"
files = { root = "public", cache_control = "public, max-age=31536000, immutable" }

[[site."api.example.com".routes]]
path = "/api/*"
app = "api"
balance = "least-connections"
limit = [{ per = ["ip"], rate = "10r/s", burst = 20, nodelay = true }]

[[site."api.example.com".routes]]
upstreams = ["app1.internal:3000", { address = "http://app2.internal:3000" }]
"#;
    assert_eq!(whole(&tables), expect);
}

#[test]
fn no_gateway_without_a_table_of_it() {
    let (spec, _) = read("[app.a]\nscript = \"s.js\"").unwrap();
    assert_eq!(spec, None);
}

#[test]
fn the_default_ports_are_those_that_may_be_opened() {
    let text = |tls: &str| format!("[site.x]\n{tls}\napp = \"a\"");
    let listen = |text: &str, root: bool| -> Vec<String> {
        let mut fs = gateway_fs();
        fs.root = root;
        let (file, _) = parse(text, Path::new("/srv/pando.toml"), &base_env(), &fs).unwrap();
        let show = |one: &Listen| format!("{}{}", one.address, if one.tls { " tls" } else { "" });
        file.gateway.unwrap().listen.iter().map(show).collect()
    };
    assert_eq!(listen(&text(""), false), ["0.0.0.0:8080"]);
    assert_eq!(listen(&text(""), true), ["0.0.0.0:80"]);
    let with_tls = text("tls = \"auto\"");
    assert_eq!(
        listen(&with_tls, false),
        ["0.0.0.0:8080", "0.0.0.0:8443 tls"]
    );
    assert_eq!(listen(&with_tls, true), ["0.0.0.0:80", "0.0.0.0:443 tls"]);
}

#[test]
fn the_whole_gateway() {
    let spec = whole(
        r#"
[gateway]
listen = ["127.0.0.1:9000 proxy", ":8081", "[::]:8443 tls", "unix:run/x.sock"]
threads = 2
user = "www-data"
trusted_proxies = ["10.0.0.1/8", "::1"]
limits = { header_size = "16K", headers = 50, connections = 1000, connections_per_ip = 20, h2_streams = 64 }
timeouts = { header = "5s", body = "6s", write = "7s", idle = "8s", handshake = "9s", drain = "0s" }
access_log = { path = "logs/access.log", format = "text", sample = 0.25 }
redis = { env = "REDIS" }

[gateway.cache]
memory = "128M"
disk = { path = "/var/cache/pando", max = "10G" }

[gateway.acme]
directory = "https://acme.example/dir"
email = "ops@example.com"
root = "ca.pem"
storage = "/etc/pando/acme"
eab = { kid = "k1", key = { file = "token" } }

[site."Example.com"]
aliases = ["www.example.com", "*.example.org"]
redirect_https = false
hsts = "365d"
tls = { cert = "cert.pem", key = "key.pem" }
redirect = "https://example.net{uri}"
"#,
    );
    let listen: Vec<String> = spec
        .listen
        .iter()
        .map(|one| one.address.to_string())
        .collect();
    assert_eq!(
        listen,
        [
            "127.0.0.1:9000",
            "0.0.0.0:8081",
            "[::]:8443",
            "unix:/srv/run/x.sock"
        ]
    );
    assert!(spec.listen[0].proxy_protocol && spec.listen[2].tls);
    assert_eq!(
        (spec.threads, spec.user.as_deref()),
        (Some(2), Some("www-data"))
    );
    let nets: Vec<String> = spec
        .trusted_proxies
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(nets, ["10.0.0.0/8", "::1/128"]);
    assert_eq!(
        spec.limits,
        Limits {
            header_bytes: 16 << 10,
            headers: 50,
            connections: 1000,
            connections_per_ip: Some(20),
            h2_streams: 64,
        }
    );
    assert_eq!(
        spec.timeouts,
        Timeouts {
            header_ms: 5000,
            body_ms: 6000,
            write_ms: 7000,
            idle_ms: 8000,
            handshake_ms: 9000,
            drain_ms: 0,
        }
    );
    assert_eq!(
        spec.access_log,
        AccessLog {
            on: true,
            path: Some("/srv/logs/access.log".into()),
            format: AccessLogFormat::Text,
            sample: 0.25,
        }
    );
    assert_eq!(spec.redis, Some(Secret::new("redis://from-env")));
    assert_eq!(spec.cache_store.memory_bytes, 128 << 20);
    assert_eq!(spec.cache_store.disk.as_ref().unwrap().max_bytes, 10 << 30);
    assert_eq!(
        spec.acme,
        Acme {
            directory: "https://acme.example/dir".into(),
            email: Some("ops@example.com".into()),
            root: Some("/srv/ca.pem".into()),
            storage: Some("/etc/pando/acme".into()),
            eab: Some(("k1".into(), Secret::new("from a file of some length"))),
        }
    );
    let site = &spec.sites[0];
    assert_eq!(
        site.hosts,
        ["example.com", "www.example.com", "*.example.org"]
    );
    assert_eq!(
        (site.redirect_https, site.hsts_seconds),
        (Some(false), Some(31_536_000))
    );
    assert_eq!(
        site.routes[0].action,
        Action::Redirect {
            status: 302,
            to: "https://example.net{uri}".into()
        }
    );
}

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
