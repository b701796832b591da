//! Under which address an answer is kept.

use std::borrow::Cow;
use std::hash::{BuildHasher, Hasher};

use percent_encoding::percent_decode_str;

/// An address in parts, as requests bring it: nothing is copied to look something up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address<'a> {
    scheme: &'a str,
    host: Cow<'a, str>,
    path: &'a str,
    query: Option<Cow<'a, str>>,
}

impl<'a> Address<'a> {
    /// `path_and_query` as it stands in the request; `ignored` are query parameters that do not
    /// count.
    pub(super) fn new(
        scheme: &'a str,
        host: &'a str,
        path_and_query: &'a str,
        ignored: &[String],
    ) -> Self {
        let (path, query) = match path_and_query.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (path_and_query, None),
        };
        let host = if host.bytes().any(|b| b.is_ascii_uppercase()) {
            Cow::Owned(host.to_ascii_lowercase())
        } else {
            Cow::Borrowed(host)
        };
        Self {
            scheme,
            host,
            path,
            query: query.and_then(|query| counted(query, ignored)),
        }
    }

    pub(super) fn hash<S: BuildHasher>(&self, hasher: &S) -> u64 {
        let mut hasher = hasher.build_hasher();
        self.pieces(|piece| hasher.write(piece.as_bytes()));
        hasher.finish()
    }

    /// Whether `text` is this address, as [`Self::text`] writes it.
    pub(super) fn is(&self, text: &str) -> bool {
        let mut rest = Some(text);
        self.pieces(|piece| rest = rest.and_then(|rest| rest.strip_prefix(piece)));
        rest == Some("")
    }

    pub(super) fn text(&self) -> String {
        let mut text = String::with_capacity(64);
        self.pieces(|piece| text.push_str(piece));
        text
    }

    fn pieces(&self, mut each: impl FnMut(&str)) {
        each(self.scheme);
        each("://");
        each(&self.host);
        each(self.path);
        if let Some(query) = &self.query {
            each("?");
            each(query);
        }
    }
}

/// The query without the parameters that do not count.
fn counted<'a>(query: &'a str, ignored: &[String]) -> Option<Cow<'a, str>> {
    let counts = |pair: &str| {
        let name = pair.split('=').next().unwrap_or_default();
        let name = percent_decode_str(name).decode_utf8_lossy();
        !ignored.iter().any(|ignored| *ignored == name)
    };
    if ignored.is_empty() || query.split('&').all(counts) {
        return Some(Cow::Borrowed(query));
    }
    let kept: Vec<&str> = query.split('&').filter(|pair| counts(pair)).collect();
    (!kept.is_empty()).then(|| Cow::Owned(kept.join("&")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let ignored = ["utm_source".to_owned()];
        let check = |path: &str, want: &str| {
            let address = Address::new("https", "Example.com", path, &ignored);
            assert_eq!(address.text(), want);
            assert!(
                address.is(want) && !address.is(&format!("{want}x")) && !address.is("https://")
            );
        };
        check("/", "https://example.com/");
        check("/a?b=c&d", "https://example.com/a?b=c&d");
        check("/a?", "https://example.com/a?");
        check("/a?utm_source=x", "https://example.com/a");
        check("/a?b=c&utm%5Fsource=x&d", "https://example.com/a?b=c&d");
    }

    #[test]
    fn equal_addresses_have_equal_hashes() {
        let hasher = std::hash::RandomState::new();
        let of = |host: &str, path: &str| Address::new("http", host, path, &[]).hash(&hasher);
        assert_eq!(of("A.example", "/x?y"), of("a.example", "/x?y"));
        assert_ne!(of("a.example", "/x?y"), of("a.example", "/x?z"));
    }
}
