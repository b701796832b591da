//! Errors as a person meets them: what, where, why, what to do; and the one table of exit codes.

use std::io::Write;

use pando_control::api::Problem;
use pando_control::{CallError, ConnectError};

use crate::display::output::wants_color;
use crate::display::text::Style;

/// The exit codes of every command.
pub mod exit {
    /// It is done; what was asked for is so.
    pub const OK: u8 = 0;
    /// It was tried and failed.
    pub const FAILED: u8 = 1;
    /// The call was wrong: nothing was tried.
    pub const WRONG_CALL: u8 = 2;
}

/// An error that a person can do something about. Everything else is a defect of Pando or of the
/// machine and is shown as it is.
#[derive(Debug, thiserror::Error)]
pub enum ExpectedError {
    #[error("{}", .0.what)]
    Problem(Box<Problem>),
    /// Everything that is wrong with a pando.toml or with flags.
    #[error("{} problems", .0.len())]
    Config(Vec<pando_config::Problem>),
}

impl ExpectedError {
    /// It was tried and failed.
    pub fn failed(what: impl Into<String>, why: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::problem(exit::FAILED, what.into(), why.into(), fix.into())
    }

    /// The call was wrong.
    pub fn wrong_call(
        what: impl Into<String>,
        why: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self::problem(exit::WRONG_CALL, what.into(), why.into(), fix.into())
    }

    fn problem(exit_code: u8, what: String, why: String, fix: String) -> Self {
        Self::Problem(Box::new(Problem {
            what,
            why,
            fix,
            exit_code,
            ..Problem::default()
        }))
    }

    pub fn exit_code(&self) -> u8 {
        match self {
            // A daemon that gives no code means a failure; 0 would be a lie.
            Self::Problem(p) if p.exit_code == exit::OK => exit::FAILED,
            Self::Problem(p) => p.exit_code,
            Self::Config(_) => exit::WRONG_CALL,
        }
    }
}

/// All of an error as text, for a log.
pub fn in_words(error: &anyhow::Error) -> String {
    match error.downcast_ref::<ExpectedError>() {
        Some(ExpectedError::Config(problems)) => {
            let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
            lines.join("\n")
        }
        Some(ExpectedError::Problem(p)) => format!("{}: {}; {}", p.what, p.why, p.fix),
        None => format!("{error:#}"),
    }
}

impl From<CallError> for ExpectedError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Failed(problem) => Self::Problem(problem),
            CallError::Connect(error) => error.into(),
            CallError::Broken => Self::failed(
                "the supervisor was replaced while it worked on this",
                "it may or may not have been done",
                "`pando ls` shows what is so; then give the command again if it is needed",
            ),
            CallError::Version { .. } => Self::failed(
                "this program and the running daemon do not understand each other",
                error.to_string(),
                "`pando upgrade` makes the daemon run this version; no connection is lost",
            ),
            CallError::Protocol(why) => Self::failed(
                "the daemon's answer is not understood",
                why,
                "`pando upgrade` makes the daemon run this program's version",
            ),
        }
    }
}

impl From<ConnectError> for ExpectedError {
    fn from(error: ConnectError) -> Self {
        let what = error.to_string();
        match error {
            ConnectError::NoDaemon { .. } => Self::failed(
                what,
                "nothing listens on its control socket",
                "`pando start server.js` starts an app and the daemon with it",
            ),
            ConnectError::Denied { .. } => Self::failed(
                what,
                "a daemon can only be reached by the user that started it, and by root",
                "become that user, or choose another home with --home or PANDO_HOME",
            ),
            ConnectError::Io { error, .. } => Self::failed(
                what,
                error.to_string(),
                "look at the directory's owner and mode, or choose another home with --home",
            ),
        }
    }
}

/// Writes the error to stderr, in `--json` as one object, and says what to exit with.
pub fn report(error: &anyhow::Error, json: bool) -> u8 {
    let color = wants_color() && std::io::IsTerminal::is_terminal(&std::io::stderr());
    let (text, code) = match error.downcast_ref::<ExpectedError>() {
        Some(expected) if json => (as_json(expected), expected.exit_code()),
        Some(expected) => (render(expected, color), expected.exit_code()),
        None => (
            format!("{} {error:#}\n", Style::Red.paint("error:", color)),
            exit::FAILED,
        ),
    };
    // Nothing is left to do about a stderr that is closed.
    let _ = std::io::stderr().write_all(text.as_bytes());
    code
}

