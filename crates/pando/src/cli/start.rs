//! `pando start`.
//!
//! | typed | meaning |
//! |---|---|
//! | `pando start server.js …` | a new app, from flags |
//! | `pando start api web`, `pando start all` | known apps that are stopped |
//! | `pando start` | the apps of the pando.toml here, as `pando up` |

use std::path::{Path, PathBuf};

use clap::Args;
use pando_config::StartFlags;
use pando_control::api::{AppStatus, AppView, Request, Select};

use super::change;
use super::file::{self, FileArgs};
use super::flags::AppFlags;
use crate::config;
use crate::context::{Context, Daemon, select};
use crate::display::apps::urls;
use crate::display::text::Style;
use crate::error::{ExpectedError, exit};

#[derive(Debug, Args)]
pub struct StartArgs {
    #[command(flatten)]
    flags: AppFlags,
    /// Return at once, not when the app is ready
    #[arg(long)]
    no_wait: bool,
}

pub fn start(args: StartArgs, ctx: &mut Context) -> anyhow::Result<u8> {
    let wait = !args.no_wait;
    let flags = args.flags.into_start_flags();
    if flags.target.is_empty() {
        return without_target(&flags, ctx);
    }
    let names: Vec<String> = std::iter::once(&flags.target)
        .chain(&flags.args)
        .cloned()
        .collect();
    if !names_a_file(&flags) && ctx.reach(Daemon::ForKeptApps)? {
        let known = ctx.list(Select::All)?;
        let is_known = |name: &String| known.iter().any(|app| app.name == *name);
        if flags.target == "all" || names.iter().all(is_known) {
            return start_known(&flags, &names, &known, ctx);
        }
    }
    let spec = config::from_flags(&flags)?;
    ctx.reach(Daemon::Start)?;
    if let Some(running) = ctx
        .list(Select::All)?
        .iter()
        .find(|app| app.name == spec.name)
    {
        refuse_running(running)?;
    }
    let (text, apps) = ctx.change(Request::Start {
        specs: vec![spec],
        wait,
    })?;
    told(ctx, &text, &apps);
    Ok(exit::OK)
}

fn without_target(flags: &StartFlags, ctx: &mut Context) -> anyhow::Result<u8> {
    let nothing_else = *flags == StartFlags::default();
    if nothing_else && pando_config::find(&config::cwd()?).is_some() {
        return file::up(&FileArgs::default(), ctx);
    }
    let why = if nothing_else {
        "no script was named, and there is no pando.toml here"
    } else {
        "flags were given, but no script or command to run with them"
    };
    let fix = "`pando start server.js`, `pando start all` for the apps that are stopped, or \
               `pando init` to write a pando.toml";
    Err(ExpectedError::wrong_call("there is nothing to start", why, fix).into())
}

/// Whether the target is there as a file or directory; then it is that, not a known app's name.
fn names_a_file(flags: &StartFlags) -> bool {
    let base = flags.cwd.as_deref().map(PathBuf::from).unwrap_or_default();
    Path::new(&flags.target).exists() || base.join(&flags.target).exists()
}

fn start_known(
    flags: &StartFlags,
    names: &[String],
    known: &[AppView],
    ctx: &mut Context,
) -> anyhow::Result<u8> {
    let plain = StartFlags {
        target: flags.target.clone(),
        args: flags.args.clone(),
        ..StartFlags::default()
    };
    if *flags != plain {
        let what = format!(
            "{} is known already; flags do not go with its name",
            flags.target
        );
        let why = "a known app starts as it was started before";
        let fix = "leave the flags out; or `pando scale` it; or `pando delete` it and start its \
                   script anew with flags";
        return Err(ExpectedError::wrong_call(what, why, fix).into());
    }
    let select = select(names);
    if let Select::Names(names) = &select {
        known
            .iter()
            .filter(|app| names.contains(&app.name))
            .try_for_each(refuse_running)?;
    }
    let (text, apps) = ctx.change(Request::StartKnown { select })?;
    told(ctx, &text, &apps);
    Ok(exit::OK)
}

fn refuse_running(app: &AppView) -> Result<(), ExpectedError> {
    match app.status {
        // One that is on its way down is started again when it is there.
        AppStatus::Stopped | AppStatus::Exited | AppStatus::Stopping => Ok(()),
        AppStatus::Ready
        | AppStatus::Starting
        | AppStatus::Degraded
        | AppStatus::Unhealthy
        | AppStatus::CrashLoop
        | AppStatus::Waiting => {
            let name = &app.name;
            Err(ExpectedError::failed(
                format!("an app {name} runs already"),
                format!("it runs {} in {}", app.command, app.cwd.display()),
                format!("`pando reload {name}` for new code; or another name for this one: --name"),
            ))
        }
    }
}

/// What runs, and where to look.
pub fn told(ctx: &mut Context, text: &[String], apps: &[AppView]) {
    change::told(ctx, text, apps);
    if ctx.json || apps.is_empty() {
        return;
    }
    let mut rows: Vec<(&str, String)> = Vec::new();
    let urls: Vec<String> = apps.iter().flat_map(|app| urls(&app.listen)).collect();
    if !urls.is_empty() {
        rows.push(("open", urls.join("  ")));
    }
    let names: Vec<&str> = apps.iter().map(|app| app.name.as_str()).collect();
    rows.push(("logs", format!("pando logs {}", names.join(" "))));
    rows.push(("all", "pando ls".to_owned()));
    for (label, value) in rows {
        let label = Style::Dim.paint(&format!("{label:<5}"), ctx.out.layout.color);
        ctx.out.line(&format!("  {label}{value}"));
    }
}
