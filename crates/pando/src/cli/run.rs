//! `pando run`: apps in the foreground.

use clap::Args;

use super::flags::AppFlags;
use crate::config;
use crate::context::Context;
use crate::error::ExpectedError;
use crate::home;
use crate::wire::{self, Echo, ForegroundOptions};

#[derive(Debug, Args)]
pub struct RunArgs {
    #[command(flatten)]
    flags: AppFlags,
    /// How the apps' lines are written to stdout [default: text, or json with --json]
    #[arg(long, value_parser = ["text", "json"], value_name = "FORMAT")]
    log_format: Option<String>,
}

pub fn run(args: RunArgs, ctx: &mut Context) -> anyhow::Result<u8> {
    let echo = match args.log_format.as_deref() {
        Some("json") => Echo::Json,
        Some(_) => Echo::Text,
        None if ctx.json => Echo::Json,
        None => Echo::Text,
    };
    let flags = args.flags.into_start_flags();
    let (specs, monitor) = if flags.target.is_empty() {
        config::load_all(&config::file(None)?, &config::shell_env())?
    } else {
        (vec![config::from_flags(&flags)?], None)
    };
    if specs.is_empty() {
        let why = "the pando.toml here has no app";
        let fix = "`pando run server.js`, or add an [app.NAME] to it";
        return Err(ExpectedError::wrong_call("there is nothing to run", why, fix).into());
    }
    home::prepare(&ctx.home)?;
    wire::run_foreground(ForegroundOptions {
        home: ctx.home.clone(),
        specs,
        monitor: monitor.unwrap_or_default(),
        echo,
    })
}
