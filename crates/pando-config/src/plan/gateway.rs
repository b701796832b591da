//! What separates the gateway that runs from the one that is wanted, setting by setting.
//!
//! A gateway takes any change without closing a connection, so there is no choice of ways as for
//! apps: only what to tell.

use std::collections::BTreeMap;

use gateway_spec::{Action, GatewaySpec, Listen, Route, Site, Target};

use super::Change;
use crate::gateway::text::{self, Item, Keys};

const NONE: &str = "(none)";
const DEFAULT: &str = "(default)";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GatewayVerb {
    /// There was none.
    Start,
    /// It goes on with another configuration; no connection is closed but those of listeners
    /// that go.
    Change,
    /// There is to be none.
    Stop,
    Unchanged,
}

/// What has to be done to the gateway, and what of it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayStep {
    pub verb: GatewayVerb,
    /// As in pando.toml: `timeouts.idle`, `site.example.com`, `site.example.com /api/*.balance`.
    pub changed: Vec<Change>,
}

/// `None` where there is no gateway, neither now nor then.
pub fn gateway(old: Option<&GatewaySpec>, new: Option<&GatewaySpec>) -> Option<GatewayStep> {
    let nothing = GatewaySpec::default();
    let (verb, from, to) = match (old, new) {
        (None, None) => return None,
        (None, Some(new)) => (GatewayVerb::Start, &nothing, new),
        (Some(old), None) => (GatewayVerb::Stop, old, &nothing),
        (Some(old), Some(new)) if old == new => (GatewayVerb::Unchanged, old, new),
        (Some(old), Some(new)) => (GatewayVerb::Change, old, new),
    };
    let mut changed = Vec::new();
    listeners(&from.listen, &to.listen, &mut changed);
    let settings = |spec: &GatewaySpec| {
        let mut keys = text::settings(spec);
        keys.retain(|(key, _)| key != "listen");
        keys
    };
    keys("", &settings(from), &settings(to), &mut changed);
    otlp(from, to, &mut changed);
    sites(&from.sites, &to.sites, &mut changed);
    Some(GatewayStep { verb, changed })
}

/// Where its spans go; it is written in [otlp], which tells the rest.
fn otlp(old: &GatewaySpec, new: &GatewaySpec, changed: &mut Vec<Change>) {
    let show = |spec: &GatewaySpec| {
        let endpoint = spec.otlp.as_ref().map(|otlp| otlp.endpoint.clone());
        endpoint.unwrap_or_else(|| NONE.to_owned())
    };
    if old.otlp != new.otlp {
        changed.push(change("otlp", show(old), show(new)));
    }
}

fn change(key: impl Into<String>, from: impl Into<String>, to: impl Into<String>) -> Change {
    Change {
        key: key.into(),
        from: from.into(),
        to: to.into(),
    }
}

fn listeners(old: &[Listen], new: &[Listen], changed: &mut Vec<Change>) {
    let kind = |listen: &Listen| match (listen.tls, listen.proxy_protocol) {
        (false, false) => "plain",
        (true, false) => "tls",
        (false, true) => "plain, proxy",
        (true, true) => "tls, proxy",
    };
    let find = |all: &[Listen], one: &Listen| {
        let found = all.iter().find(|other| other.address == one.address);
        found.map_or(NONE, kind)
    };
    for one in old {
        let to = find(new, one);
        if to != kind(one) {
            changed.push(change(format!("listen {}", one.address), kind(one), to));
        }
    }
    for one in new {
        if find(old, one) == NONE {
            changed.push(change(format!("listen {}", one.address), NONE, kind(one)));
        }
    }
}

/// Tables within tables as one list of `a.b.c` with its value.
fn flat(prefix: &str, keys: &Keys, out: &mut Vec<(String, Item)>) {
    for (key, item) in keys {
        let name = if prefix.is_empty() {
            key.clone()
        } else {
            format!("{prefix}.{key}")
        };
        match item {
            Item::Table(inner) => flat(&name, inner, out),
            Item::Text(_)
            | Item::Secret(_)
            | Item::Number(_)
            | Item::Share(_)
            | Item::Bool(_)
            | Item::List(_) => out.push((name, item.clone())),
        }
    }
}

