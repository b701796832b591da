//! What is around the processes: logs, user, dependencies, watched files.

use std::path::{Path, PathBuf};

use app_spec::{AppSpec, Logs, Watch};

use super::Context;
use super::lifecycle::duration;
use crate::checks::Places;
use crate::command;
use crate::fs::FileSystem;
use crate::problem::{Refusal, Report};
use crate::table::{Table, Value, nothing_foreign};

pub(super) fn read(
    table: &Table<'_>,
    spec: &mut AppSpec,
    places: &mut Places,
    context: &Context<'_>,
    report: &mut Report,
) {
    if let Some(value) = table.get("logs") {
        logs(&value, &table.title, context, &mut spec.logs, report);
    }
    if let Some(value) = table.get("user") {
        places.set("user", &value.place);
        spec.user = if value.is_integer() {
            value
                .integer(0..=i64::from(u32::MAX), "1000", report)
                .map(|id| id.to_string())
        } else {
            value.string("\"www-data\"", report).map(str::to_owned)
        };
    }
    if let Some(value) = table.get("depends_on") {
        places.set("depends_on", &value.place);
        let names = value.strings("[\"db\"]", report).unwrap_or_default();
        spec.depends_on = names.into_iter().map(|(name, _)| name.to_owned()).collect();
    }
    if let Some(value) = table.get("watch") {
        spec.watch = watch(&value, &table.title, &spec.cwd, context, report);
    }
    if let Some(value) = table.get("agent") {
        spec.agent = value.boolean(report).unwrap_or(true);
    }
}

const MIN_LOG_BYTES: u64 = 4096;

const MAX_KEPT_LOGS: i64 = 10_000;

pub(crate) fn log_size(bytes: u64) -> Result<u64, Refusal> {
    if bytes < MIN_LOG_BYTES {
        let what = "a log file of less than 4K is surely a typing error";
        let why = "it would be rotated every few lines";
        return Err(Refusal::new(what, why, "\"50M\" is the default"));
    }
    Ok(bytes)
}

fn logs(
    value: &Value<'_>,
    title: &str,
    context: &Context<'_>,
    logs: &mut Logs,
    report: &mut Report,
) {
    let example = "{ max_size = \"50M\", keep = 10 }";
    let Some(table) = value.table(&format!("{title}.logs"), example, report) else {
        return;
    };
    table.only(
        &["max_size", "keep", "compress", "dir"],
        nothing_foreign,
        report,
    );
    if let Some(value) = table.get("max_size") {
        let bytes = value.size_bytes(report);
        let bytes = bytes.and_then(|bytes| report.take(&value.place, log_size(bytes)));
        logs.max_bytes = bytes.unwrap_or(logs.max_bytes);
    }
    if let Some(keep) = table
        .get("keep")
        .and_then(|v| v.integer(0..=MAX_KEPT_LOGS, "10", report))
    {
        logs.keep = keep as u32;
    }
    if let Some(compress) = table.get("compress").and_then(|v| v.boolean(report)) {
        logs.compress = compress;
    }
    if let Some(dir) = table.get("dir").and_then(|v| v.string("\"logs\"", report)) {
        logs.dir = Some(command::absolute(context.dir, dir));
    }
}

pub(crate) const WATCH_DELAY_MS: u64 = 200;

fn watch(
    value: &Value<'_>,
    title: &str,
    cwd: &Path,
    context: &Context<'_>,
    report: &mut Report,
) -> Option<Watch> {
    let everything = || Watch {
        paths: vec![cwd.to_path_buf()],
        ignore: vec![],
        delay_ms: WATCH_DELAY_MS,
    };
    if value.is_bool() {
        return value.boolean(report)?.then(everything);
    }
    if !value.is_table() {
        let paths = watched(value, context, report)?;
        return Some(Watch {
            paths,
            ..everything()
        });
    }
    let table = value.table(&format!("{title}.watch"), "true", report)?;
    table.only(&["paths", "ignore", "delay"], nothing_foreign, report);
    let mut watch = everything();
    if let Some(value) = table.get("paths") {
        watch.paths = watched(&value, context, report)?;
    }
    if let Some(value) = table.get("ignore") {
        for (segment, place) in value.strings("[\"tmp\"]", report)? {
            let why = "it is compared with each part of a path: \"tmp\", \"cache.json\"";
            if segment.is_empty() || segment.contains(['*', '?', '/']) {
                let what = format!("`ignore` has \"{segment}\", which is not one part of a path");
                report.error(
                    &place,
                    Refusal::new(what, why, "name directories or files, no patterns"),
                );
            }
            watch.ignore.push(segment.to_owned());
        }
    }
    duration(&table, "delay", &mut watch.delay_ms, true, report);
    Some(watch)
}

fn watched(value: &Value<'_>, context: &Context<'_>, report: &mut Report) -> Option<Vec<PathBuf>> {
    let written = value.strings("[\"src\"]", report)?;
    if written.is_empty() {
        let fix = "name a directory, or set it to true for all";
        let refusal = Refusal::new(
            format!("`{}` is empty", value.key),
            "nothing would be watched",
            fix,
        );
        report.error(&value.place, refusal);
    }
    let mut paths = Vec::new();
    for (text, place) in written {
        let path = command::absolute(context.dir, text);
        report.take(&place, check_watched(text, &path, context.fs));
        paths.push(path);
    }
    Some(paths)
}

pub(crate) fn check_watched(
    written: &str,
    path: &Path,
    fs: &dyn FileSystem,
) -> Result<(), Refusal> {
    if fs.exists(path) {
        return Ok(());
    }
    let what = format!("nothing to watch at {written}");
    let why = format!("{} is neither a file nor a directory", path.display());
    Err(Refusal::new(what, why, "check the path"))
}
