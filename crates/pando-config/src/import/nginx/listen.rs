//! `listen` and `server_name`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use gateway_spec::{Listen, ListenAddress};

use super::Import;
use super::tree::Directive;
use crate::command;

/// One `listen`.
pub(super) struct Listening {
    pub listen: Listen,
    pub is_default: bool,
}

const DEFAULT_PORT: u16 = 80;

/// Parameters that say nothing about what is served.
const TUNING: [&str; 14] = [
    "http2",
    "reuseport",
    "deferred",
    "bind",
    "fastopen",
    "backlog",
    "rcvbuf",
    "sndbuf",
    "accept_filter",
    "ipv6only",
    "so_keepalive",
    "setfib",
    "spdy",
    "multipath",
];

/// nginx's, where none is written.
pub(super) fn default() -> Listen {
    Listen::plain(SocketAddr::from((Ipv4Addr::UNSPECIFIED, DEFAULT_PORT)))
}

impl<'t> Import<'t> {
    /// What a server listens at; nginx's default is port 80.
    pub fn listening(&mut self, server: &'t Directive) -> Vec<Listening> {
        let all: Vec<&Directive> = server
            .inner()
            .iter()
            .filter(|one| one.name == "listen")
            .collect();
        if all.is_empty() {
            return vec![Listening {
                listen: default(),
                is_default: false,
            }];
        }
        let old_ssl = server
            .inner()
            .iter()
            .any(|one| one.name == "ssl" && one.arg(0) == "on");
        all.into_iter()
            .filter_map(|one| self.listen(one, old_ssl))
            .collect()
    }

    fn listen(&mut self, directive: &'t Directive, tls: bool) -> Option<Listening> {
        let Some(address) = self.listen_address(directive.arg(0)) else {
            let why = "only IP addresses, ports and unix sockets can be listened at";
            self.notes.untranslated(directive, why);
            return None;
        };
        let mut listening = Listening {
            listen: Listen {
                address,
                tls,
                proxy_protocol: false,
            },
            is_default: false,
        };
        for word in directive.args.iter().skip(1) {
            let name = word.split('=').next().unwrap_or_default();
            match name {
                "ssl" => listening.listen.tls = true,
                "default_server" | "default" => listening.is_default = true,
                "proxy_protocol" => listening.listen.proxy_protocol = true,
                "quic" | "http3" => {
                    self.notes
                        .untranslated(directive, "Pando does not speak HTTP/3");
                    return None;
                }
                name if TUNING.contains(&name) => {}
                _ => self
                    .notes
                    .untranslated(directive, format!("`{word}` is not known")),
            }
        }
        Some(listening)
    }

    fn listen_address(&self, text: &str) -> Option<ListenAddress> {
        if let Some(path) = text.strip_prefix("unix:") {
            let path = command::absolute(self.tree.dir(), path);
            let plain = !path.display().to_string().contains(char::is_whitespace);
            return plain.then_some(ListenAddress::Unix(path));
        }
        let all = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let tcp = |ip: IpAddr, port: u16| {
            (port > 0).then(|| ListenAddress::Tcp(SocketAddr::new(ip, port)))
        };
        if let Ok(port) = text.parse::<u16>() {
            return tcp(all, port);
        }
        if let Ok(address) = text.parse::<SocketAddr>() {
            return tcp(address.ip(), address.port());
        }
        let bare = text.trim_start_matches('[').trim_end_matches(']');
        if let Ok(ip) = bare.parse::<IpAddr>() {
            return tcp(ip, DEFAULT_PORT);
        }
        match text.rsplit_once(':') {
            Some(("*", port)) => tcp(all, port.parse().ok()?),
            Some(("localhost", port)) => tcp(Ipv4Addr::LOCALHOST.into(), port.parse().ok()?),
            Some(("[::]", port)) => tcp(Ipv6Addr::UNSPECIFIED.into(), port.parse().ok()?),
            Some(_) => None,
            None if text == "*" => tcp(all, DEFAULT_PORT),
            None if text == "localhost" => tcp(Ipv4Addr::LOCALHOST.into(), DEFAULT_PORT),
            None => None,
        }
    }

    /// The hosts of a server; empty if it has names and none of them can be translated.
    pub fn hosts(&mut self, server: &'t Directive) -> Vec<String> {
        let mut hosts: Vec<String> = Vec::new();
        let mut named = false;
        for directive in server
            .inner()
            .iter()
            .filter(|one| one.name == "server_name")
        {
            for name in &directive.args {
                named = true;
                self.host(directive, name, &mut hosts);
            }
        }
        if !named {
            hosts.push("*".into());
        }
        hosts
    }

    fn host(&mut self, directive: &'t Directive, name: &str, hosts: &mut Vec<String>) {
        let mut add = |host: String| {
            if !hosts.contains(&host) {
                hosts.push(host);
            }
        };
        let lowered = name.to_ascii_lowercase();
        if name.is_empty() || name == "_" {
            return add("*".into());
        }
        if name.starts_with('~') {
            let why = format!("`{name}` is an expression; a host is a name or `*.` with a name");
            return self.notes.untranslated(directive, why);
        }
        let both = lowered.strip_prefix('.').map(str::to_owned);
        let names = match both {
            Some(name) => vec![name.clone(), format!("*.{name}")],
            None => vec![lowered],
        };
        for host in names {
            match crate::gateway::host(&host) {
                Ok(host) => add(host),
                Err(refusal) => {
                    let why = format!("`{name}` cannot be a host: {}", refusal.why);
                    return self.notes.untranslated(directive, why);
                }
            }
        }
    }
}