fn keys(prefix: &str, old: &Keys, new: &Keys, changed: &mut Vec<Change>) {
    let (mut from, mut to) = (Vec::new(), Vec::new());
    flat(prefix, old, &mut from);
    flat(prefix, new, &mut to);
    let find = |all: &[(String, Item)], key: &str| {
        all.iter()
            .find(|(name, _)| name == key)
            .map(|(_, item)| item.clone())
    };
    let show = |item: Option<&Item>| item.map_or(DEFAULT.to_owned(), Item::masked);
    for (key, item) in &from {
        let other = find(&to, key);
        if other.as_ref() == Some(item) {
            continue;
        }
        let (was, is) = (item.masked(), show(other.as_ref()));
        // Secrets look alike.
        let is = if was == is {
            format!("{is} (another)")
        } else {
            is
        };
        changed.push(change(key, was, is));
    }
    for (key, item) in to {
        if find(&from, &key).is_none() {
            changed.push(change(key, DEFAULT, item.masked()));
        }
    }
}

fn host(site: &Site) -> &str {
    site.hosts.first().map_or("*", String::as_str)
}

fn sites(old: &[Site], new: &[Site], changed: &mut Vec<Change>) {
    let routes = |site: &Site| match site.routes.len() {
        1 => "1 route".to_owned(),
        n => format!("{n} routes"),
    };
    let find = |all: &[Site], name: &str| all.iter().position(|site| host(site) == name);
    for site in old {
        let name = format!("site.{}", host(site));
        match find(new, host(site)) {
            None => changed.push(change(name, routes(site), NONE)),
            Some(at) => one_site(&name, site, &new[at], changed),
        }
    }
    for site in new {
        if find(old, host(site)).is_none() {
            changed.push(change(format!("site.{}", host(site)), NONE, routes(site)));
        }
    }
}

/// Routes by their names; of several with one name the first, the second and so on.
fn by_name(routes: &[Route]) -> Vec<(String, &Route)> {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    let mut named = Vec::new();
    for route in routes {
        let count = seen.entry(&route.name).or_default();
        *count += 1;
        let name = match *count {
            1 => route.name.clone(),
            n => format!("{} ({n})", route.name),
        };
        named.push((name, route));
    }
    named
}

fn one_site(name: &str, old: &Site, new: &Site, changed: &mut Vec<Change>) {
    keys(name, &text::site(old), &text::site(new), changed);
    let (from, to) = (by_name(&old.routes), by_name(&new.routes));
    let find =
        |all: &[(String, &Route)], wanted: &str| all.iter().position(|(name, _)| name == wanted);
    for (route, was) in &from {
        let key = format!("{name} {route}");
        match find(&to, route) {
            None => changed.push(change(key, goes_to(&was.action), NONE)),
            Some(at) => keys(&key, &text::route(was), &text::route(to[at].1), changed),
        }
    }
    for (route, is) in &to {
        if find(&from, route).is_none() {
            changed.push(change(format!("{name} {route}"), NONE, goes_to(&is.action)));
        }
    }
    let order = |all: &[(String, &Route)], other: &[(String, &Route)]| -> Vec<String> {
        let kept = all.iter().filter(|(name, _)| find(other, name).is_some());
        kept.map(|(name, _)| name.clone()).collect()
    };
    let (was, is) = (order(&from, &to), order(&to, &from));
    if was != is {
        changed.push(change(
            format!("{name}.routes"),
            was.join(", "),
            is.join(", "),
        ));
    }
}

/// What a route does, in a few words.
fn goes_to(action: &Action) -> String {
    let target = |target: &Target| match target {
        Target::App(name) => format!("app {name}"),
        Target::Addresses(all) => {
            let all: Vec<&str> = all.iter().map(|one| one.address.as_str()).collect();
            format!("upstreams {}", all.join(", "))
        }
    };
    match action {
        Action::Proxy(group) => target(&group.target),
        Action::Split(branches) => {
            let all: Vec<String> = branches
                .iter()
                .map(|one| target(&one.upstreams.target))
                .collect();
            format!("split: {}", all.join("; "))
        }
        Action::Files(files) => format!("files {}", files.root.display()),
        Action::Redirect { to, .. } => format!("redirect to {to}"),
        Action::Respond { status, .. } => format!("respond {status}"),
    }
}

