//! The dashboard in the terminal: `pando monit` and `pando top`.
//!
//! - [`model`]: what is known and shown, a pure machine; [`keys`] and [`command`] are part of it
//! - [`page`], [`listing`], [`series`], [`verdict`]: where one can be, and what is seen there
//! - [`draw`], [`chart`], [`look`]: the model as text
//! - `driver`, `screen`, `calls`: the terminal and the control socket

mod calls;
mod chart;
mod command;
mod draw;
mod driver;
mod keys;
pub mod listing;
mod look;
mod model;
pub mod page;
mod screen;
mod series;
mod verdict;

pub use calls::{Readable, Renew};
pub use driver::{Options, run};
