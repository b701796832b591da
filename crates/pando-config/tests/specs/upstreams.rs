//! Where requests go.

use gateway_spec::*;
use proptest::prelude::*;

use super::{name, path, share, text, wait};

pub fn target() -> impl Strategy<Value = Target> {
    let protocol = prop_oneof![
        Just(Protocol::Http1),
        Just(Protocol::Https),
        Just(Protocol::H2c),
        Just(Protocol::H2)
    ];
    let address = prop_oneof![
        ("[a-z]{1,5}\\.internal", 1_u16..).prop_map(|(host, port)| format!("{host}:{port}")),
        path().prop_map(|path| format!("unix:{}", path.display())),
    ];
    let upstream = (address, 1_u32..5, protocol).prop_map(|(address, weight, protocol)| Upstream {
        address,
        weight,
        protocol,
        backup: false,
    });
    let addresses = prop::collection::btree_map("[a-z]", upstream, 1..4).prop_map(|map| {
        let mut list: Vec<Upstream> = map.into_values().collect();
        list.dedup_by_key(|upstream| upstream.address.clone());
        if let [_, .., last] = &mut list[..] {
            last.backup = true;
        }
        Target::Addresses(list)
    });
    prop_oneof![name().prop_map(Target::App), addresses].prop_filter("each once", |target| {
        match target {
            Target::App(name) => name != "all",
            Target::Addresses(list) => {
                let mut addresses: Vec<_> = list.iter().map(|u| &u.address).collect();
                addresses.sort();
                addresses.windows(2).all(|pair| pair[0] != pair[1])
            }
        }
    })
}

pub fn balance() -> impl Strategy<Value = Balance> {
    prop_oneof![
        Just(Balance::PeakEwma),
        Just(Balance::RoundRobin),
        Just(Balance::LeastConnections),
        Just(Balance::Random),
        Just(Balance::TwoChoices),
        Just(Balance::IpHash),
        name().prop_map(|name| Balance::RingHash(HashKey::Header(name))),
        name().prop_map(|name| Balance::RingHash(HashKey::Cookie(name))),
        Just(Balance::RingHash(HashKey::Path)),
        Just(Balance::RingHash(HashKey::Uri)),
        Just(Balance::RingHash(HashKey::Ip)),
    ]
}

pub fn health() -> impl Strategy<Value = Health> {
    (wait(), wait(), 1_u32..9, prop::option::of(text())).prop_map(
        |(interval_ms, timeout_ms, fall, host)| Health {
            path: "/up".into(),
            interval_ms,
            timeout_ms,
            fall,
            rise: fall,
            statuses: (200, 200 + u16::try_from(fall).unwrap()),
            host,
        },
    )
}

pub fn breaker() -> impl Strategy<Value = Breaker> {
    let first = (
        prop::option::of(1_u32..9),
        0_u32..9,
        wait(),
        prop::option::of(share()),
    );
    (first, wait(), 1_u32..9, wait()).prop_map(
        |(
            (max_requests, max_pending, pending_ms, error_share),
            window_ms,
            min_requests,
            open_ms,
        )| Breaker {
            max_requests,
            max_pending,
            pending_ms,
            error_share,
            window_ms,
            min_requests,
            open_ms,
        },
    )
}

pub fn upstreams() -> impl Strategy<Value = Upstreams> {
    let retry = (
        0_u32..=10,
        share(),
        prop::collection::vec(400_u16..599, 0..3),
    )
        .prop_map(|(attempts, budget, statuses)| Retry {
            attempts,
            budget,
            statuses,
        });
    let outlier = (any::<bool>(), 1_u32..9, wait(), share()).prop_map(
        |(on, consecutive, eject_ms, max_share)| Outlier {
            on,
            consecutive,
            eject_ms,
            max_eject_ms: eject_ms,
            max_share,
        },
    );
    let pool = (wait(), 0_u32..9, wait()).prop_map(|(connect_ms, idle, read_ms)| Pool {
        connect_ms,
        idle,
        idle_ms: read_ms,
        read_ms,
    });
    let tls = (
        prop::option::of(text()),
        prop::option::of(path()),
        any::<bool>(),
    )
        .prop_map(|(server_name, ca, insecure)| UpstreamTls {
            server_name,
            client: ca.clone().map(|path| (path.clone(), path)),
            ca,
            insecure,
        });
    let version = prop_oneof![Just(ProxyVersion::V1), Just(ProxyVersion::V2)];
    let first = (
        target(),
        balance(),
        prop::option::of(name()),
        retry,
        prop::option::of(health()),
        outlier,
    );
    let second = (
        breaker(),
        pool,
        wait(),
        tls,
        prop::option::of(version),
        any::<bool>(),
    );
    (first, second, any::<u8>()).prop_map(|(first, second, which)| {
        let (target, balance, sticky_cookie, retry, health, outlier) = first;
        let (breaker, pool, slow_start_ms, tls, proxy_protocol, preserve_host) = second;
        let base = match &target {
            Target::App(name) => Upstreams::app(name),
            Target::Addresses(_) => Upstreams::new(target.clone()),
        };
        let mut group = Upstreams {
            balance,
            sticky_cookie,
            ..base
        };
        // Defaults beside what differs: both must come back.
        if which & 1 == 0 {
            group.retry = retry;
        }
        if which & 2 == 0 {
            group.health = health;
        }
        if which & 4 == 0 {
            group.outlier = outlier;
        }
        if which & 8 == 0 {
            group.breaker = breaker;
        }
        if which & 16 == 0 {
            group.pool = pool;
        }
        if which & 32 == 0 {
            group.slow_start_ms = slow_start_ms;
            group.resolve_ms = slow_start_ms;
        }
        if which & 64 == 0 {
            group.tls = tls;
        }
        if which & 128 == 0 {
            group.proxy_protocol = proxy_protocol;
            group.preserve_host = preserve_host;
        }
        group
    })
}
