//! `pando monit` and `pando top`.

use std::io::IsTerminal;
use std::time::Duration;

use app_spec::AppSpec;
use clap::Args;
use monitor_spec::now::{History, Now};
use pando_ui::terminal::listing::{self, Listing};
use pando_ui::terminal::page::Page;
use pando_ui::{table, terminal};

use super::change;
use crate::context::{Context, Daemon};
use crate::display::log_line;
use crate::display::output::wants_color;
use crate::error::{ExpectedError, exit, in_words};

/// A picture is made once a second.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug, Args)]
pub struct MonitArgs {
    /// Show this app
    app: Option<String>,
}

#[derive(Debug, Args)]
pub struct TopArgs {
    /// Sort by this column: `cpu`, `req/s`, `p95`, …
    #[arg(short, long, value_name = "COLUMN")]
    sort: Option<String>,
    /// Print once and end, as where the output is no terminal
    #[arg(short = '1', long)]
    once: bool,
}

pub fn monit(args: &MonitArgs, ctx: &mut Context) -> anyhow::Result<u8> {
    if !is_terminal() {
        return Err(ExpectedError::wrong_call(
            "`pando monit` needs a terminal",
            "its input or output is none, or TERM is dumb",
            "`pando top --once` prints the figures once, `pando top --json` as data",
        )
        .into());
    }
    if !ctx.reach(Daemon::ForKeptApps)? {
        return Err(ctx.nothing_runs());
    }
    let first = match &args.app {
        None => Page::Apps,
        Some(app) => {
            // An app that is not known is told before the screen is taken.
            ctx.list(pando_control::api::Select::Names(vec![app.clone()]))?;
            Page::App(app.clone())
        }
    };
    show(first, None, ctx)
}

pub fn top(args: &TopArgs, ctx: &mut Context) -> anyhow::Result<u8> {
    let column = args.sort.as_deref().map(column).transpose()?;
    if !ctx.reach(Daemon::ForKeptApps)? {
        return Err(ctx.nothing_runs());
    }
    if is_terminal() && !args.once && !ctx.json {
        return show(Page::Top, column, ctx);
    }
    let now = ctx.now(PATIENCE).map_err(|why| {
        ExpectedError::failed(
            "the metrics do not answer",
            why,
            "try again; `pando ls` shows the apps",
        )
    })?;
    if ctx.json {
        ctx.out.json(&without_history(now));
        return Ok(exit::OK);
    }
    let tick = u64::try_from(now.time_ms / 1_000).unwrap_or(0);
    let order = column.map(|column| (column, listing::apps::is_number_of_top(column)));
    let listing = listing::apps::top(&now).arrange("", order);
    if listing.entries.is_empty() {
        ctx.out.line(listing.empty);
    } else {
        let rows = listing.printed(tick);
        let lines = table::render(&listing.columns, &rows, ctx.out.layout);
        ctx.out.lines(lines);
    }
    Ok(exit::OK)
}

fn is_terminal() -> bool {
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    std::io::stdout().is_terminal() && std::io::stdin().is_terminal() && !dumb
}

fn column(name: &str) -> Result<usize, ExpectedError> {
    let listing: Listing = listing::apps::top(&Now::default());
    listing.column(name).ok_or_else(|| {
        let titles = listing.columns.iter().map(|c| c.title.to_lowercase());
        let titles: Vec<String> = titles.collect();
        ExpectedError::wrong_call(
            format!("--sort {name}: there is no such column"),
            "the list has others",
            titles.join(", "),
        )
    })
}

fn show(first: Page, sort: Option<usize>, ctx: &mut Context) -> anyhow::Result<u8> {
    ctx.out.flush();
    terminal::run(terminal::Options {
        home: ctx.home.clone(),
        first,
        sort,
        color: wants_color(),
        readable: log_line::plain,
        renew,
    })?;
    Ok(exit::OK)
}

/// As `pando reload` reads it again.
fn renew(spec: &AppSpec) -> Result<Option<AppSpec>, String> {
    match change::fresh(spec, None) {
        Ok(change::Fresh::Renewed(new)) => Ok((new != *spec).then_some(new)),
        Ok(change::Fresh::FileIsGone(_)) => Ok(None),
        Err(error) => Err(in_words(&error)),
    }
}

/// Programs that want histories ask `pando metrics query`.
fn without_history(mut now: Now) -> Now {
    for app in &mut now.apps {
        app.history = History::default();
        for worker in &mut app.workers {
            worker.history = History::default();
        }
    }
    if let Some(gateway) = &mut now.gateway {
        gateway.history = History::default();
    }
    now
}
