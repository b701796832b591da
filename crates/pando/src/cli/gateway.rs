//! `pando gateway`: the HTTP edge by itself, and what can be asked of its part of pando.toml.

mod check;

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use pando_gateway::explain::{Explanation, Question};

use crate::context::Context;
use crate::error::{self, ExpectedError, exit};
use crate::{config, wire};

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct GatewayArgs {
    /// Serve what this file says, without a supervisor
    #[arg(short = 'c', long = "config", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Be the gateway of the supervisor that has started this process
    #[arg(long, hide = true, conflicts_with = "config")]
    worker: bool,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Read the file and tell everything that is wrong with it; nothing is changed
    Check(check::CheckArgs),
    /// Show which route takes a request, why, and where it would go
    Explain(ExplainArgs),
}

#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// With scheme and host: https://example.com/api/users
    url: Uri,
    /// A header, as curl's: `-H 'x-canary: 1'`
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
    #[arg(short = 'X', long, value_name = "METHOD", default_value = "GET")]
    method: Method,
    /// Whom the request is from
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    from: IpAddr,
    /// The file, or its directory [default: the pando.toml here]
    #[arg(short = 'c', long = "config", value_name = "FILE")]
    config: Option<PathBuf>,
}

pub fn gateway(args: &GatewayArgs, ctx: &mut Context) -> anyhow::Result<u8> {
    match &args.verb {
        Some(Verb::Check(args)) => return check::check(args, ctx),
        Some(Verb::Explain(args)) => return explain(args, ctx),
        None => {}
    }
    if args.worker {
        wire::gateway_worker()?;
        return Ok(exit::OK);
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

/// Exit code 0 if a route serves the request, 1 if none does.
fn explain(args: &ExplainArgs, ctx: &mut Context) -> anyhow::Result<u8> {
    let path = config::file(args.config.as_deref())?;
    let spec = config::gateway(&path)?;
    let question = Question {
        method: args.method.clone(),
        uri: args.url.clone(),
        headers: headers(&args.headers)?,
        client: args.from,
    };
    let explanation = pando_gateway::explain::explain(&spec, &question);
    let code = match explanation.refusal {
        Some(_) => exit::FAILED,
        None => exit::OK,
    };
    if ctx.json {
        ctx.out.json(&explanation);
    } else {
        print(&explanation, ctx);
    }
    Ok(code)
}

fn headers(written: &[String]) -> anyhow::Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    for line in written {
        let parsed = line.split_once(':').and_then(|(name, value)| {
            let name = HeaderName::from_bytes(name.trim().as_bytes()).ok()?;
            Some((name, HeaderValue::from_str(value.trim()).ok()?))
        });
        let Some((name, value)) = parsed else {
            return Err(ExpectedError::wrong_call(
                format!("{line:?} is no header"),
                "a header is a name, a colon and a value",
                "write it like -H 'x-canary: 1'",
            )
            .into());
        };
        headers.append(name, value);
    }
    Ok(headers)
}

fn print(explanation: &Explanation, ctx: &mut Context) {
    if let Some(site) = &explanation.site {
        ctx.out.line(&format!("site      {site}"));
    }
    if let Some(path) = &explanation.path {
        ctx.out.line(&format!("path      {path}"));
    }
    for verdict in &explanation.routes {
        let why = verdict.why_not.as_deref().unwrap_or("takes it");
        ctx.out.line(&format!("route     {}: {why}", verdict.route));
    }
    for step in &explanation.steps {
        ctx.out.line(&format!("          {step}"));
    }
    if let Some(upstream) = &explanation.upstream {
        ctx.out.line(&format!("upstream  {upstream}"));
    }
    if let Some(refusal) = &explanation.refusal {
        ctx.out.line(&format!("answer    {refusal}"));
    }
}
