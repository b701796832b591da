//! The verbs that change apps which are known: stop, restart, reload, delete, scale, signal.

use std::collections::BTreeMap;
use std::io::Write;

use app_spec::AppSpec;
use clap::Args;
use pando_control::api::{AppView, Request, ScaleChange, Select};

use super::values;
use crate::config;
use crate::context::{Context, Daemon, select};
use crate::error::exit;

#[derive(Debug, Args)]
pub struct Names {
    /// Names of apps, or `all`
    #[arg(required = true, value_name = "APP")]
    names: Vec<String>,
}

#[derive(Debug, Args)]
pub struct FreshArgs {
    /// Names of apps, or `all`
    #[arg(required = true, value_name = "APP")]
    names: Vec<String>,
    /// Take over the environment of this shell too
    #[arg(long)]
    update_env: bool,
    /// Without looking into pando.toml again
    #[arg(long, conflicts_with = "update_env")]
    as_is: bool,
}

#[derive(Debug, Args)]
pub struct ScaleArgs {
    /// Name of an app
    app: String,
    /// `4`, `+2`, `-1` or `max`
    #[arg(allow_hyphen_values = true, value_parser = values::scale, value_name = "COUNT")]
    change: ScaleChange,
}

#[derive(Debug, Args)]
pub struct SignalArgs {
    /// `SIGUSR2`, `usr2` or `12`
    #[arg(value_parser = values::signal)]
    signal: String,
    /// Names of apps, or `all`
    #[arg(required = true, value_name = "APP")]
    names: Vec<String>,
}

pub fn stop(args: &Names, ctx: &mut Context) -> anyhow::Result<u8> {
    change(
        ctx,
        Request::Stop {
            select: select(&args.names),
        },
    )
}

pub fn delete(args: &Names, ctx: &mut Context) -> anyhow::Result<u8> {
    change(
        ctx,
        Request::Delete {
            select: select(&args.names),
        },
    )
}

pub fn scale(args: &ScaleArgs, ctx: &mut Context) -> anyhow::Result<u8> {
    let select = Select::Names(vec![args.app.clone()]);
    change(
        ctx,
        Request::Scale {
            select,
            change: args.change,
        },
    )
}

pub fn signal(args: &SignalArgs, ctx: &mut Context) -> anyhow::Result<u8> {
    change(
        ctx,
        Request::Signal {
            select: select(&args.names),
            signal: args.signal.clone(),
        },
    )
}

pub fn restart(args: &FreshArgs, ctx: &mut Context) -> anyhow::Result<u8> {
    renew(args, ctx, |select, spec| Request::Restart { select, spec })
}

pub fn reload(args: &FreshArgs, ctx: &mut Context) -> anyhow::Result<u8> {
    renew(args, ctx, |select, spec| Request::Reload { select, spec })
}

fn change(ctx: &mut Context, request: Request) -> anyhow::Result<u8> {
    if !ctx.reach(Daemon::ForKeptApps)? {
        return Err(ctx.nothing_runs());
    }
    let (text, apps) = ctx.change(request)?;
    told(ctx, &text, &apps);
    Ok(exit::OK)
}

/// What was done.
pub fn told(ctx: &mut Context, text: &[String], apps: &[AppView]) {
    if ctx.json {
        ctx.out
            .json(&serde_json::json!({ "changed": text, "apps": apps }));
    } else {
        ctx.out.lines(text);
    }
}

/// Restarts or reloads. The file is the truth: apps of a pando.toml come back as it says now.
fn renew(
    args: &FreshArgs,
    ctx: &mut Context,
    request: impl Fn(Select, Option<Box<AppSpec>>) -> Request,
) -> anyhow::Result<u8> {
    if !ctx.reach(Daemon::ForKeptApps)? {
        return Err(ctx.nothing_runs());
    }
    let select = select(&args.names);
    let specs = if args.as_is {
        Vec::new()
    } else {
        ctx.specs(select.clone())?
    };
    let env = args.update_env.then(config::shell_env);
    // Every file is read before anything is done, so that a mistake in one changes nothing.
    let mut renewed = Vec::new();
    for spec in specs {
        let new = match fresh(&spec, env.as_ref())? {
            Fresh::Renewed(new) => new,
            Fresh::FileIsGone(kept) => {
                warn_of_gone_file(&spec);
                kept
            }
        };
        let changed = (new != spec).then_some(new);
        renewed.push((spec.name, changed));
    }
    let requests: Vec<Request> = if renewed.iter().all(|(_, spec)| spec.is_none()) {
        vec![request(select, None)]
    } else {
        let one = |(name, spec): (String, Option<AppSpec>)| {
            request(Select::Names(vec![name]), spec.map(Box::new))
        };
        renewed.into_iter().map(one).collect()
    };
    let (mut text, mut apps) = (Vec::new(), Vec::new());
    for request in requests {
        let (more_text, more_apps) = ctx.change(request)?;
        text.extend(more_text);
        apps.extend(more_apps);
    }
    told(ctx, &text, &apps);
    Ok(exit::OK)
}

/// A spec as it is to be from now on.
pub enum Fresh {
    Renewed(AppSpec),
    /// The file that it is from is not there any more; it stays what it is.
    FileIsGone(AppSpec),
}

fn warn_of_gone_file(spec: &AppSpec) {
    let file = spec.origin.as_deref().unwrap_or("pando.toml".as_ref());
    let (name, file) = (&spec.name, file.display());
    // A stderr that is closed hears no warning.
    let _ = writeln!(
        std::io::stderr(),
        "warning: {file} is gone; {name} stays as it was"
    );
}

/// The spec as its file has it now, with the number of workers that it has now; with `env`, under
/// that environment. An app without a file stays what it is.
pub fn fresh(spec: &AppSpec, env: Option<&BTreeMap<String, String>>) -> anyhow::Result<Fresh> {
    let base_env = env.unwrap_or(&spec.base_env);
    let kept = || AppSpec {
        base_env: base_env.clone(),
        ..spec.clone()
    };
    let Some(origin) = &spec.origin else {
        return Ok(Fresh::Renewed(kept()));
    };
    if !origin.exists() {
        return Ok(Fresh::FileIsGone(kept()));
    }
    let found = config::load(origin, base_env)?
        .into_iter()
        .find(|s| s.name == spec.name);
    Ok(Fresh::Renewed(found.map_or_else(kept, |found| AppSpec {
        instances: spec.instances,
        base_env: if env.is_some() {
            found.base_env
        } else {
            spec.base_env.clone()
        },
        ..found
    })))
}
