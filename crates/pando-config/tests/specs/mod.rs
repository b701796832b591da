//! Gateways of all kinds, each valid.

#![allow(
    clippy::too_many_lines,
    clippy::unwrap_used,
    reason = "strategies are long tables, and tests may panic"
)]

mod protect;
mod upstreams;

use std::path::PathBuf;

use gateway_spec::*;
use proptest::prelude::*;
use proptest::strategy::BoxedStrategy;

use protect::protect;
use upstreams::upstreams;

pub fn strategy<T: std::fmt::Debug>(s: impl Strategy<Value = T> + 'static) -> BoxedStrategy<T> {
    s.boxed()
}

pub fn text() -> impl Strategy<Value = String> {
    "[a-z\"'\\\\ éß/.:=-]{0,6}[a-z0-9]"
}

pub fn name() -> impl Strategy<Value = String> {
    "[a-z][a-z0-9_-]{0,6}"
}

pub fn path() -> impl Strategy<Value = PathBuf> {
    "/[a-z][a-z \"']{0,4}[a-z]/[a-z.]{0,4}[a-z]".prop_map(PathBuf::from)
}

/// Milliseconds up to a day.
pub fn wait() -> impl Strategy<Value = u64> {
    prop_oneof![1_u64..100, (1_u64..86_400).prop_map(|s| s * 1000)]
}

/// Milliseconds up to ten years.
pub fn age() -> impl Strategy<Value = u64> {
    prop_oneof![0_u64..5_000, (0_u64..315_360_000).prop_map(|s| s * 1000)]
}

pub fn size() -> impl Strategy<Value = u64> {
    prop_oneof![0_u64..5_000, 0_u64..(16 << 40)]
}

pub fn share() -> impl Strategy<Value = f64> {
    0.0_f64..=1.0
}

pub fn net() -> impl Strategy<Value = ipnet::IpNet> {
    (any::<[u8; 4]>(), 0_u8..=32).prop_map(|(ip, len)| {
        ipnet::IpNet::new(std::net::IpAddr::from(ip), len)
            .unwrap()
            .trunc()
    })
}

pub fn path_match() -> impl Strategy<Value = PathMatch> {
    prop_oneof![
        "/[a-z0-9.%é]{1,5}x".prop_map(PathMatch::Exact),
        "(/[a-z]{1,4}){0,2}/?"
            .prop_filter("rooted", |p| p.starts_with('/'))
            .prop_map(PathMatch::Prefix),
        "/[a-z]{1,4}/\\{id\\}(/\\*)?".prop_map(PathMatch::Params),
        ("/([a-z]{1,3}/)?", prop::collection::vec("[a-z]{1,4}", 1..4))
            .prop_map(|(prefix, extensions)| PathMatch::Extensions { prefix, extensions }),
    ]
}

pub fn action() -> BoxedStrategy<Action> {
    let branch = (
        upstreams(),
        1_u32..9,
        prop::option::of(name()),
        prop::option::of("[a-z0-9]{1,5}"),
    )
        .prop_map(|(upstreams, weight, header, cookie)| Branch {
            weight,
            header: header.map(|name| HeaderMatch {
                name,
                value: cookie.clone(),
            }),
            cookie: cookie.map(|value| ("canary".into(), value)),
            upstreams,
        });
    let files = (path(), prop::option::of(text()), any::<[bool; 4]>()).prop_map(
        |(root, cache_control, flags)| Files {
            root,
            index: if flags[0] {
                vec![]
            } else {
                vec!["index.html".into()]
            },
            spa: flags[0].then(|| "app.html".into()),
            cache_control,
            precompressed: flags[1],
            fall_through: flags[2],
            dotfiles: flags[3],
        },
    );
    let redirect = (
        prop::sample::select(vec![301_u16, 302, 303, 307, 308]),
        text(),
    )
        .prop_map(|(status, to)| Action::Redirect {
            status,
            to: format!("/{to}{{uri}}"),
        });
    let respond = (
        200_u16..204,
        "[a-z\"'\\\\\n]{0,5}",
        prop::option::of(text()),
    )
        .prop_map(|(status, body, content_type)| Action::Respond {
            status,
            body,
            content_type,
        });
    strategy(prop_oneof![
        4 => upstreams().prop_map(Action::Proxy),
        1 => prop::collection::vec(branch, 1..3).prop_map(Action::Split),
        1 => files.prop_map(Action::Files),
        1 => redirect,
        1 => respond,
    ])
}

pub fn edits() -> impl Strategy<Value = Vec<HeaderEdit>> {
    let edit = (0..3, "x-[abc]", text()).prop_map(|(kind, name, value)| match kind {
        0 => HeaderEdit::Set { name, value },
        1 => HeaderEdit::Add { name, value },
        _ => HeaderEdit::Remove { name },
    });
    prop::collection::vec(edit, 0..5)
}

pub fn cache() -> impl Strategy<Value = Cache> {
    let ages = (
        prop::option::of(age()),
        prop::option::of(age()),
        age(),
        age(),
    );
    (ages, size(), name()).prop_map(
        |((default_ttl_ms, force_ttl_ms, one, other), max_object_bytes, name)| Cache {
            default_ttl_ms,
            force_ttl_ms,
            stale_while_revalidate_ms: one,
            stale_if_error_ms: other,
            max_object_bytes,
            key_headers: vec![name.clone()],
            ignore_query: vec![name.clone()],
            bypass_cookies: vec![],
            surrogate_header: name,
        },
    )
}

