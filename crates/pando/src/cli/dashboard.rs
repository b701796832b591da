//! `pando dashboard`: serves the page until Ctrl-C.

use std::fs::OpenOptions;
use std::io::{self, BufRead, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use clap::Args;
use pando_ui::web::{Dashboard, LINK_LIFE, Links, Options};
use tokio::sync::mpsc;

use crate::context::{Context, Daemon};
use crate::error::ExpectedError;

/// Below the home, for [`open`].
const OPENER: &str = "dashboard.html";
/// Wishes for another link that wait.
const MAX_WISHES: usize = 4;

#[derive(Debug, Args)]
pub struct DashboardArgs {
    /// Listen on this port of 127.0.0.1 [default: any that is free]
    #[arg(
        long,
        short,
        value_name = "PORT",
        default_value_t = 0,
        hide_default_value = true
    )]
    port: u16,
    /// Open it in the browser of this machine
    #[arg(long)]
    open: bool,
    /// Only show: no reload, restart or scale from the page
    #[arg(long)]
    read_only: bool,
}

pub fn dashboard(args: &DashboardArgs, ctx: &mut Context) -> anyhow::Result<u8> {
    if !ctx.reach(Daemon::ForKeptApps)? {
        return Err(ctx.nothing_runs());
    }
    // The page's calls have connections of their own.
    ctx.disconnect();
    let options = Options {
        home: ctx.home.clone(),
        port: args.port,
        read_only: args.read_only,
    };
    let dashboard = ctx
        .block_on(Dashboard::bind(options))?
        .map_err(|error| taken(args.port, &error))?;
    let links = dashboard.links()?;
    let port = dashboard.address()?.port();
    let link = links.next()?;
    say(ctx, &link, port);
    if args.open
        && let Err(error) = open(&ctx.home, &link)
    {
        // The link is there to be opened by hand.
        let _ = writeln!(io::stderr(), "warning: no browser could be opened: {error}");
    }
    let wishes = wishes();
    ctx.block_on(async {
        tokio::select! {
            never = dashboard.serve() => match never {},
            result = more_links(wishes, links) => result,
        }
    })?
}

fn taken(port: u16, error: &io::Error) -> ExpectedError {
    ExpectedError::failed(
        format!("the dashboard cannot listen on 127.0.0.1:{port}"),
        error.to_string(),
        "leave --port away for one that is free, or name another",
    )
}

fn say(ctx: &mut Context, link: &str, port: u16) {
    if ctx.json {
        let value = serde_json::json!({ "url": link, "port": port });
        ctx.out.json_line(&value);
        ctx.out.flush();
        return;
    }
    let minutes = LINK_LIFE.as_secs() / 60;
    let more = if io::stdin().is_terminal() {
        " Press Enter for another one; Ctrl-C ends the dashboard."
    } else {
        ""
    };
    let host = rustix::system::uname();
    let host = host.nodename().to_string_lossy().into_owned();
    let user = std::env::var("USER").unwrap_or_else(|_| "you".into());
    ctx.out.lines([
        "",
        &format!("  {link}"),
        "",
        &format!("The link opens the dashboard once, within {minutes} minutes.{more}"),
        "From another machine, first:",
        "",
        &format!("  ssh -L {port}:127.0.0.1:{port} {user}@{host}"),
        "",
    ]);
    ctx.out.flush();
}

/// A wish for another link for each Enter at a terminal.
fn wishes() -> mpsc::Receiver<()> {
    let (sender, wishes) = mpsc::channel(MAX_WISHES);
    if io::stdin().is_terminal() {
        // Reading a terminal cannot be given up; the thread ends with the process.
        std::thread::spawn(move || {
            for line in io::stdin().lock().lines() {
                if line.is_err() || sender.blocking_send(()).is_err() {
                    return;
                }
            }
        });
    }
    wishes
}

async fn more_links(mut wishes: mpsc::Receiver<()>, links: Links) -> anyhow::Result<u8> {
    while wishes.recv().await.is_some() {
        let link = links.next()?;
        // A terminal that is gone takes the process with it by SIGHUP.
        let _ = writeln!(io::stdout(), "  {link}\n");
    }
    std::future::pending().await
}

/// Opens a browser by a file that only this user can read: a command line, which everybody on the
/// machine can, would tell the token.
fn open(home: &Path, link: &str) -> io::Result<()> {
    let path = home.join(OPENER);
    match std::fs::remove_file(&path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let mut file = OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(&path)?;
    let page = format!(
        "<!doctype html><meta charset=\"utf-8\"><meta http-equiv=\"refresh\" content=\"0;url={link}\">"
    );
    file.write_all(page.as_bytes())?;
    Command::new("xdg-open")
        .arg(&path)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    Ok(())
}
