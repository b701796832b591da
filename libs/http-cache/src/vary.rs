//! Variants of one resource (RFC 9111 section 4.1).

use http::header::{
    ACCEPT, ACCEPT_CHARSET, ACCEPT_ENCODING, ACCEPT_LANGUAGE, CONTENT_LANGUAGE, VARY,
};
use http::{HeaderMap, HeaderName};

use crate::control::members;
use crate::language;

/// Answers that vary by more fields than this are not stored.
pub const MAX_VARY_FIELDS: usize = 16;

/// The request fields that an answer was chosen by; sorted, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vary(Vec<HeaderName>);

impl Vary {
    /// `None` when no later request matches: `*`, what is no field name, or too many.
    pub fn of(response: &HeaderMap) -> Option<Self> {
        Self::of_with(response, &[])
    }

    /// As if the answer named these fields too.
    pub fn of_with(response: &HeaderMap, more: &[HeaderName]) -> Option<Self> {
        let mut names = more.to_vec();
        let lines = response.get_all(VARY).iter();
        for member in lines.flat_map(|line| members(line.as_bytes(), b',')) {
            if member == b"*" || names.len() > MAX_VARY_FIELDS {
                return None;
            }
            names.push(HeaderName::from_bytes(member).ok()?);
        }
        names.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
        names.dedup();
        (names.len() <= MAX_VARY_FIELDS).then_some(Self(names))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn names(&self) -> &[HeaderName] {
        &self.0
    }

    /// The request's values of these fields in one form: requests with the same get the same answer.
    /// Lines are joined and spaces around commas dropped; where order and case mean nothing
    /// (languages, encodings) they do not count.
    pub fn key(&self, request: &HeaderMap) -> Vec<u8> {
        let mut key = Vec::new();
        for name in &self.0 {
            match joined(request, name) {
                None => key.push(b'-'),
                Some(value) if is_preference(name) => {
                    key.push(b'+');
                    key.extend(language::normalised(&value));
                }
                Some(value) => {
                    key.push(b'+');
                    key.extend(value);
                }
            }
            key.push(b'\n');
        }
        key
    }

    /// An answer in the one language that the request prefers is right for it, although other
    /// languages were asked for when it was stored.
    pub fn language_fits(&self, request: &HeaderMap, response: &HeaderMap) -> bool {
        let [ACCEPT_LANGUAGE] = self.0.as_slice() else {
            return false;
        };
        let (Some(wanted), Some(is)) = (
            joined(request, &ACCEPT_LANGUAGE),
            joined(response, &CONTENT_LANGUAGE),
        ) else {
            return false;
        };
        language::prefers(&wanted, &is)
    }
}

fn is_preference(name: &HeaderName) -> bool {
    [ACCEPT, ACCEPT_CHARSET, ACCEPT_ENCODING, ACCEPT_LANGUAGE].contains(name) && name != ACCEPT
}

fn joined(headers: &HeaderMap, name: &HeaderName) -> Option<Vec<u8>> {
    let mut out: Option<Vec<u8>> = None;
    for line in headers.get_all(name) {
        let out = out.get_or_insert_default();
        for member in members(line.as_bytes(), b',') {
            if !out.is_empty() {
                out.push(b',');
            }
            out.extend(member);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
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

    fn same(vary: &str, a: &[(&'static str, &str)], b: &[(&'static str, &str)]) -> bool {
        let vary = Vary::of(&fields(&[("vary", vary)])).unwrap();
        vary.key(&fields(a)) == vary.key(&fields(b))
    }

    #[test]
    fn keys() {
        assert!(same(
            "foo",
            &[("foo", "1, 2")],
            &[("foo", "1"), ("foo", "2")]
        ));
        assert!(same("foo", &[("foo", "1,2")], &[("foo", " 1, 2 ")]));
        assert!(same(
            "foo",
            &[("foo", "1"), ("bar", "2")],
            &[("foo", "1"), ("bar", "3")]
        ));
        assert!(!same("foo", &[("foo", "1")], &[("foo", "2")]));
        assert!(!same("foo", &[("foo", "")], &[]));
        assert!(!same("foo", &[("foo", "a")], &[("foo", "A")]));
        assert!(!same("foo, bar", &[("foo", "1")], &[("bar", "1")]));
        assert!(same(
            "accept-encoding",
            &[("accept-encoding", "gzip, br")],
            &[("accept-encoding", "br,GZIP")]
        ));
    }

    #[test]
    fn what_never_matches() {
        let check = |lines: &[(&'static str, &str)]| {
            assert_eq!(Vary::of(&fields(lines)), None, "{lines:?}")
        };
        check(&[("vary", "*")]);
        check(&[("vary", ", *")]);
        check(&[("vary", ""), ("vary", "*")]);
        check(&[("vary", "foo, *")]);
        check(&[("vary", "fo o")]);
        let many: Vec<String> = (0..=MAX_VARY_FIELDS).map(|n| format!("f{n}")).collect();
        check(&[("vary", &many.join(","))]);
        assert!(Vary::of(&fields(&[])).unwrap().is_empty());
    }

    #[test]
    fn languages() {
        let vary = Vary::of(&fields(&[("vary", "Accept-Language")])).unwrap();
        let de = fields(&[("content-language", "de")]);
        assert!(vary.language_fits(&fields(&[("accept-language", "fr;q=0.5, de")]), &de));
        assert!(!vary.language_fits(&fields(&[("accept-language", "fr, de;q=0.5")]), &de));
        assert!(!vary.language_fits(&fields(&[]), &de));
    }

    proptest! {
        #[test]
        fn values_of_several_fields_do_not_run_into_each_other(a in "[ -~]{0,8}", b in "[ -~]{0,8}", c in "[ -~]{0,8}", d in "[ -~]{0,8}") {
            let vary = Vary::of(&fields(&[("vary", "a, b")])).unwrap();
            let one = fields(&[("a", a.trim()), ("b", b.trim())]);
            let two = fields(&[("a", c.trim()), ("b", d.trim())]);
            let parts = |text: &str| members(text.trim().as_bytes(), b',').map(<[u8]>::to_vec).collect::<Vec<_>>();
            let equal = parts(&a) == parts(&c) && parts(&b) == parts(&d);
            prop_assert_eq!(vary.key(&one) == vary.key(&two), equal);
        }
    }
}
