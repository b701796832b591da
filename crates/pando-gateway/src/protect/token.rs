//! JSON Web Tokens, RFC 7519: whether one is genuine and of now. Pure: keys and time are
//! arguments.
//!
//! The algorithm is the key's, never the token's alone: a key that came as RSA verifies RSA
//! signatures and nothing else, so a public key can never serve as an HMAC secret, and `none`
//! is no algorithm at all.

use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::{Map, Value};

/// Longer tokens are refused unread.
const MAX_TOKEN_BYTES: usize = 16 * 1024;
/// Keys that are tried for a token that names none.
const MAX_TRIES: usize = 16;

pub(super) type Claims = Map<String, Value>;

/// A key, and what it may verify.
#[derive(Clone)]
pub(super) struct Key {
    pub id: Option<String>,
    pub key: DecodingKey,
    pub algorithms: Vec<Algorithm>,
}

/// What a token must say.
#[derive(Debug)]
pub(super) struct Rules {
    /// Empty: those of the key.
    pub algorithms: Vec<Algorithm>,
    pub issuer: Option<String>,
    pub audience: Vec<String>,
    pub leeway_seconds: u64,
}

/// Why a token is refused; short enough for `error_description`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum TokenError {
    #[error("malformed")]
    Malformed,
    #[error("algorithm not allowed")]
    Algorithm,
    /// There may be a newer set of keys.
    #[error("unknown key")]
    UnknownKey,
    #[error("bad signature")]
    Signature,
    #[error("no expiry")]
    NoExpiry,
    #[error("expired")]
    Expired,
    #[error("not valid yet")]
    NotYet,
    #[error("wrong issuer")]
    Issuer,
    #[error("wrong audience")]
    Audience,
}

/// The claims of a genuine token. `now` is in seconds since 1970.
pub(super) fn verify(
    token: &str,
    keys: &[Key],
    rules: &Rules,
    now: u64,
) -> Result<Claims, TokenError> {
    if token.len() > MAX_TOKEN_BYTES {
        return Err(TokenError::Malformed);
    }
    let (message, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
    let (header, payload) = message.split_once('.').ok_or(TokenError::Malformed)?;
    if payload.contains('.') {
        return Err(TokenError::Malformed);
    }
    let header = object(header)?;
    // RFC 7515 section 4.1.11: extensions that must be understood. None is.
    if header.contains_key("crit") {
        return Err(TokenError::Malformed);
    }
    let algorithm = text(&header, "alg").ok_or(TokenError::Malformed)?;
    let algorithm = Algorithm::from_str(algorithm).map_err(|_| TokenError::Algorithm)?;
    if !rules.algorithms.is_empty() && !rules.algorithms.contains(&algorithm) {
        return Err(TokenError::Algorithm);
    }
    signed(message, signature, algorithm, text(&header, "kid"), keys)?;
    let claims = object(payload)?;
    check(&claims, rules, now)?;
    Ok(claims)
}

fn signed(
    message: &str,
    signature: &str,
    algorithm: Algorithm,
    id: Option<&str>,
    keys: &[Key],
) -> Result<(), TokenError> {
    let named = |key: &&Key| id.is_none() || key.id.is_none() || key.id.as_deref() == id;
    let mut fitting = keys.iter().filter(named).peekable();
    if fitting.peek().is_none() {
        return Err(TokenError::UnknownKey);
    }
    let mut tried = false;
    for key in fitting
        .filter(|key| key.algorithms.contains(&algorithm))
        .take(MAX_TRIES)
    {
        tried = true;
        let genuine =
            jsonwebtoken::crypto::verify(signature, message.as_bytes(), &key.key, algorithm);
        if genuine.unwrap_or(false) {
            return Ok(());
        }
    }
    Err(if tried {
        TokenError::Signature
    } else {
        TokenError::Algorithm
    })
}

/// RFC 7519 section 4.1. A token without an end is refused: it could never be taken back.
fn check(claims: &Claims, rules: &Rules, now: u64) -> Result<(), TokenError> {
    let leeway = rules.leeway_seconds as f64;
    let now = now as f64;
    let expiry = number(claims, "exp")?.ok_or(TokenError::NoExpiry)?;
    if now >= expiry + leeway {
        return Err(TokenError::Expired);
    }
    if number(claims, "nbf")?.is_some_and(|from| now + leeway < from) {
        return Err(TokenError::NotYet);
    }
    if rules.issuer.is_some() && text(claims, "iss") != rules.issuer.as_deref() {
        return Err(TokenError::Issuer);
    }
    let known = |name: &Value| {
        name.as_str()
            .is_some_and(|name| rules.audience.iter().any(|known| known == name))
    };
    let meant = match claims.get("aud") {
        Some(Value::Array(names)) => names.iter().any(known),
        Some(name) => known(name),
        None => false,
    };
    if !rules.audience.is_empty() && !meant {
        return Err(TokenError::Audience);
    }
    Ok(())
}

fn object(part: &str) -> Result<Map<String, Value>, TokenError> {
    let bytes = URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|_| TokenError::Malformed)?;
    serde_json::from_slice(&bytes).map_err(|_| TokenError::Malformed)
}

