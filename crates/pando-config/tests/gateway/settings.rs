//! The gateway as a whole.

use std::path::Path;

use gateway_spec::*;
use pando_config::parse;

use super::world::base_env;
use super::{gateway_fs, read, whole};

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