fn as_json(error: &ExpectedError) -> String {
    let problems: Vec<serde_json::Value> = match error {
        ExpectedError::Problem(problem) => vec![serde_json::json!(problem)],
        ExpectedError::Config(problems) => problems.iter().map(config_json).collect(),
    };
    format!("{}\n", serde_json::json!({ "problems": problems }))
}

/// A problem of the configuration in the control API's words.
pub fn config_json(problem: &pando_config::Problem) -> serde_json::Value {
    serde_json::json!({
        "place": problem.place(),
        "what": problem.what,
        "why": problem.why,
        "fix": problem.fix,
        "severity": if problem.is_error() { "error" } else { "warning" },
    })
}

fn render(error: &ExpectedError, color: bool) -> String {
    match error {
        ExpectedError::Problem(problem) => render_problem(problem, color),
        ExpectedError::Config(problems) => problems
            .iter()
            .map(|p| format!("{p}\n"))
            .collect::<Vec<_>>()
            .join("\n"),
    }
}

fn render_problem(problem: &Problem, color: bool) -> String {
    let mut text = Style::Red.paint("error:", color);
    text.push(' ');
    if !problem.place.is_empty() {
        text.push_str(&problem.place);
        text.push_str(": ");
    }
    text.push_str(&problem.what);
    text.push('\n');
    if !problem.why.is_empty() {
        let why = problem.why.replace('\n', "\n       ");
        text.push_str(&format!("  {} {why}\n", Style::Bold.paint("why:", color)));
    }
    if !problem.stderr.is_empty() {
        let label = Style::Bold.paint("stderr of the new worker:", color);
        text.push_str(&format!("  {label}\n"));
        for line in &problem.stderr {
            text.push_str(&format!("    {} {line}\n", Style::Red.paint("|", color)));
        }
    }
    if !problem.fix.is_empty() {
        text.push_str(&format!(
            "  {} {}\n",
            Style::Bold.paint("fix:", color),
            problem.fix
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(error: ExpectedError, code: u8, expect: &str) {
        assert_eq!(error.exit_code(), code);
        assert_eq!(render(&error, false), expect);
    }

    #[test]
    fn an_error_says_what_where_why_and_what_to_do() {
        check(
            ExpectedError::Problem(Box::new(Problem {
                place: "app api".into(),
                what: "the new build did not get ready; the old workers still serve".into(),
                why: "worker 5 exited with code 1 after 0.2 s".into(),
                fix: "correct it and reload again".into(),
                stderr: vec!["Error: boom".into(), "    at server.js:3".into()],
                exit_code: 1,
            })),
            1,
            "error: app api: the new build did not get ready; the old workers still serve\n  \
             why: worker 5 exited with code 1 after 0.2 s\n  \
             stderr of the new worker:\n    | Error: boom\n    |     at server.js:3\n  \
             fix: correct it and reload again\n",
        );
        check(ExpectedError::wrong_call("no", "", ""), 2, "error: no\n");
    }

    #[test]
    fn a_failure_never_exits_with_zero() {
        let problem = Problem {
            what: "x".into(),
            ..Problem::default()
        };
        assert_eq!(
            ExpectedError::Problem(Box::new(problem)).exit_code(),
            exit::FAILED
        );
    }

    #[test]
    fn every_failure_of_the_socket_says_what_to_do() {
        for error in [
            ExpectedError::from(CallError::Broken),
            CallError::Version { daemon: 9 }.into(),
            CallError::Protocol("x".into()).into(),
            ConnectError::NoDaemon { home: "/h".into() }.into(),
            ConnectError::Denied {
                path: "/h/pando.sock".into(),
            }
            .into(),
        ] {
            let text = render(&error, false);
            assert!(text.contains("why: ") && text.contains("fix: "), "{text}");
        }
    }

    #[test]
    fn json_has_every_problem() {
        let text = as_json(&ExpectedError::wrong_call("a", "b", "c"));
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["problems"][0]["what"], "a");
        assert_eq!(value["problems"][0]["exit_code"], 2);
    }
}
