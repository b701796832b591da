//! `upstream` blocks, and `proxy_pass`.

use gateway_spec::{Balance, HashKey, PathMatch, Protocol, Rewrite, Target, Upstream, Upstreams};

use super::Import;
use super::scope::Scope;
use super::tree::Directive;
use super::value;
use crate::command;

/// nginx's own, where `max_fails` and `fail_timeout` are not both given.
const MAX_FAILS: u32 = 1;
const FAIL_MS: u64 = 10_000;
const MAX_WEIGHT: u32 = 65_535;

/// `http://backend/uri` in parts.
struct Pass<'t> {
    protocol: Protocol,
    host: &'t str,
    uri: Option<&'t str>,
}

fn pass(text: &str) -> Option<Pass<'_>> {
    let (scheme, rest) = text.split_once("://").unwrap_or(("grpc", text));
    let protocol = match scheme {
        "http" => Protocol::Http1,
        "https" => Protocol::Https,
        "grpc" => Protocol::H2c,
        "grpcs" => Protocol::H2,
        _ => return None,
    };
    // http://unix:/path:/uri
    let (host, uri) = match rest.strip_prefix("unix:") {
        Some(path) => match path.split_once(':') {
            Some((path, uri)) => (&rest[.."unix:".len() + path.len()], Some(uri)),
            None => (rest, None),
        },
        None => match rest.find('/') {
            Some(at) => (&rest[..at], Some(&rest[at..])),
            None => (rest, None),
        },
    };
    Some(Pass {
        protocol,
        host,
        uri,
    })
}

impl<'t> Import<'t> {
    /// Where a `proxy_pass` goes, and its URI part.
    pub fn group(
        &mut self,
        directive: &'t Directive,
        scope: &Scope<'t>,
    ) -> Option<(Upstreams, Option<&'t str>)> {
        let text = directive.arg(0);
        let Some(pass) = pass(text).filter(|pass| !pass.host.contains('$')) else {
            let why = "the address is computed; an upstream of pando.toml is fixed, or an app";
            self.notes.untranslated(directive, why);
            return None;
        };
        let mut group = match self.upstreams.get(pass.host).copied() {
            Some(block) => self.upstream_block(block, pass.protocol)?,
            None => {
                let upstream = self.address(directive, pass.host, pass.protocol)?;
                // nginx sends the upstream's own name unless it is told otherwise.
                let is_name = upstream
                    .address
                    .rsplit_once(':')
                    .is_some_and(|(host, _)| host.contains(|c: char| c.is_ascii_alphabetic()));
                let local = upstream.address.starts_with("localhost:")
                    || upstream.address.starts_with("unix:")
                    || upstream.address.starts_with('[');
                let mut group = Upstreams::new(Target::Addresses(vec![upstream]));
                group.preserve_host = !is_name || local;
                group
            }
        };
        self.timeouts(&mut group, scope);
        self.next_upstream(&mut group, scope);
        self.upstream_tls(&mut group, scope, directive);
        Some((group, pass.uri))
    }

    fn address(
        &mut self,
        directive: &'t Directive,
        text: &str,
        protocol: Protocol,
    ) -> Option<Upstream> {
        if let Some(path) = text.strip_prefix("unix:") {
            let path = command::absolute(self.tree.dir(), path);
            return Some(Upstream {
                protocol,
                ..Upstream::new(format!("unix:{}", path.display()))
            });
        }
        let port = if matches!(protocol, Protocol::Https | Protocol::H2) {
            443
        } else {
            80
        };
        let has_port = text.rsplit_once(':').is_some_and(|(host, port)| {
            port.parse::<u16>().is_ok() && (!host.contains(':') || host.ends_with(']'))
        });
        let with_port = if has_port {
            text.to_owned()
        } else {
            format!("{text}:{port}")
        };
        match crate::gateway::upstream(&with_port) {
            Ok(upstream) => Some(Upstream {
                protocol,
                ..upstream
            }),
            Err(refusal) => {
                self.notes.untranslated(
                    directive,
                    format!("`{text}` is no upstream: {}", refusal.why),
                );
                None
            }
        }
    }

