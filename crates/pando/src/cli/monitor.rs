//! How a pando.toml wants the home to be watched (`[metrics]`, `[otlp]`, `[alert.NAME]`): what
//! `plan` shows and `up` does of it.

use std::path::Path;

use monitor_spec::ask::{Answer as Heard, Ask};
use monitor_spec::settings::MonitorSpec;
use pando_config::{Change, plan_monitor};
use pando_control::api::{Answer, Request};

use super::file::Told;
use crate::context::{Context, unexpected};
use crate::error::ExpectedError;

/// What it is called beside apps.
const NAME: &str = "(metrics)";

pub struct Step {
    pub told: Told,
    /// `None`: it is so already.
    wanted: Option<MonitorSpec>,
}

impl Step {
    pub fn changes(&self) -> bool {
        self.wanted.is_some()
    }
}

/// A question to the metrics.
///
/// # Errors
/// Those of the call.
pub fn ask(ask: Ask, ctx: &mut Context) -> anyhow::Result<Heard> {
    match ctx.call(Request::Monitor { ask })? {
        Answer::Monitor(answer) => Ok(*answer),
        Answer::Version { .. }
        | Answer::Apps(_)
        | Answer::Changed { .. }
        | Answer::Env(_)
        | Answer::Specs(_)
        | Answer::Gateway(_)
        | Answer::End => Err(unexpected()),
    }
}

/// What is to be done; `None` where the file says nothing of it and never did.
///
/// # Errors
/// Another file has said how the home is watched.
pub fn step(
    path: &Path,
    wanted: Option<MonitorSpec>,
    ctx: &mut Context,
) -> anyhow::Result<Option<Step>> {
    let now = if ctx.is_reached() {
        let Heard::Settings(spec) = ask(Ask::Settings, ctx)? else {
            return Err(unexpected());
        };
        *spec
    } else {
        MonitorSpec::default()
    };
    Ok(decide(path, &now, wanted)?)
}

fn decide(
    path: &Path,
    now: &MonitorSpec,
    wanted: Option<MonitorSpec>,
) -> Result<Option<Step>, ExpectedError> {
    let own = now.origin.as_deref() == Some(path);
    let Some(wanted) = wanted else {
        // Another file's settings are left alone by a file that has none.
        return Ok(own.then(|| {
            let changed = plan_monitor(now, &MonitorSpec::default());
            stepping(
                '-',
                "reset",
                "no longer in the file",
                changed,
                Some(MonitorSpec::default()),
            )
        }));
    };
    if let Some(other) = now.origin.as_deref().filter(|_| !own) {
        return Err(ExpectedError::failed(
            "another file says how this home is watched",
            format!("{} has [metrics], [otlp] or alerts", other.display()),
            format!(
                "keep them in one file; or remove them there and run `pando up --file {}`",
                other.display()
            ),
        ));
    }
    if *now == wanted {
        return Ok(Some(stepping('=', "unchanged", "", Vec::new(), None)));
    }
    let (sign, verb) = if own {
        ('~', "configure")
    } else {
        ('+', "configure")
    };
    let changed = plan_monitor(now, &wanted);
    Ok(Some(stepping(sign, verb, "", changed, Some(wanted))))
}

fn stepping(
    sign: char,
    verb: &'static str,
    why: &str,
    changed: Vec<Change>,
    wanted: Option<MonitorSpec>,
) -> Step {
    let told = Told {
        sign,
        app: NAME.to_owned(),
        verb,
        why: why.to_owned(),
        changed,
    };
    Step { told, wanted }
}

/// Does it; says what was done, if anything.
///
/// # Errors
/// The settings cannot be written.
pub fn apply(step: Step, ctx: &mut Context) -> anyhow::Result<Option<String>> {
    let Some(wanted) = step.wanted else {
        return Ok(None);
    };
    let reset = wanted.origin.is_none();
    let Heard::Done = ask(wanted.into(), ctx)? else {
        return Err(unexpected());
    };
    let what = if reset {
        "as by default"
    } else {
        "as the file says"
    };
    Ok(Some(format!("metrics and alerts are {what}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(origin: &str, disk_bytes: u64) -> MonitorSpec {
        MonitorSpec {
            origin: Some(origin.into()),
            disk_bytes,
            ..MonitorSpec::default()
        }
    }

    #[test]
    fn a_file_owns_what_it_has_said() {
        let path = Path::new("/srv/pando.toml");
        let (mine, other) = (spec("/srv/pando.toml", 1), spec("/other/pando.toml", 1));
        let new = spec("/srv/pando.toml", 2);
        let verb = |now: &MonitorSpec, wanted: Option<&MonitorSpec>| {
            let step = decide(path, now, wanted.cloned());
            step.map(|step| step.map(|step| (step.told.verb, step.told.changed.len())))
        };
        let nothing = MonitorSpec::default();
        assert_eq!(verb(&nothing, None).unwrap(), None);
        assert_eq!(verb(&other, None).unwrap(), None);
        assert_eq!(verb(&nothing, Some(&mine)).unwrap(), Some(("configure", 1)));
        assert_eq!(verb(&mine, Some(&new)).unwrap(), Some(("configure", 1)));
        assert_eq!(verb(&mine, Some(&mine)).unwrap(), Some(("unchanged", 0)));
        assert_eq!(verb(&mine, None).unwrap(), Some(("reset", 1)));
        assert!(verb(&other, Some(&mine)).is_err());
    }
}
