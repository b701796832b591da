//! Who may ask, and what answers tell browsers: addresses, authentication, CORS, security headers.
//! Rate limits are elsewhere.
//!
//! A route fails closed: what cannot be checked (an htpasswd file that cannot be read, keys that
//! cannot be fetched) is answered with 503, and said in the log.

mod address;
mod basic;
mod cors;
mod fetch;
mod jwks;
mod jwt;
mod keys;
mod password;
mod security;
mod token;
mod watched;

use std::sync::Arc;

use gateway_spec::Auth;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ORIGIN, RETRY_AFTER, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, response};

use crate::body::Body;
use crate::client::Client;
use crate::tls::{DirectFiles, FileSource};
use address::Addresses;
use cors::Cors;
use security::SecurityHeaders;

/// For the fuzzer.
#[doc(hidden)]
pub use {basic::fuzz_authorization, password::fuzz_htpasswd, token::fuzz_token};

/// The protection of one route.
#[derive(Debug)]
pub struct Protect {
    addresses: Addresses,
    auth: Option<Method>,
    cors: Option<Cors>,
    headers: Option<SecurityHeaders>,
}

#[derive(Debug)]
enum Method {
    Basic(basic::Basic),
    Jwt(jwt::Jwt),
    ApiKeys(keys::ApiKeys),
}

/// What a request that may go on brings with it.
#[derive(Clone, Debug, Default)]
pub struct Granted {
    /// The user, the token's subject, or the key's holder.
    pub user: Option<Arc<str>>,
    origin: Option<HeaderValue>,
}

/// Whom authentication found.
struct Holder(Arc<str>);

/// Why a request may not go on.
enum Refusal {
    /// With what `WWW-Authenticate` says.
    Unauthorized(HeaderValue),
    Unavailable,
}

impl Protect {
    /// Reads files for the first time, with the rights of this process.
    pub fn new(spec: &gateway_spec::Protect) -> Self {
        Self::with_files(spec, Arc::new(DirectFiles))
    }

    /// Reads files for the first time. Never fails: problems are in the log.
    pub fn with_files(spec: &gateway_spec::Protect, files: Arc<dyn FileSource>) -> Self {
        Self {
            addresses: Addresses::new(&spec.allow, &spec.deny),
            auth: spec.auth.as_ref().map(|auth| match auth {
                Auth::Basic(basic) => Method::Basic(basic::Basic::new(basic, files)),
                Auth::Jwt(jwt) => Method::Jwt(jwt::Jwt::new(jwt, files)),
                Auth::ApiKeys(keys) => Method::ApiKeys(keys::ApiKeys::new(keys, files)),
            }),
            cors: spec.cors.as_ref().map(Cors::new),
            headers: spec.headers.as_ref().map(SecurityHeaders::new),
        }
    }

    /// Nothing is configured: neither `check` nor `decorate` would do anything.
    pub fn is_empty(&self) -> bool {
        self.addresses.is_empty()
            && self.auth.is_none()
            && self.cors.is_none()
            && self.headers.is_none()
    }

    /// What `decorate` must know of a request whatever becomes of it: comes first.
    pub fn begin(&self, head: &Parts) -> Granted {
        let origin = self.cors.as_ref().and_then(|_| head.headers.get(ORIGIN));
        Granted {
            user: None,
            origin: origin.cloned(),
        }
    }

    /// Its answers may be for one user alone.
    pub fn authenticates(&self) -> bool {
        self.auth.is_some()
    }

    /// By address alone: comes before limits. The answer to who may not ask.
    pub fn refuse_address(&self, client: &Client) -> Option<Response<Body>> {
        let allowed = self.addresses.is_empty() || self.addresses.allows(client.ip);
        (!allowed).then(|| plain(StatusCode::FORBIDDEN, "forbidden\n"))
    }

    /// Preflights and authentication: comes after limits. Takes headers out of the request that
    /// only the gateway may set, and sets them.
    ///
    /// Errors: the answer.
    pub async fn authenticate(
        &self,
        head: &mut Parts,
        granted: &mut Granted,
    ) -> Result<(), Response<Body>> {
        let preflight = self.cors.as_ref().and_then(|cors| cors.preflight(head));
        if let Some(preflight) = preflight {
            return Err(preflight);
        }
        let Some(auth) = &self.auth else {
            return Ok(());
        };
        let found = auth.check(head).await.map_err(Refusal::response);
        let Holder(name) = found?;
        granted.user = Some(name).filter(|name| !name.is_empty());
        Ok(())
    }

    /// All of it, with no limits in between. Answers are decorated.
    pub async fn check(
        &self,
        client: &Client,
        head: &mut Parts,
    ) -> Result<Granted, Response<Body>> {
        let mut granted = self.begin(head);
        let checked = match self.refuse_address(client) {
            Some(response) => Err(response),
            None => self.authenticate(head, &mut granted).await,
        };
        match checked {
            Ok(()) => Ok(granted),
            Err(response) => {
                let (mut parts, body) = response.into_parts();
                self.decorate(&granted, &mut parts);
                Err(Response::from_parts(parts, body))
            }
        }
    }

    /// What every answer of the route says, refusals and preflights too.
    pub fn decorate(&self, granted: &Granted, response: &mut response::Parts) {
        if let Some(cors) = &self.cors {
            cors.decorate(granted.origin.as_ref(), &mut response.headers);
        }
        if let Some(security) = &self.headers {
            security.decorate(&mut response.headers);
        }
    }
}

impl Method {
    async fn check(&self, head: &mut Parts) -> Result<Holder, Refusal> {
        match self {
            Self::Basic(basic) => basic.check(head).await,
            Self::Jwt(jwt) => {
                jwt.reserved()
                    .for_each(|name| strip(&mut head.headers, name));
                jwt.check(head).await
            }
            Self::ApiKeys(keys) => {
                strip(&mut head.headers, &keys::NAME_HEADER);
                let holder = keys.check(head)?;
                if let Ok(name) = HeaderValue::from_bytes(holder.0.as_bytes()) {
                    head.headers.insert(keys::NAME_HEADER, name);
                }
                Ok(holder)
            }
        }
    }
}

/// Removes what a client sent by this name, also with underscores: some servers behind us cannot
/// tell those from dashes.
fn strip(headers: &mut HeaderMap, name: &HeaderName) {
    headers.remove(name);
    let same = |other: &HeaderName| {
        let dashed = |byte: u8| if byte == b'_' { b'-' } else { byte };
        let (other, name) = (other.as_str().bytes(), name.as_str().bytes());
        other.map(dashed).eq(name.map(dashed))
    };
    while let Some(twin) = headers.keys().find(|other| same(other)).cloned() {
        headers.remove(twin);
    }
}

impl Refusal {
    fn response(self) -> Response<Body> {
        match self {
            Self::Unauthorized(challenge) => {
                let mut response = plain(StatusCode::UNAUTHORIZED, "authentication is required\n");
                response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
                response
            }
            Self::Unavailable => {
                let text = "authentication is not possible now\n";
                let mut response = plain(StatusCode::SERVICE_UNAVAILABLE, text);
                let soon = HeaderValue::from_static("5");
                response.headers_mut().insert(RETRY_AFTER, soon);
                response
            }
        }
    }
}

fn plain(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    headers.insert(CONTENT_TYPE, text);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Random bytes that nobody can guess. Without any, zeros: then the caller's digests are only as
/// secret as the process's memory.
fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    if crate::tls::provider()
        .secure_random
        .fill(&mut bytes)
        .is_err()
    {
        tracing::error!("the system gives no random bytes");
    }
    bytes
}
