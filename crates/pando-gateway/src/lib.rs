//! The gateway: the HTTP edge in front of workers and other upstreams.
//!
//! One tokio current-thread runtime a core; each connection lives on one of them. Everything that
//! threads share is behind an `Arc` and is `Send`. A request's way is in `pipeline`, to an
//! upstream in `forward`; `gateway` is the process.

pub mod access_log;
pub mod acme;
pub mod alone;
pub mod body;
pub mod cache;
pub mod client;
mod clock;
pub mod compress;
mod cookie;
pub mod explain;
mod fetch;
pub mod files;
pub mod forward;
pub mod gateway;
mod ids;
pub mod limits;
pub mod link;
pub mod managed;
pub mod measure;
mod memory;
mod pipeline;
pub mod problem;
pub mod protect;
pub mod proxy_protocol;
mod reply;
pub mod route;
pub mod routing;
pub mod serve;
pub mod shared;
pub mod tls;
pub mod trace;
mod trailers;
pub mod upstream;
