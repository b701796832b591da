//! Where a route or a branch sends requests: an app or addresses, and all that goes with it.

use gateway_spec::{ProxyVersion, Target, UpstreamTls, Upstreams};

use super::{address, balance, field, resilience};
use crate::app::Context;
use crate::problem::{Place, Refusal, Report};
use crate::table::{Table, Value, nothing_foreign};

/// What a route that goes to an upstream, or a branch of its split, may have for it.
pub(super) const KEYS: [&str; 15] = [
    "balance",
    "hash_key",
    "sticky",
    "retry",
    "health",
    "outlier",
    "breaker",
    "pool",
    "slow_start",
    "max_connections",
    "queue",
    "upstream_tls",
    "proxy_protocol",
    "resolve",
    "preserve_host",
];

pub(super) fn app(
    value: &Value<'_>,
    route: &Table<'_>,
    apps: &mut Vec<(String, Place)>,
    context: &Context<'_>,
    report: &mut Report,
) -> Option<Upstreams> {
    let mut upstreams = named(value, apps, report);
    let target = upstreams.as_mut();
    settings(
        route,
        target.unwrap_or(&mut Upstreams::app("")),
        context,
        report,
    );
    upstreams
}

pub(super) fn addresses(
    value: &Value<'_>,
    route: &Table<'_>,
    context: &Context<'_>,
    report: &mut Report,
) -> Option<Upstreams> {
    let upstreams = address::read(value, context, report);
    let sound = upstreams.is_some();
    let mut upstreams = Upstreams::new(Target::Addresses(upstreams.unwrap_or_default()));
    settings(route, &mut upstreams, context, report);
    sound.then_some(upstreams)
}

/// A branch of a split: the route's settings, then its own.
pub(super) fn branch_app(
    value: &Value<'_>,
    route: &Table<'_>,
    branch: &Table<'_>,
    apps: &mut Vec<(String, Place)>,
    context: &Context<'_>,
    report: &mut Report,
) -> Option<Upstreams> {
    let mut upstreams = app(value, route, apps, context, report)?;
    settings(branch, &mut upstreams, context, report);
    Some(upstreams)
}

/// As [`branch_app`], of addresses.
pub(super) fn branch_addresses(
    value: &Value<'_>,
    route: &Table<'_>,
    branch: &Table<'_>,
    context: &Context<'_>,
    report: &mut Report,
) -> Option<Upstreams> {
    let mut upstreams = addresses(value, route, context, report)?;
    settings(branch, &mut upstreams, context, report);
    Some(upstreams)
}

fn named(
    value: &Value<'_>,
    apps: &mut Vec<(String, Place)>,
    report: &mut Report,
) -> Option<Upstreams> {
    let name = value.string("\"api\"", report)?;
    report.take(&value.place, crate::name::check(name))?;
    apps.push((name.to_owned(), value.place.clone()));
    Some(Upstreams::app(name))
}

fn settings(
    table: &Table<'_>,
    upstreams: &mut Upstreams,
    context: &Context<'_>,
    report: &mut Report,
) {
    balance::read(table, &mut upstreams.balance, report);
    field::set(
        table,
        "sticky",
        &mut upstreams.sticky_cookie,
        report,
        sticky,
    );
    resilience::read(table, upstreams, report);
    field::set(table, "upstream_tls", &mut upstreams.tls, report, |v, r| {
        tls(v, context, r)
    });
    let versions = [("v1", ProxyVersion::V1), ("v2", ProxyVersion::V2)];
    field::set(
        table,
        "proxy_protocol",
        &mut upstreams.proxy_protocol,
        report,
        |v, r| v.choice(&versions, r).map(Some),
    );
    field::duration(table, "resolve", &mut upstreams.resolve_ms, report);
    field::boolean(table, "preserve_host", &mut upstreams.preserve_host, report);
}

/// `true` names the cookie by itself; a string is its name.
fn sticky(value: &Value<'_>, report: &mut Report) -> Option<Option<String>> {
    if value.is_bool() {
        return value
            .boolean(report)
            .map(|on| on.then(|| "pando_sticky".to_owned()));
    }
    let name = value.string("\"pando_sticky\"", report)?;
    if !is_cookie_name(name) {
        let what = format!("`{name}` cannot be the name of a cookie");
        let why = "a name has letters, digits, `-` and `_`";
        report.error(
            &value.place,
            Refusal::new(what, why, "write it like \"pando_sticky\""),
        );
        return None;
    }
    Some(Some(name.to_owned()))
}

/// A token (RFC 6265 section 4.1.1).
pub(super) fn is_cookie_name(name: &str) -> bool {
    let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    !name.is_empty() && name.chars().all(token)
}

fn tls(value: &Value<'_>, context: &Context<'_>, report: &mut Report) -> Option<UpstreamTls> {
    let table = value.table("upstream_tls", "{ ca = \"ca.pem\" }", report)?;
    let keys = ["server_name", "ca", "insecure", "cert", "key"];
    table.only(&keys, nothing_foreign, report);
    let mut tls = UpstreamTls::default();
    field::string(
        &table,
        "server_name",
        "\"api.internal\"",
        &mut tls.server_name,
        report,
    );
    let file = |key: &str, report: &mut Report| {
        let value = table.get(key)?;
        field::path(&value, "\"ca.pem\"", context, report)
    };
    tls.ca = file("ca", report);
    field::boolean(&table, "insecure", &mut tls.insecure, report);
    if let Some(value) = table.get("insecure").filter(|_| tls.insecure) {
        let what = "the upstream's certificate is not checked";
        let why = "whoever is between can read and change everything";
        report.warning(
            &value.key_place,
            Refusal::new(what, why, "name its authority with `ca`"),
        );
    }
    match (table.get("cert"), table.get("key")) {
        (Some(_), Some(_)) => tls.client = file("cert", report).zip(file("key", report)),
        (Some(one), None) | (None, Some(one)) => {
            let what = format!("`upstream_tls` has only `{}`", one.key);
            let why = "a certificate and its key belong together";
            report.error(
                &one.key_place,
                Refusal::new(what, why, "give both `cert` and `key`"),
            );
        }
        (None, None) => {}
    }
    Some(tls)
}
