//! What is to be forgotten.

use super::entry::Entry;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purge {
    All,
    /// `https://example.com/a?b`; without a scheme, under both.
    Url(String),
    /// All addresses that begin so.
    Prefix(String),
    /// All answers with this surrogate key.
    Key(String),
}

impl Purge {
    /// An address, or with `*` at its end all that begin so.
    pub fn url(text: &str) -> Self {
        match text.strip_suffix('*') {
            Some(prefix) => Self::Prefix(prefix.to_owned()),
            None => Self::Url(text.to_owned()),
        }
    }

    /// Whether everything of this address goes.
    pub(super) fn takes_address(&self, address: &str) -> bool {
        let like = |pattern: &str| match pattern.contains("://") {
            true => address,
            false => address.split_once("://").map_or(address, |(_, rest)| rest),
        };
        match self {
            Self::All => true,
            Self::Url(url) => like(url) == url,
            Self::Prefix(prefix) => like(prefix).starts_with(prefix.as_str()),
            Self::Key(_) => false,
        }
    }

    pub(super) fn takes_key(&self, keys: &[Box<str>]) -> bool {
        match self {
            Self::Key(key) => keys.iter().any(|known| **known == **key),
            Self::All | Self::Url(_) | Self::Prefix(_) => false,
        }
    }

    pub(super) fn takes(&self, address: &str, entry: &Entry) -> bool {
        self.takes_address(address) || self.takes_key(&entry.surrogate_keys)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let check = |pattern: &str, address: &str, want| {
            assert_eq!(
                Purge::url(pattern).takes_address(address),
                want,
                "{pattern} {address}"
            );
        };
        check("https://a.example/x", "https://a.example/x", true);
        check("https://a.example/x", "http://a.example/x", false);
        check("a.example/x", "http://a.example/x", true);
        check("a.example/x", "http://a.example/x?y", false);
        check("a.example/x*", "http://a.example/x?y", true);
        check("a.example/x*", "http://b.a.example/x", false);
        check("*", "http://b.a.example/x", true);
    }
}
