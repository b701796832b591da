//! The harness of the end-to-end tests: the real binary, real Node, real sockets.
//!
//! Every test has a Pando of its own ([`Pando`]): its own home, ports and mark, by which all that
//! it started is found and ended. Nothing here asserts a tight time; whatever takes time is polled
//! with a generous deadline ([`wait`]).

pub mod certificate;
pub mod gateway;
pub mod http;
pub mod load;
pub mod monitor;
pub mod npm;
pub mod origin;
mod pando;
pub mod port;
pub mod preloaded;
pub mod process;
pub mod receiver;
mod small_disk;
mod tally;
pub mod view;
pub mod wait;

pub use gateway::Gateway;
pub use load::Load;
pub use origin::Origin;
pub use pando::{Output, Pando, app, binary, exit_code, local, wait_within};
pub use preloaded::Preloaded;
pub use small_disk::SmallDisk;
pub use tally::Tally;
