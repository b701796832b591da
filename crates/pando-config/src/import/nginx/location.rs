//! Locations to routes, in the order in which nginx would choose them.
//!
//! nginx looks for an exact path, then for the longest prefix; expressions go before it unless it
//! has `^~`. In pando.toml the first route that matches serves, so the routes are put in that
//! order.

use gateway_spec::{Action, PathMatch, Route, Site};

use super::scope::Scope;
use super::tree::Directive;
use super::{Import, known, pattern};

/// How nginx chooses: the smaller first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Exact,
    /// `^~`, and what lies below one: by length.
    Stop(std::cmp::Reverse<usize>),
    /// In the order of the file.
    Regex,
    Prefix(std::cmp::Reverse<usize>),
}

struct Ranked {
    rank: Rank,
    route: Route,
}

/// A location's path as it is written.
struct Written<'t> {
    directive: &'t Directive,
    modifier: &'t str,
    path: &'t str,
}

impl<'t> Written<'t> {
    fn new(directive: &'t Directive) -> Self {
        let (modifier, path) = match &directive.args[..] {
            [path] => ("", path.as_str()),
            [modifier, path, ..] => (modifier.as_str(), path.as_str()),
            [] => ("", ""),
        };
        // "=/x" and "~\.php$" may stand without a space.
        if modifier.is_empty() {
            for known in ["^~", "~*", "~", "="] {
                if let Some(rest) = path.strip_prefix(known) {
                    return Self {
                        directive,
                        modifier: known,
                        path: rest,
                    };
                }
            }
        }
        Self {
            directive,
            modifier,
            path,
        }
    }
}

impl<'t> Import<'t> {
    /// All routes of a server.
    pub fn routes(&mut self, scope: &Scope<'t>, server: &'t Directive, site: &Site) -> Vec<Route> {
        if let Some(route) = self.whole_server(scope, site) {
            return vec![route];
        }
        let mut ranked = Vec::new();
        self.server_rewrites(server.inner(), &mut |route| {
            ranked.push(Ranked {
                rank: Rank::Exact,
                route,
            });
        });
        self.collect(scope, server.inner(), server, site, &mut ranked);
        let all = PathMatch::Prefix("/".into());
        let has_all = ranked.iter().any(|one| one.route.matches.path == all);
        if !has_all && scope.own("root").is_some() {
            for route in self.files(all, scope, server, server) {
                ranked.push(Ranked {
                    rank: Rank::Prefix(std::cmp::Reverse(1)),
                    route,
                });
            }
        }
        order(ranked)
    }

    /// `return` beside the locations goes before all of them.
    fn whole_server(&mut self, scope: &Scope<'t>, site: &Site) -> Option<Route> {
        let of_if = self.conditional_redirect(scope, site);
        let directive = of_if.or_else(|| scope.own("return"))?;
        let action = self.reply(directive, site)?;
        let mut route = Route::new(PathMatch::Prefix("/".into()), action);
        self.around(&mut route, scope);
        Some(route)
    }

