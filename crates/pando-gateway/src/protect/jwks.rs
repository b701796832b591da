//! Sets of keys, RFC 7517: from a file, or from a URL that is asked again.
//!
//! Nothing is fetched before the first token comes. Then: keys are refreshed in the background
//! when they are old, a token with an unknown key has them fetched at once, and neither happens
//! more often than `AGAIN`. Keys that could not be refreshed for `TOO_OLD` are not used any more.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::Value;

use super::fetch;
use super::token::Key;
use super::watched::Watched;
use crate::tls::FileSource;

/// Keys of one set; further ones are passed over.
const MAX_KEYS: usize = 100;
const REFRESH: Duration = Duration::from_secs(600);
const AGAIN: Duration = Duration::from_secs(5);
const TOO_OLD: Duration = Duration::from_secs(24 * 3600);

pub(super) struct KeySet(pub Vec<Key>);

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} keys", self.0.len())
    }
}

#[derive(Debug)]
pub(super) enum Source {
    Fixed(Arc<KeySet>),
    File(Watched<KeySet>),
    Url(Arc<Remote>),
}

impl Source {
    /// An absolute path or a URL.
    pub(super) fn new(place: &str, files: Arc<dyn FileSource>) -> Self {
        if place.starts_with("https://") || place.starts_with("http://") {
            Self::Url(Arc::new(Remote::new(place)))
        } else {
            let parse = |text: &str| parse(text, Origin::File);
            Self::File(Watched::new(place.into(), files, parse))
        }
    }

    /// `None` while there are none.
    pub(super) async fn current(&self) -> Option<Arc<KeySet>> {
        match self {
            Self::Fixed(keys) => Some(Arc::clone(keys)),
            Self::File(file) => file.current(),
            Self::Url(remote) => remote.current().await,
        }
    }

    /// After a token had an unknown key: other keys than `known`, if there are.
    pub(super) async fn newer(&self, known: &Arc<KeySet>) -> Option<Arc<KeySet>> {
        match self {
            Self::Fixed(_) | Self::File(_) => None,
            Self::Url(remote) => remote.newer(known).await,
        }
    }
}

/// Where a set comes from: what everybody can fetch must hold no secret.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    File,
    Url,
}

#[derive(Debug)]
pub(super) struct Remote {
    url: String,
    started: Instant,
    keys: Mutex<Option<(Arc<KeySet>, Instant)>>,
    /// Milliseconds since `started` of the last try, and 1; 0 is never.
    tried_ms: AtomicU64,
    /// One fetch at a time; the others wait for its result.
    fetching: tokio::sync::Mutex<()>,
}

impl Remote {
    fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            started: Instant::now(),
            keys: Mutex::new(None),
            tried_ms: AtomicU64::new(0),
            fetching: tokio::sync::Mutex::new(()),
        }
    }

    fn held(&self) -> Option<(Arc<KeySet>, Duration)> {
        let keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let (keys, since) = keys.as_ref()?;
        Some((Arc::clone(keys), since.elapsed()))
    }

    async fn current(self: &Arc<Self>) -> Option<Arc<KeySet>> {
        match self.held() {
            Some((keys, age)) if age < TOO_OLD => {
                if age >= REFRESH && self.may_try() {
                    let remote = Arc::clone(self);
                    tokio::spawn(async move { remote.fetch().await });
                }
                Some(keys)
            }
            Some(_) | None => {
                self.fetch_unless_done(None).await;
                self.held()
                    .filter(|(_, age)| *age < TOO_OLD)
                    .map(|(keys, _)| keys)
            }
        }
    }

    async fn newer(&self, known: &Arc<KeySet>) -> Option<Arc<KeySet>> {
        self.fetch_unless_done(Some(known)).await;
        let (keys, _) = self.held()?;
        (!Arc::ptr_eq(&keys, known)).then_some(keys)
    }

    /// Whoever waited for another's fetch takes its result.
    async fn fetch_unless_done(&self, known: Option<&Arc<KeySet>>) {
        let _one = self.fetching.lock().await;
        let done = match (self.held(), known) {
            (Some((keys, _)), Some(known)) => !Arc::ptr_eq(&keys, known),
            (Some((_, age)), None) => age < TOO_OLD,
            (None, _) => false,
        };
        if !done && self.may_try() {
            self.fetch().await;
        }
    }

    fn may_try(&self) -> bool {
        let now_ms = self.started.elapsed().as_millis() as u64 + 1;
        let tried_ms = self.tried_ms.load(Ordering::Relaxed);
        let due = tried_ms == 0 || now_ms >= tried_ms + AGAIN.as_millis() as u64;
        due && self
            .tried_ms
            .compare_exchange(tried_ms, now_ms, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
    }

    async fn fetch(&self) {
        let fetched = fetch::get(&self.url).await;
        match fetched.and_then(|text| parse(&text, Origin::Url)) {
            Ok(keys) => {
                tracing::info!(
                    url = self.url,
                    keys = keys.0.len(),
                    "fetched the keys for JWTs"
                );
                let mut held = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
                *held = Some((Arc::new(keys), Instant::now()));
            }
            Err(error) => tracing::error!(
                url = self.url,
                error,
                "cannot fetch the keys for JWTs; the former ones are kept for a day, \
                 it is tried again"
            ),
        }
    }
}

