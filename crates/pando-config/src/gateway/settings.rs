//! `[gateway]` itself: what holds for all sites.

use std::path::PathBuf;

use gateway_spec::{
    AccessLog, AccessLogFormat, Acme, CacheDisk, CacheStore, GatewaySpec, Limits, Secret, Timeouts,
};

use super::field;
use super::listen::{self, PlacedListen};
use super::{net, secret};
use crate::app::Context;
use crate::problem::{Refusal, Report};
use crate::table::{Table, Value, nothing_foreign};

const KEYS: [&str; 11] = [
    "listen",
    "threads",
    "user",
    "trusted_proxies",
    "limits",
    "timeouts",
    "access_log",
    "cache",
    "acme",
    "redis",
    "health",
];

const MAX_THREADS: i64 = 1024;

/// Fills the spec; returns what is listened at, `None` if that is not written.
pub(super) fn read(
    table: &Table<'_>,
    spec: &mut GatewaySpec,
    context: &Context<'_>,
    report: &mut Report,
) -> Option<Vec<PlacedListen>> {
    table.only(&KEYS, foreign, report);
    if let Some(value) = table.get("threads") {
        let threads = value.integer(1..=MAX_THREADS, "2", report);
        spec.threads = threads.and_then(|n| u32::try_from(n).ok());
    }
    field::string(table, "user", "\"www-data\"", &mut spec.user, report);
    field::set(
        table,
        "trusted_proxies",
        &mut spec.trusted_proxies,
        report,
        net::read,
    );
    field::set(table, "limits", &mut spec.limits, report, limits);
    field::set(table, "timeouts", &mut spec.timeouts, report, timeouts);
    field::set(table, "access_log", &mut spec.access_log, report, |v, r| {
        access_log(v, context, r)
    });
    field::set(table, "cache", &mut spec.cache_store, report, |v, r| {
        cache(v, context, r)
    });
    field::set(table, "acme", &mut spec.acme, report, |v, r| {
        acme(v, context, r)
    });
    field::set(table, "redis", &mut spec.redis, report, |v, r| {
        let secret = secret::read(v, context, r)?;
        r.take(&v.place, redis(&secret)).map(|()| Some(secret))
    });
    field::set(table, "health", &mut spec.health, report, |v, r| {
        let path = v.string("\"/livez\"", r)?;
        r.take(&v.place, health(path)).map(Some)
    });
    let value = table.get("listen")?;
    listen::read(&value, context, report)
}

/// As a client sends it.
fn health(path: &str) -> Result<String, Refusal> {
    let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#' | b'*' | b'{');
    if path.starts_with('/') && path.bytes().all(plain) {
        return Ok(path.to_owned());
    }
    Err(Refusal::new(
        format!("health = {path:?} is no path"),
        "a load balancer asks for exactly this path",
        "write one that begins with a slash, such as \"/livez\"",
    ))
}

fn foreign(key: &str) -> Option<Refusal> {
    let fix = match key {
        "routes" | "route" | "tls" | "hosts" | "host" => "write it below a [site.\"example.com\"]",
        "port" | "ports" | "bind" | "address" => "did you mean `listen`?",
        "site" | "sites" => "a site is a table of its own: [site.\"example.com\"]",
        "workers" | "worker_processes" => "did you mean `threads`?",
        _ => return None,
    };
    let what = format!("unknown key `{key}` in [gateway]");
    Some(Refusal::new(
        what,
        "[gateway] has what holds for all sites",
        fix,
    ))
}

fn limits(value: &Value<'_>, report: &mut Report) -> Option<Limits> {
    let table = value.table("gateway.limits", "{ headers = 100 }", report)?;
    let keys = [
        "header_size",
        "headers",
        "connections",
        "connections_per_ip",
        "h2_streams",
    ];
    table.only(&keys, nothing_foreign, report);
    let mut limits = Limits::default();
    field::size(&table, "header_size", &mut limits.header_bytes, report);
    field::count(&table, "headers", 1, &mut limits.headers, report);
    let connections = |v: &Value<'_>, r: &mut Report| {
        let number = v.integer(1..=i64::from(u32::MAX), "50000", r)?;
        u64::try_from(number).ok()
    };
    field::set(
        &table,
        "connections",
        &mut limits.connections,
        report,
        connections,
    );
    field::set(
        &table,
        "connections_per_ip",
        &mut limits.connections_per_ip,
        report,
        |v, r| connections(v, r).map(Some),
    );
    field::count(&table, "h2_streams", 1, &mut limits.h2_streams, report);
    Some(limits)
}

fn timeouts(value: &Value<'_>, report: &mut Report) -> Option<Timeouts> {
    let table = value.table("gateway.timeouts", "{ idle = \"75s\" }", report)?;
    let keys = ["header", "body", "write", "idle", "handshake", "drain"];
    table.only(&keys, nothing_foreign, report);
    let mut timeouts = Timeouts::default();
    for (key, target) in [
        ("header", &mut timeouts.header_ms),
        ("body", &mut timeouts.body_ms),
        ("write", &mut timeouts.write_ms),
        ("idle", &mut timeouts.idle_ms),
        ("handshake", &mut timeouts.handshake_ms),
    ] {
        field::duration(&table, key, target, report);
    }
    field::duration_or_zero(&table, "drain", &mut timeouts.drain_ms, report);
    Some(timeouts)
}

