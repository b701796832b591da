//! `pando.toml`: found, read, and every problem of it told at once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use app_spec::AppSpec;
use gateway_spec::GatewaySpec;
use monitor_spec::settings::MonitorSpec;
use toml::de::DeTable;

use crate::app::{self, Context};
use crate::checks;
use crate::fs::{FileSystem, RealFs};
use crate::gateway;
use crate::monitor;
use crate::problem::{Place, Problem, Refusal, Report, did_you_mean};
use crate::source::Source;
use crate::table::{Table, Value};

pub const FILE_NAME: &str = "pando.toml";
/// A larger pando.toml is not one.
pub const MAX_FILE_BYTES: u64 = 1024 * 1024;
pub const MAX_APPS: usize = 256;

/// Parts of pando.toml that this version does not have yet.
const LATER: [&str; 1] = ["postgres"];
/// Parts of pando.toml.
const PARTS: [&str; 3] = ["app", "gateway", "site"];

#[derive(Clone, Debug, PartialEq)]
pub struct File {
    pub path: PathBuf,
    /// In file order.
    pub apps: Vec<AppSpec>,
    /// `None` if the file has neither `[gateway]` nor `[site]`.
    pub gateway: Option<GatewaySpec>,
    /// `None` if the file has none of `[metrics]`, `[otlp]`, `[alerts]` and `[alert.…]`.
    pub monitor: Option<MonitorSpec>,
}

/// Reads and checks a pando.toml. `base_env` is the caller's environment; what of it is Pando's
/// or the shell's own is left out of the specs.
pub fn load(
    path: &Path,
    base_env: &BTreeMap<String, String>,
) -> Result<(File, Vec<Problem>), Vec<Problem>> {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    let path: PathBuf = path.components().collect();
    let text = read(&path).map_err(|refusal| vec![Problem::of_file(&path, refusal)])?;
    parse(&text, &path, base_env, &RealFs)
}

fn read(path: &Path) -> Result<String, Refusal> {
    let bytes = RealFs.read(path, MAX_FILE_BYTES + 1).map_err(|error| {
        let absent = error.kind() == std::io::ErrorKind::NotFound;
        let fix = if absent {
            "write one with `pando init`, or check the path"
        } else {
            "check the path and its permissions"
        };
        Refusal::new("cannot read this file", error.to_string(), fix)
    })?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(too_large());
    }
    let not_text = |_| Refusal::new("the file is not UTF-8 text", "TOML is", "save it as UTF-8");
    String::from_utf8(bytes).map_err(not_text)
}

fn too_large() -> Refusal {
    let why = "a pando.toml is not that large";
    Refusal::new("the file is larger than 1 MiB", why, "check the path")
}

/// As [`load`], of a text. `path` is absolute: relative paths in the text start at its directory.
/// Each problem of the text has a line and a column.
pub fn parse(
    text: &str,
    path: &Path,
    base_env: &BTreeMap<String, String>,
    fs: &dyn FileSystem,
) -> Result<(File, Vec<Problem>), Vec<Problem>> {
    let source = Source::new(path, text);
    let mut report = Report::new(Some(&source));
    if text.len() as u64 > MAX_FILE_BYTES {
        report.error(&Place::Span(0..0), too_large());
        return Err(report.into_problems());
    }
    let (root, errors) = DeTable::parse_recoverable(text);
    syntax(&errors, &source, &mut report);
    let context = Context {
        dir: path.parent().unwrap_or(Path::new("/")),
        base_env,
        fs,
    };
    let root = Table::new(root.get_ref(), "the file", Place::Span(0..0));
    top_level(&root, &mut report);
    let apps = read_apps(&root, path, &context, &mut report);
    let names = app_names(&root);
    let names: Vec<&str> = names.iter().map(|value| value.key).collect();
    let mut gateway = gateway::read(&root, &names, &context, &mut report);
    let mut monitor = monitor::read(&root, &names, &context, &mut report);
    if report.has_errors() {
        return Err(report.into_problems());
    }
    if let Some(monitor) = &mut monitor {
        monitor.origin = Some(path.to_path_buf());
        // The gateway sends the spans of its requests itself.
        if let (Some(gateway), Some(otlp)) = (&mut gateway, &monitor.otlp) {
            gateway.otlp = otlp.traces.then(|| otlp.clone());
        }
    }
    let file = File {
        path: path.to_path_buf(),
        apps,
        gateway,
        monitor,
    };
    Ok((file, report.into_problems()))
}

