//! `[gateway]`, `[gateway.*]` and `[site."HOST"]` to one [`GatewaySpec`].
//!
//! A file a noun. Each reads one table, tells all that is wrong in it with its place, and puts
//! what is sound into the spec; [`checks`] then looks at what no table can know alone.

mod address;
mod auth;
mod balance;
mod cache;
mod checks;
mod cors;
pub(crate) mod field;
mod files;
mod headers;
mod limit;
mod listen;
mod net;
mod path;
mod reply;
mod resilience;
mod rewrite;
mod route;
pub(crate) mod secret;
mod settings;
mod shadow;
mod site;
mod split;
mod template;
pub(crate) mod text;
mod tls;
mod upstreams;

use std::path::Path;

use gateway_spec::{GatewaySpec, MAX_SITES, PathMatch, Upstream};

use crate::app::Context;
use crate::problem::{Place, Refusal, Report};
use crate::table::Table;

use listen::PlacedListen;
use site::PlacedSite;

/// All that was read, with the places that the checks across tables need.
struct Read {
    /// `None`: `listen` was not written.
    listen: Option<Vec<PlacedListen>>,
    sites: Vec<PlacedSite>,
    has_redis: bool,
    place: Place,
}

/// The pando.toml that says the same as `spec`; reading it gives an equal one. Secrets stand in it
/// as they are.
pub fn to_toml(spec: &GatewaySpec) -> String {
    text::spec(spec)
}

/// A host in its one spelling, or why it is none.
pub(crate) fn host(text: &str) -> Result<String, Refusal> {
    site::host(text)
}

/// The address of an upstream, or why it is none.
pub(crate) fn upstream(text: &str) -> Result<Upstream, Refusal> {
    address::parse(text, Path::new("/"))
}

/// Whether a route can have this as its path, or before a `*`.
pub(crate) fn is_plain_path(text: &str) -> bool {
    matches!(path::read(text), Ok(PathMatch::Exact(_)))
}

/// The path of a route, or why it is none.
pub(crate) fn path(text: &str) -> Result<PathMatch, Refusal> {
    path::read(text)
}

/// A header's name in lower case, or why it is none.
pub(crate) fn header_name(text: &str) -> Result<String, Refusal> {
    headers::name(text)
}

pub(crate) fn header_value(text: &str) -> Result<(), Refusal> {
    headers::value(text)
}

/// Requests and milliseconds of `10r/s`.
pub(crate) fn rate(text: &str) -> Result<(u32, u64), Refusal> {
    limit::rate(text)
}

/// `None` if the file has neither `[gateway]` nor `[site]`. `apps` are the names of the file's
/// apps, of the broken ones too.
pub(crate) fn read(
    root: &Table<'_>,
    apps: &[&str],
    context: &Context<'_>,
    report: &mut Report,
) -> Option<GatewaySpec> {
    let (gateway, sites) = (root.get("gateway"), root.get("site"));
    let first = gateway.as_ref().or(sites.as_ref())?;
    let place = first.key_place.clone();
    let mut spec = GatewaySpec::default();
    let table =
        gateway.and_then(|value| value.table("gateway", "{ listen = [\"0.0.0.0:80\"] }", report));
    let listen = table.and_then(|table| settings::read(&table, &mut spec, context, report));
    let table = sites.and_then(|value| value.table("site", "{ }", report));
    let sites = table.map_or_else(Vec::new, |table| read_sites(&table, context, report));
    let read = Read {
        listen,
        sites,
        has_redis: spec.redis.is_some(),
        place,
    };
    checks::all(&read, apps, context, report);
    let with_tls = read.sites.iter().any(|placed| placed.site.tls.is_some());
    spec.listen = match read.listen {
        Some(listen) => listen.into_iter().map(|placed| placed.listen).collect(),
        None => listen::default(context.fs.is_root(), with_tls),
    };
    spec.sites = read.sites.into_iter().map(|placed| placed.site).collect();
    Some(spec)
}

fn read_sites(table: &Table<'_>, context: &Context<'_>, report: &mut Report) -> Vec<PlacedSite> {
    let values = table.values();
    if let Some(first) = values.get(MAX_SITES) {
        let what = format!("{} sites are too many", values.len());
        let why = format!("one gateway has at most {MAX_SITES}");
        report.error(
            &first.key_place,
            Refusal::new(what, why, "use a host with `*`"),
        );
    }
    let sites = values.iter().take(MAX_SITES);
    sites
        .filter_map(|value| site::read(value, context, report))
        .collect()
}
