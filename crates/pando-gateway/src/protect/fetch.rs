//! One GET of a small text over HTTP or HTTPS.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::header::{ACCEPT, HOST, USER_AGENT};
use http::{Request, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::tls::provider;

/// For all of it: name, connection, handshake, answer.
const TIMEOUT: Duration = Duration::from_secs(5);
const MAX_BYTES: usize = 1024 * 1024;
/// Where distributions keep the authorities that an administrator added to the web's.
const SYSTEM_ROOTS: [&str; 3] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
];

/// The text of an answer with status 200. Redirects are not followed.
pub(super) async fn get(url: &str) -> Result<String, String> {
    match tokio::time::timeout(TIMEOUT, exchange(url)).await {
        Ok(fetched) => fetched,
        Err(_) => Err(format!("no answer within {} s", TIMEOUT.as_secs())),
    }
}

async fn exchange(url: &str) -> Result<String, String> {
    let uri: Uri = url.parse().map_err(|error| format!("no URL: {error}"))?;
    let host = uri.host().ok_or("the URL has no host")?;
    let tls = uri.scheme_str() == Some("https");
    let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((bare, port)).await;
    let stream = stream.map_err(|error| format!("cannot connect: {error}"))?;
    if !tls {
        return ask(stream, &uri).await;
    }
    let name = ServerName::try_from(bare.to_owned()).map_err(|error| error.to_string())?;
    let connector = TlsConnector::from(config().await?);
    let stream = connector.connect(name, stream).await;
    ask(stream.map_err(|error| format!("no TLS: {error}"))?, &uri).await
}

async fn ask<S>(stream: S, uri: &Uri) -> Result<String, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let request = Request::get(path)
        .header(HOST, authority.rsplit('@').next().unwrap_or(authority))
        .header(ACCEPT, "application/jwk-set+json, application/json")
        .header(USER_AGENT, "pando")
        .body(Empty::<bytes::Bytes>::new())
        .map_err(|error| error.to_string())?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    // Ends with the exchange: the sender is dropped at its end.
    tokio::spawn(connection);
    let response = sender
        .send_request(request)
        .await
        .map_err(|error| error.to_string())?;
    let status = response.status();
    if status != 200 {
        return Err(format!("the answer is {status}"));
    }
    let body = Limited::new(response.into_body(), MAX_BYTES)
        .collect()
        .await;
    let body = body.map_err(|error| error.to_string())?.to_bytes();
    String::from_utf8(body.to_vec()).map_err(|_| "the answer is not UTF-8".to_owned())
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