fn text<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    object.get(name).and_then(Value::as_str)
}

/// RFC 7519 section 2: a date may have a fraction.
fn number(claims: &Claims, name: &str) -> Result<Option<f64>, TokenError> {
    let Some(value) = claims.get(name) else {
        return Ok(None);
    };
    value.as_f64().map(Some).ok_or(TokenError::Malformed)
}

/// A claim as the text of a header: `sub`, or with dots into objects: `realm_access.roles`.
/// Lists of simple values are joined with commas, objects are JSON.
pub(super) fn claim_text(claims: &Claims, name: &str) -> Option<String> {
    let value = claims.get(name).or_else(|| {
        let (first, rest) = name.split_once('.')?;
        rest.split('.')
            .try_fold(claims.get(first)?, |value, part| value.get(part))
    })?;
    match value {
        Value::Array(items) => {
            let texts: Option<Vec<String>> = items.iter().map(simple).collect();
            Some(texts.map_or_else(|| value.to_string(), |texts| texts.join(",")))
        }
        Value::Object(_) => Some(value.to_string()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => simple(value),
    }
}

fn simple(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// For the fuzzer.
#[doc(hidden)]
pub fn fuzz_token(data: &[u8]) {
    let keys = [Key {
        id: None,
        key: DecodingKey::from_secret(b"fuzz"),
        algorithms: vec![Algorithm::HS256],
    }];
    let rules = Rules {
        algorithms: Vec::new(),
        issuer: None,
        audience: Vec::new(),
        leeway_seconds: 0,
    };
    let forged = verify(&String::from_utf8_lossy(data), &keys, &rules, 0);
    assert!(forged.is_err(), "a signature was guessed");
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{EncodingKey, Header, encode};
    use serde_json::json;

    use super::*;

    const NOW: u64 = 1_795_602_396;

    fn rules() -> Rules {
        Rules {
            algorithms: Vec::new(),
            issuer: None,
            audience: Vec::new(),
            leeway_seconds: 30,
        }
    }

    fn hmac(id: Option<&str>, secret: &str) -> Key {
        Key {
            id: id.map(str::to_owned),
            key: DecodingKey::from_secret(secret.as_bytes()),
            algorithms: vec![Algorithm::HS256],
        }
    }

    fn token(header: &Header, claims: &Value, secret: &str) -> String {
        encode(header, claims, &EncodingKey::from_secret(secret.as_bytes())).unwrap()
    }

    fn check(claims: Value, rules: &Rules, expected: Result<(), TokenError>) {
        let token = token(&Header::default(), &claims, "s");
        let found = verify(&token, &[hmac(None, "s")], rules, NOW).map(drop);
        assert_eq!(found, expected, "{claims}");
    }

    #[test]
    fn claims() {
        let strict = Rules {
            issuer: Some("me".into()),
            audience: vec!["api".into(), "web".into()],
            ..rules()
        };
        check(json!({"exp": NOW + 1}), &rules(), Ok(()));
        check(json!({"exp": NOW - 29}), &rules(), Ok(()));
        check(json!({"exp": NOW as f64 - 29.5}), &rules(), Ok(()));
        check(json!({"exp": NOW - 30}), &rules(), Err(TokenError::Expired));
        check(
            json!({"exp": "tomorrow"}),
            &rules(),
            Err(TokenError::Malformed),
        );
        check(json!({"sub": "ann"}), &rules(), Err(TokenError::NoExpiry));
        check(json!({"exp": NOW + 60, "nbf": NOW + 30}), &rules(), Ok(()));
        check(
            json!({"exp": NOW + 60, "nbf": NOW + 31}),
            &rules(),
            Err(TokenError::NotYet),
        );
        check(json!({"exp": NOW + 60, "aud": "other"}), &rules(), Ok(()));
        let good = json!({"exp": NOW + 60, "iss": "me", "aud": ["x", "web"]});
        check(good.clone(), &strict, Ok(()));
        for (name, value, error) in [
            ("iss", json!("you"), TokenError::Issuer),
            ("iss", json!(["me"]), TokenError::Issuer),
            ("aud", json!("x"), TokenError::Audience),
            ("aud", json!([]), TokenError::Audience),
            ("aud", json!(null), TokenError::Audience),
        ] {
            let mut bad = good.clone();
            bad[name] = value;
            check(bad, &strict, Err(error));
        }
    }

    #[test]
    fn keys_and_algorithms() {
        let claims = json!({"exp": NOW + 60});
        let with_id = |id: &str| Header {
            kid: Some(id.into()),
            ..Header::default()
        };
        let keys = [hmac(Some("a"), "one"), hmac(Some("b"), "two")];
        let check = |token: &str, rules: &Rules, expected| {
            assert_eq!(
                verify(token, &keys, rules, NOW).map(drop),
                expected,
                "{token}"
            );
        };
        check(&token(&with_id("b"), &claims, "two"), &rules(), Ok(()));
        check(
            &token(&with_id("a"), &claims, "two"),
            &rules(),
            Err(TokenError::Signature),
        );
        check(
            &token(&with_id("c"), &claims, "two"),
            &rules(),
            Err(TokenError::UnknownKey),
        );
        check(&token(&Header::default(), &claims, "two"), &rules(), Ok(()));
        check(
            &token(&Header::default(), &claims, "three"),
            &rules(),
            Err(TokenError::Signature),
        );
        let hs512 = Header::new(Algorithm::HS512);
        check(
            &token(&hs512, &claims, "two"),
            &rules(),
            Err(TokenError::Algorithm),
        );
        let only = Rules {
            algorithms: vec![Algorithm::RS256],
            ..rules()
        };
        check(
            &token(&Header::default(), &claims, "two"),
            &only,
            Err(TokenError::Algorithm),
        );
    }

    #[test]
    fn forgeries() {
        let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let payload = part(json!({"exp": NOW + 60}));
        let key = [hmac(None, "s")];
        let check = |token: &str, expected| {
            assert_eq!(
                verify(token, &key, &rules(), NOW).map(drop),
                Err(expected),
                "{token}"
            );
        };
        for alg in ["none", "None", "NONE", "", "hs256"] {
            let header = part(json!({"alg": alg}));
            check(&format!("{header}.{payload}."), TokenError::Algorithm);
        }
        check(
            &format!("{}.{payload}.", part(json!({"typ": "JWT"}))),
            TokenError::Malformed,
        );
        check(
            &format!("{}.{payload}.", part(json!({"alg": "HS256"}))),
            TokenError::Signature,
        );
        let critical = part(json!({"alg": "HS256", "crit": ["x"], "x": 1}));
        check(&format!("{critical}.{payload}.x"), TokenError::Malformed);
        for text in ["", ".", "..", "...", "a.b.c", "e30.e30.e30", "e30.e30"] {
            check(text, TokenError::Malformed);
        }
        check(&"a".repeat(MAX_TOKEN_BYTES + 1), TokenError::Malformed);
        let good = token(&Header::default(), &json!({"exp": NOW + 60}), "s");
        check(&format!("{good}.x"), TokenError::Malformed);
        check(&good[..good.len() - 3], TokenError::Signature);
    }

    #[test]
    fn claims_as_text() {
        let Value::Object(claims) = json!({
            "sub": "ann", "n": 7, "yes": true, "none": null, "roles": ["a", "b", 3],
            "realm": {"roles": ["x"], "deep": {"er": "z"}}, "a.b": "dotted", "odd": [{}],
        }) else {
            unreachable!("it is an object")
        };
        for (name, expected) in [
            ("sub", Some("ann")),
            ("n", Some("7")),
            ("yes", Some("true")),
            ("none", None),
            ("roles", Some("a,b,3")),
            ("realm.roles", Some("x")),
            ("realm.deep.er", Some("z")),
            ("realm.deep", Some("{\"er\":\"z\"}")),
            ("a.b", Some("dotted")),
            ("odd", Some("[{}]")),
            ("absent", None),
            ("absent.x", None),
            ("sub.x", None),
        ] {
            assert_eq!(claim_text(&claims, name).as_deref(), expected, "{name}");
        }
    }
}
