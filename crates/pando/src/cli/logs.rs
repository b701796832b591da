//! `pando logs`.

use clap::Args;
use jiff::Zoned;
use pando_control::api::{Frame, LogQuery, LogStream, Request};

use super::values;
use crate::context::{Context, Daemon};
use crate::display::log_line::{LogFormat, to_json};
use crate::display::time::Clock;
use crate::error::{ExpectedError, exit};

/// Where nothing is said of lines or time.
const DEFAULT_LINES: usize = 15;
/// `--since` without `--lines`: all of them, within reason.
const MAX_LINES: usize = 1_000_000;

#[derive(Debug, Args)]
pub struct LogsArgs {
    /// Only these apps
    #[arg(value_name = "APP")]
    apps: Vec<String>,
    /// How many of the last lines [default: 15, or all since --since]
    #[arg(short = 'l', long, value_name = "N")]
    lines: Option<usize>,
    /// End after the lines that are there
    #[arg(long, visible_alias = "nostream")]
    no_follow: bool,
    /// Only stderr
    #[arg(long, conflicts_with = "out")]
    err: bool,
    /// Only stdout
    #[arg(long)]
    out: bool,
    /// Only the worker of this number (0, 1, …)
    #[arg(short, long, value_name = "N")]
    worker: Option<u32>,
    /// From then on: `10m` (ago), `14:30`, `2026-11-21 14:30`, or RFC 3339
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,
    /// Until then; implies --no-follow
    #[arg(long, value_name = "WHEN")]
    until: Option<String>,
}

pub fn logs(args: &LogsArgs, ctx: &mut Context) -> anyhow::Result<u8> {
    let query = query(args, &Zoned::now())?;
    if !ctx.reach(Daemon::ForKeptApps)? {
        return Err(ctx.nothing_runs());
    }
    let json = ctx.json;
    let mut format = LogFormat::new(Clock::local(), ctx.out.layout.color);
    let answer = ctx.call_raw(Request::Logs { query }, |out, frame| {
        if let Frame::Log(line) = frame {
            let text = if json {
                to_json(line)
            } else {
                format.show(&line)
            };
            out.line(&text);
        }
    });
    answer.map_err(ExpectedError::from)?;
    Ok(exit::OK)
}

fn query(args: &LogsArgs, now: &Zoned) -> Result<LogQuery, ExpectedError> {
    let when = |flag: &str, text: &Option<String>| match text {
        None => Ok(None),
        Some(text) => values::when(text, now).map(Some).map_err(|e| {
            let what = format!("{flag} {text}: this is no time");
            ExpectedError::wrong_call(what, "it is not understood", e)
        }),
    };
    let since_ms = when("--since", &args.since)?;
    let until_ms = when("--until", &args.until)?;
    let default = if since_ms.is_some() {
        MAX_LINES
    } else {
        DEFAULT_LINES
    };
    Ok(LogQuery {
        apps: args
            .apps
            .iter()
            .filter(|app| *app != "all")
            .cloned()
            .collect(),
        worker: args.worker,
        stream: match (args.out, args.err) {
            (true, _) => Some(LogStream::Out),
            (_, true) => Some(LogStream::Err),
            (false, false) => None,
        },
        lines: args.lines.unwrap_or(default).min(MAX_LINES),
        follow: !args.no_follow && until_ms.is_none(),
        since_ms,
        until_ms,
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Only {
        #[command(flatten)]
        args: LogsArgs,
    }

    fn check(line: &str, expect: LogQuery) {
        let now: Zoned = "2026-11-21T12:00:00[UTC]".parse().unwrap();
        let only = Only::try_parse_from(line.split_whitespace()).unwrap();
        assert_eq!(query(&only.args, &now).unwrap(), expect, "{line}");
    }

    #[test]
    fn what_is_asked_for() {
        let plain = LogQuery {
            lines: DEFAULT_LINES,
            follow: true,
            ..LogQuery::default()
        };
        check("logs", plain.clone());
        check("logs all", plain.clone());
        check(
            "logs api web -w 2 --err --lines 3 --no-follow",
            LogQuery {
                apps: vec!["api".into(), "web".into()],
                worker: Some(2),
                stream: Some(LogStream::Err),
                lines: 3,
                follow: false,
                ..LogQuery::default()
            },
        );
        let noon = 1_795_262_400_000;
        check(
            "logs --since 10m --out",
            LogQuery {
                since_ms: Some(noon - 600_000),
                lines: MAX_LINES,
                stream: Some(LogStream::Out),
                ..plain.clone()
            },
        );
        check(
            "logs --until 2026-11-21T12:00:00Z",
            LogQuery {
                until_ms: Some(noon),
                follow: false,
                ..plain
            },
        );
    }

    #[test]
    fn a_wrong_time_is_a_wrong_call() {
        let only = Only::try_parse_from(["logs", "--since", "soon"]).unwrap();
        assert_eq!(query(&only.args, &Zoned::now()).unwrap_err().exit_code(), 2);
    }
}
