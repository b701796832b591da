//! The environment: `env_file` and `env`.

use std::collections::BTreeMap;

use super::Context;
use crate::problem::{Place, Refusal, Report};
use crate::table::Table;
use crate::{command, dotenv, environment};

/// The files of `env_file` in their order, then `env` above them.
pub(super) fn read(
    table: &Table<'_>,
    context: &Context<'_>,
    report: &mut Report,
) -> BTreeMap<String, String> {
    let mut env = BTreeMap::new();
    let files = table
        .get("env_file")
        .and_then(|v| v.strings("\".env\"", report));
    for (file, place) in files.into_iter().flatten() {
        env.extend(env_file(context, file, &place, report));
    }
    let inline = table.get("env").and_then(|v| {
        v.table(
            &format!("{}.env", table.title),
            "{ NODE_ENV = \"production\" }",
            report,
        )
    });
    for value in inline.iter().flat_map(Table::values) {
        let Some(text) = value.scalar(report) else {
            continue;
        };
        if report
            .take(&value.key_place, environment::check(value.key, &text))
            .is_some()
        {
            env.insert(value.key.to_owned(), text);
        }
    }
    env
}

/// The variables of one env file; its own problems have their places in it.
pub(crate) fn env_file(
    context: &Context<'_>,
    written: &str,
    place: &Place,
    report: &mut Report,
) -> BTreeMap<String, String> {
    let path = command::absolute(context.dir, written);
    if !context.fs.is_file(&path) {
        let what = format!("no such file: {written}");
        let why = format!("there is no file {}", path.display());
        let fix = "create it, check the path, or remove env_file";
        report.error(place, Refusal::new(what, why, fix));
        return BTreeMap::new();
    }
    let read = context.fs.read(&path, dotenv::MAX_BYTES + 1);
    let text = match read.map(String::from_utf8) {
        Ok(Ok(text)) if text.len() as u64 <= dotenv::MAX_BYTES => text,
        Ok(Ok(_)) => {
            let what = format!("{written} is larger than 1 MiB");
            let refusal = Refusal::new(what, "a file of settings is not", "check the path");
            report.error(place, refusal);
            return BTreeMap::new();
        }
        Ok(Err(_)) => {
            let what = format!("{written} is not UTF-8 text");
            report.error(place, Refusal::new(what, "", "save it as UTF-8"));
            return BTreeMap::new();
        }
        Err(error) => {
            let what = format!("cannot read {written}");
            report.error(
                place,
                Refusal::new(what, error.to_string(), "check its permissions"),
            );
            return BTreeMap::new();
        }
    };
    dotenv::parse(&text, &path, context.base_env).unwrap_or_else(|problems| {
        problems
            .into_iter()
            .for_each(|problem| report.push(problem));
        BTreeMap::new()
    })
}