fn syntax(errors: &[toml::de::Error], source: &Source<'_>, report: &mut Report) {
    // The header that came twice, whose keys then do too: one problem, not one for each key.
    let mut twice: Option<usize> = None;
    for error in errors {
        let end = source.text.len();
        let span = error.span().unwrap_or(end..end);
        if error.message() != "duplicate key" {
            let why = "this is not TOML";
            let fix = "strings need quotes, a table's name stands in [brackets]";
            report.syntax(span, Refusal::new(error.message(), why, fix));
            continue;
        }
        let (line, _) = source.position(span.start);
        let is_header = |line: usize| source.line(line).trim_start().starts_with('[');
        if is_header(line) {
            twice = Some(line);
        } else if twice.is_some_and(|header| !(header + 1..=line).any(is_header)) {
            continue;
        }
        let key = source.text.get(span.clone()).unwrap_or_default();
        let why = "a key, and the name of an app, can be given once";
        let refusal = Refusal::new(
            format!("`{key}` is given twice"),
            why,
            "remove one of the two",
        );
        report.syntax(span, refusal);
    }
}

fn read_apps(
    root: &Table<'_>,
    path: &Path,
    context: &Context<'_>,
    report: &mut Report,
) -> Vec<AppSpec> {
    let Some(value) = root.get("app") else {
        // A gateway alone is a whole file too, and so is how a home is watched.
        let others = ["gateway", "site"].iter().chain(&monitor::PARTS);
        if others.filter_map(|part| root.get(part)).next().is_none() {
            no_apps(&Place::Span(0..0), report);
        }
        return Vec::new();
    };
    let Some(table) = value.table("app", "{ }", report) else {
        return Vec::new();
    };
    let values = table.values();
    if values.is_empty() {
        no_apps(&value.key_place, report);
    }
    if values.len() > MAX_APPS {
        let what = format!("{} apps are too many", values.len());
        let why = format!("one file has at most {MAX_APPS}");
        report.error(
            &values[MAX_APPS].key_place,
            Refusal::new(what, why, "split it"),
        );
    }
    let mut apps = Vec::new();
    for value in values.iter().take(MAX_APPS) {
        let Some(table) = app_table(value, report) else {
            continue;
        };
        apps.extend(app::read(value.key, &table, context, report));
    }
    let names: Vec<&str> = values.iter().map(|value| value.key).collect();
    checks::apps(&apps, &names, report);
    let specs = apps.into_iter().map(|(mut spec, _)| {
        spec.origin = Some(path.to_path_buf());
        spec
    });
    specs.collect()
}

/// Every app that the file names, the broken ones too.
fn app_names<'t>(root: &Table<'t>) -> Vec<Value<'t>> {
    let apps = root.get("app").filter(Value::is_table);
    let table = apps.and_then(|value| value.table("app", "{ }", &mut Report::new(None)));
    let values = table.map(|table| table.values()).unwrap_or_default();
    values.into_iter().filter(Value::is_table).collect()
}

/// One `[app.NAME]`; `[app]` itself with keys of an app in it is a usual mistake.
fn app_table<'t>(value: &Value<'t>, report: &mut Report) -> Option<Table<'t>> {
    if !value.is_table() {
        let what = format!("[app] has a key `{}` that is not an app", value.key);
        let why = "each app is a table with its name in the header";
        let fix = "write [app.NAME] above its keys, such as [app.api]";
        report.error(&value.key_place, Refusal::new(what, why, fix));
        return None;
    }
    value.table(&format!("app.{}", value.key), "{ }", report)
}

fn top_level(root: &Table<'_>, report: &mut Report) {
    let parts: Vec<&str> = PARTS.into_iter().chain(monitor::PARTS).collect();
    let known: BTreeSet<&str> = parts.iter().copied().chain(LATER).collect();
    for value in root.values() {
        let key = value.key;
        let refusal = if LATER.contains(&key) {
            let what = format!("[{key}] is not supported by this version");
            Refusal::new(what, "it belongs to a later one", "remove it")
        } else if parts.contains(&key) {
            continue;
        } else {
            let fix = match did_you_mean(key, known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None if value.is_table() => format!("an app is written [app.{key}]"),
                None => "settings of an app stand below its [app.NAME]".to_owned(),
            };
            let what = format!("unknown key `{key}` at the top of the file");
            Refusal::new(
                what,
                "a key that is not known would be ignored silently",
                fix,
            )
        };
        report.error(&value.key_place, refusal);
    }
}

fn no_apps(place: &Place, report: &mut Report) {
    let what = "there is no app in this file";
    let fix = "add [app.NAME] with a `script`, or write a file with `pando init`";
    report.missing(place, Refusal::new(what, "nothing would be started", fix));
}

/// The `pando.toml` of a directory. Its parents are not looked at, on purpose: a command given in
/// one project must never act on the apps of another one above it.
pub fn find(start: &Path) -> Option<PathBuf> {
    let path = start.join(FILE_NAME);
    path.is_file().then_some(path)
}
