//! One GET of a small text over HTTP or HTTPS.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http::header::{ACCEPT, USER_AGENT};

use crate::fetch;

/// For all of it: name, connection, handshake, answer.
const TIMEOUT: Duration = Duration::from_secs(5);
const MAX_BYTES: usize = 1024 * 1024;

/// The text of an answer with status 200. Redirects are not followed.
pub(super) async fn get(url: &str) -> Result<String, String> {
    match tokio::time::timeout(TIMEOUT, exchange(url)).await {
        Ok(fetched) => fetched,
        Err(_) => Err(format!("no answer within {} s", TIMEOUT.as_secs())),
    }
}

async fn exchange(url: &str) -> Result<String, String> {
    let request = Request::get(url)
        .header(ACCEPT, "application/jwk-set+json, application/json")
        .header(USER_AGENT, "pando")
        .body(Bytes::new())
        .map_err(|error| format!("no URL: {error}"))?;
    let response = fetch::send(request, MAX_BYTES).await?;
    let status = response.status();
    if status != 200 {
        return Err(format!("the answer is {status}"));
    }
    let body = response.into_body();
    String::from_utf8(body.to_vec()).map_err(|_| "the answer is not UTF-8".to_owned())
}
