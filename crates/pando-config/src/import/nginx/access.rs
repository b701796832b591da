//! Who may ask, and how often: `allow`, `deny`, `limit_req`, `limit_conn`, `auth_basic`.

use std::collections::BTreeMap;
use std::net::IpAddr;

use gateway_spec::{Auth, Basic, ConnectionLimit, GatewaySpec, KeyPart, Limit, Route};
use ipnet::IpNet;

use super::Import;
use super::scope::Scope;
use super::tree::Directive;
use super::upstream::is_word;
use crate::command;
use crate::gateway::{header_value, rate};

impl<'t> Import<'t> {
    pub fn protect(&mut self, route: &mut Route, scope: &Scope<'t>) {
        self.networks(route, scope);
        for directive in scope.all("limit_req") {
            let limit = self.limit(directive);
            route.protect.limits.extend(limit);
        }
        for directive in scope.all("limit_conn") {
            let Some(limit) = self.connections(directive) else {
                continue;
            };
            if route.protect.connections.is_some() {
                self.notes.untranslated(
                    directive,
                    "a route has one limit of connections; the first is kept",
                );
            } else {
                route.protect.connections = Some(limit);
            }
        }
        route.protect.auth = self.basic(scope);
    }

    /// nginx takes the first rule that matches, Pando the longest prefix: what an earlier and
    /// shorter prefix decides is left out.
    fn networks(&mut self, route: &mut Route, scope: &Scope<'t>) {
        let mut seen: Vec<IpNet> = Vec::new();
        let mut ends_open = true;
        for directive in scope.all_of(&["allow", "deny"]) {
            let text = directive.arg(0);
            if text == "all" {
                ends_open = directive.name == "allow";
                break;
            }
            let net = text
                .parse::<IpNet>()
                .or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
            let Ok(net) = net else {
                self.notes.untranslated(directive, "this is not a network");
                continue;
            };
            let net = net.trunc();
            if seen.iter().any(|earlier| earlier.contains(&net)) {
                continue;
            }
            seen.push(net);
            let list = if directive.name == "allow" {
                &mut route.protect.allow
            } else {
                &mut route.protect.deny
            };
            list.push(net);
        }
        let protect = &mut route.protect;
        if !ends_open && protect.allow.is_empty() {
            protect.deny = ["0.0.0.0/0", "::/0"]
                .iter()
                .filter_map(|net| net.parse().ok())
                .collect();
        } else if ends_open && !protect.allow.is_empty() {
            // Those that are allowed only matter where they are cut out of what is denied.
            let (allow, deny) = (&mut protect.allow, &protect.deny);
            allow.retain(|net| deny.iter().any(|denied| denied.contains(net)));
            if !allow.is_empty() {
                allow.extend(
                    ["0.0.0.0/0", "::/0"]
                        .iter()
                        .filter_map(|net| net.parse::<IpNet>().ok()),
                );
            }
        }
    }

    fn limit(&mut self, directive: &'t Directive) -> Option<Limit> {
        let option = |name: &str| directive.args.iter().find_map(|arg| arg.strip_prefix(name));
        let name = option("zone=")?;
        let Some(zone) = self.request_zones.get(name).copied() else {
            self.notes
                .untranslated(directive, format!("there is no limit_req_zone `{name}`"));
            return None;
        };
        let written = zone.args.iter().find_map(|arg| arg.strip_prefix("rate="));
        let Some((rate, period_ms)) = written.and_then(|text| rate(text).ok()) else {
            self.notes.untranslated(zone, "its rate cannot be read");
            return None;
        };
        if option("delay=").is_some() {
            self.notes.differs(
                directive,
                "all requests within the burst are served at once",
            );
        }
        Some(Limit {
            per: self.key(zone)?,
            zone: Some(name.to_owned()),
            rate,
            period_ms,
            burst: option("burst=").and_then(|n| n.parse().ok()).unwrap_or(0),
            nodelay: directive.args.iter().any(|arg| arg == "nodelay")
                || option("delay=").is_some(),
            shared: false,
            dry_run: false,
        })
    }

    fn connections(&mut self, directive: &'t Directive) -> Option<ConnectionLimit> {
        let (name, max) = (directive.arg(0), directive.arg(1));
        let Some(zone) = self.connection_zones.get(name).copied() else {
            self.notes
                .untranslated(directive, format!("there is no limit_conn_zone `{name}`"));
            return None;
        };
        let max = max.parse().ok().filter(|max| *max > 0)?;
        Some(ConnectionLimit {
            per: self.key(zone)?,
            max,
        })
    }

    /// `$binary_remote_addr$http_x_key`.
    fn key(&mut self, zone: &'t Directive) -> Option<Vec<KeyPart>> {
        let mut parts = Vec::new();
        for name in zone.arg(0).split('$').skip(1) {
            let name = name
                .trim_start_matches('{')
                .split('}')
                .next()
                .unwrap_or_default();
            let header = name.strip_prefix("http_").filter(|name| is_word(name));
            let cookie = name.strip_prefix("cookie_").filter(|name| is_word(name));
            let part = match (name, header, cookie) {
                ("binary_remote_addr" | "remote_addr", ..) => Some(KeyPart::Ip),
                ("uri" | "document_uri", ..) => Some(KeyPart::Path),
                ("server_name" | "host", ..) => Some(KeyPart::Everything),
                (_, Some(name), _) => {
                    Some(KeyPart::Header(name.to_ascii_lowercase().replace('_', "-")))
                }
                (_, _, Some(name)) => Some(KeyPart::Cookie(name.to_owned())),
                _ => None,
            };
            let Some(part) = part else {
                let why = format!(
                    "`${name}` cannot be counted; addresses, paths, headers and cookies can"
                );
                self.notes.untranslated(zone, why);
                return None;
            };
            if !parts.contains(&part) && parts.len() < 8 {
                parts.push(part);
            }
        }
        if parts.is_empty() {
            self.notes.untranslated(zone, "it has no key");
        }
        (!parts.is_empty()).then_some(parts)
    }

    fn basic(&mut self, scope: &Scope<'t>) -> Option<Auth> {
        let directive = scope.one("auth_basic")?;
        let realm = directive.arg(0);
        if realm == "off" {
            return None;
        }
        let file = scope
            .word("auth_basic_user_file")
            .filter(|file| !file.contains('$'));
        let Some(file) = file else {
            self.notes
                .untranslated(directive, "it has no auth_basic_user_file");
            return None;
        };
        let usable =
            !realm.trim().is_empty() && !realm.contains('$') && header_value(realm).is_ok();
        Some(Auth::Basic(Basic {
            realm: if usable {
                realm.to_owned()
            } else {
                "restricted".into()
            },
            users: Vec::new(),
            file: Some(command::absolute(self.tree.dir(), file)),
        }))
    }
}

/// A zone that one route has needs no name.
pub(super) fn forget_single_zones(spec: &mut GatewaySpec) {
    let mut counts = BTreeMap::new();
    let routes = spec.sites.iter().flat_map(|site| &site.routes);
    for limit in routes.flat_map(|route| &route.protect.limits) {
        *counts.entry(limit.zone.clone()).or_insert(0) += 1;
    }
    let routes = spec.sites.iter_mut().flat_map(|site| &mut site.routes);
    for limit in routes.flat_map(|route| &mut route.protect.limits) {
        if counts.get(&limit.zone) == Some(&1) {
            limit.zone = None;
        }
    }
}
