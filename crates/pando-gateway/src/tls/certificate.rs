//! A chain with its key, checked to belong together, and what the first certificate says.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

/// Certificates of one chain.
const MAX_CHAIN: usize = 16;

/// Why PEM text is no certificate with its key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PairError {
    #[error("there is no certificate in it (PEM text with BEGIN CERTIFICATE is wanted)")]
    NoCertificate,
    #[error("the certificate is damaged: {0}")]
    Certificate(String),
    #[error("more than {MAX_CHAIN} certificates")]
    TooMany,
    #[error(
        "there is no private key in it (PEM text with BEGIN PRIVATE KEY, RSA PRIVATE KEY or \
         EC PRIVATE KEY is wanted)"
    )]
    NoKey,
    #[error("the key is encrypted with a passphrase, which nobody could type at a restart")]
    EncryptedKey,
    #[error("the key cannot be used: {0}")]
    Key(String),
    #[error("the key does not belong to the certificate")]
    Mismatch,
}

/// Ready for handshakes.
#[derive(Debug)]
pub struct Certificate {
    pub key: Arc<CertifiedKey>,
    pub not_before: SystemTime,
    pub not_after: SystemTime,
    /// DNS names in lower case, of the first certificate.
    pub names: Vec<String>,
    pub ips: Vec<IpAddr>,
}

impl Certificate {
    /// From PEM text; `cert` has the chain, the site's own certificate first, `key` the key. Both may
    /// be one text.
    pub fn from_pem(cert: &[u8], key: &[u8]) -> Result<Self, PairError> {
        let chain = chain_from_pem(cert)?;
        let key = key_from_pem(key)?;
        Self::new(chain, key)
    }

    pub fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, PairError> {
        if chain.len() > MAX_CHAIN {
            return Err(PairError::TooMany);
        }
        let first = chain.first().ok_or(PairError::NoCertificate)?;
        let facts = Facts::of(first)?;
        let key = super::provider()
            .key_provider
            .load_private_key(key)
            .map_err(|error| PairError::Key(error.to_string()))?;
        let key = CertifiedKey::new(chain, key);
        match key.keys_match() {
            Ok(()) => {}
            Err(rustls::Error::InconsistentKeys(_)) => return Err(PairError::Mismatch),
            Err(error) => return Err(PairError::Certificate(error.to_string())),
        }
        Ok(Self {
            key: Arc::new(key),
            not_before: facts.not_before,
            not_after: facts.not_after,
            names: facts.names,
            ips: facts.ips,
        })
    }

    /// Whether a client that asks for `host` accepts it: a name, `*.name` (RFC 9525, section 6.3: one
    /// label), or an IP address.
    pub fn covers(&self, host: &str) -> bool {
        Self::names_cover(&self.names, &self.ips, host)
    }

    /// Of several the one that covers most of `hosts`, of equals the one that ends last; `None` if none
    /// covers any.
    pub fn best_for<'a>(
        hosts: &[String],
        known: impl Iterator<Item = &'a Arc<Self>>,
    ) -> Option<&'a Arc<Self>> {
        known
            .map(|certificate| {
                let covered = hosts.iter().filter(|host| certificate.covers(host)).count();
                (covered, certificate)
            })
            .filter(|(covered, _)| *covered > 0)
            .max_by_key(|(covered, certificate)| (*covered, certificate.not_after))
            .map(|(_, certificate)| certificate)
    }

    pub(super) fn names_cover(names: &[String], ips: &[IpAddr], host: &str) -> bool {
        // An IPv6 address may have its brackets.
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(ip) = bare.parse::<IpAddr>() {
            return ips.contains(&ip);
        }
        let host = &host.to_ascii_lowercase();
        let parent = host.split_once('.').map(|(_, parent)| parent);
        names.iter().any(|name| {
            name == host
                || name
                    .strip_prefix("*.")
                    .is_some_and(|suffix| Some(suffix) == parent)
        })
    }
}

/// All certificates of a PEM text, in its order.
pub(crate) fn chain_from_pem(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, PairError> {
    let mut chain = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(text) {
        let certificate = certificate.map_err(|error| PairError::Certificate(error.to_string()))?;
        chain.push(certificate);
    }
    if chain.is_empty() {
        return Err(PairError::NoCertificate);
    }
    Ok(chain)
}

/// The first private key of a PEM text.
pub(crate) fn key_from_pem(text: &[u8]) -> Result<PrivateKeyDer<'static>, PairError> {
    let encrypted = || memchr::memmem::find(text, b"BEGIN ENCRYPTED PRIVATE KEY").is_some();
    match PrivateKeyDer::from_pem_slice(text) {
        Ok(key) => Ok(key),
        Err(pem::Error::NoItemsFound) if encrypted() => Err(PairError::EncryptedKey),
        Err(pem::Error::NoItemsFound) => Err(PairError::NoKey),
        Err(error) => Err(PairError::Key(error.to_string())),
    }
}

/// What is read from a certificate without trusting it.
pub(crate) struct Facts {
    pub not_before: SystemTime,
    pub not_after: SystemTime,
    pub names: Vec<String>,
    pub ips: Vec<IpAddr>,
}

impl Facts {
    pub(crate) fn of(der: &CertificateDer<'_>) -> Result<Self, PairError> {
        let (_, certificate) = X509Certificate::from_der(der)
            .map_err(|error| PairError::Certificate(error.to_string()))?;
        let mut facts = Self {
            not_before: time(certificate.validity().not_before.timestamp()),
            not_after: time(certificate.validity().not_after.timestamp()),
            names: Vec::new(),
            ips: Vec::new(),
        };
        let names = certificate
            .subject_alternative_name()
            .map_err(|error| PairError::Certificate(error.to_string()))?;
        for name in names.iter().flat_map(|names| &names.value.general_names) {
            if let GeneralName::DNSName(name) = name {
                facts.names.push(name.to_ascii_lowercase());
            } else if let GeneralName::IPAddress(bytes) = name {
                facts.ips.extend(ip(bytes));
            }
        }
        Ok(facts)
    }
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(bytes) = <[u8; 4]>::try_from(bytes) {
        return Some(bytes.into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from)
}

fn time(seconds: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or_default())
}
