//! The small process that holds Pando's children and file descriptors, so that everything else
//! can be killed or replaced at any moment. One thread, one poll loop, no network, no parsing of
//! app data.
//!
//! ```text
//! pando root ── supervisor   the other end of `link`; restarted for ever, handed everything again
//!            └─ children     started, reaped and signalled on the supervisor's orders
//! ```
//! - [`run`] is the root process.
//! - [`link`] is the supervisor's end; [`proto`] has the words, both ways.
//! - [`kill_leftovers`] clears up after a root that was killed together with its supervisor.
//!
//! # What is promised
//! - The supervisor may die at any moment: no child notices, no exit is lost, orders that it had
//!   sent are still carried out, and its successor gets the child table, every stored fd and
//!   every text.
//! - No zombie, and no orphan: what a child leaves behind is killed when the child ends, all of
//!   it when root ends. What an app hid completely (a session of its own *and* an environment
//!   without `PANDO_HOME_ID`) is found only when root ends.
//! - Root may be replaced by another binary, and comes back to the former one if that fails.
//! - If root is killed, its children die at once (PR_SET_PDEATHSIG); their children are killed by
//!   the supervisor, which sees the end of its link, or by the next root.

mod backoff;
mod home;
mod inherit;
mod leftovers;
pub mod link;
mod options;
mod orders;
mod peer;
mod procfs;
pub mod proto;
mod reap;
mod resume;
mod root;
mod signals;
mod spawn;
mod state;
mod store;
mod supervisor;
mod table;
mod tree;
mod upgrade;
mod wire;

pub use inherit::adopt;
pub use leftovers::kill_leftovers;
pub use link::Link;
pub use options::{Ended, FD_PLACE, Mode, Options, Tuning};
pub use root::run;
pub use upgrade::{SELFCHECK_ARG, selfcheck_line};
