//! `[gateway]`, and a site without its routes.

use gateway_spec::{
    AccessLog, AccessLogFormat, Acme, CacheStore, GatewaySpec, Limits, Listen, Site, Timeouts, Tls,
};

use super::Keys;
use super::item::{Changed, Item};

const YEAR_SECONDS: u64 = 365 * 24 * 60 * 60;

pub(super) fn gateway(spec: &GatewaySpec) -> Keys {
    let mut keys = Changed::default();
    if !spec.listen.is_empty() {
        keys.push("listen", Item::texts(spec.listen.iter().map(listen)));
    }
    keys.some("threads", spec.threads.as_ref(), |n| {
        Item::Number(u64::from(*n))
    });
    keys.text("user", spec.user.as_ref());
    if !spec.trusted_proxies.is_empty() {
        let nets = spec.trusted_proxies.iter().map(ToString::to_string);
        keys.push("trusted_proxies", Item::texts(nets));
    }
    keys.text("health", spec.health.as_ref());
    keys.if_not("limits", &spec.limits, &Limits::default(), limits);
    keys.if_not("timeouts", &spec.timeouts, &Timeouts::default(), timeouts);
    keys.if_not(
        "access_log",
        &spec.access_log,
        &AccessLog::default(),
        access_log,
    );
    keys.if_not("cache", &spec.cache_store, &CacheStore::default(), cache);
    keys.if_not("acme", &spec.acme, &Acme::default(), acme);
    keys.some("redis", spec.redis.as_ref(), |url| {
        Item::Secret(url.expose().to_owned())
    });
    keys.0
}

fn listen(listen: &Listen) -> String {
    let tls = if listen.tls { " tls" } else { "" };
    let proxy = if listen.proxy_protocol { " proxy" } else { "" };
    format!("{}{tls}{proxy}", listen.address)
}

fn limits(limits: &Limits) -> Item {
    let (mut keys, default) = (Changed::default(), Limits::default());
    keys.size("header_size", limits.header_bytes, default.header_bytes);
    keys.number("headers", limits.headers, default.headers);
    keys.number("connections", limits.connections, default.connections);
    keys.some(
        "connections_per_ip",
        limits.connections_per_ip.as_ref(),
        |n| Item::Number(*n),
    );
    keys.number("h2_streams", limits.h2_streams, default.h2_streams);
    keys.table()
}

fn timeouts(timeouts: &Timeouts) -> Item {
    let (mut keys, default) = (Changed::default(), Timeouts::default());
    keys.duration("header", timeouts.header_ms, default.header_ms);
    keys.duration("body", timeouts.body_ms, default.body_ms);
    keys.duration("write", timeouts.write_ms, default.write_ms);
    keys.duration("idle", timeouts.idle_ms, default.idle_ms);
    keys.duration("handshake", timeouts.handshake_ms, default.handshake_ms);
    keys.duration("drain", timeouts.drain_ms, default.drain_ms);
    keys.table()
}

fn access_log(log: &AccessLog) -> Item {
    let mut keys = Changed::default();
    keys.boolean("on", log.on, true);
    keys.path("path", log.path.as_ref());
    keys.if_not("format", &log.format, &AccessLogFormat::Json, |_| {
        Item::text("text")
    });
    keys.share("sample", log.sample, 1.0);
    keys.table_or_true()
}

fn cache(store: &CacheStore) -> Item {
    let mut keys = Changed::default();
    keys.size(
        "memory",
        store.memory_bytes,
        CacheStore::default().memory_bytes,
    );
    keys.some("disk", store.disk.as_ref(), |disk| {
        Item::Table(vec![
            ("path".into(), Item::text(disk.path.display().to_string())),
            ("max".into(), Item::size(disk.max_bytes)),
        ])
    });
    keys.table()
}

fn acme(acme: &Acme) -> Item {
    let mut keys = Changed::default();
    let default = Acme::default();
    keys.if_not("directory", &acme.directory, &default.directory, |text| {
        Item::text(text.as_str())
    });
    keys.text("email", acme.email.as_ref());
    keys.path("root", acme.root.as_ref());
    keys.path("storage", acme.storage.as_ref());
    keys.some("eab", acme.eab.as_ref(), |(kid, key)| {
        Item::Table(vec![
            ("kid".into(), Item::text(kid)),
            ("key".into(), Item::Secret(key.expose().to_owned())),
        ])
    });
    keys.table()
}

pub(super) fn site(site: &Site) -> Keys {
    let mut keys = Changed::default();
    keys.texts("aliases", site.hosts.get(1..).unwrap_or_default(), &[]);
    keys.some("tls", site.tls.as_ref(), |tls| match tls {
        Tls::Auto => Item::text("auto"),
        Tls::Files { cert, key } => Item::Table(vec![
            ("cert".into(), Item::text(cert.display().to_string())),
            ("key".into(), Item::text(key.display().to_string())),
        ]),
    });
    keys.some("redirect_https", site.redirect_https.as_ref(), |on| {
        Item::Bool(*on)
    });
    keys.some(
        "hsts",
        site.hsts_seconds.as_ref(),
        |seconds| match *seconds {
            YEAR_SECONDS => Item::Bool(true),
            seconds => Item::duration(seconds.saturating_mul(1000)),
        },
    );
    keys.0
}
