//! One route: what it takes, what it does, what is done around it.

use gateway_spec::{Action, HeaderEdit, HeaderMatch, PathMatch, Route};

use super::{
    auth, cache, cors, field, files, headers, limit, net, path, reply, rewrite, split, upstreams,
};
use crate::app::Context;
use crate::problem::{Place, Refusal, Report};
use crate::table::{Table, Value};

pub(super) const ACTIONS: [&str; 6] = ["app", "upstreams", "split", "files", "redirect", "respond"];

pub(super) const KEYS: [&str; 52] = [
    "path",
    "name",
    "methods",
    "headers",
    // What it does: one of these.
    "app",
    "upstreams",
    "split",
    "files",
    "redirect",
    "respond",
    // Of those that go to an upstream.
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
    // Of those that serve files.
    "index",
    "spa",
    "precompressed",
    "fall_through",
    "dotfiles",
    // Of all.
    "cache_control",
    "rewrite",
    "strip_prefix",
    "request_headers",
    "response_headers",
    "allow",
    "deny",
    "limit",
    "connections",
    "basic_auth",
    "jwt",
    "api_keys",
    "cors",
    "security_headers",
    "cache",
    "compress",
    "body",
    "buffer",
    "timeout",
    // Explained, so that "did you mean" can find them.
    "location",
    "proxy_pass",
    "rate_limit",
];

const EXPLAINED: [&str; 3] = ["location", "proxy_pass", "rate_limit"];

/// A route with the places that checks across tables need.
pub(super) struct PlacedRoute {
    pub route: Route,
    pub place: Place,
    pub apps: Vec<(String, Place)>,
    /// Where a limit counts in Redis.
    pub shared: Option<Place>,
}

/// `None` if it has no action that could be read.
pub(super) fn read(
    table: &Table<'_>,
    context: &Context<'_>,
    report: &mut Report,
) -> Option<PlacedRoute> {
    explained(table, report);
    let path = match table.get("path") {
        Some(value) => {
            let text = value.string("\"/api/*\"", report);
            text.and_then(|text| report.take(&value.place, path::read(text)))
        }
        None => Some(PathMatch::Prefix("/".into())),
    };
    // A route whose path is broken is still checked for everything else.
    let sound = path.is_some();
    let path = path.unwrap_or_else(|| PathMatch::Prefix("/".into()));
    let mut apps = Vec::new();
    let action = action(table, &path, &mut apps, context, report);
    let has_action = action.is_some();
    let action = action.unwrap_or_else(reply::nothing);
    let mut route = Route::new(path, action);
    field::set(table, "name", &mut route.name, report, |v, r| {
        v.string("\"checkout\"", r).map(str::to_owned)
    });
    field::set(
        table,
        "methods",
        &mut route.matches.methods,
        report,
        methods,
    );
    field::set(
        table,
        "headers",
        &mut route.matches.headers,
        report,
        header_matches,
    );
    route.rewrite = rewrite::read(table, &route, report);
    around(table, &mut route, context, report);
    let shared = limit::shared(table);
    (sound && has_action).then(|| PlacedRoute {
        route,
        place: table
            .get("path")
            .map_or_else(|| table.place.clone(), |v| v.place),
        apps,
        shared,
    })
}

pub(super) fn foreign(key: &str) -> Option<Refusal> {
    let fix = match key {
        "upstream" | "backend" | "backends" | "target" | "servers" | "to" => {
            "did you mean `upstreams`?"
        }
        "root" | "static" | "dir" => "did you mean `files`?",
        "return" | "status" => "did you mean `respond` or `redirect`?",
        "method" => "did you mean `methods`?",
        "host" | "hosts" => "the host is the site's: [site.\"example.com\"]",
        "auth" => "did you mean `basic_auth`, `jwt` or `api_keys`?",
        "gzip" | "brotli" | "compression" => "did you mean `compress`?",
        "websocket" | "websockets" | "sse" => {
            "remove it: upgrades and event streams pass without a setting"
        }
        "set_headers" | "add_header" => "did you mean `response_headers`?",
        "tls" => "the certificate is the site's; for an upstream's it is `upstream_tls`",
        _ => return None,
    };
    let what = format!("unknown key `{key}` in a route");
    Some(Refusal::new(
        what,
        "a key that is not known would be ignored silently",
        fix,
    ))
}

fn explained(table: &Table<'_>, report: &mut Report) {
    for value in EXPLAINED.iter().filter_map(|key| table.get(key)) {
        let ours = match value.key {
            "location" => "path",
            "proxy_pass" => "upstreams",
            _ => "limit",
        };
        let what = format!("unknown key `{}` in a route", value.key);
        let why = "that is another program's name for it";
        report.error(
            &value.key_place,
            Refusal::new(what, why, format!("did you mean `{ours}`?")),
        );
    }
}

/// The one action of the route; problems of it, of none and of several are told.
fn action(
    table: &Table<'_>,
    path: &PathMatch,
    apps: &mut Vec<(String, Place)>,
    context: &Context<'_>,
    report: &mut Report,
) -> Option<Action> {
    let mut given: Vec<Value<'_>> = ACTIONS.iter().filter_map(|key| table.get(key)).collect();
    given.sort_by_key(|value| match &value.key_place {
        Place::Span(span) => span.start,
        Place::Flag(_) => 0,
    });
    let Some((value, more)) = given.split_first() else {
        // An unknown key, which is told, may be its action misspelt.
        if table
            .values()
            .iter()
            .any(|value| !KEYS.contains(&value.key))
        {
            return None;
        }
        let what = "the route does nothing";
        let why = "a route has exactly one of app, upstreams, split, files, redirect, respond";
        report.missing(
            &table.place,
            Refusal::new(what, why, "add one, such as `app = \"api\"`"),
        );
        return None;
    };
    for other in more {
        let what = format!("the route has both `{}` and `{}`", value.key, other.key);
        let fix = if other.key == "app" || other.key == "upstreams" {
            "remove one; `split` shares requests among several"
        } else {
            "remove one, or make it two routes"
        };
        report.error(
            &other.key_place,
            Refusal::new(what, "a route does one thing", fix),
        );
    }
    no_effect(value.key, table, report);
    match value.key {
        "app" => upstreams::app(value, table, apps, context, report).map(Action::Proxy),
        "upstreams" => upstreams::addresses(value, table, context, report).map(Action::Proxy),
        "split" => split::read(value, table, apps, context, report).map(Action::Split),
        "files" => files::read(value, table, context, report).map(Action::Files),
        "redirect" => reply::redirect(value, path, report),
        _ => reply::respond(value, report),
    }
}

