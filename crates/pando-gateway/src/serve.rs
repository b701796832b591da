//! Serving clients: threads, listeners, connections.

pub mod accept;
pub mod conn;
mod connection;
pub mod frames;
pub mod guard;
pub mod io;
mod out;
mod sweep;

pub use accept::{Incoming, Listening, run_thread};
pub use out::OutBody;
