//! The `pando` binary. Table of contents:
//!
//! - [`cli`]: the verbs, a file each or a small group; all are clients of the control socket
//! - [`context`], [`daemon`], [`home`]: what a verb has at hand; finding or starting the daemon
//! - [`config`]: flags and pando.toml to specs
//! - [`display`]: tables, lines, progress
//! - [`error`]: what a person is told, and the exit codes
//! - [`lean`]: pages that a daemon does not need
//! - [`wire`]: where root, the supervisor and `pando run` are joined from their parts

mod cli;
mod config;
mod context;
mod daemon;
mod display;
mod error;
mod home;
mod lean;
mod listening;
mod wire;

use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = cli::parse();
    let json = cli.json;
    match cli::run(cli) {
        Ok(code) => ExitCode::from(code),
        Err(error) => ExitCode::from(error::report(&error, json)),
    }
}
