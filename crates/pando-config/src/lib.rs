//! From what a person writes to what the supervisor runs: `pando.toml` (its `[app.NAME]` part),
//! `.env` files and the flags of `pando start` become validated [`app_spec::AppSpec`]s, every
//! problem is reported at once with its place, and [`plan`] says what separates the apps that
//! run from the apps that are wanted.
//!
//! The core is pure. It sees the machine only through [`FileSystem`], so tests and fuzzers run
//! it over a [`MemoryFs`].
//!
//! ```text
//! pando.toml ──► file ──► app ──┐
//!                  .env ► dotenv ┼──► checks ──► AppSpec ──► plan ──► Step
//! pando start ──► flags ────────┘
//! ```
//!
//! Absent on purpose: ecosystem files (they are programs and need the user's own node to
//! evaluate them), and the `[postgres]` part of `pando.toml`.

mod app;
mod checks;
mod command;
mod dotenv;
mod environment;
mod file;
mod flags;
mod fs;
mod gateway;
pub mod import;
mod init;
mod monitor;
mod name;
mod package;
mod plan;
mod problem;
mod signal;
mod source;
mod table;
mod target;
mod units;
mod words;

pub use dotenv::parse as parse_dotenv;
pub use environment::{clean as clean_env, is_secret};
pub use file::{FILE_NAME, File, MAX_APPS, MAX_FILE_BYTES, find, load, parse};
pub use flags::{ModeFlag, StartFlags, from_flags};
pub use fs::{FileSystem, MemoryFs, NodeVersion, RealFs};
pub use gateway::to_toml as gateway_to_toml;
pub use init::{InitFile, Listening, init};
pub use name::{is_valid as is_valid_name, make_valid as make_valid_name};
pub use plan::{
    Change, GatewayStep, GatewayVerb, Step, gateway as plan_gateway, monitor as plan_monitor, plan,
};
pub use problem::{Excerpt, MAX_PROBLEMS, Problem, Severity};
