//! The control API of Pando: HTTP/1.1 with JSON over a unix socket (mode 0600), versioned,
//! streaming.
//!
//! The words are in [`api`]; [`server`] turns connections into [`Call`]s on one bounded channel,
//! which whoever owns the state answers through each call's [`Reply`]; [`client`] is what the
//! command line and the dashboards use. What the server does not do: look into a request, keep
//! state between calls, or listen on the network.

pub mod address;
pub mod api;
mod body;
pub mod call;
pub mod client;
mod resume;
mod routes;
pub mod server;

pub use address::socket_path;
pub use call::{Call, Reply, TrySendError};
pub use client::{CallError, Client, ConnectError};
pub use server::{ServeOptions, bind, listener_from_fd, serve, serve_until};
