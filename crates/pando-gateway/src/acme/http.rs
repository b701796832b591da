//! Requests to the authority: a connection each (an order needs about fifteen), within a deadline,
//! answers bounded.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{HOST, HeaderMap, HeaderValue, RETRY_AFTER};
use http::{Request, Response, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

const DEADLINE: Duration = Duration::from_secs(30);
const MAX_ANSWER_BYTES: usize = 1024 * 1024;

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Cheap to clone; clones share what was heard.
#[derive(Clone)]
pub(super) struct Http {
    tls: Arc<ClientConfig>,
    retry_after: Arc<Mutex<Option<SystemTime>>>,
}

impl Http {
    pub fn new(tls: Arc<ClientConfig>) -> Self {
        Self {
            tls,
            retry_after: Arc::default(),
        }
    }

    /// The `Retry-After` of the last answer that was an error; said once.
    pub fn take_retry_after(&self) -> Option<SystemTime> {
        let mut heard = self
            .retry_after
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        heard.take()
    }

    fn hear(&self, response: &Response<Full<Bytes>>) {
        if response.status().as_u16() < 400 {
            return;
        }
        let until = retry_after(response.headers(), SystemTime::now());
        let mut heard = self
            .retry_after
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *heard = until.or(*heard);
    }
}

impl HttpClient for Http {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let http = self.clone();
        Box::pin(async move {
            let uri = request.uri().clone();
            let response = tokio::time::timeout(DEADLINE, exchange(http.tls.clone(), request))
                .await
                .map_err(|_| Cause::from(format!("no answer in {} s", DEADLINE.as_secs())))
                .and_then(|response| response)
                .map_err(|error| Error::Other(format!("{uri}: {error}").into()))?;
            http.hear(&response);
            Ok(BytesResponse::from(response))
        })
    }
}

async fn exchange(
    tls: Arc<ClientConfig>,
    mut request: Request<BodyWrapper<Bytes>>,
) -> Result<Response<Full<Bytes>>, Cause> {
    let uri = request.uri().clone();
    if uri.scheme_str() != Some("https") {
        return Err("an ACME directory must be https (RFC 8555, section 6.1)".into());
    }
    let host = uri.host().ok_or("it has no host")?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let port = uri.port_u16().unwrap_or(443);
    let name = ServerName::try_from(host.to_owned())?;
    let stream = TcpStream::connect((host, port)).await?;
    let stream = TlsConnector::from(tls).connect(name, stream).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let authority = uri.authority().ok_or("it has no host")?.as_str();
    let authority = HeaderValue::from_str(authority)?;
    request.headers_mut().insert(HOST, authority);
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    *request.uri_mut() = Uri::try_from(path)?;
    let answer = async {
        let response = sender.send_request(request).await?;
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, MAX_ANSWER_BYTES).collect().await?;
        Ok::<_, Cause>(Response::from_parts(parts, Full::new(body.to_bytes())))
    };
    // Driven here, so that nothing outlives the deadline.
    tokio::pin!(answer);
    tokio::pin!(connection);
    tokio::select! {
        biased;
        answer = &mut answer => answer,
        ended = &mut connection => {
            ended?;
            answer.await
        }
    }
}

/// RFC 9110, section 10.2.3: seconds or a date.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<SystemTime> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    match text.parse::<u32>() {
        Ok(seconds) => Some(now + Duration::from_secs(u64::from(seconds))),
        Err(_) => httpdate::parse_http_date(text).ok(),
    }
}
