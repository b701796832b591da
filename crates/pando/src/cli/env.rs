//! `pando env`.

use std::collections::BTreeMap;

use clap::Args;
use pando_control::api::{Answer, Request};

use crate::config;
use crate::context::{Context, Daemon, unexpected};
use crate::display::text::Style;
use crate::error::exit;

#[derive(Debug, Args)]
pub struct EnvArgs {
    /// Name of an app
    app: String,
    /// Only what differs from this shell
    #[arg(long)]
    diff: bool,
}

pub fn env(args: &EnvArgs, ctx: &mut Context) -> anyhow::Result<u8> {
    if !ctx.reach(Daemon::ForKeptApps)? {
        return Err(ctx.nothing_runs());
    }
    let Answer::Env(env) = ctx.call(Request::Env {
        app: args.app.clone(),
    })?
    else {
        return Err(unexpected());
    };
    let color = ctx.out.layout.color;
    match (args.diff, ctx.json) {
        (false, true) => ctx.out.json(&env),
        (false, false) => ctx
            .out
            .lines(env.iter().map(|(k, v)| format!("{k}={}", escaped(v)))),
        (true, json) => {
            let shell = config::shell_env();
            let diff = diff(&shell, &env);
            if json {
                ctx.out
                    .json(&diff.iter().map(Difference::json).collect::<Vec<_>>());
            } else {
                ctx.out.lines(diff.iter().flat_map(|d| d.lines(color)));
            }
        }
    }
    Ok(exit::OK)
}

/// One name whose value is not the same.
#[derive(Debug, PartialEq, Eq)]
struct Difference<'a> {
    name: &'a str,
    shell: Option<&'a str>,
    app: Option<&'a str>,
}

fn diff<'a>(
    shell: &'a BTreeMap<String, String>,
    app: &'a BTreeMap<String, String>,
) -> Vec<Difference<'a>> {
    let names: std::collections::BTreeSet<&String> = shell.keys().chain(app.keys()).collect();
    let one = |name: &'a String| Difference {
        name,
        shell: shell.get(name).map(String::as_str),
        app: app.get(name).map(String::as_str),
    };
    names
        .into_iter()
        .map(one)
        .filter(|d| d.shell != d.app)
        .collect()
}

impl Difference<'_> {
    fn lines(&self, color: bool) -> Vec<String> {
        let line = |sign: &str, style: Style, value: &str| {
            style.paint(&format!("{sign} {}={}", self.name, escaped(value)), color)
        };
        let shell = self.shell.map(|value| line("-", Style::Red, value));
        let app = self.app.map(|value| line("+", Style::Green, value));
        shell.into_iter().chain(app).collect()
    }

    fn json(&self) -> serde_json::Value {
        serde_json::json!({ "name": self.name, "shell": self.shell, "app": self.app })
    }
}

/// A value in one line.
fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('\n', "\\n")
        .replace('\r', "\\r")
        .replace('\x1b', "\\e")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_differences_are_shown() {
        let map = |pairs: &[(&str, &str)]| {
            pairs
                .iter()
                .map(|(k, v)| ((*k).into(), (*v).into()))
                .collect::<BTreeMap<_, _>>()
        };
        let shell = map(&[("A", "1"), ("B", "2"), ("C", "x\ny")]);
        let app = map(&[("A", "1"), ("B", "3"), ("D", "4")]);
        let lines: Vec<String> = diff(&shell, &app)
            .iter()
            .flat_map(|d| d.lines(false))
            .collect();
        assert_eq!(lines, ["- B=2", "+ B=3", "- C=x\\ny", "+ D=4"]);
    }
}
