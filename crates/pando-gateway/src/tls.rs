//! TLS: certificates for clients, and the client's side towards upstreams.
//!
//! ```text
//! pando.toml ──► apply ──┐
//! PEM files ──► watch ───┼──► Certificates (one table behind an ArcSwap) ◄── resolve ── handshakes
//! acme ──► install ──────┘
//! ```
//!
//! What always holds:
//! 1. A certificate that is missing or broken stops nothing: its hosts get a self-signed one, or the
//!    last good one, and the log says what to do; all other sites are served.
//! 2. A key is never served with a certificate that it does not belong to, however files are replaced.
//! 3. A handshake reads one `ArcSwap` and one or two hash maps; it waits for no file and no lock.
//!
//! Absent on purpose: OCSP stapling (authorities are ending OCSP), early data (a replayed request is
//! worse than a round trip), client certificates of visitors, TLS 1.0 and 1.1.

mod certificate;
mod certificates;
pub mod client;
mod fallback;
mod files;
mod server;
mod slot;
mod table;

pub use certificate::{Certificate, PairError};
pub use certificates::{CertificateStatus, Certificates, LOOK_INTERVAL};
pub use files::{DirectFiles, FileSource, MAX_PEM_BYTES, Stamp, read_all};
pub use server::{ACME_ALPN, is_challenge, server_config};

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

/// aws-lc-rs with X25519MLKEM768 first; passed explicitly, so no process-wide default is needed.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}
