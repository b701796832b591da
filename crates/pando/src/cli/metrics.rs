//! `pando metrics`: what is measured, for other programs.

use std::io::Write as _;
use std::time::Duration;

use clap::{Args, Subcommand};
use monitor_spec::ask::{Answer, Ask};

use super::monitor;
use super::query::{self, QueryArgs};
use crate::context::{Context, Daemon, unexpected};
use crate::error::exit;

/// For the picture that has the warnings.
const PATIENCE: Duration = Duration::from_millis(500);

#[derive(Debug, Args)]
pub struct MetricsArgs {
    #[command(subcommand)]
    verb: MetricsVerb,
}

#[derive(Debug, Subcommand)]
enum MetricsVerb {
    /// Everything once, as Prometheus reads it
    Prometheus(PrometheusArgs),
    /// What was measured over time
    Query(QueryArgs),
    /// The names that `query` knows
    List,
}

#[derive(Debug, Args)]
struct PrometheusArgs {
    /// As OpenMetrics
    #[arg(long)]
    openmetrics: bool,
}

pub fn metrics(args: &MetricsArgs, ctx: &mut Context) -> anyhow::Result<u8> {
    if matches!(args.verb, MetricsVerb::List) {
        return Ok(query::list(ctx));
    }
    if !ctx.reach(Daemon::ForKeptApps)? {
        return Err(ctx.nothing_runs());
    }
    let code = match &args.verb {
        MetricsVerb::Prometheus(args) => prometheus(args, ctx),
        MetricsVerb::Query(args) => query::query(args, ctx),
        MetricsVerb::List => Ok(query::list(ctx)),
    };
    warn(ctx);
    code
}

/// What is wrong with the measuring, beside the answer that may suffer from it.
fn warn(ctx: &mut Context) {
    // Who does not answer in time has nothing to warn of.
    let Ok(now) = ctx.now(PATIENCE) else { return };
    for problem in &now.problems {
        // A stderr that is closed hears no warnings.
        let _ = writeln!(std::io::stderr(), "warning: {problem}");
    }
}

fn prometheus(args: &PrometheusArgs, ctx: &mut Context) -> anyhow::Result<u8> {
    let ask = if args.openmetrics {
        Ask::OpenMetrics
    } else {
        Ask::Exposition
    };
    let Answer::Text(text) = monitor::ask(ask, ctx)? else {
        return Err(unexpected());
    };
    ctx.out.lines(text.lines().map(str::to_owned));
    Ok(exit::OK)
}
