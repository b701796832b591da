//! Cache-Control of requests and answers (RFC 9111 section 5.2), Pragma (section 5.4).

use std::borrow::Cow;

use http::header::{CACHE_CONTROL, PRAGMA};
use http::{HeaderMap, HeaderName};

/// Largest number of seconds that is told apart: 2^31, as RFC 9111 section 1.2.2 has it.
pub(crate) const MAX_SECONDS: u64 = 1 << 31;

/// Directives that are read of one message; what comes after is not.
const MAX_DIRECTIVES: usize = 128;

/// What a directive that can name fields applies to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    #[default]
    Absent,
    /// The whole answer.
    All,
    /// Only these fields of it: `no-cache="set-cookie"`.
    Fields(Vec<HeaderName>),
}

/// Cache-Control of an answer. A number that cannot be read is 0; of several the smallest counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResponseControl {
    pub no_store: bool,
    pub no_cache: Scope,
    pub private: Scope,
    pub public: bool,
    pub must_revalidate: bool,
    pub proxy_revalidate: bool,
    pub must_understand: bool,
    /// Seconds, as all that follow.
    pub max_age: Option<u64>,
    pub s_maxage: Option<u64>,
    pub stale_while_revalidate: Option<u64>,
    pub stale_if_error: Option<u64>,
}

/// Cache-Control of a request; without one, `Pragma: no-cache` counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestControl {
    pub no_store: bool,
    pub no_cache: bool,
    pub only_if_cached: bool,
    /// Seconds, as all that follow.
    pub max_age: Option<u64>,
    pub min_fresh: Option<u64>,
    /// `u64::MAX` when any staleness will do.
    pub max_stale: Option<u64>,
}

impl ResponseControl {
    /// Of all lines of the field together.
    pub fn parse(headers: &HeaderMap) -> Self {
        Self::from_lines(headers.get_all(CACHE_CONTROL).iter().map(|v| v.as_bytes()))
    }

    pub(crate) fn from_lines<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut control = Self::default();
        for line in lines {
            for (name, value) in directives(line).take(MAX_DIRECTIVES) {
                control.add(name, value.as_deref());
            }
        }
        control
    }

    fn add(&mut self, name: &[u8], value: Option<&[u8]>) {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        if is("no-store") {
            self.no_store = true;
        } else if is("no-cache") {
            widen(&mut self.no_cache, value);
        } else if is("private") {
            widen(&mut self.private, value);
        } else if is("public") {
            self.public = true;
        } else if is("must-revalidate") {
            self.must_revalidate = true;
        } else if is("proxy-revalidate") {
            self.proxy_revalidate = true;
        } else if is("must-understand") {
            self.must_understand = true;
        } else if is("max-age") {
            shorten(&mut self.max_age, value);
        } else if is("s-maxage") {
            shorten(&mut self.s_maxage, value);
        } else if is("stale-while-revalidate") {
            shorten(&mut self.stale_while_revalidate, value);
        } else if is("stale-if-error") {
            shorten(&mut self.stale_if_error, value);
        }
    }
}

impl RequestControl {
    pub fn parse(headers: &HeaderMap) -> Self {
        let mut control = Self::default();
        if !headers.contains_key(CACHE_CONTROL) {
            let pragma = headers.get_all(PRAGMA).iter();
            control.no_cache = pragma
                .flat_map(|value| directives(value.as_bytes()).take(MAX_DIRECTIVES))
                .any(|(name, _)| name.eq_ignore_ascii_case(b"no-cache"));
            return control;
        }
        for line in headers.get_all(CACHE_CONTROL) {
            for (name, value) in directives(line.as_bytes()).take(MAX_DIRECTIVES) {
                control.add(name, value.as_deref());
            }
        }
        control
    }

    fn add(&mut self, name: &[u8], value: Option<&[u8]>) {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        if is("no-store") {
            self.no_store = true;
        } else if is("no-cache") {
            self.no_cache = true;
        } else if is("only-if-cached") {
            self.only_if_cached = true;
        } else if is("max-age") {
            shorten(&mut self.max_age, value);
        } else if is("min-fresh") {
            // The strictest of several is the largest, and what cannot be read asks for nothing.
            let seconds = value.and_then(seconds).unwrap_or(0);
            self.min_fresh = Some(self.min_fresh.unwrap_or(0).max(seconds));
        } else if is("max-stale") {
            let seconds = value.map_or(Some(u64::MAX), seconds).unwrap_or(0);
            self.max_stale = Some(self.max_stale.unwrap_or(u64::MAX).min(seconds));
        }
    }
}

/// The members of one field line: name as it stands, and value with its quotes taken off.
/// Commas inside quotes do not part; a quote that is not closed reaches to the end.
pub fn directives(line: &[u8]) -> impl Iterator<Item = (&[u8], Option<Cow<'_, [u8]>>)> {
    members(line, b',').map(|member| match member.iter().position(|b| *b == b'=') {
        None => (member, None),
        Some(at) => (
            member[..at].trim_ascii_end(),
            Some(unquote(member[at + 1..].trim_ascii_start())),
        ),
    })
}

/// Parts of `line` between separators that stand outside quotes; trimmed, never empty.
pub(crate) fn members(line: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let mut rest = line;
    std::iter::from_fn(move || {
        while !rest.is_empty() {
            let (mut quoted, mut escaped) = (false, false);
            let end = rest.iter().position(|byte| {
                if escaped {
                    escaped = false;
                } else if quoted && *byte == b'\\' {
                    escaped = true;
                } else if *byte == b'"' {
                    quoted = !quoted;
                } else if !quoted && *byte == separator {
                    return true;
                }
                false
            });
            let end = end.unwrap_or(rest.len());
            let member = rest[..end].trim_ascii();
            rest = rest.get(end + 1..).unwrap_or_default();
            if !member.is_empty() {
                return Some(member);
            }
        }
        None
    })
}

