//! Conditional requests, in the order of RFC 9110 section 13.2.2.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::header::{IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE};
use http::{HeaderMap, HeaderName};

/// A date is a strong validator when it is so much older than now (RFC 9110 section 8.8.2.2).
const STRONG_AFTER: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Serve,
    /// 304
    NotModified,
    /// 412
    Failed,
}

/// What a representation is known by.
#[derive(Clone, Copy, Debug)]
pub struct Validators<'a> {
    /// With its quotes; strong.
    pub etag: &'a str,
    pub modified: SystemTime,
}

/// For GET and HEAD.
pub fn evaluate(headers: &HeaderMap, of: Validators<'_>) -> Verdict {
    if headers.contains_key(IF_MATCH) {
        if !any_tag(headers, &IF_MATCH, |tag| tag == of.etag) {
            return Verdict::Failed;
        }
    } else if let Some(date) = date(headers, &IF_UNMODIFIED_SINCE)
        && seconds(of.modified) > seconds(date)
    {
        return Verdict::Failed;
    }
    if headers.contains_key(IF_NONE_MATCH) {
        let weak = |tag: &str| tag.strip_prefix("W/").unwrap_or(tag) == of.etag;
        if any_tag(headers, &IF_NONE_MATCH, weak) {
            return Verdict::NotModified;
        }
    } else if let Some(date) = date(headers, &IF_MODIFIED_SINCE)
        && seconds(of.modified) <= seconds(date)
    {
        return Verdict::NotModified;
    }
    Verdict::Serve
}

/// Whether a `Range` counts: there is no `If-Range`, or it names exactly this representation.
pub fn range_counts(headers: &HeaderMap, of: Validators<'_>, now: SystemTime) -> bool {
    let Some(value) = headers.get(IF_RANGE) else {
        return true;
    };
    let Ok(text) = value.to_str() else {
        return false;
    };
    if text.contains('"') {
        return text == of.etag;
    }
    let strong = seconds(of.modified) + STRONG_AFTER.as_secs() <= seconds(now);
    strong
        && httpdate::parse_http_date(text).is_ok_and(|date| seconds(date) == seconds(of.modified))
}

fn date(headers: &HeaderMap, name: &HeaderName) -> Option<SystemTime> {
    let text = headers.get(name)?.to_str().ok()?;
    httpdate::parse_http_date(text).ok()
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

fn any_tag(headers: &HeaderMap, name: &HeaderName, is: impl Fn(&str) -> bool) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .any(|line| line.trim() == "*" || tags(line).any(&is))
}

/// Entity tags of a list, each with its quotes and its `W/`. A comma may stand within a tag.
fn tags(line: &str) -> impl Iterator<Item = &str> {
    let mut rest = line;
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let quote = rest.find('"')?;
        let end = quote + 1 + rest[quote + 1..].find('"')? + 1;
        let (tag, after) = rest.split_at(end);
        rest = after;
        Some(tag)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAG: &str = "\"abc,1\"";
    const BEFORE: &str = "Tue, 24 Nov 2026 10:26:36 GMT";
    const AT: &str = "Wed, 25 Nov 2026 10:26:36 GMT";
    const AFTER: &str = "Thu, 26 Nov 2026 10:26:36 GMT";

    fn modified() -> SystemTime {
        httpdate::parse_http_date(AT).unwrap() + Duration::from_millis(700)
    }

    fn headers(lines: &[(HeaderName, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(name, value.parse().unwrap());
        }
        headers
    }

    fn check(lines: &[(HeaderName, &str)], expected: Verdict) {
        let of = Validators {
            etag: TAG,
            modified: modified(),
        };
        assert_eq!(evaluate(&headers(lines), of), expected, "{lines:?}");
    }

    #[test]
    fn preconditions_in_their_order() {
        use Verdict::{Failed, NotModified, Serve};
        check(&[], Serve);
        check(&[(IF_MATCH, TAG)], Serve);
        check(&[(IF_MATCH, "*")], Serve);
        check(&[(IF_MATCH, "\"x\", \"abc,1\"")], Serve);
        check(&[(IF_MATCH, "W/\"abc,1\"")], Failed);
        check(&[(IF_MATCH, "\"x\"")], Failed);
        check(&[(IF_MATCH, "")], Failed);
        check(&[(IF_UNMODIFIED_SINCE, AT)], Serve);
        check(&[(IF_UNMODIFIED_SINCE, AFTER)], Serve);
        check(&[(IF_UNMODIFIED_SINCE, BEFORE)], Failed);
        check(&[(IF_UNMODIFIED_SINCE, "yesterday")], Serve);
        check(&[(IF_MATCH, TAG), (IF_UNMODIFIED_SINCE, BEFORE)], Serve);
        check(&[(IF_NONE_MATCH, TAG)], NotModified);
        check(&[(IF_NONE_MATCH, "*")], NotModified);
        check(&[(IF_NONE_MATCH, "\"y\",W/\"abc,1\"")], NotModified);
        check(
            &[(IF_NONE_MATCH, "\"y\""), (IF_NONE_MATCH, TAG)],
            NotModified,
        );
        check(&[(IF_NONE_MATCH, "\"y\"")], Serve);
        check(&[(IF_NONE_MATCH, "\"abc")], Serve);
        check(&[(IF_MODIFIED_SINCE, AT)], NotModified);
        check(&[(IF_MODIFIED_SINCE, AFTER)], NotModified);
        check(&[(IF_MODIFIED_SINCE, BEFORE)], Serve);
        check(&[(IF_MODIFIED_SINCE, "?")], Serve);
        check(
            &[(IF_NONE_MATCH, "\"y\""), (IF_MODIFIED_SINCE, AFTER)],
            Serve,
        );
        check(&[(IF_MATCH, "\"x\""), (IF_NONE_MATCH, TAG)], Failed);
        check(&[(IF_MATCH, TAG), (IF_NONE_MATCH, TAG)], NotModified);
    }

    #[test]
    fn if_range_wants_exactly_this_one() {
        let of = Validators {
            etag: TAG,
            modified: modified(),
        };
        let later = modified() + Duration::from_secs(60);
        let counts = |value: &str, now| range_counts(&headers(&[(IF_RANGE, value)]), of, now);
        assert!(range_counts(&HeaderMap::new(), of, later));
        assert!(counts(TAG, later));
        assert!(!counts("W/\"abc,1\"", later));
        assert!(!counts("\"x\"", later));
        assert!(counts(AT, later));
        assert!(!counts(AT, modified()));
        assert!(!counts(BEFORE, later));
        assert!(!counts(AFTER, later));
        assert!(!counts("nonsense", later));
    }
}
