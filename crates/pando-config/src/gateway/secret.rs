//! A secret: as it is, from the environment (`{ env = "NAME" }`), or from a file
//! (`{ file = "/run/secrets/x" }`).

use gateway_spec::Secret;

use super::field;
use crate::app::Context;
use crate::problem::{Refusal, Report};
use crate::table::{Value, nothing_foreign};

/// A larger file is no secret.
const MAX_SECRET_BYTES: u64 = 64 * 1024;

pub(crate) fn read(
    value: &Value<'_>,
    context: &Context<'_>,
    report: &mut Report,
) -> Option<Secret> {
    if !value.is_table() {
        report.conceal(&value.place);
        let text = value.string("{ env = \"NAME\" }", report)?;
        return Some(Secret::new(text));
    }
    let table = value.table(value.key, "{ env = \"NAME\" }", report)?;
    table.only(&["env", "file"], nothing_foreign, report);
    match (table.get("env"), table.get("file")) {
        (Some(name), None) => from_env(&name, context, report),
        (None, Some(file)) => from_file(&file, context, report),
        (Some(_), Some(_)) | (None, None) => {
            let what = format!("`{}` does not say where the secret is", value.key);
            let why = "it is in one place: `env` or `file`";
            let fix = format!("write it like `{} = {{ env = \"NAME\" }}`", value.key);
            report.error(&value.place, Refusal::new(what, why, fix));
            None
        }
    }
}

fn from_env(name: &Value<'_>, context: &Context<'_>, report: &mut Report) -> Option<Secret> {
    let text = name.string("\"NAME\"", report)?;
    let found = context.base_env.get(text).filter(|value| !value.is_empty());
    if found.is_none() {
        let what = format!("there is no {text} in the environment");
        let why = "the secret is read from the environment of the command that reads this file";
        let fix = format!("export {text}, or use `file`");
        report.error(&name.place, Refusal::new(what, why, fix));
    }
    found.map(Secret::new)
}

fn from_file(file: &Value<'_>, context: &Context<'_>, report: &mut Report) -> Option<Secret> {
    let path = field::path(file, "\"/run/secrets/redis\"", context, report)?;
    let refuse = |why: String| {
        let what = format!("the secret in {} cannot be read", path.display());
        Refusal::new(what, why, "check the path and its permissions")
    };
    let read = context.fs.read(&path, MAX_SECRET_BYTES + 1);
    let bytes = read.map_err(|error| refuse(error.to_string()));
    let text = bytes.and_then(|bytes| {
        let text = String::from_utf8(bytes).map_err(|_| refuse("it is not text".into()))?;
        let text = text.trim_end_matches(['\r', '\n']);
        match text.len() as u64 {
            0 => Err(refuse("it is empty".into())),
            n if n > MAX_SECRET_BYTES => Err(refuse("it is larger than 64 KiB".into())),
            _ if text.contains('\0') => Err(refuse("it has a NUL character".into())),
            _ => Ok(Secret::new(text)),
        }
    });
    report.take(&file.place, text)
}