/// Settings of another kind of route do nothing here.
fn no_effect(action: &str, table: &Table<'_>, report: &mut Report) {
    let upstream = matches!(action, "app" | "upstreams" | "split");
    let mut idle: Vec<&str> = Vec::new();
    if !upstream {
        idle.extend(upstreams::KEYS);
        idle.extend(["buffer", "timeout"]);
    }
    if action != "files" {
        idle.extend(files::KEYS.iter().filter(|key| **key != "cache_control"));
    }
    if matches!(action, "redirect" | "respond") {
        idle.extend(["rewrite", "strip_prefix", "cache", "request_headers"]);
    }
    for value in idle.into_iter().filter_map(|key| table.get(key)) {
        let what = format!("`{}` has no effect beside `{action}`", value.key);
        let why = format!("a route with `{action}` does not use it");
        report.warning(&value.key_place, Refusal::new(what, why, "remove it"));
    }
}

fn methods(value: &Value<'_>, report: &mut Report) -> Option<Vec<String>> {
    let mut methods: Vec<String> = Vec::new();
    for (text, place) in value.strings("[\"GET\", \"HEAD\"]", report)? {
        if text.is_empty() || !text.chars().all(|c| c.is_ascii_alphabetic() || c == '-') {
            let what = format!("`{text}` is not a method");
            let why = "methods are words like GET and POST";
            report.error(
                &place,
                Refusal::new(what, why, "leave the key out for all methods"),
            );
            continue;
        }
        let method = text.to_ascii_uppercase();
        if !methods.contains(&method) {
            methods.push(method);
        }
    }
    Some(methods)
}

/// `{ "x-a" = "b", "x-c" = true }`: of this value, or there at all.
pub(super) fn header_matches(value: &Value<'_>, report: &mut Report) -> Option<Vec<HeaderMatch>> {
    let table = value.table(value.key, "{ \"x-version\" = \"2\" }", report)?;
    let mut matches = Vec::new();
    for value in table.values() {
        let Some(name) = report.take(&value.key_place, headers::name(value.key)) else {
            continue;
        };
        if value.is_bool() {
            if value.boolean(report) == Some(false) {
                let what = format!("`{name} = false` cannot be matched");
                let why = "a header match is a value, or true for any value";
                let fix = "put a route for requests with the header before this one";
                report.error(&value.place, Refusal::new(what, why, fix));
            }
            matches.push(HeaderMatch { name, value: None });
        } else if let Some(text) = value.text("\"2\"", report) {
            matches.push(HeaderMatch {
                name,
                value: Some(text.to_owned()),
            });
        }
    }
    Some(matches)
}

fn around(table: &Table<'_>, route: &mut Route, context: &Context<'_>, report: &mut Report) {
    let path = &route.matches.path;
    field::set(
        table,
        "request_headers",
        &mut route.request_headers,
        report,
        |v, r| headers::edits(v, headers::Direction::Request, path, r),
    );
    field::set(
        table,
        "response_headers",
        &mut route.response_headers,
        report,
        |v, r| headers::edits(v, headers::Direction::Response, path, r),
    );
    if !matches!(route.action, Action::Files(_))
        && let Some(value) = table.get("cache_control")
        && let Some(text) = cache_control(&value, report)
    {
        route.response_headers.push(HeaderEdit::Set {
            name: "cache-control".into(),
            value: text,
        });
    }
    let protect = &mut route.protect;
    field::set(table, "allow", &mut protect.allow, report, net::read);
    field::set(table, "deny", &mut protect.deny, report, net::read);
    field::set(table, "limit", &mut protect.limits, report, limit::read);
    field::set(
        table,
        "connections",
        &mut protect.connections,
        report,
        limit::connections,
    );
    protect.auth = auth::read(table, context, report);
    field::set(table, "cors", &mut protect.cors, report, cors::read);
    field::set(
        table,
        "security_headers",
        &mut protect.headers,
        report,
        headers::security,
    );
    field::set(table, "cache", &mut route.cache, report, cache::read);
    field::set(
        table,
        "compress",
        &mut route.compress,
        report,
        cache::compress,
    );
    field::set(table, "body", &mut route.body_bytes, report, body);
    field::boolean(table, "buffer", &mut route.buffer_request, report);
    field::duration(table, "timeout", &mut route.timeout_ms, report);
}

fn cache_control(value: &Value<'_>, report: &mut Report) -> Option<String> {
    let text = value.string("\"public, max-age=3600\"", report)?;
    report
        .take(&value.place, headers::value(text))
        .map(|()| text.to_owned())
}

/// `"unlimited"`, or a size.
fn body(value: &Value<'_>, report: &mut Report) -> Option<u64> {
    if value.is_str() && value.text("\"16M\"", report) == Some("unlimited") {
        return Some(u64::MAX);
    }
    value.size_bytes(report)
}