pub fn route() -> impl Strategy<Value = Route> {
    let rewrite = |path: &PathMatch, which: u8| match which % 5 {
        0 => Some(Rewrite::Template("/x/{path}".into())),
        1 => Some(Rewrite::Regex {
            pattern: "^/(\\d+)\"$".into(),
            replacement: "/$1".into(),
        }),
        2 if matches!(path, PathMatch::Prefix(_)) => Some(Rewrite::StripPrefix),
        3 if matches!(path, PathMatch::Prefix(_)) => Some(Rewrite::ReplacePrefix("/v2/".into())),
        _ => None,
    };
    let compress = prop_oneof![
        Just(None),
        Just(Some(Compress::default())),
        (size(), prop::option::of(1_u8..=9)).prop_map(|(min_bytes, level)| Some(Compress {
            encodings: vec!["gzip".into()],
            min_bytes,
            types: vec!["text/*".into()],
            level,
        })),
    ];
    let body = prop_oneof![size(), Just(u64::MAX), Just(16 << 20)];
    let first = (
        path_match(),
        action(),
        edits(),
        edits(),
        protect(),
        prop::option::of(cache()),
    );
    (
        first,
        compress,
        body,
        wait(),
        any::<bool>(),
        text(),
        any::<u8>(),
    )
        .prop_map(
            move |(
                (path, action, request_headers, response_headers, protect, cache),
                compress,
                body_bytes,
                timeout_ms,
                buffer_request,
                name,
                which,
            )| {
                let mut route = Route::new(path, action);
                if which & 64 == 0 {
                    route.name = name.clone();
                    route.matches.methods = vec!["GET".into(), "POST".into()];
                    route.matches.headers = vec![
                        HeaderMatch {
                            name: "x-a".into(),
                            value: Some(name),
                        },
                        HeaderMatch {
                            name: "x-b".into(),
                            value: None,
                        },
                    ];
                }
                route.rewrite = rewrite(&route.matches.path, which);
                Route {
                    request_headers,
                    response_headers,
                    protect,
                    cache,
                    compress,
                    body_bytes,
                    timeout_ms,
                    buffer_request,
                    ..route
                }
            },
        )
}

pub fn site() -> impl Strategy<Value = Site> {
    let tls = prop_oneof![
        Just(Tls::Auto),
        (path(), path()).prop_map(|(cert, key)| Tls::Files { cert, key })
    ];
    (
        prop::option::of(tls),
        prop::option::of(any::<bool>()),
        prop::option::of(prop_oneof![Just(31_536_000_u64), 0_u64..100_000_000]),
        prop::collection::vec(route(), 1..4),
    )
        .prop_map(|(tls, redirect_https, hsts_seconds, routes)| Site {
            tls,
            redirect_https,
            hsts_seconds,
            ..Site::new([""; 0], routes)
        })
}

pub fn spec() -> impl Strategy<Value = GatewaySpec> {
    let log = (
        any::<bool>(),
        prop::option::of(path()),
        any::<bool>(),
        share(),
    )
        .prop_map(|(on, path, text, sample)| AccessLog {
            on,
            path,
            format: if text {
                AccessLogFormat::Text
            } else {
                AccessLogFormat::Json
            },
            sample,
        });
    let store =
        (size(), prop::option::of((path(), size()))).prop_map(|(memory_bytes, disk)| CacheStore {
            memory_bytes,
            disk: disk.map(|(path, max_bytes)| CacheDisk { path, max_bytes }),
        });
    let acme = (path(), prop::option::of(text())).prop_map(|(root, kid)| Acme {
        directory: "https://acme.example/dir".into(),
        email: Some("a@example.com".into()),
        storage: Some(root.clone()),
        root: Some(root),
        eab: kid.map(|kid| (kid.clone(), Secret::new(kid))),
    });
    let numbers = (
        prop::option::of(1_u32..1024),
        prop::option::of(text()),
        prop::collection::vec(net(), 0..3),
        wait(),
        size(),
    );
    (
        prop::collection::vec(site(), 1..3),
        log,
        store,
        acme,
        numbers,
    )
        .prop_map(
            |(
                mut sites,
                access_log,
                cache_store,
                acme,
                (threads, user, trusted_proxies, ms, header_bytes),
            )| {
                for (index, site) in sites.iter_mut().enumerate() {
                    site.hosts = vec![format!("h{index}.example"), format!("www.h{index}.example")];
                    if site.tls != Some(Tls::Auto) {
                        site.hosts.push(format!("*.h{index}.example"));
                    }
                }
                GatewaySpec {
                    listen: vec![
                        Listen::tls("[::]:8443".parse().unwrap()),
                        Listen {
                            address: ListenAddress::Unix("/run/x.sock".into()),
                            tls: false,
                            proxy_protocol: true,
                        },
                    ],
                    sites,
                    health: threads.map(|threads| format!("/health/{threads}")),
                    threads,
                    user,
                    trusted_proxies,
                    limits: Limits {
                        header_bytes,
                        headers: 7,
                        ..Limits::default()
                    },
                    timeouts: Timeouts {
                        header_ms: ms,
                        drain_ms: 0,
                        ..Timeouts::default()
                    },
                    access_log,
                    cache_store,
                    acme,
                    redis: Some(Secret::new("redis://:p%20w@h/0")),
                    otlp: None,
                }
            },
        )
}
