//! `pando gateway check`.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use gateway_spec::GatewaySpec;
use pando_config::Problem;

use crate::config;
use crate::context::Context;
use crate::error::{ExpectedError, config_json, exit};

#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The file, or its directory [default: the pando.toml here]
    #[arg(short = 'c', long = "config", value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Exit code 0: it can be served, perhaps with warnings; 2: it would be refused.
pub fn check(args: &CheckArgs, ctx: &mut Context) -> anyhow::Result<u8> {
    let path = config::file(args.config.as_deref())?;
    let read = pando_config::load(&path, &config::shell_env());
    let (file, warnings) = read.map_err(ExpectedError::Config)?;
    let Some(spec) = file.gateway else {
        return Err(ExpectedError::wrong_call(
            format!("{} has no gateway", path.display()),
            "it has neither [gateway] nor [site]",
            "add [site.\"*\"] with `routes`; docs/gateway-configuration.md has every key",
        )
        .into());
    };
    if ctx.json {
        let problems: Vec<_> = warnings.iter().map(config_json).collect();
        ctx.out.json(&serde_json::json!({
            "file": path,
            "problems": problems,
            "sites": spec.sites.len(),
            "routes": routes(&spec),
        }));
        return Ok(exit::OK);
    }
    tell(&warnings);
    let listen: Vec<String> = spec
        .listen
        .iter()
        .map(|one| one.address.to_string())
        .collect();
    ctx.out.line(&format!(
        "{} can be served: {}, {}, listening at {}.",
        path.display(),
        count(spec.sites.len(), "site"),
        count(routes(&spec), "route"),
        listen.join(", "),
    ));
    Ok(exit::OK)
}

fn tell(warnings: &[Problem]) {
    for warning in warnings {
        // A stderr that is closed hears no warnings.
        let _ = writeln!(std::io::stderr(), "{warning}\n");
    }
}

fn routes(spec: &GatewaySpec) -> usize {
    spec.sites.iter().map(|site| site.routes.len()).sum()
}

fn count(number: usize, noun: &str) -> String {
    match number {
        1 => format!("1 {noun}"),
        n => format!("{n} {noun}s"),
    }
}
