//! `limit = { per = "ip", rate = "10/s", burst = 20 }` and `connections = { per = "ip", max = 10 }`.

use gateway_spec::{ConnectionLimit, KeyPart, Limit};

use super::{field, headers, upstreams};
use crate::problem::{Place, Refusal, Report, did_you_mean};
use crate::table::{Table, Value, nothing_foreign};
use crate::units;

const EXAMPLE: &str = "{ per = \"ip\", rate = \"10/s\", burst = 20 }";
const MAX_LIMITS: usize = 16;
const MAX_PARTS: usize = 8;

/// One limit or a list of them.
pub(super) fn read(value: &Value<'_>, report: &mut Report) -> Option<Vec<Limit>> {
    let values = value.each();
    if values.len() > MAX_LIMITS {
        let what = format!("a route has {} limits", values.len());
        let why = format!("each costs every request; the most are {MAX_LIMITS}");
        report.error(&value.place, Refusal::new(what, why, "leave some out"));
    }
    let limits = values
        .iter()
        .take(MAX_LIMITS)
        .map(|value| one(value, report));
    limits.collect::<Vec<_>>().into_iter().collect()
}

/// Where a limit counts in Redis, if one does.
pub(super) fn shared(table: &Table<'_>) -> Option<Place> {
    let limits = table.get("limit")?.each();
    let mut quiet = Report::new(None);
    limits.iter().find_map(|value| {
        let table = value
            .is_table()
            .then(|| value.table("limit", EXAMPLE, &mut quiet))??;
        let shared = table.get("shared")?;
        (shared.boolean(&mut quiet) == Some(true)).then_some(shared.key_place)
    })
}

fn one(value: &Value<'_>, report: &mut Report) -> Option<Limit> {
    let table = value.table("limit", EXAMPLE, report)?;
    let keys = [
        "per", "rate", "burst", "nodelay", "shared", "dry_run", "zone",
    ];
    table.only(&keys, foreign, report);
    let Some(rate) = table.get("rate") else {
        let what = "`limit` has no `rate`";
        let refusal = Refusal::new(what, "nothing would be limited", "add `rate = \"10/s\"`");
        report.missing(&table.place, refusal);
        return None;
    };
    let text = rate.string("\"10/s\"", report);
    let rate = text.and_then(|text| report.take(&rate.place, self::rate(text)));
    let (rate, period_ms) = rate.unwrap_or((1, 1));
    let sound = text.is_some() && period_ms > 1;
    let mut limit = Limit {
        per: vec![KeyPart::Ip],
        zone: None,
        rate,
        period_ms,
        burst: 0,
        nodelay: true,
        shared: false,
        dry_run: false,
    };
    field::set(&table, "per", &mut limit.per, report, parts);
    field::count(&table, "burst", 0, &mut limit.burst, report);
    field::boolean(&table, "nodelay", &mut limit.nodelay, report);
    field::boolean(&table, "shared", &mut limit.shared, report);
    field::boolean(&table, "dry_run", &mut limit.dry_run, report);
    field::string(&table, "zone", "\"login\"", &mut limit.zone, report);
    sound.then_some(limit)
}

fn foreign(key: &str) -> Option<Refusal> {
    let fix = match key {
        "key" | "by" => "did you mean `per`?",
        "requests" | "limit" | "max" => "did you mean `rate`?",
        "delay" => "did you mean `nodelay = false`?",
        _ => return nothing_foreign(key),
    };
    let what = format!("unknown key `{key}` in a limit");
    Some(Refusal::new(
        what,
        format!("a limit is like {EXAMPLE}"),
        fix,
    ))
}

