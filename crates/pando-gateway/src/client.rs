//! Who asks: what is known of a connection, and of the client behind it.

use std::net::{IpAddr, SocketAddr};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    Http,
    Https,
}

impl Scheme {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// The client of one request. Behind trusted proxies `ip` and `scheme` are what they say.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    /// Whom limits, logs and the balance mean.
    pub ip: IpAddr,
    /// The other end of the connection (or of the PROXY header).
    pub peer: SocketAddr,
    /// Our end.
    pub local: SocketAddr,
    pub scheme: Scheme,
}