    fn upstream_block(&mut self, block: &'t Directive, protocol: Protocol) -> Option<Upstreams> {
        let mut group = Upstreams {
            balance: Balance::RoundRobin,
            ..Upstreams::new(Target::Addresses(Vec::new()))
        };
        let mut servers: Vec<Upstream> = Vec::new();
        for directive in block.inner() {
            match directive.name.as_str() {
                "server" => {
                    let server = self.server_line(directive, protocol, &mut group);
                    if let Some(server) = server {
                        if servers.iter().any(|other| other.address == server.address) {
                            self.notes
                                .untranslated(directive, "the same address stands above");
                        } else {
                            servers.push(server);
                        }
                    }
                }
                "ip_hash" => group.balance = Balance::IpHash,
                "least_conn" => group.balance = Balance::LeastConnections,
                "random" => group.balance = random(directive),
                "hash" => group.balance = self.hash(directive),
                "keepalive" => {
                    group.pool.idle = directive.arg(0).parse().unwrap_or(group.pool.idle)
                }
                "keepalive_timeout" => {
                    group.pool.idle_ms =
                        value::wait_ms(directive.arg(0)).unwrap_or(group.pool.idle_ms);
                }
                "sticky" if directive.arg(0) == "cookie" => {
                    group.sticky_cookie = Some(directive.arg(1).to_owned())
                }
                "zone" | "keepalive_requests" | "keepalive_time" | "resolver"
                | "resolver_timeout" => {
                    self.notes.not_needed(directive);
                }
                _ => self
                    .notes
                    .untranslated(directive, "upstreams have no such setting"),
            }
        }
        servers.truncate(gateway_spec::MAX_UPSTREAMS);
        if !servers.is_empty() && servers.iter().all(|server| server.backup) {
            servers.iter_mut().for_each(|server| server.backup = false);
        }
        if servers.is_empty() {
            self.notes
                .untranslated(block, "it has no server that could be translated");
            return None;
        }
        group.target = Target::Addresses(servers);
        Some(group)
    }

    /// `server address weight=2 backup max_fails=3 fail_timeout=30s`.
    fn server_line(
        &mut self,
        directive: &'t Directive,
        protocol: Protocol,
        group: &mut Upstreams,
    ) -> Option<Upstream> {
        let mut upstream = self.address(directive, directive.arg(0), protocol)?;
        let (mut fails, mut fail_ms) = (None, None);
        for word in directive.args.iter().skip(1) {
            let (name, text) = word.split_once('=').unwrap_or((word, ""));
            match name {
                "weight" => upstream.weight = text.parse().unwrap_or(1).clamp(1, MAX_WEIGHT),
                "backup" => upstream.backup = true,
                "max_fails" => fails = text.parse::<u32>().ok(),
                "fail_timeout" => fail_ms = value::wait_ms(text),
                "max_conns" => group.breaker.max_requests = text.parse().ok().filter(|n| *n > 0),
                "slow_start" => group.slow_start_ms = value::wait_ms(text).unwrap_or(0),
                "resolve" => {}
                "down" => {
                    self.notes
                        .untranslated(directive, "it is marked `down`, so it is left out");
                    return None;
                }
                _ => self
                    .notes
                    .untranslated(directive, format!("`{word}` is not known")),
            }
        }
        if fails.is_some() || fail_ms.is_some() {
            let outlier = &mut group.outlier;
            let fails = fails.unwrap_or(MAX_FAILS);
            outlier.on = fails > 0;
            outlier.consecutive = fails.max(1);
            outlier.eject_ms = fail_ms.unwrap_or(FAIL_MS);
            outlier.max_eject_ms = outlier.max_eject_ms.max(outlier.eject_ms);
        }
        Some(upstream)
    }

    /// `hash $key [consistent]`.
    fn hash(&mut self, directive: &'t Directive) -> Balance {
        let key = match directive.arg(0) {
            "$remote_addr" | "$binary_remote_addr" => HashKey::Ip,
            "$request_uri" => HashKey::Uri,
            "$uri" | "$document_uri" => HashKey::Path,
            text => match (text.strip_prefix("$http_"), text.strip_prefix("$cookie_")) {
                (Some(name), _) if is_word(name) => HashKey::Header(name.replace('_', "-")),
                (_, Some(name)) if is_word(name) => HashKey::Cookie(name.to_owned()),
                _ => {
                    let why = "a hash is made of the address, the path, the URI, a header or a cookie; the URI is taken";
                    self.notes.untranslated(directive, why);
                    HashKey::Uri
                }
            },
        };
        Balance::RingHash(key)
    }

