//! A whole machine under one seeded virtual clock: the real core of the supervisor, with a model
//! of the kernel's accept queues and of Node workers that speak the cluster protocol, crash,
//! stall, boot badly and drain. Every arrival is followed to its end.
//!
//! What it asserts: a connection is lost only with the worker that had taken it, or with a
//! supervisor that was killed in the instant between accepting and handing over; after the faults
//! end, every instance is served, steering points at ready workers only, and no queue is left.
//!
//! `SEED=n cargo test -p sim` replays one run.

mod faults;
mod gateway;
mod kernel;
mod node;
mod verdict;
mod world;

pub use faults::Faults;
pub use world::World;
