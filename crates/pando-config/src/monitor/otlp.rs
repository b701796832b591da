//! `[otlp]`: metrics and traces to an OpenTelemetry collector.

use std::collections::BTreeMap;

use monitor_spec::settings::Otlp;

use super::notify::is_url;
use crate::app::Context;
use crate::gateway::{self, field, secret};
use crate::problem::{Refusal, Report};
use crate::table::{Table, Value};

const KEYS: [&str; 7] = [
    "endpoint", "headers", "metrics", "traces", "sample", "interval", "service",
];
const EXAMPLE: &str = "{ endpoint = \"http://127.0.0.1:4318\" }";
const LEAST_INTERVAL_MS: u64 = 1_000;
const MAX_HEADERS: usize = 32;
/// The port of OTLP over gRPC (OpenTelemetry specification, OTLP/gRPC Default Port).
const GRPC_PORT: &str = ":4317";

pub(super) fn read(value: &Value<'_>, context: &Context<'_>, report: &mut Report) -> Option<Otlp> {
    let table = value.table("otlp", EXAMPLE, report)?;
    table.only(&KEYS, foreign, report);
    let mut otlp = Otlp::default();
    field::boolean(&table, "metrics", &mut otlp.metrics, report);
    field::boolean(&table, "traces", &mut otlp.traces, report);
    field::share(&table, "sample", &mut otlp.sample, report);
    field::set(&table, "service", &mut otlp.service, report, |v, r| {
        v.string("\"shop\"", r).map(str::to_owned)
    });
    field::set(&table, "interval", &mut otlp.interval_ms, report, interval);
    field::set(&table, "headers", &mut otlp.headers, report, |v, r| {
        headers(v, context, r)
    });
    otlp.endpoint = endpoint(&table, report)?;
    Some(otlp)
}

fn foreign(key: &str) -> Option<Refusal> {
    let fix = match key {
        "url" | "address" | "host" | "listen" => "did you mean `endpoint`?",
        "protocol" => "it is always HTTP with protobuf; remove it",
        "ratio" | "sampling" | "sample_rate" => "did you mean `sample`?",
        "service_name" | "name" => "did you mean `service`?",
        _ => return None,
    };
    let what = format!("unknown key `{key}` in [otlp]");
    Some(Refusal::new(
        what,
        "[otlp] says where metrics and traces are sent",
        fix,
    ))
}

fn endpoint(table: &Table<'_>, report: &mut Report) -> Option<String> {
    let Some(value) = table.get("endpoint") else {
        let why = "metrics and traces are sent somewhere";
        let fix = "add `endpoint = \"http://127.0.0.1:4318\"`";
        report.missing(
            &table.place,
            Refusal::new("[otlp] has no `endpoint`", why, fix),
        );
        return None;
    };
    let text = value.string("\"http://127.0.0.1:4318\"", report)?;
    let text = text.trim_end_matches('/');
    let wrong = |what: String, why: &str, fix: String| Some(Refusal::new(what, why, fix));
    let refusal = if !is_url(text) {
        let fix = "write it like \"http://127.0.0.1:4318\"".to_owned();
        wrong(
            "`endpoint` is not a URL".into(),
            "it is an http:// or https:// URL",
            fix,
        )
    } else if text.contains('@') || text.contains('?') {
        report.conceal(&value.place);
        let fix = "write them in `headers = { authorization = { env = \"…\" } }`".to_owned();
        wrong(
            "`endpoint` has more than an address".into(),
            "keys go into headers",
            fix,
        )
    } else {
        let signal = ["/v1/metrics", "/v1/traces"]
            .iter()
            .find_map(|path| text.strip_suffix(path));
        signal.and_then(|base| {
            let why = "the paths of metrics and traces are added to it";
            wrong(
                format!("`{text}` has the path of one signal"),
                why,
                format!("write \"{base}\""),
            )
        })
    };
    if let Some(refusal) = refusal {
        report.error(&value.place, refusal);
        return None;
    }
    if text.ends_with(GRPC_PORT) {
        let why = "4317 is the usual port of OTLP over gRPC; Pando speaks OTLP over HTTP";
        let fix = format!("write \"{}:4318\"", text.trim_end_matches(GRPC_PORT));
        let what = format!("`{text}` may be another protocol's port");
        report.warning(&value.place, Refusal::new(what, why, fix));
    }
    Some(text.to_owned())
}

fn interval(value: &Value<'_>, report: &mut Report) -> Option<u64> {
    let ms = value.duration_ms(false, report)?;
    if ms < LEAST_INTERVAL_MS {
        let why = "what is measured changes once a second";
        let refusal = Refusal::new("`interval` is too short", why, "give it at least \"1s\"");
        report.error(&value.place, refusal);
    }
    Some(ms)
}

fn headers(
    value: &Value<'_>,
    context: &Context<'_>,
    report: &mut Report,
) -> Option<BTreeMap<String, String>> {
    let table = value.table(
        "otlp.headers",
        "{ authorization = { env = \"OTLP_KEY\" } }",
        report,
    )?;
    let mut headers = BTreeMap::new();
    let values = table.values();
    if let Some(first) = values.get(MAX_HEADERS) {
        let why = format!("there are at most {MAX_HEADERS}");
        report.error(
            &first.key_place,
            Refusal::new("too many headers", why, "leave some out"),
        );
    }
    for value in values.iter().take(MAX_HEADERS) {
        let name = report.take(&value.key_place, gateway::header_name(value.key));
        let secret = secret::read(value, context, report);
        let (Some(name), Some(secret)) = (name, secret) else {
            continue;
        };
        if secret
            .expose()
            .bytes()
            .all(|b| b == b'\t' || (b' '..0x7f).contains(&b))
        {
            headers.insert(name, secret.expose().to_owned());
        } else {
            let what = format!("the value of `{}` cannot be sent", value.key);
            let why = "a header's value is one line of ASCII";
            report.error(&value.place, Refusal::new(what, why, "check the secret"));
        }
    }
    Some(headers)
}
