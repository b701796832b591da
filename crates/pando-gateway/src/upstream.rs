//! Where requests go: groups of endpoints, the connections kept to them, and what is known of
//! each.

pub mod app;
pub mod connect;
mod delivery;
pub mod endpoint;
mod framing;
pub mod group;
pub mod h1;
pub mod h2;
pub mod health;
pub mod resolve;
mod stream;

pub use endpoint::{Address, Endpoint};
pub use framing::content_length;
pub use group::{Group, Refused, Ticket};
pub use stream::Stream;
