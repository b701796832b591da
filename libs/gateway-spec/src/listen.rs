//! Where clients come in.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// One listening address: `"0.0.0.0:443 tls proxy"` in pando.toml. Plain ones speak HTTP/1.1 and
/// HTTP/2 with prior knowledge (h2c); TLS ones what ALPN agrees on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listen {
    pub address: ListenAddress,
    #[serde(default)]
    pub tls: bool,
    /// Each connection begins with a PROXY protocol header, version 1 or 2.
    #[serde(default)]
    pub proxy_protocol: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ListenAddress {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// A site's certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Tls {
    /// PEM files; looked at for changes and loaded again.
    Files { cert: PathBuf, key: PathBuf },
    /// From the certificate authority of `[gateway.acme]`.
    Auto,
}

impl Listen {
    pub fn plain(address: SocketAddr) -> Self {
        Self {
            address: ListenAddress::Tcp(address),
            tls: false,
            proxy_protocol: false,
        }
    }

    pub fn tls(address: SocketAddr) -> Self {
        Self {
            tls: true,
            ..Self::plain(address)
        }
    }
}

impl std::fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}
