//! The gateway as a TLS client of its upstreams.

mod connectors;
mod verify;

pub use connectors::Connectors;

use std::path::Path;
use std::sync::Arc;

use gateway_spec::{Protocol, UpstreamTls};
use rustls::client::WebPkiServerVerifier;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};

use super::certificate::{Certificate, chain_from_pem, key_from_pem};
use super::files::FileSource;
use super::provider;
use crate::problem::Problem;

/// A configuration for all connections to upstreams of one group; sessions are resumed among those
/// that share it. Reads files, so not on a thread that serves. ALPN is `h2, http/1.1` for `https://`
/// and `h2` for `h2://`.
pub fn connector(
    tls: &UpstreamTls,
    protocol: Protocol,
    files: &dyn FileSource,
) -> Result<Arc<ClientConfig>, Problem> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|error| problem("cannot set TLS up", error, "report this"))?;
    let builder = match (&tls.ca, tls.insecure) {
        (_, true) => builder
            .dangerous()
            .with_custom_certificate_verifier(verify::Anybody::new(provider())),
        (None, false) => builder.with_root_certificates(web_roots()),
        (Some(path), false) => builder
            .dangerous()
            .with_custom_certificate_verifier(authorities(path, files)?),
    };
    let mut config = match &tls.client {
        None => builder.with_no_client_auth(),
        Some((cert, key)) => {
            let (chain, key_der) = client_pair(cert, key, files)?;
            let configured = builder.with_client_auth_cert(chain, key_der);
            configured.map_err(|error| unusable(cert, error))?
        }
    };
    config.alpn_protocols = match protocol {
        Protocol::Https => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        Protocol::H2 => vec![b"h2".to_vec()],
        Protocol::Http1 | Protocol::H2c => Vec::new(),
    };
    Ok(Arc::new(config))
}

/// The name to check and to send for an upstream: the configured one, else the host of its address.
/// `host` has no port; an IPv6 address may have its brackets.
pub fn server_name(tls: &UpstreamTls, host: &str) -> Result<ServerName<'static>, Problem> {
    let name = tls.server_name.as_deref().unwrap_or(host);
    let name = name.trim_start_matches('[').trim_end_matches(']');
    ServerName::try_from(name.to_owned()).map_err(|error| {
        problem(
            format!("`{name}` cannot be checked as a server's name"),
            error,
            "set `server_name` to the name in the upstream's certificate",
        )
    })
}

/// The authorities of the web, as Mozilla lists them.
pub(crate) fn web_roots() -> RootCertStore {
    webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect()
}

/// What trusts the certificates of a PEM file.
pub(crate) fn authorities(
    path: &Path,
    files: &dyn FileSource,
) -> Result<Arc<verify::Listed>, Problem> {
    let text = files.read(path).map_err(|error| unusable(path, error))?;
    let listed = chain_from_pem(&text).map_err(|error| unusable(path, error))?;
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(listed.iter().cloned());
    if added == 0 {
        return Err(unusable(path, "none of its certificates can be used"));
    }
    let web = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
        .build()
        .map_err(|error| unusable(path, error))?;
    Ok(verify::Listed::new(web, listed))
}

type Pair = (
    Vec<CertificateDer<'static>>,
    rustls::pki_types::PrivateKeyDer<'static>,
);

fn client_pair(cert: &Path, key: &Path, files: &dyn FileSource) -> Result<Pair, Problem> {
    let cert_text = files.read(cert).map_err(|error| unusable(cert, error))?;
    let key_text = files.read(key).map_err(|error| unusable(key, error))?;
    // Loaded once only to learn that both belong together.
    Certificate::from_pem(&cert_text, &key_text).map_err(|error| unusable(cert, error))?;
    let chain = chain_from_pem(&cert_text).map_err(|error| unusable(cert, error))?;
    let key = key_from_pem(&key_text).map_err(|error| unusable(key, error))?;
    Ok((chain, key))
}

fn unusable(path: &Path, why: impl ToString) -> Problem {
    problem(
        format!("cannot use {}", path.display()),
        why,
        "correct the file, or its path in the route's `tls`",
    )
}

fn problem(what: impl Into<String>, why: impl ToString, fix: &str) -> Problem {
    Problem::new("upstream", what, why, fix)
}
