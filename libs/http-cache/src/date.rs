//! Dates of HTTP (RFC 9110 section 5.6.7).

use std::time::UNIX_EPOCH;

use http::{HeaderMap, HeaderName};

/// Seconds since 1970 of a date in any of the three formats; `None` when it is none of them.
pub fn http_date_seconds(value: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(value).ok()?.trim();
    let time = httpdate::parse_http_date(text).ok()?;
    Some(time.duration_since(UNIX_EPOCH).ok()?.as_secs())
}

/// The date in a field that may stand once; several are as invalid as nonsense is.
pub(crate) fn field(headers: &HeaderMap, name: &HeaderName) -> Option<Result<u64, ()>> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    if values.next().is_some() {
        return Some(Err(()));
    }
    Some(http_date_seconds(first.as_bytes()).ok_or(()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_formats_and_nonsense() {
        let check =
            |text: &str, want| assert_eq!(http_date_seconds(text.as_bytes()), want, "{text}");
        check("Sun, 06 Nov 1994 08:49:37 GMT", Some(784_111_777));
        check("Sunday, 06-Nov-94 08:49:37 GMT", Some(784_111_777));
        check("Sun Nov  6 08:49:37 1994", Some(784_111_777));
        check("0", None);
        check("-1", None);
        check("", None);
        check("Sun, 06 Nov 1994 08:49:37 UTC", None);
    }
}
