//! API keys, in a header or in the query.

use std::collections::HashMap;
use std::sync::Arc;

use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;
use sha2::{Digest, Sha256};

use super::watched::Watched;
use super::{Holder, Refusal};
use crate::tls::FileSource;

/// Carries the holder's name to the app.
pub(super) const NAME_HEADER: HeaderName = HeaderName::from_static("x-api-key-name");
/// Longer keys are nobody's.
const MAX_KEY_BYTES: usize = 1024;

/// By digest: what is compared is not the key, so the time of a look-up tells nothing about it.
struct Holders(HashMap<[u8; 32], Arc<str>>);

impl std::fmt::Debug for Holders {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} keys", self.0.len())
    }
}

#[derive(Debug)]
pub(super) struct ApiKeys {
    /// `None`: the spec names no valid header, which only a query parameter can mend.
    header: Option<HeaderName>,
    query: Option<String>,
    holders: Holders,
    file: Option<Watched<Holders>>,
    challenge: HeaderValue,
}

impl ApiKeys {
    pub(super) fn new(spec: &gateway_spec::ApiKeys, files: Arc<dyn FileSource>) -> Self {
        let header = HeaderName::from_bytes(spec.header.as_bytes())
            .inspect_err(|_| tracing::error!(header = spec.header, "no valid name of a header"))
            .ok();
        let mut holders = HashMap::new();
        for (name, key) in &spec.keys {
            match digest(key.expose()) {
                Some(digest) => drop(holders.insert(digest, name.as_str().into())),
                None => tracing::error!(
                    name,
                    "this API key is empty or no valid sha256: nobody can use it"
                ),
            }
        }
        Self {
            challenge: HeaderValue::from_str(&format!("ApiKey header=\"{}\"", spec.header))
                .unwrap_or_else(|_| HeaderValue::from_static("ApiKey")),
            header,
            query: spec.query.clone(),
            holders: Holders(holders),
            file: spec
                .file
                .clone()
                .map(|path| Watched::new(path, files, parse)),
        }
    }

    pub(super) fn check(&self, head: &Parts) -> Result<Holder, Refusal> {
        let file = match &self.file {
            Some(file) => Some(file.current().ok_or(Refusal::Unavailable)?),
            None => None,
        };
        let key = self.key(head).filter(|key| key.len() <= MAX_KEY_BYTES);
        let name = key.and_then(|key| {
            let digest: [u8; 32] = Sha256::digest(&key).into();
            let of_file = file.as_ref().and_then(|holders| holders.0.get(&digest));
            self.holders.0.get(&digest).or(of_file).cloned()
        });
        name.map(Holder)
            .ok_or_else(|| Refusal::Unauthorized(self.challenge.clone()))
    }

    fn key(&self, head: &Parts) -> Option<Vec<u8>> {
        if let Some(name) = &self.header
            && let Some(value) = head.headers.get(name)
        {
            let value = value.as_bytes();
            let bearer = value
                .get(..7)
                .is_some_and(|start| start.eq_ignore_ascii_case(b"bearer "));
            let skip = if *name == AUTHORIZATION && bearer {
                7
            } else {
                0
            };
            return Some(value[skip..].trim_ascii().to_owned());
        }
        let wanted = self.query.as_deref()?;
        let pairs = head.uri.query()?.split('&');
        let value = pairs
            .filter_map(|pair| pair.split_once('='))
            .find_map(|(name, value)| (name == wanted).then_some(value))?;
        Some(percent_decode_str(value).collect())
    }
}

/// Of a key, or of its `sha256:HEX`.
fn digest(key: &str) -> Option<[u8; 32]> {
    let Some(hex) = key.strip_prefix("sha256:") else {
        return (!key.is_empty()).then(|| Sha256::digest(key).into());
    };
    let mut digest = [0; 32];
    if hex.len() != 64 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (index, byte) in digest.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&hex[2 * index..2 * index + 2], 16).ok()?;
    }
    Some(digest)
}

/// Lines `name:key`.
fn parse(text: &str) -> Result<Holders, String> {
    let mut holders = HashMap::new();
    let mut bad = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let entry = line
            .split_once(':')
            .filter(|(name, _)| !name.is_empty())
            .and_then(|(name, key)| Some((name, digest(key.trim())?)));
        match entry {
            Some((name, digest)) => drop(holders.insert(digest, name.into())),
            None => bad.push(index + 1),
        }
    }
    if !bad.is_empty() {
        tracing::warn!(lines = ?bad, "lines of the API key file are no `name:key`: nobody can use them");
    }
    Ok(Holders(holders))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests() {
        let secret: [u8; 32] = Sha256::digest("secret").into();
        assert_eq!(digest("secret"), Some(secret));
        let hex = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
        assert_eq!(digest(&format!("sha256:{hex}")), Some(secret));
        assert_eq!(digest("sha256:abc"), None);
        assert_eq!(digest(&format!("sha256:{}", "+1".repeat(32))), None);
        assert_eq!(digest(""), None);
    }

    #[test]
    fn lines_of_a_file() {
        let holders = parse("# keys\nann:one\n\nbob: sha256:xyz\n:three\nnothing\n").unwrap();
        let mut names: Vec<&str> = holders.0.values().map(|name| &**name).collect();
        names.sort_unstable();
        assert_eq!(names, ["ann"]);
    }
}