/// Requests and milliseconds of `10/s`, `100/m`, `5/30s`; nginx's `10r/s` is read too.
pub(super) fn rate(text: &str) -> Result<(u32, u64), Refusal> {
    let refuse = |why: &str| {
        let what = format!("`{text}` is not a rate");
        Err(Refusal::new(
            what,
            why,
            "write it like \"10/s\", \"100/m\" or \"5/30s\"",
        ))
    };
    let Some((number, period)) = text.split_once('/') else {
        return refuse("a rate is requests per time");
    };
    let number = number.trim();
    let number = number.strip_suffix('r').unwrap_or(number);
    let Ok(rate @ 1..) = number.parse::<u32>() else {
        return refuse("before the slash is a whole number from 1");
    };
    let period = period.trim();
    let with_number = if period.starts_with(|c: char| c.is_ascii_digit()) {
        period.to_owned()
    } else {
        format!("1{period}")
    };
    match units::duration_ms(&with_number) {
        Ok(ms) if ms > 1 => Ok((rate, ms)),
        Ok(_) | Err(_) => refuse("behind the slash is a time of at least 2ms, at most a day"),
    }
}

/// `"ip"`, `["ip", "path"]`, `"header:x-key"`, `"cookie:sid"`, `"everything"`.
fn parts(value: &Value<'_>, report: &mut Report) -> Option<Vec<KeyPart>> {
    let texts = value.strings("\"ip\"", report)?;
    if texts.is_empty() || texts.len() > MAX_PARTS {
        let why = format!("it names from 1 to {MAX_PARTS} parts of a request");
        report.error(
            &value.place,
            Refusal::new(
                "`per` does not say who is counted",
                why,
                "use \"everything\" to count all together",
            ),
        );
        return None;
    }
    let parts = texts
        .iter()
        .map(|(text, place)| report.take(place, part(text)));
    parts.collect::<Vec<_>>().into_iter().collect()
}

fn part(text: &str) -> Result<KeyPart, Refusal> {
    match (text, text.split_once(':')) {
        ("ip", _) => Ok(KeyPart::Ip),
        ("path", _) => Ok(KeyPart::Path),
        ("everything", _) => Ok(KeyPart::Everything),
        (_, Some(("header", name))) => headers::name(name).map(KeyPart::Header),
        (_, Some(("cookie", name))) if upstreams::is_cookie_name(name) => {
            Ok(KeyPart::Cookie(name.to_owned()))
        }
        _ => {
            let why = "it is ip, path, header:NAME, cookie:NAME or everything";
            let fix = match did_you_mean(text, ["ip", "path", "everything"]) {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => "write it like \"header:x-api-key\"".to_owned(),
            };
            Err(Refusal::new(
                format!("`{text}` is not what can be counted"),
                why,
                fix,
            ))
        }
    }
}

/// A number for each address, or `{ per, max }`.
pub(super) fn connections(
    value: &Value<'_>,
    report: &mut Report,
) -> Option<Option<ConnectionLimit>> {
    if value.is_integer() {
        let max = field::number(value, 1, report)?;
        return Some(Some(ConnectionLimit {
            per: vec![KeyPart::Ip],
            max,
        }));
    }
    let table = value.table("connections", "{ per = \"ip\", max = 10 }", report)?;
    table.only(&["per", "max"], nothing_foreign, report);
    let mut per = vec![KeyPart::Ip];
    field::set(&table, "per", &mut per, report, parts);
    let Some(max) = table.get("max") else {
        let what = "`connections` has no `max`";
        report.missing(
            &table.place,
            Refusal::new(what, "nothing would be limited", "add `max = 10`"),
        );
        return None;
    };
    let max = field::number(&max, 1, report)?;
    Some(Some(ConnectionLimit { per, max }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates() {
        for (text, expect) in [
            ("10/s", (10, 1_000)),
            ("10r/s", (10, 1_000)),
            ("100 / m", (100, 60_000)),
            ("5/30s", (5, 30_000)),
            ("1/h", (1, 3_600_000)),
            ("1000/d", (1000, 86_400_000)),
        ] {
            assert_eq!(rate(text), Ok(expect), "{text}");
        }
        for text in [
            "10", "/s", "0/s", "-1/s", "1.5/s", "10/x", "10/", "10/2d", "10/1ms", "10s",
        ] {
            assert!(rate(text).is_err(), "{text}");
        }
    }
}