    fn timeouts(&mut self, group: &mut Upstreams, scope: &Scope<'t>) {
        let wait = |name: &str| scope.word(name).and_then(value::wait_ms);
        if let Some(ms) = wait("proxy_connect_timeout") {
            group.pool.connect_ms = ms;
        }
        if let Some(ms) = wait("proxy_read_timeout").or_else(|| wait("grpc_read_timeout")) {
            group.pool.read_ms = ms;
        }
    }

    fn next_upstream(&mut self, group: &mut Upstreams, scope: &Scope<'t>) {
        if let Some(directive) = scope.one("proxy_next_upstream") {
            for word in &directive.args {
                match word.as_str() {
                    "error" | "timeout" | "invalid_header" => {}
                    "off" => group.retry.attempts = 0,
                    "non_idempotent" => {
                        let why = "Pando repeats such a request only where it provably never reached a handler";
                        self.notes.differs(directive, why);
                    }
                    word => match word
                        .strip_prefix("http_")
                        .and_then(|n| n.parse::<u16>().ok())
                    {
                        Some(status @ 400..=599) => group.retry.statuses.push(status),
                        _ => self
                            .notes
                            .untranslated(directive, format!("`{word}` is not known")),
                    },
                }
            }
        }
        let tries = scope
            .word("proxy_next_upstream_tries")
            .and_then(|n| n.parse::<u32>().ok());
        if let Some(tries @ 1..) = tries {
            group.retry.attempts = (tries - 1).min(10);
        }
    }

    fn upstream_tls(&mut self, group: &mut Upstreams, scope: &Scope<'t>, directive: &'t Directive) {
        let Target::Addresses(upstreams) = &group.target else {
            return;
        };
        if !upstreams
            .iter()
            .any(|one| matches!(one.protocol, Protocol::Https | Protocol::H2))
        {
            return;
        }
        if let Some(ca) = scope.word("proxy_ssl_trusted_certificate") {
            group.tls.ca = Some(command::absolute(self.tree.dir(), ca));
        }
        group.tls.server_name = scope
            .word("proxy_ssl_name")
            .filter(|name| !name.contains('$'))
            .map(str::to_owned);
        if scope.word("proxy_ssl_verify") != Some("on") {
            let why = "nginx does not check this upstream's certificate, Pando does; `upstream_tls = { insecure = true }` does not";
            self.notes.differs(directive, why);
        }
    }

    /// What a URI behind the address does to the path: it takes the place of the location's.
    pub fn proxy_rewrite(
        &mut self,
        path: &PathMatch,
        uri: Option<&'t str>,
        pass: &'t Directive,
        scope: &Scope<'t>,
    ) -> Option<Rewrite> {
        let own = self.own_rewrite(scope);
        let Some(uri) = uri else {
            return own;
        };
        if own.is_some() {
            // nginx passes what `rewrite … break` made, without the URI.
            return own;
        }
        if uri.contains(['$', '?', '{', '}']) || uri.contains(char::is_whitespace) {
            let why = "the URI is computed; use `rewrite` in the route";
            self.notes.untranslated(pass, why);
            return None;
        }
        match path {
            PathMatch::Exact(exact) if exact == uri => None,
            PathMatch::Exact(_) => Some(Rewrite::Template(format!("{uri}{{query}}"))),
            PathMatch::Prefix(prefix) if prefix == uri => None,
            PathMatch::Prefix(_) if uri == "/" => Some(Rewrite::StripPrefix),
            PathMatch::Prefix(prefix) => {
                if prefix.ends_with('/') != uri.ends_with('/') {
                    let why = "of location and URI one ends with a slash and the other does not: Pando joins them with exactly one";
                    self.notes.differs(pass, why);
                }
                Some(Rewrite::ReplacePrefix(uri.to_owned()))
            }
            PathMatch::Params(_) | PathMatch::Extensions { .. } => {
                self.notes.untranslated(
                    pass,
                    "a URI beside an expression takes the place of nothing",
                );
                None
            }
        }
    }
}

fn random(directive: &Directive) -> Balance {
    if directive.arg(0) == "two" {
        Balance::TwoChoices
    } else {
        Balance::Random
    }
}

pub(super) fn is_word(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}
