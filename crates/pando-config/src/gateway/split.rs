//! `split = [{ weight = 90, app = "a" }, { weight = 10, app = "b", cookie = "canary=1" }]`.

use gateway_spec::{Branch, HeaderMatch};

use super::{field, headers, upstreams};
use crate::app::Context;
use crate::problem::{Place, Refusal, Report};
use crate::table::{Table, Value, nothing_foreign};

const EXAMPLE: &str = "[{ weight = 90, app = \"a\" }, { weight = 10, app = \"b\" }]";
const MAX_BRANCHES: usize = 64;
const MAX_WEIGHT: i64 = 1_000_000;

pub(super) fn read(
    value: &Value<'_>,
    route: &Table<'_>,
    apps: &mut Vec<(String, Place)>,
    context: &Context<'_>,
    report: &mut Report,
) -> Option<Vec<Branch>> {
    let values = if value.is_list() {
        value.each()
    } else {
        Vec::new()
    };
    if values.is_empty() || values.len() > MAX_BRANCHES {
        let what = "`split` is not a list of branches";
        let why = format!("it has from 1 to {MAX_BRANCHES}");
        report.error(
            &value.place,
            Refusal::new(what, why, format!("write it like `split = {EXAMPLE}`")),
        );
        return None;
    }
    let mut branches = Vec::new();
    for value in &values {
        branches.extend(branch(value, route, apps, context, report));
    }
    if branches.len() < values.len() {
        return None;
    }
    if branches.iter().all(|branch: &Branch| branch.weight == 0) {
        let what = "all weights of `split` are zero";
        let why = "requests that no header or cookie decides would go nowhere";
        report.error(
            &value.place,
            Refusal::new(what, why, "give one of them a `weight`"),
        );
    }
    Some(branches)
}

fn branch(
    value: &Value<'_>,
    route: &Table<'_>,
    apps: &mut Vec<(String, Place)>,
    context: &Context<'_>,
    report: &mut Report,
) -> Option<Branch> {
    let table = value.table("split", EXAMPLE, report)?;
    let known: Vec<&str> = ["weight", "header", "cookie", "app", "upstreams"]
        .into_iter()
        .chain(upstreams::KEYS)
        .collect();
    table.only(&known, nothing_foreign, report);
    let (mut weight, mut header, mut cookie) = (0, None, None);
    field::set(&table, "weight", &mut weight, report, |v, r| {
        u32::try_from(v.integer(0..=MAX_WEIGHT, "10", r)?).ok()
    });
    field::set(&table, "header", &mut header, report, |v, r| {
        header_match(v, r).map(Some)
    });
    field::set(&table, "cookie", &mut cookie, report, |v, r| {
        cookie_match(v, r).map(Some)
    });
    if weight == 0 && header.is_none() && cookie.is_none() {
        let what = "this branch is never chosen";
        let why = "it has neither a weight nor a header nor a cookie";
        report.error(&table.place, Refusal::new(what, why, "give it a `weight`"));
    }
    let upstreams = match (table.get("app"), table.get("upstreams")) {
        (Some(app), None) => upstreams::branch_app(&app, route, &table, apps, context, report),
        (None, Some(list)) => upstreams::branch_addresses(&list, route, &table, context, report),
        (Some(_), Some(_)) | (None, None) => {
            let what = "a branch of `split` goes to one place";
            let why = "it has either `app` or `upstreams`";
            report.missing(
                &table.place,
                Refusal::new(what, why, "give it one of the two"),
            );
            None
        }
    };
    Some(Branch {
        weight,
        header,
        cookie,
        upstreams: upstreams?,
    })
}

/// `"x-canary: 1"`, or `"x-canary"` for any value.
fn header_match(value: &Value<'_>, report: &mut Report) -> Option<HeaderMatch> {
    let text = value.string("\"x-canary: 1\"", report)?;
    let (name, wanted) = match text.split_once(':') {
        Some((name, wanted)) => (name.trim(), Some(wanted.trim().to_owned())),
        None => (text.trim(), None),
    };
    let name = report.take(&value.place, headers::name(name))?;
    Some(HeaderMatch {
        name,
        value: wanted,
    })
}

/// `"canary=1"`.
fn cookie_match(value: &Value<'_>, report: &mut Report) -> Option<(String, String)> {
    let text = value.string("\"canary=1\"", report)?;
    let sound = text
        .split_once('=')
        .filter(|(name, _)| upstreams::is_cookie_name(name.trim()));
    if sound.is_none() {
        let what = format!("`{text}` is not a cookie with its value");
        let why = "the branch is chosen where a cookie has this value";
        report.error(
            &value.place,
            Refusal::new(what, why, "write it like \"canary=1\""),
        );
    }
    sound.map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
}
