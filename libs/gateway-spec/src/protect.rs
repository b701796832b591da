//! Who may ask, and how often.

use std::path::PathBuf;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::secret::Secret;

/// Checked in this order: addresses, limits, CORS preflight, authentication.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Protect {
    /// If not empty, nobody else.
    pub allow: Vec<IpNet>,
    /// Wins over `allow` where it is the longer prefix.
    pub deny: Vec<IpNet>,
    pub limits: Vec<Limit>,
    pub connections: Option<ConnectionLimit>,
    pub auth: Option<Auth>,
    pub cors: Option<Cors>,
    pub headers: Option<SecurityHeaders>,
}

/// nginx's `limit_req`: a leaky bucket with `burst`, delayed or not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    /// Joined to one key. Limits with the same `zone` share their buckets.
    pub per: Vec<KeyPart>,
    pub zone: Option<String>,
    /// Requests in `period_ms`: `"10/s"` is 10 in 1000.
    pub rate: u32,
    pub period_ms: u64,
    #[serde(default)]
    pub burst: u32,
    /// Requests within the burst are served at once (nginx's `nodelay`), the default; without it
    /// they wait for their turn.
    #[serde(default = "yes")]
    pub nodelay: bool,
    /// Counted in Redis, over all machines.
    #[serde(default)]
    pub shared: bool,
    /// Only count and log (nginx's `limit_req_dry_run`).
    #[serde(default)]
    pub dry_run: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyPart {
    Ip,
    /// One bucket for each path.
    Path,
    Header(String),
    Cookie(String),
    /// One bucket for all.
    Everything,
}

/// Requests of one key that are served at the same time (nginx's `limit_conn`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConnectionLimit {
    pub per: Vec<KeyPart>,
    pub max: u32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Auth {
    Basic(Basic),
    Jwt(Jwt),
    ApiKeys(ApiKeys),
}

/// RFC 7617. Users from the file itself or from an htpasswd file (bcrypt, apr1, SHA).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Basic {
    pub realm: String,
    /// Name and hash (or, with a warning of the configuration, the password itself).
    #[serde(default)]
    pub users: Vec<(String, Secret)>,
    #[serde(default)]
    pub file: Option<PathBuf>,
}

/// RFC 7519 bearer tokens, or from a cookie.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Jwt {
    /// A JWKS (RFC 7517): an absolute path or an http(s) URL, refreshed.
    #[serde(default)]
    pub jwks: Option<String>,
    /// For HS256, HS384, HS512.
    #[serde(default)]
    pub secret: Option<Secret>,
    /// Never `none`. Empty: those that the key's type allows.
    #[serde(default)]
    pub algorithms: Vec<String>,
    #[serde(default)]
    pub issuer: Option<String>,
    #[serde(default)]
    pub audience: Vec<String>,
    #[serde(default)]
    pub cookie: Option<String>,
    /// Claim and request header that carries it to the app: `sub` to `x-user`.
    #[serde(default)]
    pub forward: Vec<(String, String)>,
    #[serde(default = "leeway_seconds")]
    pub leeway_seconds: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiKeys {
    /// Lower case.
    #[serde(default = "api_key_header")]
    pub header: String,
    /// A parameter of the query that may carry it instead.
    #[serde(default)]
    pub query: Option<String>,
    /// Name of the holder and the key, or its `sha256:HEX`.
    #[serde(default)]
    pub keys: Vec<(String, Secret)>,
    /// Lines `name:key`.
    #[serde(default)]
    pub file: Option<PathBuf>,
}

/// The Fetch standard's CORS protocol.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cors {
    /// `https://a.example`, `https://*.example`, or `*`.
    pub origins: Vec<String>,
    pub methods: Vec<String>,
    /// Empty: what the preflight asks for.
    pub headers: Vec<String>,
    pub expose: Vec<String>,
    pub credentials: bool,
    pub max_age_seconds: u64,
}

/// Each `None` is not sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SecurityHeaders {
    pub content_type_options: bool,
    pub frame_options: Option<String>,
    pub referrer_policy: Option<String>,
    pub content_security_policy: Option<String>,
    pub permissions_policy: Option<String>,
    pub cross_origin_opener_policy: Option<String>,
}

impl Default for Cors {
    fn default() -> Self {
        Self {
            origins: vec!["*".into()],
            methods: ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
                .map(str::to_owned)
                .to_vec(),
            headers: Vec::new(),
            expose: Vec::new(),
            credentials: false,
            max_age_seconds: 600,
        }
    }
}

impl Default for SecurityHeaders {
    fn default() -> Self {
        Self {
            content_type_options: true,
            frame_options: Some("SAMEORIGIN".into()),
            referrer_policy: Some("strict-origin-when-cross-origin".into()),
            content_security_policy: None,
            permissions_policy: None,
            cross_origin_opener_policy: None,
        }
    }
}

fn yes() -> bool {
    true
}
fn leeway_seconds() -> u64 {
    30
}
fn api_key_header() -> String {
    "x-api-key".into()
}