#[cfg(test)]
mod tests {
    use gateway_spec::{Balance, PathMatch, Secret, Upstreams};

    use super::*;

    fn route(path: &str, app: &str) -> Route {
        Route::new(
            PathMatch::Prefix(path.into()),
            Action::Proxy(Upstreams::app(app)),
        )
    }

    fn spec() -> GatewaySpec {
        GatewaySpec {
            listen: vec![Listen::plain("0.0.0.0:80".parse().unwrap())],
            sites: vec![
                Site::new(
                    ["a.example"],
                    vec![route("/api/", "api"), route("/", "web")],
                ),
                Site::new(["b.example"], vec![route("/", "b")]),
            ],
            redis: Some(Secret::new("redis://:secret@h")),
            ..GatewaySpec::default()
        }
    }

    #[track_caller]
    fn check(
        old: Option<&GatewaySpec>,
        new: Option<&GatewaySpec>,
        verb: GatewayVerb,
        expect: &[&str],
    ) {
        let step = gateway(old, new).unwrap();
        let lines: Vec<String> = step.changed.iter().map(ToString::to_string).collect();
        assert_eq!(
            (step.verb, lines),
            (verb, expect.iter().map(|line| (*line).to_owned()).collect())
        );
    }

    #[test]
    fn none_new_same_and_gone() {
        assert_eq!(gateway(None, None), None);
        let spec = spec();
        check(Some(&spec), Some(&spec), GatewayVerb::Unchanged, &[]);
        check(
            None,
            Some(&spec),
            GatewayVerb::Start,
            &[
                "listen 0.0.0.0:80: (none) -> plain",
                "redis: (default) -> ***",
                "site.a.example: (none) -> 2 routes",
                "site.b.example: (none) -> 1 route",
            ],
        );
        check(
            Some(&spec),
            None,
            GatewayVerb::Stop,
            &[
                "listen 0.0.0.0:80: plain -> (none)",
                "redis: *** -> (default)",
                "site.a.example: 2 routes -> (none)",
                "site.b.example: 1 route -> (none)",
            ],
        );
    }

    #[test]
    fn each_setting_that_differs_is_told() {
        let old = spec();
        let mut new = spec();
        new.listen[0].tls = true;
        new.listen.push(Listen::plain("[::]:80".parse().unwrap()));
        new.timeouts.idle_ms = 80_000;
        new.redis = Some(Secret::new("redis://:hidden@h"));
        new.sites.remove(1);
        new.sites.push(Site::new(["c.example"], vec![]));
        let site = &mut new.sites[0];
        site.hosts.push("www.a.example".into());
        let Action::Proxy(group) = &mut site.routes[0].action else {
            panic!()
        };
        group.balance = Balance::RoundRobin;
        site.routes.insert(0, route("/v2/", "api"));
        check(
            Some(&old),
            Some(&new),
            GatewayVerb::Change,
            &[
                "listen 0.0.0.0:80: plain -> tls",
                "listen [::]:80: (none) -> plain",
                "redis: *** -> *** (another)",
                "timeouts.idle: (default) -> \"80s\"",
                "site.a.example.aliases: (default) -> [\"www.a.example\"]",
                "site.a.example /api/*.balance: (default) -> \"round-robin\"",
                "site.a.example /v2/*: (none) -> app api",
                "site.b.example: 1 route -> (none)",
                "site.c.example: (none) -> 0 routes",
            ],
        );
        assert!(!format!("{:?}", gateway(Some(&old), Some(&new))).contains("hidden"));
    }

    #[test]
    fn the_order_of_routes_matters() {
        let old = spec();
        let mut new = spec();
        new.sites[0].routes.swap(0, 1);
        let moved = "site.a.example.routes: /api/*, /* -> /*, /api/*";
        check(Some(&old), Some(&new), GatewayVerb::Change, &[moved]);
        let mut twice = spec();
        twice.sites[0].routes.push(route("/", "web2"));
        let added = "site.a.example /* (2): (none) -> app web2";
        check(Some(&old), Some(&twice), GatewayVerb::Change, &[added]);
    }
}
