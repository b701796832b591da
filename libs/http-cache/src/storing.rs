//! Whether an answer may be stored, and for how long it is fresh (RFC 9111 sections 3 and 4.2).

use http::header::{AGE, DATE, ETAG, EXPIRES, LAST_MODIFIED, SET_COOKIE};
use http::{HeaderMap, StatusCode};

use crate::control::{ResponseControl, Scope, seconds};
use crate::freshness::Freshness;
use crate::{Vary, date, targeted};

/// Heuristic freshness is this part of the time since the last change (section 4.2.2) ...
const HEURISTIC_DIVISOR: u64 = 10;
/// ... but no more than a day.
const MAX_HEURISTIC_MS: u64 = 24 * 3600 * 1000;

/// How a cache departs from what answers say about themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Freshness of successful and redirecting answers that say nothing about it, instead of the
    /// heuristic.
    pub default_ttl_ms: Option<u64>,
    /// In place of what such answers say. `no-store` and `private` still hold.
    pub force_ttl_ms: Option<u64>,
    /// For answers that say nothing about staleness.
    pub stale_while_revalidate_ms: u64,
    pub stale_if_error_ms: u64,
    pub set_cookie: SetCookie,
}

/// What becomes of answers with `Set-Cookie`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SetCookie {
    /// Stored only when they speak to shared caches themselves (`public`, `s-maxage`, or a field of
    /// RFC 9213): else one client's session would be handed to the next.
    #[default]
    Shared,
    /// Stored like any other, as RFC 9111 section 7.3 has it.
    Any,
    Never,
}

/// The request whose answer it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// It had `Authorization`.
    pub authorization: bool,
    /// It had `Cache-Control: no-store`.
    pub no_store: bool,
}

/// Why an answer is not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotStored {
    /// Partial, not modified, interim, or one that must be understood and is not.
    Status,
    /// `no-store` of either side.
    NoStore,
    Private,
    Authorization,
    /// `Vary: *`, or more fields than are looked at.
    Vary,
    SetCookie,
    /// Neither fresh for any time nor with a validator, or not cacheable without being told so.
    NoFreshness,
}

/// May the answer to a GET be stored, and how may it be used then. `sent_ms` is when the request
/// went out, `received_ms` when the head of the answer came.
pub fn assess(
    rules: &Rules,
    asked: Asked,
    status: StatusCode,
    headers: &HeaderMap,
    sent_ms: u64,
    received_ms: u64,
) -> Result<Freshness, NotStored> {
    let targeted = targeted::parse(headers);
    let is_targeted = targeted.is_some();
    let control = targeted.unwrap_or_else(|| ResponseControl::parse(headers));
    allowed(rules, asked, status, headers, &control, is_targeted)?;

    let explicit = match rules.force_ttl_ms.filter(|_| takes_default(status)) {
        Some(ttl_ms) => Some(ttl_ms),
        None => explicit_lifetime_ms(&control, headers, received_ms, is_targeted),
    };
    let forced = rules.force_ttl_ms.is_some() && takes_default(status);
    let always_validate = control.no_cache == Scope::All && !forced;
    let heuristic = cacheable_by_default(status) || control.public;
    let lifetime_ms = match explicit {
        Some(lifetime_ms) => lifetime_ms,
        None if always_validate && heuristic => 0,
        None if takes_default(status) && rules.default_ttl_ms.is_some() => {
            rules.default_ttl_ms.unwrap_or(0)
        }
        None if heuristic => heuristic_lifetime_ms(headers, received_ms),
        None => return Err(NotStored::NoFreshness),
    };
    let age = age_ms(headers, sent_ms, received_ms);
    let freshness = Freshness {
        received_ms,
        initial_age_ms: age.unwrap_or(0),
        // Of unknown age: validated before use.
        lifetime_ms: if age.is_none() { 0 } else { lifetime_ms },
        always_validate,
        ..staleness(rules, &control)
    };
    let validated = status == StatusCode::OK && has_validator(headers);
    if freshness.spent(received_ms) && !validated {
        return Err(NotStored::NoFreshness);
    }
    Ok(freshness)
}

/// Whether there is something to ask the origin with.
pub fn has_validator(headers: &HeaderMap) -> bool {
    headers.contains_key(ETAG) || headers.contains_key(LAST_MODIFIED)
}

