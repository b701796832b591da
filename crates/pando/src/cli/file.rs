//! What is done with a pando.toml: plan, up, down.

use std::io::Write;
use std::path::{Path, PathBuf};

use app_spec::{AppSpec, Instances};
use clap::Args;
use pando_config::{Change, Step};
use pando_control::api::{AppView, Request, ScaleChange, Select};

use super::{edge, monitor, start};
use crate::config;
use crate::context::{Context, Daemon};
use crate::display::text::{self, Style};
use crate::error::{ExpectedError, exit};

#[derive(Debug, Default, Args)]
pub struct FileArgs {
    /// The file, or its directory [default: the pando.toml here]
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
}

pub fn plan(args: &FileArgs, ctx: &mut Context) -> anyhow::Result<u8> {
    let path = config::file(args.file.as_deref())?;
    let (wanted, watch) = config::load_all(&path, &config::shell_env())?;
    let reached = ctx.reach(Daemon::ForKeptApps)?;
    let running = if reached {
        ctx.specs(Select::All)?
    } else {
        Vec::new()
    };
    let watched = monitor::step(&path, watch, ctx)?;
    let groups = groups_of(&path, &running, &wanted)?;
    let all = watched.as_ref().map(|step| &step.told).into_iter();
    let told: Vec<&Told> = all
        .chain(groups.iter().flat_map(|group| &group.told))
        .collect();
    if ctx.json {
        ctx.out
            .json(&told.iter().map(|t| t.json()).collect::<Vec<_>>());
        return Ok(exit::OK);
    }
    show(ctx, &told);
    let changes = |told: &[&Told]| told.iter().filter(|t| t.sign != '=').count();
    let (all, watched) = (
        changes(&told),
        usize::from(watched.is_some_and(|w| w.changes())),
    );
    let what = match (all - watched, watched) {
        (0, 0) => "Nothing to do: all is as the file says.".to_owned(),
        (0, _) => "Metrics and alerts to change; `pando up` does it.".to_owned(),
        (1, _) => "1 app to change; `pando up` does it.".to_owned(),
        (n, _) => format!("{n} apps to change; `pando up` does it."),
    };
    ctx.out.line(&what);
    Ok(exit::OK)
}

pub fn up(args: &FileArgs, ctx: &mut Context) -> anyhow::Result<u8> {
    let path = config::file(args.file.as_deref())?;
    let (wanted, watch) = config::load_all(&path, &config::shell_env())?;
    ctx.reach(Daemon::Start)?;
    let running = ctx.specs(Select::All)?;
    let watched = monitor::step(&path, watch, ctx)?;
    let groups = groups_of(&path, &running, &wanted)?;
    let (mut text, mut apps) = (Vec::new(), Vec::<AppView>::new());
    if let Some(step) = watched {
        if !ctx.json {
            show(ctx, &[&step.told]);
        }
        text.extend(monitor::apply(step, ctx)?);
    }
    for (done, group) in groups.iter().enumerate() {
        if !ctx.json {
            show(ctx, &group.told.iter().collect::<Vec<_>>());
            ctx.out.flush();
        }
        let Some(request) = group.request.clone() else {
            continue;
        };
        match ctx.change(request) {
            Ok((more_text, more_apps)) => {
                text.extend(more_text);
                apps.retain(|app| !more_apps.iter().any(|new| new.name == app.name));
                apps.extend(more_apps);
            }
            Err(error) => {
                // An app that does not start is no reason for others not to be served.
                let rest = &groups[done + 1..];
                let (gateway, rest): (Vec<_>, Vec<_>) =
                    rest.iter().partition(|g| g.starts_gateway());
                tell_undone(&rest);
                for request in gateway.iter().filter_map(|group| group.request.clone()) {
                    ctx.change(request)?;
                }
                return Err(error);
            }
        }
    }
    if text.is_empty() && !ctx.json {
        let what = if wanted.is_empty() {
            "The file has no app."
        } else {
            "All is as the file says."
        };
        ctx.out.line(what);
    } else {
        apps.retain(|app| wanted.iter().any(|spec| spec.name == app.name));
        start::told(ctx, &text, &apps);
    }
    Ok(exit::OK)
}

