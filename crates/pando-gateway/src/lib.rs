//! The gateway: the HTTP edge in front of workers and other upstreams.
//!
//! One tokio current-thread runtime a core; each connection lives on one of them. Everything that
//! threads share is behind an `Arc` and is `Send`.

pub mod access_log;
pub mod acme;
pub mod body;
pub mod cache;
pub mod client;
pub mod compress;
pub mod files;
pub mod link;
pub mod problem;
pub mod proxy_protocol;
pub mod tls;
