//! `pando cache`: what the gateway keeps of answers.

use clap::{Args, Subcommand};
use gateway_spec::link::{self, Ask, Purge};
use pando_control::api::{Answer, Request};

use crate::context::{Context, Daemon, unexpected};
use crate::error::exit;

#[derive(Debug, Args)]
pub struct CacheArgs {
    #[command(subcommand)]
    verb: CacheVerb,
}

#[derive(Debug, Subcommand)]
enum CacheVerb {
    /// Forget cached answers
    Purge(PurgeArgs),
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct PurgeArgs {
    /// Those of this address; with * at its end, of all that begin so
    #[arg(value_name = "URL")]
    url: Option<String>,
    /// Those with this surrogate key
    #[arg(long)]
    key: Option<String>,
    /// All of them
    #[arg(long)]
    all: bool,
}

pub fn cache(args: CacheArgs, ctx: &mut Context) -> anyhow::Result<u8> {
    let CacheVerb::Purge(args) = args.verb;
    let what = match (args.url, args.key) {
        (Some(url), _) => Purge::Url(url),
        (None, Some(key)) => Purge::Key(key),
        (None, None) => Purge::All,
    };
    if !ctx.reach(Daemon::ForKeptApps)? {
        return Err(ctx.nothing_runs());
    }
    let ask = Ask::Purge(what);
    let Answer::Gateway(link::Answer::Purged { count }) = ctx.call(Request::Gateway { ask })?
    else {
        return Err(unexpected());
    };
    if ctx.json {
        ctx.out.json(&serde_json::json!({ "purged": count }));
    } else {
        let s = if count == 1 { "" } else { "s" };
        ctx.out.line(&format!("{count} cached answer{s} purged"));
    }
    Ok(exit::OK)
}
