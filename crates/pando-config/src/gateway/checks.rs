//! What no table can know alone: hosts against each other, apps that must exist, TLS that needs
//! its listener, limits that need their Redis.

use std::collections::BTreeMap;

use gateway_spec::Tls;

use super::site::PlacedSite;
use super::{Read, shadow};
use crate::app::Context;
use crate::problem::{Place, Refusal, Report, did_you_mean};

pub(super) fn all(read: &Read, apps: &[&str], context: &Context<'_>, report: &mut Report) {
    if read.sites.is_empty() {
        let what = "there is no site for the gateway to serve";
        let why = "every request would get 404";
        report.warning(
            &read.place,
            Refusal::new(what, why, "add [site.\"*\"] with `routes`"),
        );
    }
    hosts(&read.sites, report);
    for site in &read.sites {
        for route in &site.routes {
            for (name, place) in &route.apps {
                app(name, place, apps, report);
            }
            if let Some(place) = route.shared.as_ref().filter(|_| !read.has_redis) {
                let what = "a limit is `shared`, and there is no Redis";
                let why = "machines count together in a Redis";
                let fix = "add `redis = \"redis://…\"` to [gateway]";
                report.error(place, Refusal::new(what, why, fix));
            }
        }
        tls(site, read, report);
        shadow::check(&site.routes, report);
    }
    listeners(read, context, report);
}

fn hosts(sites: &[PlacedSite], report: &mut Report) {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for (index, placed) in sites.iter().enumerate() {
        for (host, place) in placed.site.hosts.iter().zip(&placed.host_places) {
            let Some(other) = seen.insert(host, index) else {
                continue;
            };
            let what = if other == index {
                format!("this site has `{host}` twice")
            } else {
                let first = &sites[other].site.hosts[0];
                format!("`{host}` belongs to [site.\"{first}\"] too")
            };
            let why = "one host is served by one site";
            report.error(place, Refusal::new(what, why, "remove one of the two"));
        }
    }
}

fn app(name: &str, place: &Place, apps: &[&str], report: &mut Report) {
    // A file without apps is one of a gateway in front of apps that are started elsewhere.
    if apps.is_empty() || apps.contains(&name) {
        return;
    }
    let fix = match did_you_mean(name, apps.iter().copied()) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None => format!("the apps are {}", apps.join(", ")),
    };
    let what = format!("a route goes to `{name}`, and there is no such app");
    report.error(
        place,
        Refusal::new(what, "`app` names an [app.NAME] of this file", fix),
    );
}

fn tls(placed: &PlacedSite, read: &Read, report: &mut Report) {
    let site = &placed.site;
    let Some(place) = &placed.tls_place else {
        if site.hsts_seconds.is_some() {
            let what = "`hsts` without `tls`";
            let why = "the header is only sent over TLS";
            report.warning(
                &placed.place,
                Refusal::new(what, why, "give the site `tls`"),
            );
        }
        return;
    };
    let reached = read
        .listen
        .as_ref()
        .is_none_or(|all| all.iter().any(|one| one.listen.tls));
    if !reached {
        let what = "this site has `tls`, and no listener has";
        let why = "its clients would be sent to a port where nobody listens";
        let fix = "add \"0.0.0.0:443 tls\" to `listen` in [gateway]";
        report.error(place, Refusal::new(what, why, fix));
    }
    let pattern = site.hosts.iter().find(|host| host.contains('*'));
    if let (Some(Tls::Auto), Some(host)) = (&site.tls, pattern) {
        let what = format!("there is no certificate for `{host}` with tls = \"auto\"");
        let why = "an authority signs a pattern only after a change of the DNS, which Pando does not make";
        let fix = "name each host, or give `cert` and `key`";
        report.error(place, Refusal::new(what, why, fix));
    }
}

fn listeners(read: &Read, context: &Context<'_>, report: &mut Report) {
    let has_tls = read.sites.iter().any(|placed| placed.tls_place.is_some());
    for placed in read.listen.iter().flatten() {
        if placed.listen.tls && !has_tls && !read.sites.is_empty() {
            let what = format!(
                "`{}` has `tls`, and no site has a certificate",
                placed.listen.address
            );
            let why = "every handshake would fail";
            report.warning(&placed.place, Refusal::new(what, why, "give a site `tls`"));
        }
        privileged(placed, context, report);
    }
}

fn privileged(placed: &super::PlacedListen, context: &Context<'_>, report: &mut Report) {
    let gateway_spec::ListenAddress::Tcp(address) = &placed.listen.address else {
        return;
    };
    if address.port() < 1024 && !context.fs.is_root() {
        let what = format!("port {} may need root", address.port());
        let why = "ports below 1024 are the system's, unless it was told otherwise";
        let fix = "start Pando as root, give it CAP_NET_BIND_SERVICE, or use a port above 1023";
        report.warning(&placed.place, Refusal::new(what, why, fix));
    }
}