fn allowed(
    rules: &Rules,
    asked: Asked,
    status: StatusCode,
    headers: &HeaderMap,
    control: &ResponseControl,
    is_targeted: bool,
) -> Result<(), NotStored> {
    let unusable = [StatusCode::PARTIAL_CONTENT, StatusCode::NOT_MODIFIED].contains(&status);
    if status.is_informational() || unusable || (control.must_understand && !understood(status)) {
        return Err(NotStored::Status);
    }
    // Who understands the status need not heed no-store beside must-understand (5.2.2.3).
    if asked.no_store || (control.no_store && !control.must_understand) {
        return Err(NotStored::NoStore);
    }
    if control.private == Scope::All {
        return Err(NotStored::Private);
    }
    let shared = control.public || control.s_maxage.is_some();
    if asked.authorization && !shared && !control.must_revalidate {
        return Err(NotStored::Authorization);
    }
    if Vary::of(headers).is_none() {
        return Err(NotStored::Vary);
    }
    let cookie = headers.contains_key(SET_COOKIE) || headers.contains_key("set-cookie2");
    let kept = match rules.set_cookie {
        SetCookie::Shared => shared || is_targeted || names_cookie(&control.no_cache),
        SetCookie::Any => true,
        SetCookie::Never => false,
    };
    if cookie && !kept {
        return Err(NotStored::SetCookie);
    }
    Ok(())
}

/// `no-cache="set-cookie"`: the field is left out, the rest may be stored.
fn names_cookie(scope: &Scope) -> bool {
    match scope {
        Scope::Fields(names) => names.contains(&SET_COOKIE),
        Scope::Absent | Scope::All => false,
    }
}

fn explicit_lifetime_ms(
    control: &ResponseControl,
    headers: &HeaderMap,
    received_ms: u64,
    is_targeted: bool,
) -> Option<u64> {
    if let Some(seconds) = control.s_maxage.or(control.max_age) {
        return Some(seconds * 1000);
    }
    if is_targeted {
        return None;
    }
    let expires = date::field(headers, &EXPIRES)?.unwrap_or(0);
    let from = date_seconds(headers, received_ms);
    Some(expires.saturating_sub(from).saturating_mul(1000))
}

fn heuristic_lifetime_ms(headers: &HeaderMap, received_ms: u64) -> u64 {
    let Some(Ok(changed)) = date::field(headers, &LAST_MODIFIED) else {
        return 0;
    };
    let since = date_seconds(headers, received_ms).saturating_sub(changed);
    (since.saturating_mul(1000) / HEURISTIC_DIVISOR).min(MAX_HEURISTIC_MS)
}

/// When the answer was made, in seconds since 1970; when it came if it does not say.
fn date_seconds(headers: &HeaderMap, received_ms: u64) -> u64 {
    match date::field(headers, &DATE) {
        Some(Ok(seconds)) => seconds,
        Some(Err(())) | None => received_ms / 1000,
    }
}

/// `corrected_initial_age` of section 4.2.3; `None` when there is an `Age` that cannot be read.
/// Of a list the first member counts (section 5.1).
fn age_ms(headers: &HeaderMap, sent_ms: u64, received_ms: u64) -> Option<u64> {
    let said = match headers.get(AGE) {
        None => 0,
        Some(value) => seconds(value.as_bytes().split(|b| *b == b',').next()?.trim_ascii())?,
    };
    let delay_ms = received_ms.saturating_sub(sent_ms);
    // Dates count whole seconds: a part of one is not taken for age.
    let apparent = (received_ms / 1000).saturating_sub(date_seconds(headers, received_ms));
    Some((apparent * 1000).max(said * 1000 + delay_ms))
}

fn staleness(rules: &Rules, control: &ResponseControl) -> Freshness {
    let strict =
        control.must_revalidate || control.proxy_revalidate || control.no_cache == Scope::All;
    // s-maxage means proxy-revalidate (section 5.2.2.10), unless the answer itself names a time.
    let silent = strict || control.s_maxage.is_some();
    let pick = |said: Option<u64>, rule_ms: u64| match said {
        _ if strict => 0,
        Some(seconds) => seconds * 1000,
        None if silent => 0,
        None => rule_ms,
    };
    Freshness {
        received_ms: 0,
        initial_age_ms: 0,
        lifetime_ms: 0,
        stale_while_revalidate_ms: pick(
            control.stale_while_revalidate,
            rules.stale_while_revalidate_ms,
        ),
        stale_if_error_ms: pick(control.stale_if_error, rules.stale_if_error_ms),
        always_validate: false,
        must_revalidate: strict || (silent && control.stale_if_error.is_none()),
    }
}

