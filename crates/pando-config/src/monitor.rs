//! `[metrics]`, `[otlp]`, `[alerts]` and `[alert.NAME]` to one [`MonitorSpec`].

mod alert;
mod condition;
mod notify;
mod otlp;
pub(crate) mod text;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use monitor_spec::settings::MonitorSpec;

use crate::app::Context;
use crate::gateway::field;
use crate::problem::{Refusal, Report, did_you_mean};
use crate::table::{Table, Value};

/// Tables of the file that are read here.
pub(crate) const PARTS: [&str; 4] = ["metrics", "otlp", "alert", "alerts"];
/// Addresses that `/metrics` is served at.
const MAX_LISTEN: usize = 16;
/// A store that is smaller keeps nothing worth having.
const LEAST_DISK_BYTES: u64 = 10 << 20;
/// The port that Prometheus' list of exporters gives to OpenTelemetry's, so nothing else has it.
const USUAL: &str = "\"127.0.0.1:9464\"";

/// `None` if the file has none of [`PARTS`]. `apps` are the names of the file's apps.
pub(crate) fn read(
    root: &Table<'_>,
    apps: &[&str],
    context: &Context<'_>,
    report: &mut Report,
) -> Option<MonitorSpec> {
    PARTS.iter().find_map(|part| root.get(part))?;
    let mut spec = MonitorSpec::default();
    if let Some(value) = root.get("metrics") {
        metrics(&value, &mut spec, report);
    }
    if let Some(value) = root.get("otlp") {
        spec.otlp = otlp::read(&value, context, report);
    }
    if let Some(value) = root.get("alerts") {
        alert::all(&value, &mut spec, context, report);
    }
    if let Some(value) = root.get("alert") {
        spec.alerts = alert::rules(&value, apps, context, report);
    }
    Some(spec)
}

fn metrics(value: &Value<'_>, spec: &mut MonitorSpec, report: &mut Report) {
    let example = format!("{{ listen = {USUAL} }}");
    let Some(table) = value.table("metrics", &example, report) else {
        return;
    };
    table.only(&["listen", "disk"], foreign, report);
    field::set(&table, "listen", &mut spec.listen, report, listen);
    field::set(&table, "disk", &mut spec.disk_bytes, report, |v, r| {
        let bytes = v.size_bytes(r)?;
        if bytes < LEAST_DISK_BYTES {
            let why = "a minute of a few apps would not fit";
            let fix = "give it at least \"10M\"; the default is \"200M\"";
            r.error(&v.place, Refusal::new("`disk` is too small", why, fix));
        }
        Some(bytes)
    });
}

fn foreign(key: &str) -> Option<Refusal> {
    let fix = match key {
        "port" | "address" | "bind" | "host" => "did you mean `listen`?",
        "path" => "it is /metrics at `listen`",
        "endpoint" | "headers" | "interval" => "write it below [otlp]",
        "retention" | "size" => "did you mean `disk`?",
        _ => return None,
    };
    let what = format!("unknown key `{key}` in [metrics]");
    Some(Refusal::new(
        what,
        "[metrics] says where /metrics is served and what the store may take",
        fix,
    ))
}

fn listen(value: &Value<'_>, report: &mut Report) -> Option<Vec<SocketAddr>> {
    let texts = value.strings(USUAL, report)?;
    if let Some((_, place)) = texts.get(MAX_LISTEN) {
        let what = format!("{} addresses to listen at are too many", texts.len());
        let refusal = Refusal::new(
            what,
            format!("there are at most {MAX_LISTEN}"),
            "leave some out",
        );
        report.error(place, refusal);
    }
    let mut all = Vec::new();
    for (text, place) in texts.into_iter().take(MAX_LISTEN) {
        let Some(address) = report.take(&place, address(text)) else {
            continue;
        };
        if all.contains(&address) {
            let what = format!("`{address}` is listened at twice");
            report.error(
                &place,
                Refusal::new(what, "once is enough", "remove one of the two"),
            );
        }
        all.push(address);
    }
    Some(all)
}

/// `127.0.0.1:9464`, `localhost:9464`, `:9464` (every address, as elsewhere).
fn address(text: &str) -> Result<SocketAddr, Refusal> {
    let host =
        |ip: Ipv4Addr, port: &str| Some(SocketAddr::from((IpAddr::from(ip), port.parse().ok()?)));
    let found = text
        .parse::<SocketAddr>()
        .ok()
        .or_else(|| match text.rsplit_once(':')? {
            ("localhost", port) => host(Ipv4Addr::LOCALHOST, port),
            ("", port) => host(Ipv4Addr::UNSPECIFIED, port),
            _ => None,
        });
    found.filter(|address| address.port() > 0).ok_or_else(|| {
        let fix = match text.parse::<u16>() {
            Ok(port) => format!("write \"127.0.0.1:{port}\""),
            Err(_) => format!("write it like {USUAL}"),
        };
        let why = "/metrics is served at an IP address and a port";
        Refusal::new(format!("`{text}` is not an address"), why, fix)
    })
}

/// A name of the file in a list of `apps`; one that it does not have may be another file's.
fn app_of_file(name: &str, apps: &[&str]) -> Option<Refusal> {
    if apps.contains(&name) {
        return None;
    }
    let fix = match did_you_mean(name, apps.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "check the name, or leave it if another file starts that app".to_owned(),
    };
    let why = "a rule for an app that never runs says nothing";
    Some(Refusal::new(
        format!("no app `{name}` is in this file"),
        why,
        fix,
    ))
}
