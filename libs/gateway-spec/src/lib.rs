//! What a gateway is to Pando: the one description that pando.toml, the journal, the command line
//! and the gateway share. Plain data with defaults; no behaviour but small derivations.
//!
//! Durations are milliseconds (`_ms`), sizes are bytes (`_bytes`). Paths are absolute. Values
//! that are secret are [`Secret`]s, which print as stars.

pub mod link;
mod listen;
mod paths;
mod protect;
mod respond;
mod route;
mod secret;
mod upstream;

use std::collections::BTreeMap;
use std::path::PathBuf;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

pub use listen::{Listen, ListenAddress, Tls};
pub use paths::PathUse;
pub use protect::{
    ApiKeys, Auth, Basic, ConnectionLimit, Cors, Jwt, KeyPart, Limit, Protect, SecurityHeaders,
};
pub use respond::{Cache, Compress, Files};
pub use route::{Action, Branch, HeaderEdit, HeaderMatch, Matches, PathMatch, Rewrite, Route};
pub use secret::Secret;
pub use upstream::{
    Balance, Breaker, HashKey, Health, Outlier, Pool, Protocol, ProxyVersion, Retry, Target,
    Upstream, UpstreamTls, Upstreams,
};

/// Sites of one gateway, and routes of one site.
pub const MAX_SITES: usize = 4096;
pub const MAX_ROUTES: usize = 4096;
/// Addresses of one route.
pub const MAX_UPSTREAMS: usize = 1024;

/// One gateway, complete and validated.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GatewaySpec {
    pub listen: Vec<Listen>,
    pub sites: Vec<Site>,
    /// Threads that serve; `None` is one per core that the process may use.
    pub threads: Option<u32>,
    /// User to run as when root starts the gateway.
    pub user: Option<String>,
    /// Peers whose `X-Forwarded-*`, `Forwarded` and PROXY headers are believed.
    pub trusted_proxies: Vec<IpNet>,
    pub limits: Limits,
    pub timeouts: Timeouts,
    pub access_log: AccessLog,
    pub cache_store: CacheStore,
    pub acme: Acme,
    /// `redis://…`: rate limits with `shared = true` count over all machines there.
    pub redis: Option<Secret>,
    /// GET of this path on any host says whether the gateway serves: 200, or 503 while it ends.
    pub health: Option<String>,
    /// Where spans of requests go; `None` sends none.
    pub otlp: Option<monitor_spec::settings::Otlp>,
}

/// All that is served under some host names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Site {
    /// Lower case without a port: `example.com`, `*.example.com`, or `*` for every host.
    pub hosts: Vec<String>,
    #[serde(default)]
    pub tls: Option<Tls>,
    /// Plain HTTP is answered with 308 to HTTPS. `None`: exactly when the site has `tls`.
    #[serde(default)]
    pub redirect_https: Option<bool>,
    /// `Strict-Transport-Security` on TLS answers: max-age in seconds.
    #[serde(default)]
    pub hsts_seconds: Option<u64>,
    /// The first that matches serves; in the order of the file.
    pub routes: Vec<Route>,
}

