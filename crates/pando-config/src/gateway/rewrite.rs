//! `rewrite = "/new/{id}"`, `{ prefix = "/v2/" }`, `{ regex = "…", to = "…" }`, and `strip_prefix`.

use gateway_spec::{PathMatch, Rewrite, Route};

use super::path;
use super::template::{self, Kind};
use crate::problem::{Place, Refusal, Report};
use crate::table::{Table, Value, nothing_foreign};

const EXAMPLE: &str = "{ prefix = \"/v2/\" }";
/// A compiled expression is held to this many bytes.
const MAX_REGEX_BYTES: usize = 1 << 20;

pub(super) fn read(table: &Table<'_>, route: &Route, report: &mut Report) -> Option<Rewrite> {
    let path = &route.matches.path;
    let strip = table
        .get("strip_prefix")
        .filter(|v| v.boolean(report) == Some(true));
    let Some(value) = table.get("rewrite") else {
        let strip = strip?;
        needs_tail(path, &strip, report);
        return Some(Rewrite::StripPrefix);
    };
    if let Some(strip) = strip {
        let why = "the path is changed once";
        let fix = "remove one of the two";
        report.error(
            &strip.key_place,
            Refusal::new("both `rewrite` and `strip_prefix` are given", why, fix),
        );
    }
    if value.is_str() {
        let text = target(&value, report)?;
        template::check(&text, Kind::Target, path, &value.place, report);
        return Some(Rewrite::Template(text));
    }
    let inner = value.table("rewrite", EXAMPLE, report)?;
    inner.only(&["prefix", "regex", "to"], nothing_foreign, report);
    match (inner.get("prefix"), inner.get("regex"), inner.get("to")) {
        (Some(prefix), None, None) => {
            needs_tail(path, &prefix, report);
            target(&prefix, report).map(Rewrite::ReplacePrefix)
        }
        (None, Some(regex), Some(to)) => {
            let pattern = expression(&regex, report);
            let replacement = to.text("\"/b/$1\"", report)?;
            Some(Rewrite::Regex {
                pattern: pattern?,
                replacement: replacement.to_owned(),
            })
        }
        _ => {
            let what = "`rewrite` does not say how";
            let why = "it has `prefix` alone, or `regex` with `to`";
            report.missing(
                &value.place,
                Refusal::new(what, why, format!("write it like `rewrite = {EXAMPLE}`")),
            );
            None
        }
    }
}

fn target(value: &Value<'_>, report: &mut Report) -> Option<String> {
    let text = value.string("\"/new/{path}\"", report)?;
    if text.starts_with(['/', '{']) && !text.contains(char::is_whitespace) {
        return Some(text.to_owned());
    }
    let what = format!("`{text}` is not a path");
    let why = "a request's path begins with a slash and has no spaces";
    report.error(
        &value.place,
        Refusal::new(what, why, "write it like \"/new/{id}\""),
    );
    None
}

fn needs_tail(path: &PathMatch, value: &Value<'_>, report: &mut Report) {
    if !path::has_prefix(path) {
        let what = format!("`{path}` has no prefix that could be changed");
        let why = "the prefix is what stands before the `*` of the path";
        let fix = format!(
            "write path = \"{}/*\", or a `rewrite` with a whole path",
            path.to_string().trim_end_matches('/')
        );
        report.error(&value.key_place, Refusal::new(what, why, fix));
    }
}

fn expression(value: &Value<'_>, report: &mut Report) -> Option<String> {
    let text = value.string("\"^/a/(.*)$\"", report)?;
    check(text, &value.place, report).then(|| text.to_owned())
}

fn check(text: &str, place: &Place, report: &mut Report) -> bool {
    let Err(error) = regex::RegexBuilder::new(text)
        .size_limit(MAX_REGEX_BYTES)
        .build()
    else {
        return true;
    };
    // The last line of the message says what is wrong; those before draw the place.
    let message = error.to_string();
    let last = message.lines().last().unwrap_or_default();
    let why = last.trim_start_matches("error: ").to_owned();
    let what = "`regex` is not a regular expression";
    let fix = "correct it; groups are ( ), there is no look-around, \\ is doubled in \"…\"";
    report.error(place, Refusal::new(what, why, fix));
    false
}
