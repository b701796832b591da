//! Server blocks to sites.

use gateway_spec::{Action, GatewaySpec, Listen, Site, Tls};

use super::listen::{self, Listening};
use super::scope::Scope;
use super::tree::Directive;
use super::{Import, known};
use crate::command;

/// One server block, before those of the same host are joined.
struct Server<'t> {
    directive: &'t Directive,
    site: Site,
    has_plain: bool,
    is_default: bool,
}

pub(super) fn read_all<'t>(import: &mut Import<'t>, http: Scope<'t>, spec: &mut GatewaySpec) {
    let mut servers = Vec::new();
    for directive in http.block().iter().filter(|one| one.name == "server") {
        let listening = import.listening(directive);
        for one in &listening {
            add_listener(import, directive, &one.listen, spec);
        }
        servers.extend(read(import, &http, directive, &listening));
    }
    let has_star = servers
        .iter()
        .any(|server| server.site.hosts.iter().any(|host| host == "*"));
    for server in servers {
        let Server {
            directive,
            mut site,
            has_plain,
            is_default,
        } = server;
        if is_default && !has_star {
            site.hosts.push("*".into());
        }
        join(import, directive, site, has_plain, spec);
    }
    if spec.listen.is_empty() && !spec.sites.is_empty() {
        // What was asked for is told; nginx's default is better than none.
        spec.listen.push(listen::default());
    }
    let star = |site: &Site| site.hosts.iter().any(|host| host == "*");
    if let Some(first) = spec.sites.first()
        && !spec.sites.iter().any(star)
    {
        let why = format!(
            "nginx gives requests for unknown hosts to its first server; Pando answers 404. Add \"*\" to the aliases of {} for that",
            first.hosts[0]
        );
        if let Some(server) = http.block().iter().find(|one| one.name == "server") {
            import.notes.differs(server, why);
        }
    }
}

fn add_listener<'t>(
    import: &mut Import<'t>,
    directive: &'t Directive,
    listen: &Listen,
    spec: &mut GatewaySpec,
) {
    match spec
        .listen
        .iter()
        .find(|other| other.address == listen.address)
    {
        None => spec.listen.push(listen.clone()),
        Some(other) if other == listen => {}
        Some(_) => import.notes.untranslated(
            directive,
            format!(
                "{} is listened at in two ways; the first is kept",
                listen.address
            ),
        ),
    }
}

fn read<'t>(
    import: &mut Import<'t>,
    http: &Scope<'t>,
    directive: &'t Directive,
    listening: &[Listening],
) -> Option<Server<'t>> {
    let hosts = import.hosts(directive);
    if hosts.is_empty() {
        import
            .notes
            .untranslated(directive, "none of its names can be a host");
        return None;
    }
    import.unknown(directive.inner(), known::Context::Server);
    let scope = http.inside(directive.inner());
    let mut site = Site::new(hosts, Vec::new());
    let with_tls = listening.iter().any(|one| one.listen.tls);
    if with_tls {
        site.tls = certificate(import, &scope, directive);
    }
    let has_plain = listening.iter().any(|one| !one.listen.tls);
    if site.tls.is_some() && has_plain {
        // The same block serves both.
        site.redirect_https = Some(false);
    }
    site.routes = import.routes(&scope, directive, &site);
    if site.routes.is_empty() {
        import
            .notes
            .untranslated(directive, "nothing of it could be translated");
        return None;
    }
    Some(Server {
        directive,
        site,
        has_plain,
        is_default: listening.iter().any(|one| one.is_default),
    })
}

fn certificate<'t>(
    import: &mut Import<'t>,
    scope: &Scope<'t>,
    server: &'t Directive,
) -> Option<Tls> {
    for name in ["ssl_certificate", "ssl_certificate_key"] {
        let all = scope.all(name);
        if let Some(second) = all.get(1) {
            import
                .notes
                .untranslated(second, "a site has one certificate; the first is kept");
        }
    }
    let file = |name: &str| {
        let first = scope.all(name).first()?.args.first()?;
        let usable =
            !first.contains('$') && !first.starts_with("data:") && !first.starts_with("engine:");
        usable.then(|| command::absolute(import.tree.dir(), first))
    };
    if let (Some(cert), Some(key)) = (file("ssl_certificate"), file("ssl_certificate_key")) {
        return Some(Tls::Files { cert, key });
    }
    let why = "it listens with TLS and has no certificate of a file; write `tls = \"auto\"` or name the files";
    import.notes.untranslated(server, why);
    None
}

/// A server that only sends its clients to HTTPS under the same name: what a site with `tls` does
/// by itself.
fn only_redirects(site: &Site) -> bool {
    let [route] = &site.routes[..] else {
        return false;
    };
    let Action::Redirect { to, .. } = &route.action else {
        return false;
    };
    let rest = to
        .strip_prefix("https://")
        .and_then(|rest| rest.strip_suffix("{uri}"));
    site.tls.is_none()
        && rest.is_some_and(|host| host == "{host}" || site.hosts.iter().any(|own| own == host))
}

/// Adds a site, or joins it to the one that has its hosts already.
fn join<'t>(
    import: &mut Import<'t>,
    directive: &'t Directive,
    mut site: Site,
    has_plain: bool,
    spec: &mut GatewaySpec,
) {
    let taken = |host: &String, spec: &GatewaySpec| {
        spec.sites
            .iter()
            .position(|other| other.hosts.contains(host))
    };
    let Some(at) = site.hosts.iter().find_map(|host| taken(host, spec)) else {
        spec.sites.push(site);
        return;
    };
    let other = &spec.sites[at];
    if only_redirects(&site) && other.tls.is_some() {
        // The other does it; hosts that only the redirect has still need it.
        site.hosts.retain(|host| taken(host, spec).is_none());
        if !site.hosts.is_empty() {
            spec.sites.push(site);
        }
        return;
    }
    if only_redirects(other) && site.tls.is_some() {
        let left: Vec<String> = other
            .hosts
            .iter()
            .filter(|host| !site.hosts.contains(host))
            .cloned()
            .collect();
        if left.is_empty() {
            spec.sites[at] = site;
        } else {
            spec.sites[at].hosts = left;
            spec.sites.push(site);
        }
        return;
    }
    if has_plain && other.tls.is_none() && site.tls.is_none()
        || other.tls.is_some() == site.tls.is_some()
    {
        let why = format!(
            "there is another server for {}; one host is one site, and the first is kept",
            site.hosts[0]
        );
        import.notes.untranslated(directive, why);
        return;
    }
    let why = format!(
        "{} is served in one way over TLS and in another without it; only the one with TLS is kept",
        site.hosts[0]
    );
    import.notes.untranslated(directive, why);
    if site.tls.is_some() {
        spec.sites[at] = site;
    }
}
