//! `pando metrics`: what is measured, for other programs.

use clap::{Args, Subcommand};
use monitor_spec::ask::{Answer, Ask};

use super::monitor;
use super::query::{self, QueryArgs};
use crate::context::{Context, Daemon, unexpected};
use crate::error::exit;

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
    match &args.verb {
        MetricsVerb::Prometheus(args) => prometheus(args, ctx),
        MetricsVerb::Query(args) => query::query(args, ctx),
        MetricsVerb::List => Ok(query::list(ctx)),
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
