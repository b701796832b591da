//! `files = "public"`, or a table; its settings may stand in the route too.

use gateway_spec::Files;

use super::{field, headers};
use crate::app::Context;
use crate::problem::{Refusal, Report};
use crate::table::{Table, Value, nothing_foreign};

/// What a route with `files` may have for them.
pub(super) const KEYS: [&str; 6] = [
    "index",
    "spa",
    "cache_control",
    "precompressed",
    "fall_through",
    "dotfiles",
];

pub(super) fn read(
    value: &Value<'_>,
    route: &Table<'_>,
    context: &Context<'_>,
    report: &mut Report,
) -> Option<Files> {
    let table = if value.is_str() {
        None
    } else {
        let table = value.table("files", "\"public\"", report)?;
        let known: Vec<&str> = KEYS.into_iter().chain(["root"]).collect();
        table.only(&known, nothing_foreign, report);
        Some(table)
    };
    let root = match &table {
        None => value.clone(),
        Some(table) => match table.get("root") {
            Some(root) => root,
            None => {
                let why = "files come from a directory";
                let refusal = Refusal::new("`files` has no `root`", why, "add `root = \"public\"`");
                report.missing(&table.place, refusal);
                return None;
            }
        },
    };
    let path = field::path(&root, "\"public\"", context, report)?;
    if !context.fs.is_dir(&path) {
        let what = format!("there is no directory {}", path.display());
        let why = "every request to this route gets 404 until it is there";
        report.warning(
            &root.place,
            Refusal::new(what, why, "create it, or check the path"),
        );
    }
    let mut files = Files {
        root: path,
        index: vec!["index.html".into()],
        spa: None,
        cache_control: None,
        precompressed: true,
        fall_through: false,
        dotfiles: false,
    };
    settings(route, &mut files, report);
    if let Some(table) = &table {
        settings(table, &mut files, report);
    }
    Some(files)
}

fn settings(table: &Table<'_>, files: &mut Files, report: &mut Report) {
    field::set(table, "index", &mut files.index, report, index);
    field::set(table, "spa", &mut files.spa, report, spa);
    field::set(
        table,
        "cache_control",
        &mut files.cache_control,
        report,
        |v, r| {
            let text = v.string("\"public, max-age=31536000, immutable\"", r)?;
            r.take(&v.place, headers::value(text))
                .map(|()| Some(text.to_owned()))
        },
    );
    field::boolean(table, "precompressed", &mut files.precompressed, report);
    field::boolean(table, "fall_through", &mut files.fall_through, report);
    field::boolean(table, "dotfiles", &mut files.dotfiles, report);
}

/// Names in the directory that is asked for; `[]` serves none.
fn index(value: &Value<'_>, report: &mut Report) -> Option<Vec<String>> {
    let mut names = Vec::new();
    for (name, place) in value.strings("[\"index.html\"]", report)? {
        if name.is_empty() || name.contains('/') || name == ".." {
            let what = format!("`{name}` is not the name of a file");
            let why = "an index is looked for in the directory that is asked for";
            report.error(
                &place,
                Refusal::new(what, why, "write it like \"index.html\""),
            );
            continue;
        }
        names.push(name.to_owned());
    }
    Some(names)
}

/// `true` is index.html; a string is another file below the root.
fn spa(value: &Value<'_>, report: &mut Report) -> Option<Option<String>> {
    if value.is_bool() {
        return value
            .boolean(report)
            .map(|on| on.then(|| "index.html".to_owned()));
    }
    let text = value.string("\"index.html\"", report)?;
    let name = text.trim_start_matches('/');
    if name.is_empty() || name.split('/').any(|part| part == "..") {
        let what = format!("`{text}` is not a file below the root");
        let why = "it is served for pages that are not there";
        report.error(
            &value.place,
            Refusal::new(what, why, "write it like \"index.html\""),
        );
        return None;
    }
    Some(Some(name.to_owned()))
}