pub fn down(args: &FileArgs, ctx: &mut Context) -> anyhow::Result<u8> {
    // The file itself is not read: one that is broken or gone can be taken down too.
    let path = config::file(args.file.as_deref())?;
    let reached = ctx.reach(Daemon::ForKeptApps)?;
    let running = if reached {
        ctx.specs(Select::All)?
    } else {
        Vec::new()
    };
    let names = managed(&path, &running);
    let watched = if reached {
        monitor::step(&path, None, ctx)?
    } else {
        None
    };
    let reset = match watched {
        Some(step) => monitor::apply(step, ctx)?,
        None => None,
    };
    if names.is_empty() && reset.is_some() {
        super::change::told(ctx, reset.as_slice(), &[]);
        return Ok(exit::OK);
    }
    if names.is_empty() {
        if ctx.json {
            ctx.out
                .json(&serde_json::json!({ "changed": [], "apps": [] }));
        } else {
            ctx.out.line(&format!("No app of {} runs.", path.display()));
        }
        return Ok(exit::OK);
    }
    let (mut text, apps) = ctx.change(Request::Delete {
        select: Select::Names(names),
    })?;
    text.extend(reset);
    super::change::told(ctx, &text, &apps);
    Ok(exit::OK)
}

/// Names of the apps that an earlier `up` of this file started.
fn managed(path: &Path, running: &[AppSpec]) -> Vec<String> {
    let own = running
        .iter()
        .filter(|spec| spec.origin.as_deref() == Some(path));
    own.map(|spec| spec.name.clone()).collect()
}

/// All that is to be done: the apps first, so that a gateway finds them; but one that goes, goes
/// before them.
fn groups_of(path: &Path, running: &[AppSpec], wanted: &[AppSpec]) -> anyhow::Result<Vec<Group>> {
    refuse_foreign(path, running, wanted)?;
    let (running_apps, running_gateway) = edge::split(running);
    let (wanted_apps, wanted_gateway) = edge::split(wanted);
    let steps = pando_config::plan(&running_apps, &wanted_apps, &managed(path, &running_apps));
    let mut all = groups(steps, &running_apps, path);
    if let Some(group) = edge::group(running_gateway, wanted_gateway, path) {
        let at = if wanted_gateway.is_some() {
            all.len()
        } else {
            0
        };
        all.insert(at, group);
    }
    Ok(all)
}

/// # Errors
/// An app of the file has the name of one that another file manages.
fn refuse_foreign(
    path: &Path,
    running: &[AppSpec],
    wanted: &[AppSpec],
) -> Result<(), ExpectedError> {
    for spec in wanted {
        let other = running
            .iter()
            .find(|r| r.name == spec.name)
            .and_then(|r| r.origin.as_deref());
        if let Some(other) = other.filter(|other| *other != path) {
            return Err(ExpectedError::failed(
                format!("app {} belongs to another file", spec.name),
                format!("{} started it", other.display()),
                format!(
                    "give it another name in {}; or `pando down --file {}` first",
                    path.display(),
                    other.display()
                ),
            ));
        }
    }
    Ok(())
}

/// Steps that go out as one request.
#[derive(Debug)]
pub(super) struct Group {
    pub told: Vec<Told>,
    /// `None`: there is nothing to do.
    pub request: Option<Request>,
}

impl Group {
    /// A gateway where there was none.
    fn starts_gateway(&self) -> bool {
        let is_gateway = |specs: &[AppSpec]| specs.iter().any(|spec| spec.gateway.is_some());
        matches!(&self.request, Some(Request::Start { specs, .. }) if is_gateway(specs))
    }
}

/// Starts that follow each other go together: the supervisor starts apps side by side where they
/// do not depend on each other.
fn groups(steps: Vec<Step>, running: &[AppSpec], path: &Path) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for step in steps {
        let told = Told::new(&step);
        let request = request(step, running, path);
        let last = groups.last_mut();
        match (request, last) {
            (
                Some(Request::Start { specs, .. }),
                Some(Group {
                    told: before,
                    request: Some(Request::Start { specs: all, .. }),
                }),
            ) => {
                before.push(told);
                all.extend(specs);
            }
            (request, _) => groups.push(Group {
                told: vec![told],
                request,
            }),
        }
    }
    groups
}

