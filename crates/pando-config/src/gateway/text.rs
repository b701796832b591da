//! A [`GatewaySpec`] as the pando.toml that says the same. What is as by default is left out.
//!
//! [`spec`] is read back to an equal spec; [`settings`], [`site`] and [`route`] give the keys one
//! by one, for the plan.

mod item;
mod protect;
mod route;
mod settings;
mod upstreams;

use std::fmt::Write as _;

use gateway_spec::{GatewaySpec, Route, Site};

pub(crate) use item::Item;

/// Keys with their values, in the order in which people expect them.
pub(crate) type Keys = Vec<(String, Item)>;

/// A route longer than this is written below a header of its own.
const MAX_ROUTE_CHARS: usize = 130;

/// The text of a whole gateway. Secrets are written as they are.
pub(crate) fn spec(spec: &GatewaySpec) -> String {
    let mut out = String::new();
    let keys = settings::gateway(spec);
    if !keys.is_empty() {
        out.push_str("[gateway]\n");
        lines(&keys, &mut out);
    }
    for site in &spec.sites {
        if !out.is_empty() {
            out.push('\n');
        }
        write_site(site, &mut out);
    }
    out
}

fn write_site(site: &Site, out: &mut String) {
    let host = site.hosts.first().map_or("*", String::as_str);
    let name = format!("site.{}", item::quoted(host));
    // Writing to a String cannot fail.
    let _ = writeln!(out, "[{name}]");
    lines(&settings::site(site), out);
    let routes: Vec<Keys> = site.routes.iter().map(route::keys).collect();
    let inline: Vec<String> = routes
        .iter()
        .map(|keys| Item::Table(keys.clone()).shown())
        .collect();
    if inline
        .iter()
        .all(|text| text.chars().count() <= MAX_ROUTE_CHARS)
    {
        out.push_str("routes = [\n");
        for text in inline {
            let _ = writeln!(out, "  {text},");
        }
        out.push_str("]\n");
        return;
    }
    for keys in &routes {
        let _ = writeln!(out, "\n[[{name}.routes]]");
        lines(keys, out);
    }
}

fn lines(keys: &Keys, out: &mut String) {
    for (key, item) in keys {
        let _ = writeln!(out, "{} = {}", item::key(key), item.in_lines());
    }
}

/// The keys of `[gateway]`.
pub(crate) fn settings(spec: &GatewaySpec) -> Keys {
    settings::gateway(spec)
}

/// The keys of a site but for its routes.
pub(crate) fn site(site: &Site) -> Keys {
    settings::site(site)
}

/// The keys of a route.
pub(crate) fn route(route: &Route) -> Keys {
    route::keys(route)
}
