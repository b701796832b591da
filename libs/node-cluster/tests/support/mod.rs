//! A small primary with real workers, for the tests that need a real runtime.

mod http;
mod rig;
mod runtime;

pub use http::{Request, client, get};
pub use rig::{Answer, Rig};
pub use runtime::runtime;
