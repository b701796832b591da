//! The gateway's own requests over HTTP or HTTPS: a connection each, answers bounded.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::header::{HOST, HeaderValue};
use http::{Request, Response, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::tls::provider;

/// Where distributions keep the authorities that an administrator added to the web's.
const SYSTEM_ROOTS: [&str; 3] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
];

/// Sends a request to the absolute URL that it has. Redirects are not followed; a deadline is the
/// caller's.
///
/// # Errors
/// No connection, no answer, or one whose body is longer than `max_bytes`.
pub async fn send(request: Request<Bytes>, max_bytes: usize) -> Result<Response<Bytes>, String> {
    let uri = request.uri().clone();
    let host = uri.host().ok_or("the URL has no host")?;
    let tls = uri.scheme_str() == Some("https");
    let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((bare, port)).await;
    let stream = stream.map_err(|error| format!("cannot connect: {error}"))?;
    if !tls {
        return ask(stream, &uri, request, max_bytes).await;
    }
    let name = ServerName::try_from(bare.to_owned()).map_err(|error| error.to_string())?;
    let connector = TlsConnector::from(config().await?);
    let stream = connector.connect(name, stream).await;
    let stream = stream.map_err(|error| format!("no TLS: {error}"))?;
    ask(stream, &uri, request, max_bytes).await
}

async fn ask<S>(
    stream: S,
    uri: &Uri,
    mut request: Request<Bytes>,
    max_bytes: usize,
) -> Result<Response<Bytes>, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let authority = authority.rsplit('@').next().unwrap_or(authority);
    let host = HeaderValue::from_str(authority).map_err(|error| error.to_string())?;
    request.headers_mut().insert(HOST, host);
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    *request.uri_mut() = path.parse().map_err(|error| format!("no path: {error}"))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    // Ends with the exchange: the sender is dropped at its end.
    tokio::spawn(connection);
    let response = sender
        .send_request(request.map(Full::new))
        .await
        .map_err(|error| error.to_string())?;
    let (parts, body) = response.into_parts();
    let body = Limited::new(body, max_bytes).collect().await;
    let body = body.map_err(|error| error.to_string())?.to_bytes();
    Ok(Response::from_parts(parts, body))
}

async fn config() -> Result<Arc<ClientConfig>, String> {
    static CONFIG: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    if let Some(config) = CONFIG.get() {
        return Ok(Arc::clone(config));
    }
    let built = tokio::task::spawn_blocking(build).await;
    let built = built.map_err(|error| error.to_string())??;
    Ok(Arc::clone(CONFIG.get_or_init(|| Arc::new(built))))
}

fn build() -> Result<ClientConfig, String> {
    let mut roots: RootCertStore = webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect();
    let named = std::env::var_os("SSL_CERT_FILE").map(std::path::PathBuf::from);
    let places = named.into_iter().chain(SYSTEM_ROOTS.iter().map(Into::into));
    if let Some(text) = places.filter_map(|path| std::fs::read(path).ok()).next() {
        roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&text).flatten());
    }
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}
