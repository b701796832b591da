//! `pando gateway`: the HTTP edge by itself, and what can be asked of its part of pando.toml.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::context::Context;
use crate::error::{self, ExpectedError, exit};
use crate::{config, wire};

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct GatewayArgs {
    /// Serve what this file says, without a supervisor
    #[arg(short = 'c', long = "config", value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, Subcommand)]
pub enum Verb {}

pub fn gateway(args: &GatewayArgs, ctx: &mut Context) -> anyhow::Result<u8> {
    if let Some(verb) = &args.verb {
        match *verb {}
    }
    let Some(file) = &args.config else {
        return Err(ExpectedError::wrong_call(
            "there is nothing to do",
            "`pando gateway` by itself needs a file",
            "pando gateway -c pando.toml, or `pando up` to run it beside the apps",
        )
        .into());
    };
    let path = config::file(Some(file))?;
    let spec = config::gateway(&path)?;
    let again = Box::new(move || config::gateway(&path).map_err(|error| error::in_words(&error)));
    wire::gateway_alone(&ctx.home, spec, again)?;
    Ok(exit::OK)
}
