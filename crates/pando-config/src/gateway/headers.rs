//! Changes of headers, and the headers that protect.

use gateway_spec::{HeaderEdit, PathMatch, SecurityHeaders};

use super::field;
use super::template::{self, Kind};
use crate::problem::{Refusal, Report};
use crate::table::{Table, Value, nothing_foreign};

const EXAMPLE: &str = "{ set = { \"x-a\" = \"1\" }, remove = [\"x-b\"] }";
/// Changes of one route in one direction.
const MAX_EDITS: usize = 256;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Request,
    Response,
}

/// The protocol's own: the gateway writes them, and a wrong one cuts messages in the wrong place.
const FRAMING: [&str; 6] = [
    "connection",
    "content-length",
    "keep-alive",
    "te",
    "transfer-encoding",
    "upgrade",
];

/// `{ set = { … }, add = { … }, remove = [ … ] }`, in the order of the file, or a list of these.
pub(super) fn edits(
    value: &Value<'_>,
    direction: Direction,
    path: &PathMatch,
    report: &mut Report,
) -> Option<Vec<HeaderEdit>> {
    let mut edits = Vec::new();
    for value in value.each() {
        let table = value.table(value.key, EXAMPLE, report)?;
        table.only(&["set", "add", "remove"], nothing_foreign, report);
        for value in table.values() {
            match value.key {
                "set" | "add" => pairs(&value, path, &mut edits, report),
                "remove" => removals(&value, &mut edits, report),
                _ => {}
            }
        }
    }
    if edits.len() > MAX_EDITS {
        let what = format!("`{}` has more than {MAX_EDITS} changes", value.key);
        report.error(
            &value.place,
            Refusal::new(what, "each costs every request", "leave some out"),
        );
        edits.truncate(MAX_EDITS);
    }
    for edit in &edits {
        let (HeaderEdit::Set { name, .. }
        | HeaderEdit::Add { name, .. }
        | HeaderEdit::Remove { name }) = edit;
        if FRAMING.contains(&name.as_str()) {
            let what = format!("`{name}` cannot be changed");
            let why = match direction {
                Direction::Request => {
                    "it belongs to the connection; upgrades pass without a setting"
                }
                Direction::Response => "it belongs to the connection, which the gateway keeps",
            };
            report.error(&value.place, Refusal::new(what, why, "remove it"));
        }
    }
    Some(edits)
}

fn pairs(value: &Value<'_>, path: &PathMatch, edits: &mut Vec<HeaderEdit>, report: &mut Report) {
    let Some(table) = value.table(value.key, "{ \"x-a\" = \"1\" }", report) else {
        return;
    };
    for pair in table.values() {
        let name = report.take(&pair.key_place, name(pair.key));
        let text = pair.text("\"1\"", report);
        let text = text.filter(|text| report.take(&pair.place, self::value(text)).is_some());
        let (Some(name), Some(text)) = (name, text) else {
            continue;
        };
        template::check(text, Kind::Header, path, &pair.place, report);
        let text = text.to_owned();
        edits.push(if value.key == "set" {
            HeaderEdit::Set { name, value: text }
        } else {
            HeaderEdit::Add { name, value: text }
        });
    }
}

fn removals(value: &Value<'_>, edits: &mut Vec<HeaderEdit>, report: &mut Report) {
    for (text, place) in value.strings("[\"x-b\"]", report).unwrap_or_default() {
        if let Some(name) = report.take(&place, name(text)) {
            edits.push(HeaderEdit::Remove { name });
        }
    }
}

/// A field name (RFC 9110 section 5.1), in lower case.
pub(super) fn name(text: &str) -> Result<String, Refusal> {
    let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if !text.is_empty() && text.chars().all(token) {
        return Ok(text.to_ascii_lowercase());
    }
    let what = format!("`{text}` is not the name of a header");
    let why = "a name has letters, digits and `-`";
    Err(Refusal::new(what, why, "write it like \"x-request-id\""))
}

/// A field value: no line ends and no other control characters.
pub(super) fn value(text: &str) -> Result<(), Refusal> {
    if !text.chars().any(|c| c.is_control() && c != '\t') {
        return Ok(());
    }
    let what = "the value of a header has a control character";
    let why = "a line end in it would begin another header";
    Err(Refusal::new(what, why, "write it on one line"))
}

const SECURITY_KEYS: [&str; 6] = [
    "content_type_options",
    "frame_options",
    "referrer_policy",
    "content_security_policy",
    "permissions_policy",
    "cross_origin_opener_policy",
];

/// `true`, `false`, or a table where `false` leaves one out.
pub(super) fn security(value: &Value<'_>, report: &mut Report) -> Option<Option<SecurityHeaders>> {
    let mut headers = SecurityHeaders::default();
    if value.is_bool() {
        return value.boolean(report).map(|on| on.then_some(headers));
    }
    let table = value.table("security_headers", "{ frame_options = \"DENY\" }", report)?;
    table.only(&SECURITY_KEYS, nothing_foreign, report);
    field::boolean(
        &table,
        "content_type_options",
        &mut headers.content_type_options,
        report,
    );
    for (key, target) in [
        ("frame_options", &mut headers.frame_options),
        ("referrer_policy", &mut headers.referrer_policy),
        (
            "content_security_policy",
            &mut headers.content_security_policy,
        ),
        ("permissions_policy", &mut headers.permissions_policy),
        (
            "cross_origin_opener_policy",
            &mut headers.cross_origin_opener_policy,
        ),
    ] {
        optional(&table, key, target, report);
    }
    Some(Some(headers))
}

fn optional(table: &Table<'_>, key: &str, target: &mut Option<String>, report: &mut Report) {
    field::set(table, key, target, report, |v, r| {
        if v.is_bool() {
            if v.boolean(r)? {
                let what = format!("`{key} = true` does not say which");
                r.error(
                    &v.place,
                    Refusal::new(
                        what,
                        "it has several values",
                        "write the header's value, or false",
                    ),
                );
            }
            return Some(None);
        }
        let text = v.string("\"DENY\"", r)?;
        r.take(&v.place, value(text))
            .map(|()| Some(text.to_owned()))
    });
}
