//! The certificate of a site that has none yet: self-signed, so that the site answers, health checks
//! and clients that do not verify go on, and a browser shows whose it is.

use std::sync::Arc;
use std::time::SystemTime;

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;

/// From yesterday, for clocks that are slow, to in a month.
const BEFORE_SECONDS: u64 = 24 * 3600;
const AFTER_SECONDS: u64 = 30 * 24 * 3600;
/// Names in one certificate; a handshake must stay small.
const MAX_NAMES: usize = 50;

/// A new key and certificate for `hosts`; `None` if the names cannot stand in one.
pub(super) fn self_signed(hosts: &[String], now: SystemTime) -> Option<Arc<CertifiedKey>> {
    let names: Vec<String> = hosts
        .iter()
        .filter(|host| *host != "*")
        .take(MAX_NAMES)
        .map(|host| host.trim_matches(['[', ']']).to_owned())
        .collect();
    let key = KeyPair::generate().ok()?;
    let mut params = CertificateParams::new(names).ok()?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(
        DnType::CommonName,
        "Pando: this site has no certificate yet",
    );
    params.not_before = (now - std::time::Duration::from_secs(BEFORE_SECONDS)).into();
    params.not_after = (now + std::time::Duration::from_secs(AFTER_SECONDS)).into();
    let certificate = params.self_signed(&key).ok()?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let key = super::provider().key_provider.load_private_key(key).ok()?;
    Some(Arc::new(CertifiedKey::new(
        vec![certificate.der().clone()],
        key,
    )))
}
