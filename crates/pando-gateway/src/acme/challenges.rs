//! Answers to the authority's validations, in memory and, for other processes that may get the
//! authority's request (the old and the new one during a reload), in the storage.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwapOption;
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use sha2::{Digest, Sha256};

use super::Method;
use super::store;

/// RFC 8555, section 8.3.
pub const PATH_PREFIX: &str = "/.well-known/acme-challenge/";
/// Tokens have at least 128 bits; known authorities send 43 characters.
const MAX_TOKEN_BYTES: usize = 128;
/// A key authorization is a token, a dot and 43 characters.
const MAX_ANSWER_BYTES: usize = 512;

#[derive(Default)]
pub struct Challenges {
    /// By file name, key authorizations.
    pending: Mutex<HashMap<String, String>>,
    /// By host, certificates with the digest of the key authorization.
    handshakes: Mutex<HashMap<String, Arc<CertifiedKey>>>,
    /// Where other processes leave theirs.
    shared: ArcSwapOption<PathBuf>,
}

impl Challenges {
    /// The body of the answer for `/.well-known/acme-challenge/TOKEN`, as `application/octet-stream`
    /// with status 200; `None` is not ours. Asked before routes and redirects, on plain listeners.
    pub fn response(&self, token: &str) -> Option<String> {
        if !is_token(token) {
            return None;
        }
        if let Some(answer) = lock(&self.pending).get(token) {
            return Some(answer.clone());
        }
        self.left_by_others(token)
    }

    /// The certificate for a TLS-ALPN-01 handshake (RFC 8737, section 3).
    pub(super) fn handshake(&self, host: &str) -> Option<Arc<CertifiedKey>> {
        if let Some(key) = lock(&self.handshakes).get(host) {
            return Some(key.clone());
        }
        if !is_host(host) {
            return None;
        }
        validation_certificate(host, &self.left_by_others(&handshake_file(host))?)
    }

    pub(super) fn share(&self, dir: Option<PathBuf>) {
        self.shared.store(dir.map(Arc::new));
    }

    fn left_by_others(&self, name: &str) -> Option<String> {
        let dir = self.shared.load_full()?;
        let bytes = std::fs::read(dir.join(name)).ok()?;
        (bytes.len() <= MAX_ANSWER_BYTES).then_some(())?;
        String::from_utf8(bytes).ok()
    }

    /// Ready to answer until the returned guard goes. Writes a file.
    pub(super) fn offer(
        self: &Arc<Self>,
        method: Method,
        host: &str,
        token: &str,
        key_authorization: &str,
    ) -> std::io::Result<Offer> {
        let refuse = |why: &str| Err(std::io::Error::other(why.to_owned()));
        let name = match method {
            Method::Http01 if !is_token(token) => return refuse("the token is not base64url"),
            Method::Http01 => token.to_owned(),
            Method::TlsAlpn01 => {
                let Some(key) = validation_certificate(host, key_authorization) else {
                    return refuse("cannot make the validation's certificate");
                };
                lock(&self.handshakes).insert(host.to_owned(), key);
                handshake_file(host)
            }
        };
        let answer = key_authorization.to_owned();
        lock(&self.pending).insert(name.clone(), answer);
        let offer = Offer {
            challenges: self.clone(),
            host: host.to_owned(),
            name: name.clone(),
        };
        if let Some(dir) = self.shared.load_full() {
            store::write_private(&dir.join(name), key_authorization.as_bytes())?;
        }
        Ok(offer)
    }
}

/// An answer that is being given; dropped, it no longer is.
pub(super) struct Offer {
    challenges: Arc<Challenges>,
    host: String,
    name: String,
}

impl Drop for Offer {
    fn drop(&mut self) {
        lock(&self.challenges.pending).remove(&self.name);
        if self.name == handshake_file(&self.host) {
            lock(&self.challenges.handshakes).remove(&self.host);
        }
        if let Some(dir) = self.challenges.shared.load_full() {
            let _ = std::fs::remove_file(Path::new(&*dir).join(&self.name));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// No token begins so: a dot is not base64url.
fn handshake_file(host: &str) -> String {
    format!(".handshake-{host}")
}

/// RFC 8555, section 8: base64url without padding.
fn is_token(token: &str) -> bool {
    let base64url = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=MAX_TOKEN_BYTES).contains(&token.len()) && token.bytes().all(base64url)
}

/// Letters, digits, hyphens and single dots: nothing that leaves a directory.
fn is_host(host: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    host.len() <= 253 && host.split('.').all(label)
}

fn validation_certificate(host: &str, key_authorization: &str) -> Option<Arc<CertifiedKey>> {
    let digest = Sha256::digest(key_authorization.as_bytes());
    let key = KeyPair::generate().ok()?;
    let mut params = CertificateParams::new(vec![host.to_owned()]).ok()?;
    params.distinguished_name = DistinguishedName::new();
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(&digest)];
    let certificate = params.self_signed(&key).ok()?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = crate::tls::provider();
    let key = provider.key_provider.load_private_key(key).ok()?;
    let chain = vec![certificate.der().clone()];
    Some(Arc::new(CertifiedKey::new(chain, key)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_given_while_offered_and_seen_by_other_processes() {
        let dir = tempfile::tempdir().unwrap();
        let (ours, theirs) = (Arc::new(Challenges::default()), Challenges::default());
        ours.share(Some(dir.path().to_path_buf()));
        theirs.share(Some(dir.path().to_path_buf()));
        let http = ours.offer(Method::Http01, "a.example", "tok", "tok.key");
        let alpn = ours.offer(Method::TlsAlpn01, "a.example", "tok2", "tok2.key");
        for challenges in [&*ours, &theirs] {
            assert_eq!(challenges.response("tok").unwrap(), "tok.key");
            assert_eq!(challenges.response("tok2"), None);
            assert!(challenges.handshake("a.example").is_some());
            assert!(challenges.handshake("b.example").is_none());
        }
        drop((http, alpn));
        for challenges in [&*ours, &theirs] {
            assert_eq!(challenges.response("tok"), None);
            assert!(challenges.handshake("a.example").is_none());
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn no_request_reads_another_file() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("challenges");
        std::fs::create_dir(&inner).unwrap();
        std::fs::write(dir.path().join("secret"), "s").unwrap();
        std::fs::write(inner.join(".handshake-x"), "s").unwrap();
        let challenges = Challenges::default();
        challenges.share(Some(inner));
        for token in [
            "../secret",
            "",
            ".",
            ".handshake-x",
            "a/b",
            &"x".repeat(200),
        ] {
            assert_eq!(challenges.response(token), None, "{token}");
        }
        for host in ["../../secret", "a..b", "", "x/../../secret"] {
            assert!(challenges.handshake(host).is_none(), "{host}");
        }
    }
}