    /// `if ($host = example.com) { return 301 …; }` for each host of the server, as certbot writes
    /// it, and `if ($scheme = http)`; other `if`s are told.
    fn conditional_redirect(&mut self, scope: &Scope<'t>, site: &Site) -> Option<&'t Directive> {
        let mut found: Option<&'t Directive> = None;
        let mut covered = 0;
        let mut used = Vec::new();
        for directive in scope.block().iter().filter(|one| one.name == "if") {
            let condition = directive.args.join(" ");
            let condition = condition
                .trim_start_matches('(')
                .trim_end_matches(')')
                .trim();
            let reply = directive.inner().iter().find(|one| one.name == "return");
            let same = |reply: &Directive| found.is_none_or(|other| other.args == reply.args);
            match reply.filter(|reply| same(reply)) {
                Some(reply) if is_own_host(condition, site) => {
                    covered += 1;
                    found = Some(reply);
                    used.push(directive);
                }
                Some(reply) if is_plain_http(condition) && site.tls.is_none() => {
                    covered = site.hosts.len();
                    found = Some(reply);
                }
                Some(_) if is_plain_http(condition) => {
                    let why = "remove `redirect_https = false` from the site for the same";
                    self.notes.differs(directive, why);
                }
                Some(_) | None => self.conditional(directive),
            }
        }
        if covered < site.hosts.len() {
            for directive in used {
                self.conditional(directive);
            }
            return None;
        }
        found
    }

    fn conditional(&mut self, directive: &'t Directive) {
        let why = "Pando has no conditions; a route can match methods and headers instead";
        self.notes.untranslated(directive, why);
    }

    fn collect(
        &mut self,
        scope: &Scope<'t>,
        block: &'t [Directive],
        server: &'t Directive,
        site: &Site,
        ranked: &mut Vec<Ranked>,
    ) {
        for directive in block.iter().filter(|one| one.name == "location") {
            let written = Written::new(directive);
            if written.path.starts_with('@') {
                // Read where `try_files` names it.
                continue;
            }
            let inner = scope.inside(directive.inner());
            self.unknown(directive.inner(), known::Context::Location);
            for condition in directive.inner().iter().filter(|one| one.name == "if") {
                self.conditional(condition);
            }
            for (rank, path) in self.paths(&written, &inner) {
                let routes = self.location(path, &inner, directive, server, site);
                ranked.extend(routes.into_iter().map(|route| Ranked {
                    rank: rank.clone(),
                    route,
                }));
            }
            self.collect(&inner, directive.inner(), server, site, ranked);
        }
    }

    fn paths(&mut self, written: &Written<'t>, inner: &Scope<'t>) -> Vec<(Rank, PathMatch)> {
        let directive = written.directive;
        let length = std::cmp::Reverse(written.path.len());
        match written.modifier {
            "~" | "~*" => {
                if pattern::is_dotfiles(written.path) && is_refusal(inner) {
                    self.notes.not_needed(directive);
                    return Vec::new();
                }
                if let Some(path) = pattern::extensions(written.path) {
                    return vec![(Rank::Regex, path)];
                }
                let Some(paths) = pattern::paths(written.path) else {
                    let why = "a route's path is exact, a prefix with `*`, has `{names}` or extensions; there are no expressions";
                    self.notes.untranslated(directive, why);
                    return Vec::new();
                };
                if written.modifier == "~*" {
                    self.notes
                        .differs(directive, "paths are compared with their case");
                }
                paths.into_iter().map(|path| (Rank::Regex, path)).collect()
            }
            "" | "=" | "^~" if !is_path(written.path) => {
                self.notes
                    .untranslated(directive, "this is not a path that a route can have");
                Vec::new()
            }
            "=" => vec![(Rank::Exact, PathMatch::Exact(written.path.to_owned()))],
            "^~" => vec![(
                Rank::Stop(length),
                PathMatch::Prefix(written.path.to_owned()),
            )],
            "" => vec![(
                Rank::Prefix(length),
                PathMatch::Prefix(written.path.to_owned()),
            )],
            _ => {
                self.notes
                    .untranslated(directive, "its modifier is not known");
                Vec::new()
            }
        }
    }

    /// The routes of one location: one, or two where files fall through to a named location.
    fn location(
        &mut self,
        path: PathMatch,
        scope: &Scope<'t>,
        directive: &'t Directive,
        server: &'t Directive,
        site: &Site,
    ) -> Vec<Route> {
        if let Some(reply) = scope.own("return") {
            let Some(action) = self.reply(reply, site) else {
                return Vec::new();
            };
            let mut route = Route::new(path, action);
            self.around(&mut route, scope);
            return vec![route];
        }
        for name in ["fastcgi_pass", "uwsgi_pass", "scgi_pass", "memcached_pass"] {
            if let Some(pass) = scope.own(name) {
                self.notes
                    .untranslated(pass, "Pando's upstreams speak HTTP");
                return Vec::new();
            }
        }
        let pass = scope.own("proxy_pass").or_else(|| scope.own("grpc_pass"));
        if let Some(pass) = pass {
            if let Some(try_files) = scope.own("try_files") {
                self.notes
                    .untranslated(try_files, "beside proxy_pass it is not looked at");
            }
            return self.proxied(path, scope, pass).into_iter().collect();
        }
        let has_files = scope.own("alias").is_some()
            || scope.one("root").is_some()
            || scope.one("try_files").is_some();
        if has_files {
            return self.files(path, scope, directive, server);
        }
        let mut redirects = Vec::new();
        self.server_rewrites(scope.block(), &mut |route| redirects.push(route));
        let nested = directive.inner().iter().any(|one| one.name == "location");
        if redirects.is_empty() && !nested {
            let why = "it neither passes requests on nor has a `root`";
            self.notes.untranslated(directive, why);
        }
        redirects
    }

    fn proxied(
        &mut self,
        path: PathMatch,
        scope: &Scope<'t>,
        pass: &'t Directive,
    ) -> Option<Route> {
        let (group, uri) = self.group(pass, scope)?;
        let mut route = Route::new(path, Action::Proxy(group));
        route.rewrite = self.proxy_rewrite(&route.matches.path, uri, pass, scope);
        self.request_headers(&mut route, scope, pass);
        self.around(&mut route, scope);
        Some(route)
    }

    /// A named location, where `try_files` ends.
    pub fn named(
        &mut self,
        name: &str,
        path: PathMatch,
        scope: &Scope<'t>,
        server: &'t Directive,
    ) -> Option<Route> {
        let mut locations = server.inner().iter().filter(|one| one.name == "location");
        let directive = locations.find(|one| one.arg(0) == name)?;
        self.unknown(directive.inner(), known::Context::Location);
        let inner = scope.inside(directive.inner());
        let pass = inner.own("proxy_pass").or_else(|| inner.own("grpc_pass"))?;
        self.proxied(path, &inner, pass)
    }

    /// All that is done around an action.
    pub fn around(&mut self, route: &mut Route, scope: &Scope<'t>) {
        self.response_headers(route, scope);
        self.protect(route, scope);
        self.compress(route, scope);
        self.body(route, scope);
    }
}

fn is_path(text: &str) -> bool {
    crate::gateway::is_plain_path(text)
}

/// `$host = example.com`, with a host of this server.
fn is_own_host(condition: &str, site: &Site) -> bool {
    let host = condition
        .strip_prefix("$host =")
        .map(|host| host.trim().trim_matches('"'));
    host.is_some_and(|host| site.hosts.iter().any(|own| own == host))
}

fn is_plain_http(condition: &str) -> bool {
    const SPELLINGS: [&str; 5] = [
        "$scheme = http",
        "$scheme != https",
        "$https = ",
        "$https =",
        "$https != on",
    ];
    SPELLINGS.contains(&condition)
}

/// `deny all` or `return 403`.
fn is_refusal(scope: &Scope<'_>) -> bool {
    let denies = scope.own("deny").is_some_and(|one| one.arg(0) == "all");
    denies
        || scope
            .own("return")
            .is_some_and(|one| matches!(one.arg(0), "403" | "404" | "444"))
}

/// What lies below a `^~` prefix and is longer goes before it, as nginx takes the longest.
fn order(mut ranked: Vec<Ranked>) -> Vec<Route> {
    let stops: Vec<String> = ranked
        .iter()
        .filter(|one| matches!(one.rank, Rank::Stop(_)))
        .map(|one| one.route.matches.path.to_string())
        .collect();
    let has_regex = ranked.iter().any(|one| one.rank == Rank::Regex);
    for one in &mut ranked {
        let path = one.route.matches.path.to_string();
        let below = stops
            .iter()
            .any(|stop| path.starts_with(stop.trim_end_matches('*')));
        one.rank = match one.rank.clone() {
            Rank::Prefix(length) if below && has_regex => Rank::Stop(length),
            Rank::Stop(length) if !has_regex => Rank::Prefix(length),
            rank @ (Rank::Exact | Rank::Stop(_) | Rank::Regex | Rank::Prefix(_)) => rank,
        };
    }
    // Stable: expressions, and files before what they fall through to, keep their order.
    ranked.sort_by(|a, b| a.rank.cmp(&b.rank));
    ranked.into_iter().map(|one| one.route).collect()
}