/// Bounds on what a client may send, for the whole gateway.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// All headers of a request with its first line.
    pub header_bytes: u64,
    pub headers: u32,
    /// Open client connections; further ones are closed at once.
    pub connections: u64,
    /// Open client connections of one address.
    pub connections_per_ip: Option<u64>,
    /// Concurrent streams of one HTTP/2 connection.
    pub h2_streams: u32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Timeouts {
    /// From the first byte of a request (or the end of the handshake) to the end of its headers.
    pub header_ms: u64,
    /// Between two reads of a request body.
    pub body_ms: u64,
    /// Between two writes of an answer that the client takes.
    pub write_ms: u64,
    /// A kept connection without a request.
    pub idle_ms: u64,
    /// TLS handshake and PROXY header.
    pub handshake_ms: u64,
    /// How long requests and upgraded connections may go on when the gateway is replaced.
    pub drain_ms: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AccessLog {
    pub on: bool,
    /// `None` is stdout, from where Pando's log pump takes it.
    pub path: Option<PathBuf>,
    pub format: AccessLogFormat,
    /// Share of answers below 400 that are written, 0 to 1; errors always are.
    pub sample: f64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AccessLogFormat {
    #[default]
    Json,
    Text,
}

/// Where cached answers are kept, for all routes together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CacheStore {
    pub memory_bytes: u64,
    pub disk: Option<CacheDisk>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CacheDisk {
    pub path: PathBuf,
    pub max_bytes: u64,
}

/// Certificates from a certificate authority (RFC 8555), for sites with `tls = "auto"`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Acme {
    pub directory: String,
    pub email: Option<String>,
    /// PEM file of the authority that signed the directory's own certificate; for tests and
    /// private authorities.
    pub root: Option<PathBuf>,
    /// Where account and certificates are kept, mode 0700; default is `$PANDO_HOME/gateway/acme`.
    pub storage: Option<PathBuf>,
    /// External account binding: key id and HMAC key, base64url.
    pub eab: Option<(String, Secret)>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_bytes: 32 * 1024,
            headers: 100,
            connections: 50_000,
            connections_per_ip: None,
            h2_streams: 128,
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            header_ms: 15_000,
            body_ms: 30_000,
            write_ms: 60_000,
            idle_ms: 75_000,
            handshake_ms: 10_000,
            drain_ms: 30_000,
        }
    }
}

impl Default for AccessLog {
    fn default() -> Self {
        Self {
            on: true,
            path: None,
            format: AccessLogFormat::Json,
            sample: 1.0,
        }
    }
}

impl Default for CacheStore {
    fn default() -> Self {
        Self {
            memory_bytes: 64 * 1024 * 1024,
            disk: None,
        }
    }
}

impl Default for Acme {
    fn default() -> Self {
        Self {
            directory: "https://acme-v02.api.letsencrypt.org/directory".into(),
            email: None,
            root: None,
            storage: None,
            eab: None,
        }
    }
}

impl Site {
    /// A site for `hosts` without TLS.
    pub fn new(hosts: impl IntoIterator<Item = impl Into<String>>, routes: Vec<Route>) -> Self {
        Self {
            hosts: hosts.into_iter().map(Into::into).collect(),
            tls: None,
            redirect_https: None,
            hsts_seconds: None,
            routes,
        }
    }
}

impl GatewaySpec {
    /// Every app that a route sends requests to, once, sorted.
    pub fn apps(&self) -> Vec<&str> {
        let routes = self.sites.iter().flat_map(|site| &site.routes);
        let mut apps: Vec<&str> = routes
            .flat_map(|route| route.action.upstreams())
            .filter_map(|upstreams| match &upstreams.target {
                Target::App(name) => Some(name.as_str()),
                Target::Addresses(_) => None,
            })
            .collect();
        apps.sort_unstable();
        apps.dedup();
        apps
    }
}

/// Names with values, in order of name.
pub type Names = BTreeMap<String, String>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spec_survives_json_and_defaults_fill_what_is_absent() {
        let spec = GatewaySpec {
            listen: vec![Listen::plain("0.0.0.0:80".parse().unwrap())],
            sites: vec![Site::new(
                ["*"],
                vec![Route::new(
                    PathMatch::Prefix("/".into()),
                    Action::Proxy(Upstreams::app("api")),
                )],
            )],
            ..GatewaySpec::default()
        };
        let text = serde_json::to_string(&spec).unwrap();
        assert_eq!(serde_json::from_str::<GatewaySpec>(&text).unwrap(), spec);
        assert_eq!(spec.apps(), ["api"]);
        assert_eq!(
            serde_json::from_str::<GatewaySpec>("{}").unwrap(),
            GatewaySpec::default()
        );
    }

    #[test]
    fn extensions_are_behind_the_last_dot() {
        let all = ["css".to_owned(), "js".to_owned()];
        for (path, expect) in [
            ("/a.css", true),
            ("/b/A.JS", true),
            ("/a.css/b", false),
            ("/css", false),
            ("/a.min.js", true),
            ("/a.cssx", false),
            ("/é.css", true),
            ("", false),
        ] {
            assert_eq!(PathMatch::has_extension(path, &all), expect, "{path}");
        }
    }

    #[test]
    fn a_secret_is_not_printed() {
        assert_eq!(format!("{:?}", Secret::new("redis://:pw@h")), "***");
    }
}
