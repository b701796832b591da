//! `cors = true`, or a table.

use gateway_spec::Cors;

use super::{field, headers};
use crate::problem::{Refusal, Report};
use crate::table::{Value, nothing_foreign};

pub(super) fn read(value: &Value<'_>, report: &mut Report) -> Option<Option<Cors>> {
    let mut cors = Cors::default();
    if value.is_bool() {
        return value.boolean(report).map(|on| on.then_some(cors));
    }
    let table = value.table("cors", "{ origins = [\"https://app.example\"] }", report)?;
    let keys = [
        "origins",
        "methods",
        "headers",
        "expose",
        "credentials",
        "max_age",
    ];
    table.only(&keys, nothing_foreign, report);
    field::set(&table, "origins", &mut cors.origins, report, origins);
    field::set(&table, "methods", &mut cors.methods, report, |v, r| {
        let methods = v.strings("[\"GET\", \"POST\"]", r)?;
        Some(
            methods
                .into_iter()
                .map(|(text, _)| text.to_ascii_uppercase())
                .collect(),
        )
    });
    field::set(&table, "headers", &mut cors.headers, report, names);
    field::set(&table, "expose", &mut cors.expose, report, names);
    field::boolean(&table, "credentials", &mut cors.credentials, report);
    field::set(
        &table,
        "max_age",
        &mut cors.max_age_seconds,
        report,
        |v, r| Some(v.long_duration_ms(r)? / 1000),
    );
    if cors.credentials && cors.origins.iter().any(|origin| origin == "*") {
        let what = "`credentials` with every origin";
        let why = "browsers refuse it: any page could act as the user";
        report.error(
            &value.place,
            Refusal::new(what, why, "list the `origins` that may"),
        );
    }
    Some(Some(cors))
}

fn origins(value: &Value<'_>, report: &mut Report) -> Option<Vec<String>> {
    let mut origins = Vec::new();
    for (text, place) in value.strings("[\"https://app.example\"]", report)? {
        let host = text.split_once("://").map(|(_, host)| host);
        let sound = text == "*"
            || text == "null"
            || host.is_some_and(|host| !host.is_empty() && !host.contains(['/', ' ', '?', '#']));
        if !sound {
            let what = format!("`{text}` is not an origin");
            let why = "an origin is scheme, host and port, without a path";
            let fix = match host {
                Some(host) => format!(
                    "write \"{}://{}\"",
                    text.split("://").next().unwrap_or("https"),
                    host.split('/').next().unwrap_or(host)
                ),
                None => format!("write \"https://{text}\""),
            };
            report.error(&place, Refusal::new(what, why, fix));
        }
        origins.push(text.to_ascii_lowercase());
    }
    Some(origins)
}

fn names(value: &Value<'_>, report: &mut Report) -> Option<Vec<String>> {
    let texts = value.strings("[\"x-request-id\"]", report)?;
    let names = texts
        .iter()
        .map(|(text, place)| report.take(place, headers::name(text)));
    names.collect::<Vec<_>>().into_iter().collect()
}
