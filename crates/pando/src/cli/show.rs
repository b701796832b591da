//! `pando show`.

use app_spec::AppSpec;
use clap::Args;
use pando_control::api::Select;

use crate::context::{Context, Daemon};
use crate::display::{units, workers};
use crate::error::exit;

#[derive(Debug, Args)]
pub struct ShowArgs {
    /// Name of an app
    app: String,
}

pub fn show(args: &ShowArgs, ctx: &mut Context) -> anyhow::Result<u8> {
    if !ctx.reach(Daemon::ForKeptApps)? {
        return Err(ctx.nothing_runs());
    }
    let select = Select::Names(vec![args.app.clone()]);
    let apps = ctx.list(select.clone())?;
    let specs = ctx.specs(select)?;
    if ctx.json {
        let one = |app| {
            let spec = specs
                .iter()
                .find(|s| s.name == args.app)
                .map(without_base_env);
            serde_json::json!({ "app": app, "spec": spec })
        };
        let all: Vec<_> = apps.iter().map(one).collect();
        match all.as_slice() {
            [one] => ctx.out.json(one),
            _ => ctx.out.json(&all),
        }
        return Ok(exit::OK);
    }
    for app in &apps {
        let more = specs
            .iter()
            .find(|s| s.name == app.name)
            .map(settings)
            .unwrap_or_default();
        let page = workers::page(app, &more, ctx.out.layout);
        ctx.out.lines(page);
    }
    Ok(exit::OK)
}

/// A shell's environment is long, private, and `pando env` shows it.
fn without_base_env(spec: &AppSpec) -> AppSpec {
    AppSpec {
        base_env: Default::default(),
        ..spec.clone()
    }
}

/// The settings that a person looks for, where they are not the default.
fn settings(spec: &AppSpec) -> Vec<(&'static str, String)> {
    let mut rows = Vec::new();
    if let Some(health) = &spec.health {
        let every = units::interval(health.interval_ms);
        rows.push(("health", format!("{} every {every}", health.target)));
    }
    if let Some(bytes) = spec.memory_bytes {
        rows.push((
            "memory",
            format!("a worker is reloaded above {}", units::size(bytes)),
        ));
    }
    if !spec.depends_on.is_empty() {
        rows.push(("after", spec.depends_on.join(", ")));
    }
    if let Some(watch) = &spec.watch {
        let paths: Vec<String> = watch
            .paths
            .iter()
            .map(|p| p.display().to_string())
            .collect();
        rows.push(("watch", paths.join(", ")));
    }
    if let Some(user) = &spec.user {
        rows.push(("user", user.clone()));
    }
    if let Some(origin) = &spec.origin {
        rows.push(("file", origin.display().to_string()));
    }
    rows
}
