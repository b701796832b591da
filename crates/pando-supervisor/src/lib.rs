//! Pando's supervisor: apps and workers as pure state machines ([`core`]) and the thread that
//! carries out what they decide ([`hub`]). It can be killed at any moment; root starts another.

pub mod core;
pub mod hub;
pub mod journal;
mod poller;
