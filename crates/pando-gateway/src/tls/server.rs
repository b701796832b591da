//! The server's side of handshakes.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::{ServerConnection, ServerSessionMemoryCache};

use super::certificates::Certificates;
use super::provider;

/// RFC 8737: the protocol of a certificate authority's validation.
pub const ACME_ALPN: &[u8] = b"acme-tls/1";
/// TLS 1.2 sessions of clients without tickets; about 200 bytes each.
const SESSIONS: usize = 10_000;

/// One for all threads and for the process's life; certificates change inside `certificates`.
/// TLS 1.2 and 1.3, resumption by tickets whose keys change every six hours and are known to this
/// process only.
pub fn server_config(certificates: &Arc<Certificates>) -> Result<Arc<ServerConfig>, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_no_client_auth()
        .with_cert_resolver(certificates.clone());
    config.alpn_protocols = [b"h2", &b"http/1.1"[..], ACME_ALPN]
        .map(<[u8]>::to_vec)
        .into();
    config.session_storage = ServerSessionMemoryCache::new(SESSIONS);
    config.ticketer = Ticketer::new()?;
    Ok(Arc::new(config))
}

/// After the handshake: whether this was a validation, which carries nothing and is to be closed.
pub fn is_challenge(connection: &ServerConnection) -> bool {
    connection.alpn_protocol() == Some(ACME_ALPN)
}
