//! One `[site."HOST"]`.

use gateway_spec::{MAX_ROUTES, Site};

use super::route::{self, PlacedRoute};
use super::{field, tls};
use crate::app::Context;
use crate::problem::{Place, Refusal, Report};
use crate::table::{Table, Value};

/// A year, which browsers' preload lists ask for.
const HSTS_SECONDS: u64 = 365 * 24 * 60 * 60;
const MAX_ALIASES: usize = 1024;

const KEYS: [&str; 5] = ["aliases", "tls", "redirect_https", "hsts", "routes"];

pub(super) struct PlacedSite {
    pub site: Site,
    pub place: Place,
    pub tls_place: Option<Place>,
    /// As many as the site's hosts.
    pub host_places: Vec<Place>,
    /// As many as the site's routes.
    pub routes: Vec<PlacedRoute>,
}

pub(super) fn read(
    value: &Value<'_>,
    context: &Context<'_>,
    report: &mut Report,
) -> Option<PlacedSite> {
    if !value.is_table() {
        let what = format!("[site] has a key `{}` that is not a site", value.key);
        let why = "each site is a table with its host in the header";
        let fix = "write [site.\"example.com\"] above its keys, or [site.\"*\"] for every host";
        report.error(&value.key_place, Refusal::new(what, why, fix));
        return None;
    }
    let title = format!("site.\"{}\"", value.key);
    let table = value.table(&title, "{ }", report)?;
    let mut placed = PlacedSite {
        site: Site::new([""; 0], Vec::new()),
        place: value.key_place.clone(),
        tls_place: None,
        host_places: Vec::new(),
        routes: Vec::new(),
    };
    hosts(value, &table, &mut placed, report);
    if let Some(value) = table.get("tls") {
        placed.tls_place = Some(value.key_place.clone());
        placed.site.tls = tls::read(&value, context, report);
    }
    field::set(
        &table,
        "redirect_https",
        &mut placed.site.redirect_https,
        report,
        |v, r| v.boolean(r).map(Some),
    );
    field::set(&table, "hsts", &mut placed.site.hsts_seconds, report, hsts);
    placed.routes = routes(&table, context, report);
    placed.site.routes = placed
        .routes
        .iter()
        .map(|placed| placed.route.clone())
        .collect();
    Some(placed)
}

fn hosts(value: &Value<'_>, table: &Table<'_>, placed: &mut PlacedSite, report: &mut Report) {
    let aliases = table
        .get("aliases")
        .and_then(|v| v.strings("[\"www.example.com\"]", report));
    let own = (value.key, value.key_place.clone());
    for (text, place) in [own]
        .into_iter()
        .chain(aliases.unwrap_or_default().into_iter().take(MAX_ALIASES))
    {
        if let Some(host) = report.take(&place, self::host(text)) {
            placed.site.hosts.push(host);
            placed.host_places.push(place);
        }
    }
}

/// `true` is a year; a duration says how long.
fn hsts(value: &Value<'_>, report: &mut Report) -> Option<Option<u64>> {
    if value.is_bool() {
        return value.boolean(report).map(|on| on.then_some(HSTS_SECONDS));
    }
    Some(Some(value.long_duration_ms(report)? / 1000))
}

/// `routes`, or a site that is itself one route for every path.
fn routes(table: &Table<'_>, context: &Context<'_>, report: &mut Report) -> Vec<PlacedRoute> {
    let Some(value) = table.get("routes") else {
        let known: Vec<&str> = KEYS.iter().chain(&route::KEYS).copied().collect();
        table.only(&known, foreign, report);
        if route::ACTIONS.iter().any(|key| table.get(key).is_some()) {
            return route::read(table, context, report).into_iter().collect();
        }
        if table
            .values()
            .iter()
            .any(|value| !known.contains(&value.key))
        {
            return Vec::new();
        }
        let what = format!("[{}] has no routes", table.title);
        let fix = "add routes = [{ path = \"/*\", app = \"api\" }]";
        report.missing(
            &table.place,
            Refusal::new(what, "it would answer nothing", fix),
        );
        return Vec::new();
    };
    table.only(&KEYS, foreign, report);
    let values = if value.is_list() {
        value.each()
    } else {
        not_a_list(&value, report)
    };
    if let Some(first) = values.get(MAX_ROUTES) {
        let what = format!("{} routes are too many", values.len());
        let why = format!("one site has at most {MAX_ROUTES}");
        report.error(&first.place, Refusal::new(what, why, "use paths with `*`"));
    }
    let mut routes = Vec::new();
    for value in values.iter().take(MAX_ROUTES) {
        let title = format!("{}.routes", table.title);
        let Some(table) = value.table(&title, "[{ path = \"/*\", app = \"api\" }]", report) else {
            continue;
        };
        table.only(&route::KEYS, route::foreign, report);
        routes.extend(route::read(&table, context, report));
    }
    routes
}

