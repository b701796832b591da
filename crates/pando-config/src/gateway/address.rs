//! Addresses of upstreams: `app1.internal:3000`, `https://h`, `unix:/run/x.sock`, or a table.

use std::path::Path;

use gateway_spec::{MAX_UPSTREAMS, Protocol, Upstream};

use super::field;
use crate::app::Context;
use crate::command;
use crate::problem::{Refusal, Report, did_you_mean};
use crate::table::{Value, nothing_foreign};

const EXAMPLE: &str = "[\"app1.internal:3000\", \"app2.internal:3000\"]";
const MAX_WEIGHT: i64 = 65_535;

pub(super) const PROTOCOLS: [(&str, Protocol); 4] = [
    ("http", Protocol::Http1),
    ("https", Protocol::Https),
    ("h2c", Protocol::H2c),
    ("h2", Protocol::H2),
];

pub(super) fn read(
    value: &Value<'_>,
    context: &Context<'_>,
    report: &mut Report,
) -> Option<Vec<Upstream>> {
    let values = value.each();
    if values.is_empty() || values.len() > MAX_UPSTREAMS {
        let what = format!("`upstreams` has {} addresses", values.len());
        let why = format!("it has from 1 to {MAX_UPSTREAMS}");
        report.error(
            &value.place,
            Refusal::new(what, why, format!("write it like `upstreams = {EXAMPLE}`")),
        );
        return None;
    }
    let mut upstreams: Vec<Upstream> = Vec::new();
    for value in &values {
        let Some(upstream) = one(value, context, report) else {
            continue;
        };
        if upstreams
            .iter()
            .any(|other| other.address == upstream.address)
        {
            let what = format!("`{}` is listed twice", upstream.address);
            let why = "an address has one weight";
            report.error(
                &value.place,
                Refusal::new(what, why, "remove one, or give it a `weight` of 2"),
            );
        }
        upstreams.push(upstream);
    }
    if upstreams.len() < values.len() {
        return None;
    }
    if upstreams.iter().all(|upstream| upstream.backup) {
        let what = "all upstreams are backups";
        let why = "a backup is used while no other is available";
        report.error(
            &value.place,
            Refusal::new(what, why, "remove `backup` from one of them"),
        );
    }
    Some(upstreams)
}

fn one(value: &Value<'_>, context: &Context<'_>, report: &mut Report) -> Option<Upstream> {
    if value.is_str() {
        let text = value.string(EXAMPLE, report)?;
        return report.take(&value.place, parse(text, context.dir));
    }
    let table = value.table("upstreams", EXAMPLE, report)?;
    table.only(
        &["address", "weight", "backup", "protocol"],
        foreign,
        report,
    );
    let Some(address) = table.get("address") else {
        let why = "an upstream is an address";
        let refusal = Refusal::new(
            "this upstream has no `address`",
            why,
            "add `address = \"app1.internal:3000\"`",
        );
        report.missing(&table.place, refusal);
        return None;
    };
    let text = address.string("\"app1.internal:3000\"", report);
    let upstream = text.and_then(|text| report.take(&address.place, parse(text, context.dir)));
    let mut upstream = upstream.unwrap_or_else(|| Upstream::new(""));
    field::set(&table, "weight", &mut upstream.weight, report, |v, r| {
        u32::try_from(v.integer(1..=MAX_WEIGHT, "3", r)?).ok()
    });
    field::boolean(&table, "backup", &mut upstream.backup, report);
    field::set(
        &table,
        "protocol",
        &mut upstream.protocol,
        report,
        |v, r| v.choice(&PROTOCOLS, r),
    );
    (!upstream.address.is_empty()).then_some(upstream)
}

fn foreign(key: &str) -> Option<Refusal> {
    let (why, fix) = match key {
        "host" | "port" | "url" | "server" => {
            ("it is host and port in one", "did you mean `address`?")
        }
        "max_fails" | "fail_timeout" => ("ejection is the route's", "use `outlier` in the route"),
        "max_conns" => (
            "bounds are the route's",
            "use `max_connections` in the route",
        ),
        "down" => (
            "an upstream that is listed is used",
            "remove the whole upstream",
        ),
        _ => return nothing_foreign(key),
    };
    Some(Refusal::new(
        format!("unknown key `{key}` in an upstream"),
        why,
        fix,
    ))
}

