//! The command line: one module a verb, or a small group of verbs.

mod alerts;
mod cache;
mod change;
mod completions;
mod dashboard;
mod edge;
mod env;
mod events;
mod file;
mod flags;
mod gateway;
mod import;
mod init;
mod internal;
mod kill;
mod list;
mod logs;
mod metrics;
mod monit;
mod monitor;
mod query;
mod resurrect;
mod run;
mod show;
mod start;
mod upgrade;
mod values;

use std::path::PathBuf;

use clap::{CommandFactory, Parser, Subcommand};

use crate::context::Context;
use crate::error::exit;
use crate::home;

const AFTER_HELP: &str = "\
Examples:
  pando start server.js -i max     one worker a core, ready when they are
  pando reload api                 new code, no request lost; a bad build changes nothing
  pando logs api --since 10m       what it said
  pando up                         what pando.toml says

Exit codes: 0 it is so, 1 it was tried and failed, 2 the call was wrong.";

/// Keeps Node.js apps, and any other, running on every core.
#[derive(Debug, Parser)]
#[command(name = "pando", version, after_help = AFTER_HELP, disable_help_subcommand = true)]
#[command(arg_required_else_help = true, subcommand_required = false)]
pub struct Cli {
    /// Where Pando keeps its state [default: ~/.pando]
    #[arg(
        long,
        global = true,
        env = "PANDO_HOME",
        value_name = "DIR",
        hide_env_values = true
    )]
    pub home: Option<PathBuf>,
    /// Print data as JSON
    #[arg(long, global = true)]
    pub json: bool,
    /// What root asks of a binary before it replaces itself by it
    #[arg(long, hide = true)]
    pub pando_selfcheck: bool,
    #[command(subcommand)]
    pub verb: Option<Verb>,
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Start an app and wait until it is ready
    Start(Box<start::StartArgs>),
    /// Stop apps; they stay known
    Stop(change::Names),
    /// Stop and start all workers of apps at once
    Restart(change::FreshArgs),
    /// Replace the workers of apps one by one, without losing a request
    Reload(change::FreshArgs),
    /// Stop apps and forget them
    #[command(visible_aliases = ["del", "rm"])]
    Delete(change::Names),
    /// Change how many workers an app has
    Scale(change::ScaleArgs),
    /// Show all apps
    #[command(visible_aliases = ["list", "status", "ps"])]
    Ls(list::ListArgs),
    /// Watch apps in the terminal: traffic, latency, errors, memory, logs, events
    Monit(monit::MonitArgs),
    /// Show apps and workers in one table that stays up to date
    Top(monit::TopArgs),
    /// Show one app and its workers
    #[command(visible_alias = "describe")]
    Show(show::ShowArgs),
    /// Show what apps write, and follow it
    Logs(logs::LogsArgs),
    /// Show the environment that an app gets
    Env(env::EnvArgs),
    /// Send a signal to the workers of apps
    Signal(change::SignalArgs),
    /// Show what happens to apps, as it happens
    Events,
    /// Show everything in a browser
    Dashboard(dashboard::DashboardArgs),
    /// Show what `up` would do
    Plan(file::FileArgs),
    /// Make it so as pando.toml says
    Up(file::FileArgs),
    /// Stop and forget the apps of pando.toml
    Down(file::FileArgs),
    /// Write a pando.toml from another program's configuration
    Import(import::ImportArgs),
    /// Write a pando.toml from what is here
    Init(init::InitArgs),
    /// Run apps in the foreground, as the main process of a container
    Run(Box<run::RunArgs>),
    /// The HTTP edge: serve a file by itself
    Gateway(gateway::GatewayArgs),
    /// Show what is wrong, by the rules of pando.toml and the default ones
    Alerts,
    /// What is measured, for other programs
    Metrics(metrics::MetricsArgs),
    /// What the gateway keeps of answers
    Cache(cache::CacheArgs),
    /// Bring all known apps back
    Resurrect,
    /// Replace the running daemon by another binary; no app notices
    Upgrade(upgrade::UpgradeArgs),
    /// Stop every app and the daemon
    Kill,
    /// Print completions for a shell
    Completions(completions::CompletionsArgs),
    #[command(hide = true)]
    Root(internal::RootArgs),
    #[command(hide = true)]
    Supervisor(internal::SupervisorArgs),
}

/// Reads the command line; help, the version and mistakes end the program here (0 or 2).
pub fn parse() -> Cli {
    Cli::parse()
}

/// Does it. Returns the exit code.
pub fn run(cli: Cli) -> anyhow::Result<u8> {
    if cli.pando_selfcheck {
        println!("{}", pando_root::selfcheck_line());
        return Ok(exit::OK);
    }
    let home = home::resolve(cli.home.as_deref())?;
    let Some(verb) = cli.verb else {
        let mut command = Cli::command();
        command.print_help()?;
        return Ok(exit::WRONG_CALL);
    };
    let mut ctx = Context::new(home, cli.json);
    let code = dispatch(verb, &mut ctx)?;
    ctx.out.flush();
    Ok(code)
}

fn dispatch(verb: Verb, ctx: &mut Context) -> anyhow::Result<u8> {
    match verb {
        Verb::Start(args) => start::start(*args, ctx),
        Verb::Stop(args) => change::stop(&args, ctx),
        Verb::Restart(args) => change::restart(&args, ctx),
        Verb::Reload(args) => change::reload(&args, ctx),
        Verb::Delete(args) => change::delete(&args, ctx),
        Verb::Scale(args) => change::scale(&args, ctx),
        Verb::Ls(args) => list::list(&args, ctx),
        Verb::Monit(args) => monit::monit(&args, ctx),
        Verb::Top(args) => monit::top(&args, ctx),
        Verb::Show(args) => show::show(&args, ctx),
        Verb::Logs(args) => logs::logs(&args, ctx),
        Verb::Env(args) => env::env(&args, ctx),
        Verb::Signal(args) => change::signal(&args, ctx),
        Verb::Events => events::events(ctx),
        Verb::Dashboard(args) => dashboard::dashboard(&args, ctx),
        Verb::Plan(args) => file::plan(&args, ctx),
        Verb::Up(args) => file::up(&args, ctx),
        Verb::Down(args) => file::down(&args, ctx),
        Verb::Import(args) => import::import(&args, ctx),
        Verb::Init(args) => init::init(&args, ctx),
        Verb::Run(args) => run::run(*args, ctx),
        Verb::Gateway(args) => gateway::gateway(&args, ctx),
        Verb::Alerts => alerts::alerts(ctx),
        Verb::Metrics(args) => metrics::metrics(&args, ctx),
        Verb::Cache(args) => cache::cache(args, ctx),
        Verb::Resurrect => resurrect::resurrect(ctx),
        Verb::Upgrade(args) => upgrade::upgrade(&args, ctx),
        Verb::Kill => kill::kill(ctx),
        Verb::Completions(args) => completions::completions(&args, ctx),
        Verb::Root(args) => internal::root(args, ctx),
        Verb::Supervisor(args) => internal::supervisor(args, ctx),
    }
}

#[cfg(test)]
mod tests;
