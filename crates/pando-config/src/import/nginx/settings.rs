//! What holds for the whole gateway.

use std::net::IpAddr;

use gateway_spec::{CacheDisk, GatewaySpec};
use ipnet::IpNet;

use super::Import;
use super::tree::Directive;
use super::value;
use crate::command;

/// Where nginx has no bound.
const CACHE_BYTES: u64 = 1 << 30;
const MAX_THREADS: u32 = 1024;

pub(super) fn read<'t>(
    import: &mut Import<'t>,
    main: &'t [Directive],
    http: &'t [Directive],
    spec: &mut GatewaySpec,
) {
    let of_main = |name: &str| main.iter().find(|one| one.name == name);
    if let Some(user) = of_main("user").and_then(|one| one.args.first()) {
        spec.user =
            Some(user.clone()).filter(|user| !user.trim().is_empty() && !user.contains('\0'));
    }
    let threads = of_main("worker_processes").and_then(|one| one.arg(0).parse::<u32>().ok());
    spec.threads = threads.filter(|n| (1..=MAX_THREADS).contains(n));
    for (name, target) in [
        ("keepalive_timeout", &mut spec.timeouts.idle_ms),
        ("client_header_timeout", &mut spec.timeouts.header_ms),
        ("client_body_timeout", &mut spec.timeouts.body_ms),
        ("send_timeout", &mut spec.timeouts.write_ms),
    ] {
        if let Some(directive) = import.global(http, name) {
            match value::wait_ms(directive.arg(0)) {
                Some(ms) if directive.arg(0) != "0" => *target = ms,
                Some(_) | None => import
                    .notes
                    .untranslated(directive, "this is not a time that can be waited"),
            }
        }
    }
    if let Some(buffers) = import.global(http, "large_client_header_buffers") {
        let number = buffers.arg(0).parse::<u64>().ok();
        let total = number
            .zip(value::size_bytes(buffers.arg(1)))
            .map(|(n, size)| n.saturating_mul(size));
        if let Some(bytes) = total.filter(|bytes| (1024..=16 << 20).contains(bytes)) {
            spec.limits.header_bytes = bytes;
        }
    }
    trusted(import, http, spec);
    access_log(import, http, spec);
    cache_store(import, spec);
    if let Some(verify) = import.global(http, "ssl_verify_client")
        && verify.arg(0) != "off"
    {
        import
            .notes
            .untranslated(verify, "certificates of clients are not asked for");
    }
    if let Some(protocols) = import.global(http, "ssl_protocols")
        && !protocols
            .args
            .iter()
            .any(|one| one == "TLSv1.2" || one == "TLSv1.3")
    {
        import
            .notes
            .differs(protocols, "Pando speaks TLS 1.2 and 1.3 only");
    }
}

impl<'t> Import<'t> {
    /// The first directive of a name below `http`; others that say something else are told.
    fn global(&mut self, http: &'t [Directive], name: &str) -> Option<&'t Directive> {
        let all = everywhere(http, name);
        let (first, more) = all.split_first()?;
        for other in more.iter().filter(|other| other.args != first.args) {
            let why = "it holds for the whole gateway; the first of the file is kept";
            self.notes.untranslated(other, why);
        }
        Some(first)
    }
}

/// All of a name in blocks of any depth but those of upstreams, in order.
fn everywhere<'t>(block: &'t [Directive], name: &str) -> Vec<&'t Directive> {
    let mut found = Vec::new();
    for directive in block {
        if directive.name == name {
            found.push(directive);
        }
        if directive.name != "upstream" {
            found.extend(everywhere(directive.inner(), name));
        }
    }
    found
}

fn trusted<'t>(import: &mut Import<'t>, http: &'t [Directive], spec: &mut GatewaySpec) {
    for directive in everywhere(http, "set_real_ip_from") {
        let text = directive.arg(0);
        let net = text
            .parse::<IpNet>()
            .or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        match net.map(|net| net.trunc()) {
            Ok(net) if !spec.trusted_proxies.contains(&net) => spec.trusted_proxies.push(net),
            Ok(_) => {}
            Err(_) => import
                .notes
                .untranslated(directive, "only networks can be trusted"),
        }
    }
    if let Some(header) = import.global(http, "real_ip_header") {
        let known = [
            "x-forwarded-for",
            "proxy_protocol",
            "x-real-ip",
            "forwarded",
        ];
        let name = header.arg(0).to_ascii_lowercase();
        if !known[..2].contains(&name.as_str()) {
            let why = "the client's address is taken from X-Forwarded-For, Forwarded or the PROXY protocol";
            import.notes.untranslated(header, why);
        }
    }
}

fn access_log<'t>(import: &mut Import<'t>, http: &'t [Directive], spec: &mut GatewaySpec) {
    let all = everywhere(http, "access_log");
    let Some((first, more)) = all.split_first() else {
        return;
    };
    let of_all = http.iter().any(|one| std::ptr::eq(one, *first));
    let path = first.arg(0);
    if path == "off" && of_all {
        spec.access_log.on = false;
    } else if path == "off" || path.contains('$') || path.starts_with("syslog:") {
        import
            .notes
            .untranslated(first, "there is one access log for the whole gateway");
    } else if path.starts_with("/dev/std") {
        import
            .notes
            .differs(first, "the lines are Pando's own: JSON, or text");
    } else if !path.trim().is_empty() {
        spec.access_log.path = Some(command::absolute(import.tree.dir(), path));
        import
            .notes
            .differs(first, "the lines are Pando's own: JSON, or text");
    }
    for other in more.iter().filter(|other| other.args != first.args) {
        import
            .notes
            .untranslated(other, "there is one access log for the whole gateway");
    }
}

fn cache_store(import: &mut Import<'_>, spec: &mut GatewaySpec) {
    let zones: Vec<&Directive> = import.cache_zones.values().copied().collect();
    for directive in zones {
        if spec.cache_store.disk.is_some() {
            import
                .notes
                .untranslated(directive, "there is one cache for the whole gateway");
            continue;
        }
        let max = directive
            .args
            .iter()
            .find_map(|arg| arg.strip_prefix("max_size="));
        let max = max.and_then(value::size_bytes).filter(|bytes| *bytes > 0);
        if max.is_none() {
            import
                .notes
                .differs(directive, "it has no max_size; 1G is written");
        }
        spec.cache_store.disk = Some(CacheDisk {
            path: command::absolute(import.tree.dir(), directive.arg(0)),
            max_bytes: max.unwrap_or(CACHE_BYTES),
        });
    }
}
