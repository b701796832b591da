//! Where requests go, and how.

use gateway_spec::{
    Balance, Breaker, HashKey, Health, Outlier, Pool, Protocol, ProxyVersion, Retry, Target,
    Upstream, UpstreamTls, Upstreams,
};

use super::item::{Changed, Item};

pub(super) fn keys(group: &Upstreams, keys: &mut Changed) {
    let default = match &group.target {
        Target::App(name) => {
            keys.push("app", Item::text(name));
            Upstreams::app(name)
        }
        Target::Addresses(upstreams) => {
            keys.push(
                "upstreams",
                Item::List(upstreams.iter().map(address).collect()),
            );
            Upstreams::new(Target::Addresses(Vec::new()))
        }
    };
    balance(&group.balance, keys);
    keys.text("sticky", group.sticky_cookie.as_ref());
    keys.if_not("retry", &group.retry, &default.retry, retry);
    keys.some("health", group.health.as_ref(), health);
    keys.if_not("outlier", &group.outlier, &default.outlier, outlier);
    breaker(&group.breaker, &default.breaker, keys);
    keys.if_not("pool", &group.pool, &default.pool, |pool| {
        self::pool(pool, &default.pool)
    });
    keys.duration("slow_start", group.slow_start_ms, default.slow_start_ms);
    keys.if_not("upstream_tls", &group.tls, &UpstreamTls::default(), tls);
    keys.some("proxy_protocol", group.proxy_protocol.as_ref(), |version| {
        Item::text(match version {
            ProxyVersion::V1 => "v1",
            ProxyVersion::V2 => "v2",
        })
    });
    keys.duration("resolve", group.resolve_ms, default.resolve_ms);
    keys.boolean("preserve_host", group.preserve_host, true);
}

fn protocol(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Http1 => "http",
        Protocol::Https => "https",
        Protocol::H2c => "h2c",
        Protocol::H2 => "h2",
    }
}

fn address(upstream: &Upstream) -> Item {
    let unix = upstream.address.starts_with("unix:");
    let plain = upstream.protocol == Protocol::Http1;
    let name = protocol(upstream.protocol);
    let text = if unix || plain {
        Item::text(&upstream.address)
    } else {
        Item::text(format!("{name}://{}", upstream.address))
    };
    let mut keys = Changed::default();
    keys.push("address", text.clone());
    keys.number("weight", upstream.weight, 1_u32);
    keys.boolean("backup", upstream.backup, false);
    if unix && !plain {
        keys.push("protocol", Item::text(name));
    }
    if keys.0.len() == 1 {
        text
    } else {
        keys.table()
    }
}

fn balance(balance: &Balance, keys: &mut Changed) {
    let word = match balance {
        Balance::PeakEwma => return,
        Balance::RoundRobin => "round-robin",
        Balance::LeastConnections => "least-connections",
        Balance::Random => "random",
        Balance::TwoChoices => "two-choices",
        Balance::IpHash => "ip-hash",
        Balance::RingHash(_) => "ring-hash",
    };
    keys.push("balance", Item::text(word));
    if let Balance::RingHash(key) = balance {
        keys.push("hash_key", Item::text(hash_key(key)));
    }
}

fn hash_key(key: &HashKey) -> String {
    match key {
        HashKey::Ip => "ip".into(),
        HashKey::Path => "path".into(),
        HashKey::Uri => "uri".into(),
        HashKey::Header(name) => format!("header:{name}"),
        HashKey::Cookie(name) => format!("cookie:{name}"),
    }
}

fn retry(retry: &Retry) -> Item {
    let (mut keys, default) = (Changed::default(), Retry::default());
    let other = Retry {
        attempts: retry.attempts,
        ..Retry::default()
    };
    if *retry == other {
        return match retry.attempts {
            0 => Item::Bool(false),
            n => Item::Number(u64::from(n)),
        };
    }
    keys.number("attempts", retry.attempts, default.attempts);
    keys.share("budget", retry.budget, default.budget);
    keys.if_not("statuses", &retry.statuses, &default.statuses, |s| {
        statuses(s)
    });
    keys.table()
}

fn statuses(statuses: &[u16]) -> Item {
    Item::List(
        statuses
            .iter()
            .map(|n| Item::Number(u64::from(*n)))
            .collect(),
    )
}

fn health(health: &Health) -> Item {
    let (mut keys, default) = (Changed::default(), Health::default());
    keys.push("path", Item::text(&health.path));
    keys.duration("interval", health.interval_ms, default.interval_ms);
    keys.duration("timeout", health.timeout_ms, default.timeout_ms);
    keys.number("fall", health.fall, default.fall);
    keys.number("rise", health.rise, default.rise);
    keys.if_not(
        "statuses",
        &health.statuses,
        &default.statuses,
        |(first, last)| statuses(&[*first, *last]),
    );
    keys.text("host", health.host.as_ref());
    match &keys.0[..] {
        [(_, path)] => path.clone(),
        _ => keys.table(),
    }
}

fn outlier(outlier: &Outlier) -> Item {
    let (mut keys, default) = (Changed::default(), Outlier::default());
    keys.number("consecutive", outlier.consecutive, default.consecutive);
    keys.duration("eject", outlier.eject_ms, default.eject_ms);
    keys.duration("max_eject", outlier.max_eject_ms, default.max_eject_ms);
    keys.share("max_share", outlier.max_share, default.max_share);
    if keys.0.is_empty() {
        return Item::Bool(outlier.on);
    }
    keys.boolean("on", outlier.on, default.on);
    keys.table()
}

/// Its bounds are keys of the route itself.
fn breaker(breaker: &Breaker, default: &Breaker, keys: &mut Changed) {
    keys.some("max_connections", breaker.max_requests.as_ref(), |n| {
        Item::Number(u64::from(*n))
    });
    let mut queue = Changed::default();
    queue.number("max", breaker.max_pending, default.max_pending);
    queue.duration("wait", breaker.pending_ms, default.pending_ms);
    match &queue.0[..] {
        [] => {}
        [(name, max)] if name == "max" => keys.push("queue", max.clone()),
        _ => keys.push("queue", queue.table()),
    }
    let mut own = Changed::default();
    own.some("error_share", breaker.error_share.as_ref(), |share| {
        Item::Share(*share)
    });
    own.duration("window", breaker.window_ms, default.window_ms);
    own.number("min_requests", breaker.min_requests, default.min_requests);
    own.duration("open", breaker.open_ms, default.open_ms);
    if !own.0.is_empty() {
        keys.push("breaker", own.table());
    }
}

fn pool(pool: &Pool, default: &Pool) -> Item {
    let mut keys = Changed::default();
    keys.duration("connect", pool.connect_ms, default.connect_ms);
    keys.number("idle", pool.idle, default.idle);
    keys.duration("idle_timeout", pool.idle_ms, default.idle_ms);
    keys.duration("read", pool.read_ms, default.read_ms);
    keys.table()
}

fn tls(tls: &UpstreamTls) -> Item {
    let mut keys = Changed::default();
    keys.text("server_name", tls.server_name.as_ref());
    keys.path("ca", tls.ca.as_ref());
    keys.boolean("insecure", tls.insecure, false);
    if let Some((cert, key)) = &tls.client {
        keys.path("cert", Some(cert));
        keys.path("key", Some(key));
    }
    keys.table()
}