fn request(step: Step, running: &[AppSpec], path: &Path) -> Option<Request> {
    let one = |name: String| Select::Names(vec![name]);
    Some(match step {
        Step::Start(spec) => Request::Start {
            specs: vec![spec],
            wait: true,
        },
        Step::Delete { name } => Request::Delete { select: one(name) },
        Step::Scale { name, to, .. } => Request::Scale {
            select: one(name),
            change: ScaleChange::As(to),
        },
        Step::Reload { name, spec, .. } => Request::Reload {
            select: one(name),
            spec: Some(Box::new(spec)),
        },
        Step::Restart { name, spec, .. } => Request::Restart {
            select: one(name),
            spec: Some(Box::new(spec)),
        },
        Step::Configure { spec, .. } => Request::Configure {
            spec: Box::new(spec),
        },
        Step::Unchanged { name } => {
            // One that flags started and that is as the file has it: from now on it is the file's.
            let spec = running
                .iter()
                .find(|spec| spec.name == name && spec.origin.is_none())?;
            let spec = AppSpec {
                origin: Some(path.to_owned()),
                ..spec.clone()
            };
            Request::Configure {
                spec: Box::new(spec),
            }
        }
    })
}

/// A step in words.
#[derive(Debug)]
pub(super) struct Told {
    /// `+` new, `-` goes, `~` changes, `=` stays.
    pub sign: char,
    pub app: String,
    pub verb: &'static str,
    pub why: String,
    pub changed: Vec<Change>,
}

impl Told {
    fn new(step: &Step) -> Self {
        let told = |sign, app: &str, verb, why: &str, changed: &[Change]| Self {
            sign,
            app: app.to_owned(),
            verb,
            why: why.to_owned(),
            changed: changed.to_vec(),
        };
        match step {
            Step::Start(spec) => told('+', &spec.name, "start", "", &[]),
            Step::Delete { name } => told('-', name, "delete", "no longer in the file", &[]),
            Step::Scale { name, from, to } => {
                let why = format!("{} → {}", instances(*from), instances(*to));
                told('~', name, "scale", &why, &[])
            }
            Step::Reload { name, changed, .. } => told('~', name, "reload", "", changed),
            Step::Restart {
                name, changed, why, ..
            } => told('~', name, "restart", why, changed),
            Step::Configure { name, changed, .. } => told('~', name, "configure", "", changed),
            Step::Unchanged { name } => told('=', name, "unchanged", "", &[]),
        }
    }

    fn style(&self) -> Style {
        match self.sign {
            '+' => Style::Green,
            '-' => Style::Red,
            '~' => Style::Yellow,
            _ => Style::Dim,
        }
    }

    fn lines(&self, name_width: usize, color: bool) -> Vec<String> {
        let pad = " ".repeat(name_width.saturating_sub(text::width(&self.app)));
        let head = format!(
            "{} {}{pad}  {}",
            self.sign,
            text::one_line(&self.app),
            self.verb
        );
        let why = if self.why.is_empty() {
            String::new()
        } else {
            format!("  {}", self.why)
        };
        let mut lines = vec![format!("{}{why}", self.style().paint(&head, color))];
        for Change { key, from, to } in &self.changed {
            lines.push(text::one_line(&format!("    {key}: {from} → {to}")));
        }
        lines
    }

    fn json(&self) -> serde_json::Value {
        let change = |c: &Change| serde_json::json!({ "key": c.key, "from": c.from, "to": c.to });
        serde_json::json!({
            "step": self.verb,
            "app": self.app,
            "why": self.why,
            "changes": self.changed.iter().map(change).collect::<Vec<_>>(),
        })
    }
}

fn instances(instances: Instances) -> String {
    match instances {
        Instances::Count(n) => n.to_string(),
        Instances::Max => "max".to_owned(),
        Instances::MaxLess(n) => format!("-{n}"),
    }
}