/// A JWKS. Keys that are for something else, or that nobody here can use, are passed over.
fn parse(text: &str, origin: Origin) -> Result<KeySet, String> {
    let value: Value = serde_json::from_str(text).map_err(|error| format!("no JSON: {error}"))?;
    let keys = value.get("keys").and_then(Value::as_array);
    let keys = keys.ok_or_else(|| "no JWKS: it has no list `keys`".to_owned())?;
    let usable: Vec<Key> = keys
        .iter()
        .take(MAX_KEYS)
        .filter_map(|key| {
            usable(key, origin)
                .inspect_err(|why| tracing::warn!(kid = ?key.get("kid"), why, "a key is not used"))
                .ok()
        })
        .collect();
    if usable.is_empty() {
        return Err("none of its keys can be used".into());
    }
    Ok(KeySet(usable))
}

fn usable(value: &Value, origin: Origin) -> Result<Key, String> {
    let jwk: Jwk = serde_json::from_value(value.clone()).map_err(|error| error.to_string())?;
    let signs = jwk.common.public_key_use.as_ref();
    if signs.is_some_and(|usage| *usage != PublicKeyUse::Signature) {
        return Err("it is not for signatures".into());
    }
    let mut algorithms = by_type(&jwk.algorithm, origin)?;
    if let Some(only) = jwk.common.key_algorithm {
        algorithms.retain(|algorithm| is_same(*algorithm, only));
        if algorithms.is_empty() {
            return Err(format!("its algorithm {only} is none of its type"));
        }
    }
    Ok(Key {
        id: jwk.common.key_id.clone(),
        key: DecodingKey::from_jwk(&jwk).map_err(|error| error.to_string())?,
        algorithms,
    })
}

fn by_type(parameters: &AlgorithmParameters, origin: Origin) -> Result<Vec<Algorithm>, String> {
    use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
    Ok(match parameters {
        AlgorithmParameters::RSA(_) => vec![RS256, RS384, RS512, PS256, PS384, PS512],
        AlgorithmParameters::EllipticCurve(ec) => match ec.curve {
            EllipticCurve::P256 => vec![ES256],
            EllipticCurve::P384 => vec![ES384],
            EllipticCurve::P521 | EllipticCurve::Ed25519 => {
                return Err("its curve is not supported".into());
            }
        },
        AlgorithmParameters::OctetKeyPair(_) => vec![EdDSA],
        AlgorithmParameters::OctetKey(_) if origin == Origin::Url => {
            return Err("a secret that anybody can fetch".into());
        }
        AlgorithmParameters::OctetKey(_) => hmac(),
    })
}

pub(super) fn hmac() -> Vec<Algorithm> {
    vec![Algorithm::HS256, Algorithm::HS384, Algorithm::HS512]
}

fn is_same(algorithm: Algorithm, named: KeyAlgorithm) -> bool {
    format!("{algorithm:?}") == named.to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const N: &str = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";

    fn algorithms(key: Value, origin: Origin) -> Option<usize> {
        usable(&key, origin).ok().map(|key| key.algorithms.len())
    }

    #[test]
    fn keys_verify_what_their_type_allows() {
        let rsa = json!({"kty": "RSA", "n": N, "e": "AQAB", "kid": "r"});
        assert_eq!(algorithms(rsa.clone(), Origin::Url), Some(6));
        for (alg, expected) in [
            ("PS384", Some(1)),
            ("HS256", None),
            ("ES256", None),
            ("RSA-OAEP", None),
        ] {
            let mut key = rsa.clone();
            key["alg"] = alg.into();
            assert_eq!(algorithms(key, Origin::Url), expected, "{alg}");
        }
        for (usage, expected) in [("sig", Some(6)), ("enc", None)] {
            let mut key = rsa.clone();
            key["use"] = usage.into();
            assert_eq!(algorithms(key, Origin::Url), expected, "{usage}");
        }
        let secret = json!({"kty": "oct", "k": "c2VjcmV0"});
        assert_eq!(algorithms(secret.clone(), Origin::File), Some(3));
        assert_eq!(algorithms(secret, Origin::Url), None);
        assert_eq!(algorithms(json!({"kty": "new"}), Origin::Url), None);
    }

    #[test]
    fn one_key_that_is_not_known_spoils_no_set() {
        let set = json!({"keys": [{"kty": "new"}, {"kty": "RSA", "n": N, "e": "AQAB"}]});
        assert_eq!(parse(&set.to_string(), Origin::Url).unwrap().0.len(), 1);
        for text in [
            "",
            "[]",
            "{}",
            "{\"keys\":[]}",
            "{\"keys\":[{\"kty\":\"new\"}]}",
        ] {
            assert!(parse(text, Origin::Url).is_err(), "{text}");
        }
    }
}
