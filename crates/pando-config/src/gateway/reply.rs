//! `redirect` and `respond`.

use gateway_spec::{Action, PathMatch};

use super::template::{self, Kind};
use super::{field, headers};
use crate::problem::{Place, Refusal, Report};
use crate::table::{Value, nothing_foreign};

/// One that browsers do not keep for ever, unlike 301 and 308.
const REDIRECT_STATUS: u16 = 302;
const REDIRECTS: [u16; 5] = [301, 302, 303, 307, 308];

/// Stands for an action that could not be read, so that the rest of its route is checked.
pub(super) fn nothing() -> Action {
    Action::Respond {
        status: 404,
        body: String::new(),
        content_type: None,
    }
}

/// `"https://…"`, or `{ to, status }`.
pub(super) fn redirect(value: &Value<'_>, path: &PathMatch, report: &mut Report) -> Option<Action> {
    let example = "\"https://www.example.com{uri}\"";
    if value.is_str() {
        let to = target(value, example, path, report)?;
        return Some(Action::Redirect {
            status: REDIRECT_STATUS,
            to,
        });
    }
    let table = value.table("redirect", example, report)?;
    table.only(&["to", "status"], nothing_foreign, report);
    let mut status = REDIRECT_STATUS;
    field::set(&table, "status", &mut status, report, redirect_status);
    let Some(to) = table.get("to") else {
        let why = "a redirect names where to go";
        let refusal = Refusal::new(
            "`redirect` has no `to`",
            why,
            format!("add `to = {example}`"),
        );
        report.missing(&table.place, refusal);
        return None;
    };
    let to = target(&to, example, path, report)?;
    Some(Action::Redirect { status, to })
}

fn target(
    value: &Value<'_>,
    example: &str,
    path: &PathMatch,
    report: &mut Report,
) -> Option<String> {
    let text = value.string(example, report)?;
    report.take(&value.place, headers::value(text))?;
    template::check(text, Kind::Target, path, &value.place, report);
    let sound = text.starts_with(['/', '{']) || text.contains("://");
    if !sound {
        let what = format!("`{text}` is not where a browser can go");
        let why = "it is a URL, or a path that begins with a slash";
        let fix = if text.contains('.') {
            format!("write \"https://{text}\"")
        } else {
            format!("write \"/{text}\"")
        };
        report.error(&value.place, Refusal::new(what, why, fix));
        return None;
    }
    Some(text.to_owned())
}

fn redirect_status(value: &Value<'_>, report: &mut Report) -> Option<u16> {
    let status = status(value, 300, 399, report)?;
    if !REDIRECTS.contains(&status) {
        let what = format!("{status} is not a redirect");
        let why = "redirects are 301, 302, 303, 307 and 308";
        let fix = "use 302, or 308 for one that browsers may keep for ever";
        report.error(&value.place, Refusal::new(what, why, fix));
    }
    Some(status)
}

pub(super) fn status(value: &Value<'_>, from: u16, to: u16, report: &mut Report) -> Option<u16> {
    let range = i64::from(from)..=i64::from(to);
    let status = value.integer(range, &from.to_string(), report)?;
    u16::try_from(status).ok()
}

/// A body, a status, or `{ status, body, content_type }`.
pub(super) fn respond(value: &Value<'_>, report: &mut Report) -> Option<Action> {
    let (mut code, mut body, mut content_type) = (200, String::new(), None);
    if value.is_integer() {
        code = status(value, 200, 599, report)?;
    } else if value.is_str() {
        body = value.text("\"ok\"", report)?.to_owned();
    } else {
        let table = value.table("respond", "{ status = 200, body = \"ok\" }", report)?;
        table.only(&["status", "body", "content_type"], nothing_foreign, report);
        field::set(&table, "status", &mut code, report, |v, r| {
            status(v, 200, 599, r)
        });
        field::set(&table, "body", &mut body, report, |v, r| {
            v.text("\"ok\"", r).map(str::to_owned)
        });
        field::set(&table, "content_type", &mut content_type, report, |v, r| {
            let text = v.string("\"application/json\"", r)?;
            r.take(&v.place, headers::value(text))
                .map(|()| Some(text.to_owned()))
        });
        without_body(code, &body, &value.place, report);
    }
    Some(Action::Respond {
        status: code,
        body,
        content_type,
    })
}

fn without_body(status: u16, body: &str, place: &Place, report: &mut Report) {
    if matches!(status, 204 | 205 | 304) && !body.is_empty() {
        let what = format!("an answer with status {status} has no body");
        let why = "clients would take it for the next answer";
        report.error(
            place,
            Refusal::new(what, why, "remove `body`, or use another status"),
        );
    }
}
