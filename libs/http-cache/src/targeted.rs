//! Fields that speak to caches in front of the origin and win over Cache-Control: CDN-Cache-Control
//! (RFC 9213) and, before it was written, Surrogate-Control (Edge Architecture Specification 1.0).

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::control::{ResponseControl, directives, members, seconds};

/// Our name among surrogates.
pub const TARGET: &str = "pando";
/// `Surrogate-Capability` of requests, which tells an origin that it may use Surrogate-Control.
pub const CAPABILITY: (HeaderName, HeaderValue) = (
    HeaderName::from_static("surrogate-capability"),
    HeaderValue::from_static("pando=\"Surrogate/1.0\""),
);

pub(crate) const CDN_CACHE_CONTROL: HeaderName = HeaderName::from_static("cdn-cache-control");
pub(crate) const SURROGATE_CONTROL: HeaderName = HeaderName::from_static("surrogate-control");

/// The directives that stand in place of Cache-Control and Expires, if there are any for us.
pub(crate) fn parse(headers: &HeaderMap) -> Option<ResponseControl> {
    cdn(headers).or_else(|| surrogate(headers))
}

/// RFC 9213 section 2.2: a structured dictionary; one that is not well formed is ignored whole.
fn cdn(headers: &HeaderMap) -> Option<ResponseControl> {
    let lines = || {
        headers
            .get_all(CDN_CACHE_CONTROL)
            .iter()
            .map(|v| v.as_bytes())
    };
    let mut any = false;
    for (name, value) in lines().flat_map(directives) {
        any = true;
        let number = [
            "max-age",
            "s-maxage",
            "stale-while-revalidate",
            "stale-if-error",
        ]
        .iter()
        .any(|known| name.eq_ignore_ascii_case(known.as_bytes()));
        let key = name
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || b"_-.*".contains(b));
        if !key || (number && value.as_deref().and_then(seconds).is_none()) {
            return None;
        }
    }
    any.then(|| ResponseControl::from_lines(lines()))
}

/// `max-age=60+30;pando, no-store`: a member with a parameter is only for the device so named, and
/// the number behind `+` is how long it may be used stale.
fn surrogate(headers: &HeaderMap) -> Option<ResponseControl> {
    let mut found: Option<ResponseControl> = None;
    let lines = headers.get_all(SURROGATE_CONTROL).iter();
    for member in lines.flat_map(|line| members(line.as_bytes(), b',')) {
        let mut parts = members(member, b';');
        let Some(directive) = parts.next() else {
            continue;
        };
        if parts
            .next()
            .is_some_and(|target| !target.eq_ignore_ascii_case(TARGET.as_bytes()))
        {
            continue;
        }
        let Some((name, value)) = directives(directive).next() else {
            continue;
        };
        if name.eq_ignore_ascii_case(b"no-store") {
            found.get_or_insert_default().no_store = true;
        } else if name.eq_ignore_ascii_case(b"max-age") {
            let value = value.unwrap_or_default();
            let mut numbers = value.splitn(2, |b| *b == b'+').map(seconds);
            let control = found.get_or_insert_default();
            let age = numbers.next().flatten().unwrap_or(0);
            control.max_age = Some(control.max_age.map_or(age, |known| known.min(age)));
            control.stale_while_revalidate = numbers.next().flatten();
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(name: HeaderName, value: &str) -> Option<ResponseControl> {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        parse(&headers)
    }

    #[test]
    fn a_cdn_field_counts_when_it_is_well_formed() {
        let of = |value| parsed(CDN_CACHE_CONTROL, value);
        assert_eq!(of("max-age=60").and_then(|c| c.max_age), Some(60));
        assert!(of("no-store").is_some_and(|c| c.no_store));
        assert_eq!(of("max-age=abc"), None);
        assert_eq!(of(""), None);
    }

    #[test]
    fn a_surrogate_field_counts_when_it_is_for_us() {
        let of = |value| parsed(SURROGATE_CONTROL, value);
        assert_eq!(of("max-age=60").and_then(|c| c.max_age), Some(60));
        assert_eq!(
            of("max-age=60;pando, foo").and_then(|c| c.max_age),
            Some(60)
        );
        assert_eq!(
            of("max-age=60+30").and_then(|c| c.stale_while_revalidate),
            Some(30)
        );
        assert_eq!(of("max-age=60;other"), None);
        assert_eq!(of("content=\"ESI/1.0\""), None);
        assert_eq!(of("max-age=x").and_then(|c| c.max_age), Some(0));
    }
}