/// `true`, `false`, or a table.
fn access_log(value: &Value<'_>, context: &Context<'_>, report: &mut Report) -> Option<AccessLog> {
    if value.is_bool() {
        let on = value.boolean(report)?;
        return Some(AccessLog {
            on,
            ..AccessLog::default()
        });
    }
    let table = value.table("gateway.access_log", "{ format = \"text\" }", report)?;
    table.only(&["on", "path", "format", "sample"], nothing_foreign, report);
    let mut log = AccessLog::default();
    field::boolean(&table, "on", &mut log.on, report);
    field::set(&table, "path", &mut log.path, report, |v, r| {
        field::path(v, "\"/var/log/pando/access.log\"", context, r).map(Some)
    });
    let formats = [
        ("json", AccessLogFormat::Json),
        ("text", AccessLogFormat::Text),
    ];
    field::set(&table, "format", &mut log.format, report, |v, r| {
        v.choice(&formats, r)
    });
    field::share(&table, "sample", &mut log.sample, report);
    Some(log)
}

fn cache(value: &Value<'_>, context: &Context<'_>, report: &mut Report) -> Option<CacheStore> {
    let table = value.table("gateway.cache", "{ memory = \"64M\" }", report)?;
    table.only(&["memory", "disk"], nothing_foreign, report);
    let mut store = CacheStore::default();
    field::size(&table, "memory", &mut store.memory_bytes, report);
    field::set(&table, "disk", &mut store.disk, report, |v, r| {
        disk(v, context, r).map(Some)
    });
    Some(store)
}

fn disk(value: &Value<'_>, context: &Context<'_>, report: &mut Report) -> Option<CacheDisk> {
    let example = "{ path = \"/var/cache/pando\", max = \"10G\" }";
    let table = value.table("gateway.cache.disk", example, report)?;
    table.only(&["path", "max"], nothing_foreign, report);
    let path = table
        .get("path")
        .map(|v| field::path(&v, "\"/var/cache/pando\"", context, report));
    let max = table.get("max").map(|v| v.size_bytes(report));
    if path.is_none() || max.is_none() {
        let what = "a cache on disk needs `path` and `max`";
        let why = "it must not fill the disk";
        let refusal = Refusal::new(what, why, format!("write it like `disk = {example}`"));
        report.missing(&table.place, refusal);
    }
    Some(CacheDisk {
        path: path??,
        max_bytes: max??,
    })
}

fn acme(value: &Value<'_>, context: &Context<'_>, report: &mut Report) -> Option<Acme> {
    let table = value.table("gateway.acme", "{ email = \"ops@example.com\" }", report)?;
    table.only(
        &["directory", "email", "root", "storage", "eab"],
        nothing_foreign,
        report,
    );
    let mut acme = Acme::default();
    field::set(&table, "directory", &mut acme.directory, report, |v, r| {
        let text = v.string("\"https://acme.example/directory\"", r)?;
        r.take(&v.place, directory(text)).map(|()| text.to_owned())
    });
    field::set(&table, "email", &mut acme.email, report, |v, r| {
        let text = v.string("\"ops@example.com\"", r)?;
        let sound = text
            .split_once('@')
            .is_some_and(|(name, host)| !name.is_empty() && host.contains('.'));
        if !sound {
            let why = "the authority writes there before a certificate ends";
            let refusal = Refusal::new(
                format!("`{text}` is not an address for mail"),
                why,
                "write it like \"ops@example.com\"",
            );
            r.error(&v.place, refusal);
        }
        Some(Some(text.to_owned()))
    });
    let path = |v: &Value<'_>, r: &mut Report| -> Option<Option<PathBuf>> {
        field::path(v, "\"/etc/pando/acme\"", context, r).map(Some)
    };
    field::set(&table, "root", &mut acme.root, report, path);
    field::set(&table, "storage", &mut acme.storage, report, path);
    field::set(&table, "eab", &mut acme.eab, report, |v, r| {
        eab(v, context, r).map(Some)
    });
    Some(acme)
}

fn directory(text: &str) -> Result<(), Refusal> {
    let host = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    if host.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/')) {
        return Ok(());
    }
    let what = format!("`{text}` is not the URL of a directory");
    let why = "a certificate authority is found by the URL of its directory (RFC 8555)";
    Err(Refusal::new(
        what,
        why,
        "write it like \"https://acme.example/directory\"",
    ))
}

fn eab(value: &Value<'_>, context: &Context<'_>, report: &mut Report) -> Option<(String, Secret)> {
    let example = "{ kid = \"…\", key = { env = \"EAB_KEY\" } }";
    let table = value.table("gateway.acme.eab", example, report)?;
    table.only(&["kid", "key"], nothing_foreign, report);
    let kid = table
        .get("kid")
        .map(|v| v.string("\"…\"", report).map(str::to_owned));
    let key = table.get("key").map(|v| secret::read(&v, context, report));
    if kid.is_none() || key.is_none() {
        let why = "external account binding has a key id and a key";
        let refusal = Refusal::new(
            "`eab` needs `kid` and `key`",
            why,
            format!("write it like `eab = {example}`"),
        );
        report.missing(&table.place, refusal);
    }
    Some((kid??, key??))
}

fn redis(secret: &Secret) -> Result<(), Refusal> {
    const SCHEMES: [&str; 4] = ["redis://", "rediss://", "redis+unix://", "unix://"];
    let url = secret.expose();
    let rest = SCHEMES.iter().find_map(|scheme| url.strip_prefix(scheme));
    // The address itself may hold a password, so it is not shown.
    if rest.is_some_and(|rest| !rest.is_empty() && !rest.contains(char::is_whitespace)) {
        return Ok(());
    }
    let what = "`redis` is not the URL of a Redis";
    let why = format!("it begins with one of {}", SCHEMES.join(", "));
    Err(Refusal::new(
        what,
        why,
        "write it like \"redis://127.0.0.1:6379\"",
    ))
}
