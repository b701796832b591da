//! `cache` and `compress` of a route.

use gateway_spec::{Cache, Compress};

use super::{field, headers};
use crate::problem::{Refusal, Report};
use crate::table::{Value, nothing_foreign};

const KEYS: [&str; 9] = [
    "ttl",
    "force_ttl",
    "stale_while_revalidate",
    "stale_if_error",
    "max_object",
    "key_headers",
    "ignore_query",
    "bypass_cookies",
    "surrogate_header",
];

/// `true`, `false`, how long what says nothing is fresh, or a table.
pub(super) fn read(value: &Value<'_>, report: &mut Report) -> Option<Option<Cache>> {
    let mut cache = Cache::default();
    if value.is_bool() {
        return value.boolean(report).map(|on| on.then_some(cache));
    }
    if !value.is_table() {
        cache.default_ttl_ms = Some(value.long_duration_ms(report)?);
        return Some(Some(cache));
    }
    let table = value.table("cache", "\"10m\"", report)?;
    table.only(&KEYS, nothing_foreign, report);
    for (key, target) in [
        ("ttl", &mut cache.default_ttl_ms),
        ("force_ttl", &mut cache.force_ttl_ms),
    ] {
        field::set(&table, key, target, report, |v, r| {
            v.long_duration_ms(r).map(Some)
        });
    }
    for (key, target) in [
        (
            "stale_while_revalidate",
            &mut cache.stale_while_revalidate_ms,
        ),
        ("stale_if_error", &mut cache.stale_if_error_ms),
    ] {
        field::set(&table, key, target, report, |v, r| v.long_duration_ms(r));
    }
    field::size(&table, "max_object", &mut cache.max_object_bytes, report);
    field::set(
        &table,
        "key_headers",
        &mut cache.key_headers,
        report,
        |v, r| {
            let texts = v.strings("[\"accept-language\"]", r)?;
            let names = texts
                .iter()
                .map(|(text, place)| r.take(place, headers::name(text)));
            names.collect::<Vec<_>>().into_iter().collect()
        },
    );
    field::strings(
        &table,
        "ignore_query",
        "[\"utm_source\"]",
        &mut cache.ignore_query,
        report,
    );
    field::strings(
        &table,
        "bypass_cookies",
        "[\"session\"]",
        &mut cache.bypass_cookies,
        report,
    );
    field::set(
        &table,
        "surrogate_header",
        &mut cache.surrogate_header,
        report,
        |v, r| {
            let text = v.string("\"surrogate-key\"", r)?;
            r.take(&v.place, headers::name(text))
        },
    );
    Some(Some(cache))
}

const ENCODINGS: [&str; 3] = ["zstd", "br", "gzip"];

/// `true`, `false`, or a table.
pub(super) fn compress(value: &Value<'_>, report: &mut Report) -> Option<Option<Compress>> {
    let mut compress = Compress::default();
    if value.is_bool() {
        return value.boolean(report).map(|on| on.then_some(compress));
    }
    let table = value.table(
        "compress",
        "{ encodings = [\"zstd\", \"br\", \"gzip\"] }",
        report,
    )?;
    table.only(
        &["encodings", "min_size", "types", "level"],
        nothing_foreign,
        report,
    );
    field::set(
        &table,
        "encodings",
        &mut compress.encodings,
        report,
        encodings,
    );
    field::size(&table, "min_size", &mut compress.min_bytes, report);
    field::set(&table, "types", &mut compress.types, report, types);
    field::set(&table, "level", &mut compress.level, report, |v, r| {
        u8::try_from(v.integer(1..=9, "5", r)?).ok().map(Some)
    });
    Some(Some(compress))
}

fn encodings(value: &Value<'_>, report: &mut Report) -> Option<Vec<String>> {
    let mut encodings = Vec::new();
    for (text, place) in value.strings("[\"zstd\", \"br\", \"gzip\"]", report)? {
        if !ENCODINGS.contains(&text) {
            let what = format!("`{text}` is not an encoding");
            let why = format!("known are {}", ENCODINGS.join(", "));
            let fix = match text {
                "brotli" => "did you mean \"br\"?",
                "gz" | "deflate" => "did you mean \"gzip\"?",
                _ => "remove it",
            };
            report.error(&place, Refusal::new(what, why, fix));
        }
        encodings.push(text.to_owned());
    }
    if encodings.is_empty() {
        let why = "nothing could be compressed";
        report.error(
            &value.place,
            Refusal::new("`encodings` is empty", why, "write `compress = false`"),
        );
    }
    Some(encodings)
}

fn types(value: &Value<'_>, report: &mut Report) -> Option<Vec<String>> {
    let mut types = Vec::new();
    for (text, place) in value.strings("[\"text/*\", \"application/json\"]", report)? {
        let sound = text
            .split_once('/')
            .is_some_and(|(kind, name)| !kind.is_empty() && !name.is_empty());
        if !sound || text.contains(char::is_whitespace) {
            let what = format!("`{text}` is not a media type");
            let why = "a type has two parts with a slash between";
            report.error(
                &place,
                Refusal::new(
                    what,
                    why,
                    "write it like \"text/*\" or \"application/json\"",
                ),
            );
        }
        types.push(text.to_ascii_lowercase());
    }
    Some(types)
}
