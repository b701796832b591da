//! Parts of a stored answer (RFC 9110 section 14).

use std::ops::Range;

use http::HeaderMap;
use http::header::{ETAG, IF_RANGE, LAST_MODIFIED, RANGE};

use crate::control::members;
use crate::date;

/// What to answer a GET with, when the whole of it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// 200 with all bytes: no range, none that is understood, or one for another version.
    Whole,
    /// 206 with these bytes.
    Part(Range<u64>),
    /// 416.
    Unsatisfiable,
}

/// Several ranges are answered with the whole, as section 14.2 allows, unless they are one in the
/// end.
pub fn select(request: &HeaderMap, stored: &HeaderMap, length: u64) -> Selection {
    let Some(value) = request.get(RANGE) else {
        return Selection::Whole;
    };
    if !if_range_holds(request, stored) {
        return Selection::Whole;
    }
    let Some(specs) = value
        .as_bytes()
        .split_at_checked(6)
        .and_then(|(unit, rest)| unit.eq_ignore_ascii_case(b"bytes=").then_some(rest))
    else {
        return Selection::Whole;
    };
    let mut found: Option<Range<u64>> = None;
    let mut any = false;
    for spec in members(specs, b',') {
        any = true;
        match one(spec, length) {
            Err(()) => return Selection::Whole,
            Ok(None) => {}
            Ok(Some(range)) => match &mut found {
                None => found = Some(range),
                Some(known) if range.start <= known.end && known.start <= range.end => {
                    *known = known.start.min(range.start)..known.end.max(range.end);
                }
                Some(_) => return Selection::Whole,
            },
        }
    }
    match found {
        Some(range) => Selection::Part(range),
        None if any => Selection::Unsatisfiable,
        None => Selection::Whole,
    }
}

/// `Ok(None)` is well formed but beyond the end.
fn one(spec: &[u8], length: u64) -> Result<Option<Range<u64>>, ()> {
    let text = std::str::from_utf8(spec).map_err(drop)?;
    let (first, last) = text.split_once('-').ok_or(())?;
    let number = |text: &str| match text.trim() {
        "" => Ok(None),
        digits if digits.bytes().all(|b| b.is_ascii_digit()) => {
            Ok(Some(digits.parse().unwrap_or(u64::MAX)))
        }
        _ => Err(()),
    };
    match (number(first)?, number(last)?) {
        (None, None) => Err(()),
        (None, Some(0)) => Ok(None),
        (None, Some(_)) if length == 0 => Ok(None),
        (None, Some(suffix)) => Ok(Some(length.saturating_sub(suffix)..length)),
        (Some(first), Some(last)) if last < first => Err(()),
        (Some(first), _) if first >= length => Ok(None),
        (Some(first), last) => {
            let end = last.map_or(length, |last| last.saturating_add(1).min(length));
            Ok(Some(first..end))
        }
    }
}

/// `If-Range` compares strongly: a weak tag never holds (RFC 9110 section 13.1.5).
fn if_range_holds(request: &HeaderMap, stored: &HeaderMap) -> bool {
    let Some(wanted) = request
        .get(IF_RANGE)
        .map(|value| value.as_bytes().trim_ascii())
    else {
        return true;
    };
    if wanted.starts_with(b"\"") {
        return stored
            .get(ETAG)
            .is_some_and(|tag| tag.as_bytes().trim_ascii() == wanted);
    }
    let is = date::field(stored, &LAST_MODIFIED).and_then(Result::ok);
    is.is_some() && date::http_date_seconds(wanted) == is
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};
    use proptest::prelude::*;

    fn fields(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(
                HeaderName::from_static(name),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        headers
    }

    #[test]
    fn ranges() {
        let check = |range: &str, want| {
            let got = select(&fields(&[("range", range)]), &HeaderMap::new(), 10);
            assert_eq!(got, want, "{range}");
        };
        check("bytes=0-1", Selection::Part(0..2));
        check("bytes=1-", Selection::Part(1..10));
        check("bytes=-1", Selection::Part(9..10));
        check("bytes=-99", Selection::Part(0..10));
        check("bytes=5-99999999999999999999999", Selection::Part(5..10));
        check("bytes=10-", Selection::Unsatisfiable);
        check("bytes=-0", Selection::Unsatisfiable);
        check("bytes=3-2", Selection::Whole);
        check("bytes=a-b", Selection::Whole);
        check("bytes=-", Selection::Whole);
        check("bytes=", Selection::Whole);
        check("lines=0-1", Selection::Whole);
        check("bytes=0-1, 2-3", Selection::Part(0..4));
        check("bytes=0-1, 5-6", Selection::Whole);
        check("bytes=0-1, 50-60", Selection::Part(0..2));
        assert_eq!(
            select(&fields(&[]), &HeaderMap::new(), 10),
            Selection::Whole
        );
    }

    #[test]
    fn if_range() {
        let date = "Wed, 01 Jan 2020 00:00:00 GMT";
        let stored = fields(&[("etag", "\"a\""), ("last-modified", date)]);
        let check = |wanted: &str, want| {
            let request = fields(&[("range", "bytes=0-1"), ("if-range", wanted)]);
            assert_eq!(
                select(&request, &stored, 10) == Selection::Part(0..2),
                want,
                "{wanted}"
            );
        };
        check("\"a\"", true);
        check("\"b\"", false);
        check("W/\"a\"", false);
        check(date, true);
        check("Wed, 01 Jan 2020 00:00:01 GMT", false);
    }

    proptest! {
        #[test]
        fn a_part_is_inside(range in "bytes=[0-9, -]{0,24}", length in 0u64..64) {
            if let Selection::Part(part) = select(&fields(&[("range", &range)]), &HeaderMap::new(), length) {
                prop_assert!(part.start < part.end && part.end <= length);
            }
        }
    }
}
