//! The dashboard in the browser: a small server on loopback that hands out one embedded page and
//! passes on what the control socket says. It keeps no measurement of its own and has no power
//! that the `pando` commands lack.
//!
//! - [`assets`]: the page, embedded and compressed once
//! - [`access`]: links that open it once, and sessions
//! - [`guard`]: which requests come from the page itself
//! - [`route`]: what a request asks for
//! - [`sse`]: server-sent events as bytes
//! - [`live`]: the picture of each second, one subscription for all who look
//! - [`logs`]: lines, searched here, for a reader that may be slow
//! - [`ask`]: single questions and orders to the daemon
//! - [`server`]: joins them over HTTP/1.1
//!
//! Absent: TLS and listening on other addresses (`ssh -L` does both better), and users: who has
//! the link may do what who started the command may do, unless it was started read-only.

mod access;
mod ask;
mod assets;
mod body;
mod guard;
mod live;
mod logs;
mod respond;
mod route;
mod server;
mod sse;

pub use access::LINK_LIFE;
pub use server::{Dashboard, Links, Options};
