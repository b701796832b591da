//! The verbs that Pando gives itself: the processes of the daemon.

use std::ffi::OsString;

use clap::Args;

use crate::context::Context;
use crate::daemon::Readiness;
use crate::home;
use crate::wire::{self, RootOptions, SupervisorOptions};

#[derive(Debug, Args)]
pub struct RootArgs {
    /// stdout is the pipe of a command that waits; leave its terminal
    #[arg(long)]
    daemon: bool,
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<OsString>,
}

#[derive(Debug, Args)]
pub struct SupervisorArgs {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<OsString>,
}

pub fn root(args: RootArgs, ctx: &mut Context) -> anyhow::Result<u8> {
    home::prepare(&ctx.home)?;
    let readiness = args
        .daemon
        .then(|| Readiness::detach(&ctx.home))
        .transpose()?;
    wire::root(RootOptions {
        home: ctx.home.clone(),
        readiness,
        args: args.args,
    })
}

pub fn supervisor(args: SupervisorArgs, ctx: &mut Context) -> anyhow::Result<u8> {
    wire::supervisor(SupervisorOptions {
        home: ctx.home.clone(),
        args: args.args,
    })
}
