//! Bearer tokens (RFC 6750) that are JWTs.

use std::str::FromStr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use http::header::{AUTHORIZATION, COOKIE};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue};
use jsonwebtoken::{Algorithm, DecodingKey};

use super::jwks::{KeySet, Source, hmac};
use super::token::{self, Claims, Key, Rules, TokenError};
use super::{Holder, Refusal};
use crate::tls::FileSource;

#[derive(Debug)]
pub(super) struct Jwt {
    sources: Vec<Source>,
    rules: Rules,
    cookie: Option<String>,
    /// Claim and header.
    forward: Vec<(String, HeaderName)>,
    /// The spec names algorithms and none of them is one: nobody gets in.
    broken: bool,
}

impl Jwt {
    pub(super) fn new(spec: &gateway_spec::Jwt, files: Arc<dyn FileSource>) -> Self {
        let mut sources = Vec::new();
        if let Some(secret) = &spec.secret {
            sources.push(Source::Fixed(Arc::new(KeySet(vec![Key {
                id: None,
                key: DecodingKey::from_secret(secret.expose().as_bytes()),
                algorithms: hmac(),
            }]))));
        }
        if let Some(place) = &spec.jwks {
            sources.push(Source::new(place, files));
        }
        let known = |name: &String| {
            Algorithm::from_str(name)
                .inspect_err(|_| tracing::error!(name, "no algorithm of JWTs: it is not allowed"))
                .ok()
        };
        let algorithms: Vec<Algorithm> = spec.algorithms.iter().filter_map(known).collect();
        let broken = (algorithms.is_empty() && !spec.algorithms.is_empty()) || sources.is_empty();
        if broken {
            tracing::error!(
                "JWT authentication without a key or an algorithm: every request is refused"
            );
        }
        let header = |(claim, name): &(String, String)| {
            let header = HeaderName::from_bytes(name.as_bytes());
            if header.is_err() {
                tracing::error!(
                    name,
                    "no valid name of a header: the claim is not forwarded"
                );
            }
            Some((claim.clone(), header.ok()?))
        };
        Self {
            sources,
            rules: Rules {
                algorithms,
                issuer: spec.issuer.clone(),
                audience: spec.audience.clone(),
                leeway_seconds: spec.leeway_seconds,
            },
            cookie: spec.cookie.clone(),
            forward: spec.forward.iter().filter_map(header).collect(),
            broken,
        }
    }

    /// Headers that only this gateway may set.
    pub(super) fn reserved(&self) -> impl Iterator<Item = &HeaderName> {
        self.forward.iter().map(|(_, name)| name)
    }

    pub(super) async fn check(&self, head: &mut Parts) -> Result<Holder, Refusal> {
        if self.broken {
            return Err(Refusal::Unavailable);
        }
        let Some(token) = self.token(&head.headers) else {
            return Err(Refusal::Unauthorized(HeaderValue::from_static("Bearer")));
        };
        let claims = self.verify(&token).await?;
        for (claim, name) in &self.forward {
            let text = token::claim_text(&claims, claim);
            if let Some(Ok(value)) = text.map(|text| HeaderValue::from_bytes(text.as_bytes())) {
                head.headers.insert(name.clone(), value);
            }
        }
        let subject = token::claim_text(&claims, "sub").unwrap_or_default();
        Ok(Holder(subject.into()))
    }

    async fn verify(&self, token: &str) -> Result<Claims, Refusal> {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        let mut refused = None;
        for source in &self.sources {
            let Some(keys) = source.current().await else {
                continue;
            };
            let mut verified = token::verify(token, &keys.0, &self.rules, now);
            if matches!(verified, Err(TokenError::UnknownKey))
                && let Some(newer) = source.newer(&keys).await
            {
                verified = token::verify(token, &newer.0, &self.rules, now);
            }
            match verified {
                Ok(claims) => return Ok(claims),
                Err(error) => refused = Some(error),
            }
        }
        // No source has keys: nobody can be let in, and it is not the client's fault.
        Err(refused.map_or(Refusal::Unavailable, |error| {
            let text = format!("Bearer error=\"invalid_token\", error_description=\"{error}\"");
            let bare = || HeaderValue::from_static("Bearer error=\"invalid_token\"");
            Refusal::Unauthorized(HeaderValue::from_str(&text).unwrap_or_else(|_| bare()))
        }))
    }

    /// From `Authorization`, else from the cookie.
    fn token(&self, headers: &HeaderMap) -> Option<String> {
        if let Some(value) = headers.get(AUTHORIZATION)
            && let Some((scheme, token)) = value.to_str().ok()?.split_once(' ')
            && scheme.eq_ignore_ascii_case("bearer")
        {
            return Some(token.trim().to_owned());
        }
        let wanted = self.cookie.as_deref()?;
        let lines = headers.get_all(COOKIE).iter();
        let pairs = lines
            .filter_map(|line| line.to_str().ok())
            .flat_map(|line| line.split(';'));
        let mut named = pairs.filter_map(|pair| pair.trim().split_once('='));
        let (_, value) = named.find(|(name, _)| *name == wanted)?;
        Some(value.trim_matches('"').to_owned())
    }
}