fn not_a_list<'t>(value: &Value<'t>, report: &mut Report) -> Vec<Value<'t>> {
    let why = "the first that matches serves, so they are in order";
    let fix = "write routes = [ … ], or [[site.\"HOST\".routes]] above each";
    report.error(
        &value.place,
        Refusal::new("`routes` is not a list", why, fix),
    );
    Vec::new()
}

fn foreign(key: &str) -> Option<Refusal> {
    let fix = match key {
        "route" | "locations" | "location" | "paths" => "did you mean `routes`?",
        "host" | "hosts" | "server_name" | "names" | "domains" => {
            "the header names the host; further ones are `aliases`"
        }
        "listen" | "port" => "listeners are the whole gateway's: write it below [gateway]",
        "ssl" | "cert" | "key" | "certificate" => "did you mean `tls`?",
        "https" => "did you mean `redirect_https`?",
        key if route::KEYS.contains(&key) => "it belongs to a route: move it into one of `routes`",
        _ => return None,
    };
    let what = format!("unknown key `{key}` in a [site]");
    let why = "a site has a host, a certificate and routes";
    Some(Refusal::new(what, why, fix))
}

/// Lower case; `*` and `*.example.com` are patterns.
pub(super) fn host(text: &str) -> Result<String, Refusal> {
    let refuse =
        |why: &str, fix: String| Err(Refusal::new(format!("`{text}` is not a host"), why, fix));
    if text == "*" {
        return Ok(text.to_owned());
    }
    if let Some((_, rest)) = text.split_once("://") {
        let host = rest.split(['/', ':']).next().unwrap_or_default();
        return refuse("it is a whole URL", format!("write \"{host}\""));
    }
    if !text.is_ascii() {
        let fix = "write it in its xn-- form, as browsers send it".to_owned();
        return refuse("it has letters beyond ASCII", fix);
    }
    let lowered = text.to_ascii_lowercase();
    let lowered = lowered.strip_suffix('.').unwrap_or(&lowered);
    let inner = lowered
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    if inner.is_some_and(|ip| ip.parse::<std::net::Ipv6Addr>().is_ok()) {
        return Ok(lowered.to_owned());
    }
    if lowered.parse::<std::net::Ipv6Addr>().is_ok() {
        let fix = format!("write \"[{lowered}]\"");
        return refuse("an IPv6 address stands in brackets", fix);
    }
    if let Some((host, port)) = lowered.rsplit_once(':') {
        let digits = port.chars().all(|c| c.is_ascii_digit());
        return refuse(
            "hosts are compared without their port",
            if digits {
                format!("write \"{host}\"")
            } else {
                "write it like \"example.com\"".to_owned()
            },
        );
    }
    let name = lowered.strip_prefix("*.").unwrap_or(lowered);
    if name.contains('*') {
        let fix = "write it like \"*.example.com\"".to_owned();
        return refuse("a `*` stands for the first label only", fix);
    }
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
    };
    if name.len() > 253 || !name.split('.').all(label) {
        let fix = "write it like \"example.com\"".to_owned();
        return refuse(
            "a host is labels of letters, digits and `-` with dots between",
            fix,
        );
    }
    Ok(lowered.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_what_is_none() {
        for (text, expect) in [
            ("*", "*"),
            ("Example.COM", "example.com"),
            ("example.com.", "example.com"),
            ("*.example.com", "*.example.com"),
            ("localhost", "localhost"),
            ("127.0.0.1", "127.0.0.1"),
            ("[::1]", "[::1]"),
        ] {
            assert_eq!(host(text).as_deref(), Ok(expect), "{text}");
        }
        for (text, fix) in [
            ("https://a.b/c", "\"a.b\""),
            ("a.b:8080", "\"a.b\""),
            ("a.*.b", "*.example.com"),
            ("*a.b", "*.example.com"),
            ("bücher.de", "xn--"),
            ("a..b", "example.com"),
            ("a b", "example.com"),
            ("", "example.com"),
            ("::1", "\"[::1]\""),
        ] {
            let refusal = host(text).expect_err(text);
            assert!(refusal.fix.contains(fix), "{text}: {refusal:?}");
        }
    }
}
