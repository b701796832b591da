//! One POST, and what to think of its answer. For webhooks and for OTLP.

#[cfg(test)]
pub mod receiver;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ureq::Agent;
use ureq::tls::{TlsConfig, TlsProvider};

/// Of an answer that is an error, what is told.
const MAX_ANSWER_BYTES: u64 = 200;
/// A server that asks for more patience is asked again after this.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(300);

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sent {
    Done,
    /// It may work later; the server may have said when.
    Later {
        after: Option<Duration>,
        why: String,
    },
    /// Trying again changes nothing.
    Refused(String),
}

/// One that gives up after `limit`. Redirects are not followed: what is sent is for one address.
pub fn agent(limit: Duration) -> Agent {
    let crypto = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .unversioned_rustls_crypto_provider(crypto)
        .build();
    Agent::config_builder()
        .tls_config(tls)
        .timeout_global(Some(limit))
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .user_agent(concat!("pando/", env!("CARGO_PKG_VERSION")))
        .build()
        .new_agent()
}

/// Codes after which the same is worth another try: as the OTLP specification has it (Retryable
/// Response Codes), and 408.
pub fn otlp_may_work_later(code: u16) -> bool {
    matches!(code, 408 | 429 | 502 | 503 | 504)
}

/// A webhook's server that fails is no reason to lose an alert.
pub fn webhook_may_work_later(code: u16) -> bool {
    matches!(code, 408 | 429 | 500..)
}

/// Sentences never have the URL in them, which may be secret. `may_work_later` is asked of a code that
/// is no success.
pub fn post<'h>(
    agent: &Agent,
    url: &str,
    content_type: &str,
    headers: impl IntoIterator<Item = (&'h str, &'h str)>,
    body: &[u8],
    may_work_later: fn(u16) -> bool,
) -> Sent {
    let mut request = agent.post(url).header("content-type", content_type);
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let mut response = match request.send(body) {
        Ok(response) => response,
        Err(error) => return failed(&error),
    };
    let code = response.status().as_u16();
    if (200..300).contains(&code) {
        return Sent::Done;
    }
    let after = response.headers().get("retry-after");
    let after = after.and_then(|value| retry_after(value.to_str().ok()?, SystemTime::now()));
    let body = response.body_mut().with_config().limit(MAX_ANSWER_BYTES);
    let said = body.read_to_string().unwrap_or_default();
    let said: String = said.chars().filter(|c| !c.is_control()).collect();
    let why = match said.trim() {
        "" => format!("it answers {code}"),
        said => format!("it answers {code}: {said}"),
    };
    if may_work_later(code) {
        Sent::Later { after, why }
    } else {
        Sent::Refused(why)
    }
}

fn failed(error: &ureq::Error) -> Sent {
    if let ureq::Error::BadUri(_) | ureq::Error::Http(_) = error {
        return Sent::Refused("its URL or a header is not valid".into());
    }
    let why = error.to_string();
    Sent::Later { after: None, why }
}

/// Seconds, or a date (RFC 9110, section 10.2.3).
fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    let wait = match value.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let date = httpdate::parse_http_date(value).ok()?;
            date.duration_since(now).unwrap_or_default()
        }
    };
    Some(wait.min(MAX_RETRY_AFTER))
}

/// The pause before try number `attempt` (from 1): twice as long each time, a quarter of it left to
/// chance, so that many do not come back at once.
pub fn pause(first: Duration, longest: Duration, attempt: u32) -> Duration {
    let full = first
        .saturating_mul(1 << attempt.saturating_sub(1).min(16))
        .min(longest);
    full.mul_f64(0.75 + 0.25 * fastrand::f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_say_when_to_come_back() {
        let now = httpdate::parse_http_date("Wed, 25 Nov 2026 14:00:00 GMT").unwrap();
        for (value, seconds) in [
            ("7", Some(7)),
            (" 0 ", Some(0)),
            ("99999", Some(300)),
            ("Wed, 25 Nov 2026 14:00:30 GMT", Some(30)),
            ("Wed, 25 Nov 2026 13:00:30 GMT", Some(0)),
            ("-1", None),
            ("soon", None),
        ] {
            let wanted = seconds.map(Duration::from_secs);
            assert_eq!(retry_after(value, now), wanted, "{value}");
        }
    }

    #[test]
    fn https_to_what_speaks_none_is_an_error_and_no_more() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("https://{}/word", listener.local_addr().unwrap());
        let thread = std::thread::spawn(move || {
            use std::io::{Read as _, Write as _};
            let (mut stream, _) = listener.accept().unwrap();
            let first = stream.read(&mut [0; 5]).unwrap();
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
            first
        });
        let agent = agent(Duration::from_secs(20));
        let sent = post(&agent, &url, "text/plain", [], b"x", otlp_may_work_later);
        assert!(thread.join().unwrap() > 0);
        let Sent::Later { why, .. } = sent else {
            panic!("{sent:?}");
        };
        assert!(!why.contains("word"), "{why}");
        for bad in ["nonsense", "http://", "http://a b/", "ftp://x/"] {
            assert_ne!(
                post(&agent, bad, "text/plain", [], b"x", webhook_may_work_later),
                Sent::Done,
                "{bad}"
            );
        }
    }

    #[test]
    fn pauses_grow_up_to_a_bound() {
        let (first, longest) = (Duration::from_secs(1), Duration::from_secs(30));
        for (attempt, least, most) in [
            (1, 0.75, 1.0),
            (3, 3.0, 4.0),
            (9, 22.5, 30.0),
            (99, 22.5, 30.0),
        ] {
            let got = pause(first, longest, attempt).as_secs_f64();
            assert!((least..=most).contains(&got), "{attempt}: {got}");
        }
    }
}