fn unquote(value: &[u8]) -> Cow<'_, [u8]> {
    let Some(inner) = value
        .strip_prefix(b"\"")
        .and_then(|rest| rest.strip_suffix(b"\""))
    else {
        return Cow::Borrowed(value);
    };
    if !inner.contains(&b'\\') {
        return Cow::Borrowed(inner);
    }
    let mut plain = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter();
    while let Some(byte) = bytes.next() {
        let byte = if *byte == b'\\' {
            bytes.next()
        } else {
            Some(byte)
        };
        plain.extend(byte);
    }
    Cow::Owned(plain)
}

/// Digits only, at most [`MAX_SECONDS`].
pub(crate) fn seconds(value: &[u8]) -> Option<u64> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let add = |sum: u64, digit: &u8| (sum * 10 + u64::from(digit - b'0')).min(MAX_SECONDS);
    Some(value.iter().fold(0, add))
}

fn shorten(known: &mut Option<u64>, value: Option<&[u8]>) {
    let value = value.and_then(seconds).unwrap_or(0);
    *known = Some(known.map_or(value, |known| known.min(value)));
}

fn widen(scope: &mut Scope, value: Option<&[u8]>) {
    let names = value.map(|value| {
        members(value, b',')
            .map(HeaderName::from_bytes)
            .collect::<Result<Vec<_>, _>>()
    });
    match (names, &mut *scope) {
        (_, Scope::All) => {}
        (Some(Ok(names)), Scope::Fields(known)) => known.extend(names),
        (Some(Ok(names)), Scope::Absent) if !names.is_empty() => *scope = Scope::Fields(names),
        (Some(Ok(_) | Err(_)) | None, Scope::Absent | Scope::Fields(_)) => *scope = Scope::All,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn response(lines: &[&str]) -> ResponseControl {
        ResponseControl::from_lines(lines.iter().map(|line| line.as_bytes()))
    }

    fn request(name: HeaderName, value: &str) -> RequestControl {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        RequestControl::parse(&headers)
    }

    #[test]
    fn numbers() {
        let check =
            |line: &str, want: Option<u64>| assert_eq!(response(&[line]).max_age, want, "{line}");
        check("max-age=3600", Some(3600));
        check("MaX-aGe=3600", Some(3600));
        check("foobar, max-age=3600", Some(3600));
        check("max-age=\"3600\"", Some(3600));
        check("max-age='3600'", Some(0));
        check("max-age=003600", Some(3600));
        check("max-age=-1", Some(0));
        check("max-age=1.5", Some(0));
        check("max-age", Some(0));
        check("max-age=", Some(0));
        check("max-age=10a", Some(0));
        check("max-age=99999999999999999999999999", Some(MAX_SECONDS));
        check("max-age=1, max-age=3600", Some(1));
        check("extension=\"max-age=3600\", max-age=1", Some(1));
        check("max-age=1, extension=\"max-age=3600\"", Some(1));
        check("extension=\"max-age=3600, max-age=1", None);
        check(",, ,", None);
        check("s-maxage=3", None);
    }

    #[test]
    fn lines_together_and_fields() {
        let control = response(&["max-age=3600", "s-maxage=1, No-StOrE", "private=\"a, b\""]);
        assert_eq!((control.max_age, control.s_maxage), (Some(3600), Some(1)));
        assert!(control.no_store);
        let names = ["a", "b"].map(HeaderName::from_static).to_vec();
        assert_eq!(control.private, Scope::Fields(names));
        assert_eq!(response(&["private=\"a\", private"]).private, Scope::All);
        assert_eq!(response(&["private=\"?? ?\""]).private, Scope::All);
        assert_eq!(response(&["no-cache=\"\""]).no_cache, Scope::All);
    }

    #[test]
    fn requests() {
        let all = request(
            CACHE_CONTROL,
            "no-cache, no-store, only-if-cached, max-age=1, min-fresh=2, max-stale=3",
        );
        let want = RequestControl {
            no_store: true,
            no_cache: true,
            only_if_cached: true,
            max_age: Some(1),
            min_fresh: Some(2),
            max_stale: Some(3),
        };
        assert_eq!(all, want);
        assert_eq!(
            request(CACHE_CONTROL, "max-stale").max_stale,
            Some(u64::MAX)
        );
        assert!(request(PRAGMA, "no-cache").no_cache);
        assert!(!request(PRAGMA, "foo").no_cache);
    }

    proptest! {
        #[test]
        fn no_bytes_panic_and_members_are_trimmed(line in prop::collection::vec(any::<u8>(), 0..64)) {
            for member in members(&line, b',') {
                prop_assert!(!member.is_empty());
                prop_assert_eq!(member, member.trim_ascii());
            }
            let _ = ResponseControl::from_lines(std::iter::once(line.as_slice()));
        }

        #[test]
        fn what_was_written_is_read(age in 0u64..MAX_SECONDS, shared in 0u64..MAX_SECONDS) {
            let control = response(&[&format!("a=\"x,\\\"y\", max-age={age} ,s-maxage=\"{shared}\"")]);
            prop_assert_eq!(control.max_age, Some(age));
            prop_assert_eq!(control.s_maxage, Some(shared));
        }
    }
}