fn show(ctx: &mut Context, told: &[&Told]) {
    let width = told.iter().map(|t| text::width(&t.app)).max().unwrap_or(0);
    let color = ctx.out.layout.color;
    ctx.out
        .lines(told.iter().flat_map(|t| t.lines(width, color)));
}

/// After a failure: what of the file is still to be done.
fn tell_undone(groups: &[&Group]) {
    let rest: Vec<&str> = groups
        .iter()
        .filter(|group| group.request.is_some())
        .flat_map(|group| group.told.iter().map(|t| t.app.as_str()))
        .collect();
    if !rest.is_empty() {
        // A stderr that is closed hears nothing.
        let _ = writeln!(std::io::stderr(), "not done: {}", rest.join(", "));
    }
}

#[cfg(test)]
mod tests {
    use app_spec::Command;

    use super::*;

    fn spec(name: &str, origin: Option<&str>) -> AppSpec {
        let command = Command::Shell { line: "x".into() };
        AppSpec {
            origin: origin.map(PathBuf::from),
            ..AppSpec::new(name, command, "/srv".into())
        }
    }

    #[test]
    fn an_app_of_another_file_is_left_alone() {
        let path = Path::new("/srv/pando.toml");
        let running = [
            spec("a", Some("/srv/pando.toml")),
            spec("b", Some("/other/pando.toml")),
        ];
        assert_eq!(managed(path, &running), ["a"]);
        assert!(refuse_foreign(path, &running, &[spec("a", Some("/srv/pando.toml"))]).is_ok());
        let error =
            refuse_foreign(path, &running, &[spec("b", Some("/srv/pando.toml"))]).unwrap_err();
        assert_eq!(error.to_string(), "app b belongs to another file");
        // One that was started by flags is taken over.
        assert!(
            refuse_foreign(
                path,
                &[spec("c", None)],
                &[spec("c", Some("/srv/pando.toml"))]
            )
            .is_ok()
        );
    }

    #[test]
    fn starts_go_together_and_the_order_stays() {
        let steps = vec![
            Step::Delete { name: "old".into() },
            Step::Start(spec("db", None)),
            Step::Start(spec("api", None)),
            Step::Unchanged { name: "web".into() },
            Step::Scale {
                name: "q".into(),
                from: Instances::Count(2),
                to: Instances::Max,
            },
            Step::Unchanged {
                name: "taken".into(),
            },
        ];
        let path = Path::new("/srv/pando.toml");
        let running = [spec("web", Some("/srv/pando.toml")), spec("taken", None)];
        let groups = groups(steps, &running, path);
        let sizes: Vec<usize> = groups.iter().map(|g| g.told.len()).collect();
        assert_eq!(sizes, [1, 2, 1, 1, 1]);
        let Some(Request::Start { specs, wait: true }) = &groups[1].request else {
            panic!()
        };
        assert_eq!(specs.len(), 2);
        assert!(groups[2].request.is_none());
        let Some(Request::Scale { change, .. }) = &groups[3].request else {
            panic!()
        };
        assert_eq!(*change, ScaleChange::As(Instances::Max));
        let Some(Request::Configure { spec }) = &groups[4].request else {
            panic!()
        };
        assert_eq!(spec.origin.as_deref(), Some(path));
    }

    #[test]
    fn a_plan_reads_like_a_diff() {
        let changed = vec![Change {
            key: "env.MODE".into(),
            from: "a".into(),
            to: "(none)".into(),
        }];
        let step = Step::Restart {
            name: "api".into(),
            spec: spec("api", None),
            changed,
            why: "the port is another".into(),
        };
        assert_eq!(
            Told::new(&step).lines(6, false),
            [
                "~ api     restart  the port is another",
                "    env.MODE: a → (none)"
            ]
        );
        let scale = Step::Scale {
            name: "api".into(),
            from: Instances::MaxLess(1),
            to: Instances::Count(4),
        };
        assert_eq!(Told::new(&scale).lines(3, false), ["~ api  scale  -1 → 4"]);
        assert_eq!(Told::new(&step).json()["changes"][0]["key"], "env.MODE");
    }
}
