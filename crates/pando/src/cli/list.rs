//! `pando ls`.

use std::time::Duration;

use clap::Args;
use pando_control::api::{AppView, Select};

use crate::context::{Context, Daemon, select};
use crate::display::apps;
use crate::error::exit;
use crate::home;

/// For the metrics' picture.
const PATIENCE: Duration = Duration::from_millis(500);

#[derive(Debug, Args)]
pub struct ListArgs {
    /// Only these apps
    #[arg(value_name = "APP")]
    names: Vec<String>,
}

pub fn list(args: &ListArgs, ctx: &mut Context) -> anyhow::Result<u8> {
    let select = if args.names.is_empty() {
        Select::All
    } else {
        select(&args.names)
    };
    let reached = ctx.reach(Daemon::ForKeptApps)?;
    if !reached && !args.names.is_empty() {
        return Err(ctx.nothing_runs());
    }
    let apps: Vec<AppView> = if reached {
        ctx.list(select)?
    } else {
        Vec::new()
    };
    // What the metrics do not tell in time is a dash: the list never waits for them.
    let now = if apps.is_empty() {
        None
    } else {
        ctx.now(PATIENCE).ok()
    };
    if ctx.json {
        let apps: Vec<_> = apps
            .iter()
            .map(|app| apps::json(app, now.as_ref()))
            .collect();
        ctx.out.json(&apps);
    } else if !apps.is_empty() {
        let table = apps::table(&apps, now.as_ref(), ctx.out.layout);
        ctx.out.lines(table);
        let problems = now.iter().flat_map(|now| &now.problems);
        let notes: Vec<String> = problems
            .flat_map(|text| apps::measuring(text, ctx.out.layout))
            .collect();
        ctx.out.lines(notes);
    } else if !reached && home::has_apps(&ctx.home) {
        ctx.out
            .line("No app runs since `pando kill`. `pando resurrect` brings them back.");
    } else {
        ctx.out
            .line("No app yet. `pando start server.js` starts one.");
    }
    Ok(exit::OK)
}
