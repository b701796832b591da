//! Fields of a table, each to its place in the spec if it is there and sound.

use std::path::PathBuf;

use crate::app::Context;
use crate::command;
use crate::problem::Report;
use crate::table::{Table, Value};

/// Sets `target` to what `read` makes of the value of `key`.
pub(crate) fn set<'t, T>(
    table: &Table<'t>,
    key: &str,
    target: &mut T,
    report: &mut Report,
    read: impl FnOnce(&Value<'t>, &mut Report) -> Option<T>,
) {
    if let Some(value) = table.get(key)
        && let Some(sound) = read(&value, report)
    {
        *target = sound;
    }
}

pub(crate) fn duration(table: &Table<'_>, key: &str, target: &mut u64, report: &mut Report) {
    set(table, key, target, report, |v, r| v.duration_ms(false, r));
}

/// One for which zero is a choice.
pub(crate) fn duration_or_zero(
    table: &Table<'_>,
    key: &str,
    target: &mut u64,
    report: &mut Report,
) {
    set(table, key, target, report, |v, r| v.duration_ms(true, r));
}

pub(crate) fn boolean(table: &Table<'_>, key: &str, target: &mut bool, report: &mut Report) {
    set(table, key, target, report, |v, r| v.boolean(r));
}

/// A size of at least one byte.
pub(crate) fn size(table: &Table<'_>, key: &str, target: &mut u64, report: &mut Report) {
    set(table, key, target, report, |v, r| v.size_bytes(r));
}

pub(crate) fn share(table: &Table<'_>, key: &str, target: &mut f64, report: &mut Report) {
    set(table, key, target, report, |v, r| v.share(r));
}

/// A number from `least` up.
pub(crate) fn count(
    table: &Table<'_>,
    key: &str,
    least: u32,
    target: &mut u32,
    report: &mut Report,
) {
    set(table, key, target, report, |v, r| number(v, least, r));
}

pub(crate) fn number(value: &Value<'_>, least: u32, report: &mut Report) -> Option<u32> {
    let range = i64::from(least)..=i64::from(u32::MAX);
    let number = value.integer(range, "10", report)?;
    u32::try_from(number).ok()
}

pub(crate) fn string(
    table: &Table<'_>,
    key: &str,
    example: &str,
    target: &mut Option<String>,
    report: &mut Report,
) {
    set(table, key, target, report, |v, r| {
        v.string(example, r).map(|text| Some(text.to_owned()))
    });
}

/// The strings of a list or of one string.
pub(crate) fn strings(
    table: &Table<'_>,
    key: &str,
    example: &str,
    target: &mut Vec<String>,
    report: &mut Report,
) {
    set(table, key, target, report, |v, r| {
        let strings = v.strings(example, r)?;
        Some(
            strings
                .into_iter()
                .map(|(text, _)| text.to_owned())
                .collect(),
        )
    });
}

/// An absolute path; relative ones start at the file's directory.
pub(crate) fn path(
    value: &Value<'_>,
    example: &str,
    context: &Context<'_>,
    report: &mut Report,
) -> Option<PathBuf> {
    let text = value.string(example, report)?;
    Some(command::absolute(context.dir, text))
}
