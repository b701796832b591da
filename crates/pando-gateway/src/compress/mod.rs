//! Compression of answers.

mod accept;

pub use accept::{Accepted, Encoding};
