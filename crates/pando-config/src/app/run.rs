//! What is started: `script` or `command`, and what belongs to each.

use app_spec::Command;

use crate::command::{Script, Surroundings, Wrong};
use crate::problem::{Refusal, Report};
use crate::table::{Table, Value};
use crate::words;

/// `script` or `command`, with what belongs to each.
pub(super) fn read(
    table: &Table<'_>,
    at: &Surroundings<'_>,
    report: &mut Report,
) -> Option<Command> {
    let args = table
        .get("args")
        .map_or(Some(Vec::new()), |v| arguments(&v, report));
    let node_args = table
        .get("node_args")
        .map_or(Some(Vec::new()), |v| arguments(&v, report));
    let interpreter = table.get("interpreter");
    let interpreter_text = match &interpreter {
        Some(value) => Some(value.string("\"node\"", report)?),
        None => None,
    };
    match (table.get("script"), table.get("command")) {
        (Some(script), None) => {
            let written = script.string("\"server.js\"", report)?;
            let ask = Script {
                written,
                interpreter: interpreter_text,
                interpreter_args: node_args?,
                args: args?,
            };
            at.resolve_script(ask)
                .map_err(|wrong| match wrong {
                    Wrong::Script(refusal) => report.error(&script.place, refusal),
                    Wrong::Interpreter(refusal) => {
                        let place = interpreter.as_ref().map_or(&script.place, |v| &v.place);
                        report.error(place, refusal);
                    }
                })
                .ok()
        }
        (None, Some(command)) => {
            script_only(table, report);
            program(&command, table, args?, at, report)
        }
        (Some(_), Some(command)) => {
            let what = "both `script` and `command` are given";
            let why = "an app is started in one way";
            report.error(
                &command.key_place,
                Refusal::new(what, why, "remove one of them"),
            );
            None
        }
        (None, None) => {
            let what = format!("[{}] has neither `script` nor `command`", table.title);
            let why = "nothing says what to start";
            let fix = "add `script = \"server.js\"` or `command = \"npm start\"`";
            report.missing(&table.place, Refusal::new(what, why, fix));
            None
        }
    }
}

/// Keys that only a script has.
fn script_only(table: &Table<'_>, report: &mut Report) {
    for key in ["interpreter", "node_args"] {
        if let Some(value) = table.get(key) {
            let what = format!("`{key}` has no meaning with `command`");
            let why = "a command names its own program";
            let fix = "use `script`, or write it into the command";
            report.error(&value.key_place, Refusal::new(what, why, fix));
        }
    }
}

fn program(
    command: &Value<'_>,
    table: &Table<'_>,
    args: Vec<String>,
    at: &Surroundings<'_>,
    report: &mut Report,
) -> Option<Command> {
    if command.is_str() {
        let line = command.string("\"npm start\"", report)?.trim().to_owned();
        if let Some(args) = table.get("args") {
            let why = "a command in one string is a line for the shell";
            let fix = "write them into the line, or make the command a list";
            report.error(
                &args.key_place,
                Refusal::new("`args` beside a shell line", why, fix),
            );
        }
        return Some(Command::Shell { line });
    }
    let mut words = command.strings("[\"npm\", \"start\"]", report)?.into_iter();
    let Some((first, place)) = words.next().filter(|(word, _)| !word.is_empty()) else {
        let why = "its first word is the program";
        let fix = "write it like `command = [\"npm\", \"start\"]`";
        report.error(
            &command.place,
            Refusal::new("`command` names no program", why, fix),
        );
        return None;
    };
    let program = report.take(&place, at.resolve_program(first))?;
    let words = words.map(|(word, _)| word.to_owned());
    Some(Command::Exec {
        program,
        args: words.chain(args).collect(),
    })
}

/// A list of arguments, or one string of words.
fn arguments(value: &Value<'_>, report: &mut Report) -> Option<Vec<String>> {
    let strings = value.strings("[\"--port\", \"3000\"]", report)?;
    if !value.is_str() {
        return Some(
            strings
                .into_iter()
                .map(|(text, _)| text.to_owned())
                .collect(),
        );
    }
    let split = strings.first().and_then(|(text, _)| words::split(text));
    if split.is_none() {
        let what = format!("`{}` has a quote that is never closed", value.key);
        let why = "a string of arguments is split into words as a shell does";
        report.error(
            &value.place,
            Refusal::new(what, why, "close it, or write a list"),
        );
    }
    split
}