/// The address without its scheme, always with a port.
pub(super) fn parse(text: &str, dir: &Path) -> Result<Upstream, Refusal> {
    if let Some(path) = text.strip_prefix("unix:") {
        return unix(path, text, dir);
    }
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) => (Some(scheme), rest),
        None => (None, text),
    };
    let protocol = scheme.map_or(Ok(Protocol::Http1), |scheme| protocol(scheme, text))?;
    let refuse = |why: &str, fix: String| {
        Err(Refusal::new(
            format!("`{text}` is not an upstream"),
            why,
            fix,
        ))
    };
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    if let Some(at) = authority.find(['/', '?', '#']) {
        let fix = format!(
            "write \"{}\" and change the path by `rewrite`",
            text.strip_suffix(&authority[at..])
                .unwrap_or(&authority[..at])
        );
        return refuse("an upstream is an address, without a path", fix);
    }
    let (host, port) = split_port(authority);
    if scheme.is_none() && port.is_none() {
        let fix = match authority.parse::<u16>() {
            Ok(port) => format!("write \"127.0.0.1:{port}\""),
            Err(_) => format!("write \"{authority}:3000\" with its port"),
        };
        return refuse("it has no port", fix);
    }
    if !is_host(host) {
        let fix = "write it like \"app1.internal:3000\" or \"[::1]:3000\"".to_owned();
        return refuse("its host is neither a name nor an IP address", fix);
    }
    let port = match port.map(str::parse::<u16>) {
        Some(Ok(port)) if port > 0 => port,
        Some(_) => {
            return refuse(
                "its port is not from 1 to 65535",
                "write it like \"app1.internal:3000\"".into(),
            );
        }
        None if matches!(protocol, Protocol::Https | Protocol::H2) => 443,
        None => 80,
    };
    Ok(Upstream {
        protocol,
        ..Upstream::new(format!("{}:{port}", host.to_ascii_lowercase()))
    })
}

fn unix(path: &str, text: &str, dir: &Path) -> Result<Upstream, Refusal> {
    let path = path.strip_prefix("//").unwrap_or(path);
    if path.is_empty() || path.ends_with('/') {
        let fix = "write it like \"unix:/run/app.sock\"";
        return Err(Refusal::new(
            format!("`{text}` names no socket"),
            "a unix socket is a file",
            fix,
        ));
    }
    let path = command::absolute(dir, path);
    Ok(Upstream::new(format!("unix:{}", path.display())))
}

fn protocol(scheme: &str, text: &str) -> Result<Protocol, Refusal> {
    let found = PROTOCOLS.iter().find(|(name, _)| *name == scheme);
    found.map(|(_, protocol)| *protocol).ok_or_else(|| {
        let near = match scheme {
            "grpc" => Some("h2c"),
            "grpcs" => Some("h2"),
            "ws" | "tcp" => Some("http"),
            "wss" => Some("https"),
            _ => did_you_mean(scheme, PROTOCOLS.iter().map(|(name, _)| *name)),
        };
        let why = "an upstream speaks http, https, h2c or h2";
        let fix = near.map_or_else(
            || "use http://".to_owned(),
            |near| format!("did you mean `{near}://`?"),
        );
        Refusal::new(
            format!("`{text}` begins with an unknown `{scheme}://`"),
            why,
            fix,
        )
    })
}

/// Host (with its brackets) and what stands behind its colon.
fn split_port(authority: &str) -> (&str, Option<&str>) {
    let end_of_host = authority.rfind(']').map_or(0, |at| at + 1);
    match authority[end_of_host..].rfind(':') {
        Some(at) => (
            &authority[..end_of_host + at],
            Some(&authority[end_of_host + at + 1..]),
        ),
        None => (authority, None),
    }
}

fn is_host(host: &str) -> bool {
    if let Some(inner) = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        return inner.parse::<std::net::Ipv6Addr>().is_ok();
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    (1..=253).contains(&host.len()) && host.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<(String, Protocol), Refusal> {
        parse(text, Path::new("/srv")).map(|upstream| (upstream.address, upstream.protocol))
    }

    #[test]
    fn addresses() {
        for (text, address, protocol) in [
            ("app1.internal:3000", "app1.internal:3000", Protocol::Http1),
            ("http://h", "h:80", Protocol::Http1),
            ("http://h/", "h:80", Protocol::Http1),
            ("https://H:8443", "h:8443", Protocol::Https),
            ("https://h", "h:443", Protocol::Https),
            ("h2c://127.0.0.1:50051", "127.0.0.1:50051", Protocol::H2c),
            ("h2://h", "h:443", Protocol::H2),
            ("[::1]:3000", "[::1]:3000", Protocol::Http1),
            ("unix:/run/x.sock", "unix:/run/x.sock", Protocol::Http1),
            ("unix:x.sock", "unix:/srv/x.sock", Protocol::Http1),
        ] {
            assert_eq!(read(text), Ok((address.to_owned(), protocol)), "{text}");
        }
        for (text, fix) in [
            ("app1.internal", "\"app1.internal:3000\""),
            ("3000", "\"127.0.0.1:3000\""),
            ("http://h/v1", "\"http://h\""),
            ("h:3000/v1", "\"h:3000\""),
            ("h:0", "app1.internal:3000"),
            ("h:x", "app1.internal:3000"),
            (":3000", "[::1]:3000"),
            ("::1:3000", "[::1]:3000"),
            ("grpc://h:1", "`h2c://`"),
            ("htp://h:1", "`http://`"),
            ("unix:", "unix:/run/app.sock"),
            ("a b:1", "app1.internal:3000"),
        ] {
            let refusal = read(text).expect_err(text);
            assert!(refusal.fix.contains(fix), "{text}: {refusal:?}");
        }
    }
}