/// RFC 9110 section 15.1, without 206.
fn cacheable_by_default(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200 | 203 | 204 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501
    )
}

/// Neither errors nor redirects that may be about one client (302: to a login) are kept for a time
/// that they did not ask for.
fn takes_default(status: StatusCode) -> bool {
    matches!(status.as_u16(), 200 | 203 | 204 | 300 | 301 | 308 | 410)
}

/// Final statuses of RFC 9110.
fn understood(status: StatusCode) -> bool {
    status.canonical_reason().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};

    /// 2020-01-01 00:00:00 UTC.
    const NOW_MS: u64 = 1_577_836_800_000;
    const DATE_NOW: &str = "Wed, 01 Jan 2020 00:00:00 GMT";
    const DAY_AGO: &str = "Tue, 31 Dec 2019 00:00:00 GMT";
    const IN_AN_HOUR: &str = "Wed, 01 Jan 2020 01:00:00 GMT";

    fn fields(lines: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    fn with(rules: &Rules, status: u16, lines: &[(&str, &str)]) -> Result<Freshness, NotStored> {
        let status = StatusCode::from_u16(status).unwrap();
        assess(
            rules,
            Asked::default(),
            status,
            &fields(lines),
            NOW_MS,
            NOW_MS,
        )
    }

    fn ttl(status: u16, lines: &[(&str, &str)]) -> Result<u64, NotStored> {
        let freshness = with(&Rules::default(), status, lines)?;
        Ok(freshness.remaining_ms(NOW_MS) / 1000)
    }

    #[test]
    fn lifetimes() {
        let check = |lines: &[(&str, &str)], want| assert_eq!(ttl(200, lines), want, "{lines:?}");
        let cc = "cache-control";
        check(&[], Err(NotStored::NoFreshness));
        check(&[(cc, "max-age=60")], Ok(60));
        check(&[(cc, "max-age=60, s-maxage=30")], Ok(30));
        check(
            &[(cc, "max-age=0, s-maxage=30"), ("expires", DAY_AGO)],
            Ok(30),
        );
        check(&[(cc, "max-age=60"), ("expires", "0")], Ok(60));
        check(&[("expires", IN_AN_HOUR), ("date", DATE_NOW)], Ok(3600));
        check(&[("expires", IN_AN_HOUR), ("date", "foo")], Ok(3600));
        check(&[("expires", "0")], Err(NotStored::NoFreshness));
        check(&[("expires", "0"), ("etag", "\"a\"")], Ok(0));
        check(&[(cc, "max-age=60"), ("age", "10")], Ok(50));
        check(&[(cc, "max-age=60"), ("age", "0, 70")], Ok(60));
        check(
            &[(cc, "max-age=60"), ("age", "x"), ("etag", "\"a\"")],
            Ok(0),
        );
        check(
            &[(cc, "max-age=60"), ("age", "x")],
            Err(NotStored::NoFreshness),
        );
        check(&[(cc, "max-age=90000"), ("date", DAY_AGO)], Ok(3600));
        check(&[("last-modified", DAY_AGO)], Ok(8640));
        check(
            &[("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT")],
            Ok(86_400),
        );
        check(
            &[("cdn-cache-control", "max-age=5"), (cc, "no-store")],
            Ok(5),
        );
        check(
            &[("surrogate-control", "max-age=5"), (cc, "max-age=9")],
            Ok(5),
        );
    }

    #[test]
    fn what_must_not_be_stored() {
        let check =
            |lines: &[(&str, &str)], want| assert_eq!(ttl(200, lines), Err(want), "{lines:?}");
        let cc = "cache-control";
        check(&[(cc, "no-store, max-age=60")], NotStored::NoStore);
        check(&[(cc, "private, max-age=60")], NotStored::Private);
        check(&[(cc, "max-age=60"), ("vary", "a, *")], NotStored::Vary);
        check(
            &[(cc, "max-age=60"), ("set-cookie", "a=b")],
            NotStored::SetCookie,
        );
        assert_eq!(
            ttl(200, &[(cc, "s-maxage=60"), ("set-cookie", "a=b")]),
            Ok(60)
        );
        assert_eq!(ttl(200, &[(cc, "private=\"a\", max-age=60")]), Ok(60));
        assert_eq!(ttl(206, &[(cc, "max-age=60")]), Err(NotStored::Status));
        assert_eq!(ttl(304, &[(cc, "max-age=60")]), Err(NotStored::Status));
    }

    #[test]
    fn statuses() {
        let changed = [("last-modified", DAY_AGO)];
        for status in [200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501] {
            assert_eq!(ttl(status, &changed), Ok(8640), "{status}");
        }
        for status in [201, 202, 302, 400, 403, 500, 502, 503, 599] {
            assert_eq!(
                ttl(status, &changed),
                Err(NotStored::NoFreshness),
                "{status}"
            );
            assert_eq!(
                ttl(status, &[("cache-control", "max-age=60")]),
                Ok(60),
                "{status}"
            );
        }
        let public = [("last-modified", DAY_AGO), ("cache-control", "public")];
        assert_eq!(ttl(599, &public), Ok(8640));
        let understand = [("cache-control", "max-age=60, must-understand, no-store")];
        assert_eq!(ttl(200, &understand), Ok(60));
        assert_eq!(ttl(599, &understand), Err(NotStored::Status));
    }

    #[test]
    fn authorization() {
        let asked = Asked {
            authorization: true,
            no_store: false,
        };
        let check = |control: &str, want: Option<NotStored>| {
            let headers = fields(&[("cache-control", control)]);
            let rules = Rules::default();
            let got = assess(&rules, asked, StatusCode::OK, &headers, NOW_MS, NOW_MS);
            assert_eq!(got.err(), want, "{control}");
        };
        check("max-age=60", Some(NotStored::Authorization));
        check("max-age=60, public", None);
        check("max-age=60, must-revalidate", None);
        check("s-maxage=60", None);
    }

    #[test]
    fn staleness_is_forbidden_by_what_demands_validation() {
        let rules = Rules {
            stale_while_revalidate_ms: 1000,
            stale_if_error_ms: 2000,
            ..Rules::default()
        };
        let check = |control: &str, want: (u64, u64)| {
            let got = with(&rules, 200, &[("cache-control", control)]).unwrap();
            assert_eq!(
                (got.stale_while_revalidate_ms, got.stale_if_error_ms),
                want,
                "{control}"
            );
        };
        check("max-age=60", (1000, 2000));
        check(
            "max-age=60, stale-while-revalidate=7, stale-if-error=9",
            (7000, 9000),
        );
        check("max-age=60, must-revalidate", (0, 0));
        check("max-age=60, proxy-revalidate, stale-if-error=9", (0, 0));
        check("s-maxage=60", (0, 0));
        check("s-maxage=60, stale-while-revalidate=7", (7000, 0));
    }

    #[test]
    fn rules_of_the_cache() {
        let rules = Rules {
            default_ttl_ms: Some(5000),
            ..Rules::default()
        };
        let of = |rules: &Rules, status, lines: &[(&str, &str)]| {
            with(rules, status, lines).map(|f| f.lifetime_ms)
        };
        assert_eq!(of(&rules, 200, &[]), Ok(5000));
        assert_eq!(of(&rules, 200, &[("cache-control", "max-age=1")]), Ok(1000));
        assert_eq!(of(&rules, 404, &[]), Err(NotStored::NoFreshness));
        assert_eq!(
            of(&rules, 200, &[("cache-control", "no-cache")]),
            Err(NotStored::NoFreshness)
        );
        let rules = Rules {
            force_ttl_ms: Some(5000),
            ..Rules::default()
        };
        assert_eq!(
            of(&rules, 200, &[("cache-control", "max-age=1, no-cache")]),
            Ok(5000)
        );
        assert_eq!(
            of(&rules, 200, &[("cache-control", "private")]),
            Err(NotStored::Private)
        );
        assert_eq!(of(&rules, 500, &[]), Err(NotStored::NoFreshness));
        let rules = Rules {
            set_cookie: SetCookie::Any,
            ..Rules::default()
        };
        assert_eq!(
            of(
                &rules,
                200,
                &[("cache-control", "max-age=1"), ("set-cookie", "a")]
            ),
            Ok(1000)
        );
    }
}
