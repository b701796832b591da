//! Conditional requests: ours to the origin, the client's to us (RFC 9111 section 4.3, RFC 9110
//! section 13).

use http::header::{
    CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, DATE, ETAG, IF_MATCH, IF_MODIFIED_SINCE,
    IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, LAST_MODIFIED,
};
use http::{HeaderMap, HeaderName};

use crate::control::members;
use crate::{date, stored_fields};

/// A 304 that speaks of another representation than the stored one (section 4.3.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mismatch;

/// Makes a request ask whether the stored answer is still right.
pub fn condition(request: &mut HeaderMap, stored: &HeaderMap) {
    strip_conditions(request);
    if let Some(etag) = stored.get(ETAG) {
        request.insert(IF_NONE_MATCH, etag.clone());
    }
    if let Some(changed) = stored.get(LAST_MODIFIED) {
        request.insert(IF_MODIFIED_SINCE, changed.clone());
    }
}

/// Takes away what the client asked to be told instead of the whole answer.
pub fn strip_conditions(request: &mut HeaderMap) {
    for name in [IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_RANGE] {
        request.remove(name);
    }
}

/// Whether a request has a condition that only the origin can judge (`If-Match` and
/// `If-Unmodified-Since` guard against lost updates).
pub fn has_condition(request: &HeaderMap) -> bool {
    request.contains_key(IF_MATCH) || request.contains_key(IF_UNMODIFIED_SINCE)
}

/// Whether the client has this answer already, so that 304 is the answer (RFC 9110 section 13.2.2).
/// `received_ms` stands in for the date of an answer that has none.
pub fn not_modified(request: &HeaderMap, stored: &HeaderMap, received_ms: u64) -> bool {
    if request.contains_key(IF_NONE_MATCH) {
        let tag = stored
            .get(ETAG)
            .map(|tag| opaque(tag.as_bytes().trim_ascii()));
        let mut asked = request
            .get_all(IF_NONE_MATCH)
            .iter()
            .flat_map(|line| members(line.as_bytes(), b','));
        return asked.any(|member| member == b"*" || tag.is_some_and(|tag| opaque(member) == tag));
    }
    let Some(Ok(since)) = date::field(request, &IF_MODIFIED_SINCE) else {
        return false;
    };
    let changed = date::field(stored, &LAST_MODIFIED).or_else(|| date::field(stored, &DATE));
    match changed {
        Some(Ok(changed)) => changed <= since,
        Some(Err(())) => false,
        None => received_ms / 1000 <= since,
    }
}

/// The weak comparison of RFC 9110 section 8.8.3.2 looks at this part of a tag.
fn opaque(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

/// The stored fields after a 304 (RFC 9111 section 3.2): its fields replace those of the same name,
/// save for those that describe the stored bytes.
pub fn freshen(stored: &HeaderMap, update: &HeaderMap) -> Result<HeaderMap, Mismatch> {
    if let (Some(old), Some(new)) = (stored.get(ETAG), update.get(ETAG))
        && !new.as_bytes().starts_with(b"W/")
        && opaque(old.as_bytes()) != new.as_bytes()
    {
        return Err(Mismatch);
    }
    let update = stored_fields(update);
    let mut fresh = stored.clone();
    for name in update.keys() {
        if describes_the_bytes(name) {
            continue;
        }
        fresh.remove(name);
        for value in update.get_all(name) {
            fresh.append(name, value.clone());
        }
    }
    Ok(fresh)
}

fn describes_the_bytes(name: &HeaderName) -> bool {
    const NAMES: [HeaderName; 4] = [CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, ETAG];
    NAMES.contains(name) || name == "content-md5" || name == "content-digest"
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn fields(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        }
        headers
    }

    const OLD: &str = "Wed, 01 Jan 2020 00:00:00 GMT";
    const NEW: &str = "Wed, 01 Jan 2020 00:00:01 GMT";

    #[test]
    fn entity_tags() {
        let check = |asked, has, want| {
            let request = fields(&[("if-none-match", asked), ("if-modified-since", OLD)]);
            let stored = fields(&[("etag", has), ("last-modified", NEW)]);
            assert_eq!(not_modified(&request, &stored, 0), want, "{asked} {has}");
        };
        check("\"a\"", "\"a\"", true);
        check("\"a\"", "W/\"a\"", true);
        check("W/\"a\"", "\"a\"", true);
        check("\"x\", \"a,b\" , \"y\"", "\"a,b\"", true);
        check("*", "\"a\"", true);
        check("\"b\"", "\"a\"", false);
        check("a", "\"a\"", false);
        assert!(!not_modified(
            &fields(&[("if-none-match", "\"a\"")]),
            &fields(&[]),
            0
        ));
    }

    #[test]
    fn dates() {
        let check = |since, stored: &[(&'static str, &'static str)], want| {
            let request = fields(&[("if-modified-since", since)]);
            assert_eq!(
                not_modified(&request, &fields(stored), 1_577_836_800_000),
                want
            );
        };
        check(OLD, &[("last-modified", OLD)], true);
        check(NEW, &[("last-modified", OLD)], true);
        check(OLD, &[("last-modified", NEW)], false);
        check(NEW, &[("date", OLD)], true);
        check(OLD, &[("date", NEW)], false);
        check(OLD, &[], true);
        check("nonsense", &[("last-modified", OLD)], false);
        check(
            "Wednesday, 01-Jan-20 00:00:00 GMT",
            &[("last-modified", OLD)],
            true,
        );
    }

    #[test]
    fn a_304_replaces_fields_but_not_those_of_the_bytes() {
        let stored = fields(&[
            ("etag", "\"a\""),
            ("content-length", "5"),
            ("x", "1"),
            ("x", "2"),
            ("y", "1"),
        ]);
        let update = fields(&[
            ("etag", "\"a\""),
            ("content-length", "9"),
            ("x", "3"),
            ("connection", "close"),
        ]);
        let fresh = freshen(&stored, &update).unwrap();
        assert_eq!(fresh.get_all("x").iter().count(), 1);
        assert_eq!(
            (&fresh["x"], &fresh["y"], &fresh["content-length"]),
            (
                &HeaderValue::from_static("3"),
                &HeaderValue::from_static("1"),
                &HeaderValue::from_static("5")
            )
        );
        assert!(!fresh.contains_key("connection"));
        assert_eq!(
            freshen(&stored, &fields(&[("etag", "\"b\"")])),
            Err(Mismatch)
        );
        assert!(freshen(&stored, &fields(&[("etag", "W/\"b\"")])).is_ok());
        assert!(freshen(&stored, &fields(&[])).is_ok());
    }

    #[test]
    fn our_condition_replaces_the_clients() {
        let mut request = fields(&[
            ("if-none-match", "\"client\""),
            ("if-range", "x"),
            ("a", "b"),
        ]);
        condition(&mut request, &fields(&[("etag", "\"ours\"")]));
        assert_eq!(
            request,
            fields(&[("a", "b"), ("if-none-match", "\"ours\"")])
        );
    }
}
