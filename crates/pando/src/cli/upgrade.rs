//! `pando upgrade`.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use app_spec::GATEWAY;
use clap::Args;
use pando_control::CallError;
use pando_control::api::{Answer, Request, Select};

use crate::context::{Context, Daemon, unexpected};
use crate::error::{ExpectedError, exit};

/// For the new supervisor to answer in place of the old one.
const TAKE_OVER_TIMEOUT: Duration = Duration::from_secs(15);
const TAKE_OVER_PAUSE: Duration = Duration::from_millis(20);

#[derive(Debug, Args)]
pub struct UpgradeArgs {
    /// The new binary [default: what now is where the daemon's binary was]
    path: Option<PathBuf>,
}

pub fn upgrade(args: &UpgradeArgs, ctx: &mut Context) -> anyhow::Result<u8> {
    let path = args.path.as_deref().map(program).transpose()?;
    if !ctx.reach(Daemon::ForKeptApps)? {
        return Err(ctx.nothing_runs());
    }
    let before = ctx.call(Request::Version)?;
    match ctx.call_raw(Request::Upgrade { path }, |_, _| {}) {
        // The connection may go with the supervisor that held it; the next one knows.
        Ok(_) | Err(CallError::Broken) => {}
        Err(error) => return Err(ExpectedError::from(error).into()),
    }
    let after = successor(ctx, &before)?;
    let (
        Answer::Version { version: old, .. },
        Answer::Version {
            version: new,
            root_pid,
            ..
        },
    ) = (&before, &after)
    else {
        return Err(unexpected());
    };
    let gateway = reload_gateway(ctx)?;
    if ctx.json {
        ctx.out.json(
            &serde_json::json!({ "from": old, "to": new, "root_pid": root_pid, "gateway": gateway }),
        );
    } else {
        let too = if gateway {
            ", and so does the gateway"
        } else {
            ""
        };
        ctx.out.line(&format!(
            "The daemon (process {root_pid}) runs version {new}{too}; it was {old}."
        ));
    }
    Ok(exit::OK)
}

/// The gateway is Pando too: one of the new binary takes over, and the one before drains. False if
/// none runs.
fn reload_gateway(ctx: &mut Context) -> anyhow::Result<bool> {
    let apps = ctx.list(Select::All)?;
    if !apps.iter().any(|app| app.name == GATEWAY && app.wanted > 0) {
        return Ok(false);
    }
    ctx.change(Request::Reload {
        select: Select::Names(vec![GATEWAY.to_owned()]),
        spec: None,
    })?;
    Ok(true)
}

/// The version that answers once another supervisor has taken over: the one before may still have
/// its last answers to give.
fn successor(ctx: &mut Context, before: &Answer) -> anyhow::Result<Answer> {
    let pid_of = |answer: &Answer| match answer {
        Answer::Version { supervisor_pid, .. } => Some(*supervisor_pid),
        Answer::Changed { .. }
        | Answer::Apps(_)
        | Answer::Env(_)
        | Answer::Specs(_)
        | Answer::Gateway(_)
        | Answer::Monitor(_)
        | Answer::End => None,
    };
    let deadline = Instant::now() + TAKE_OVER_TIMEOUT;
    loop {
        let after = ctx.call(Request::Version)?;
        if pid_of(&after) != pid_of(before) {
            return Ok(after);
        }
        if Instant::now() > deadline {
            return Err(ExpectedError::failed(
                "the new supervisor has not taken over",
                format!("the old one still answers after {TAKE_OVER_TIMEOUT:?}"),
                "the daemon's log says more: daemon.log in the home",
            )
            .into());
        }
        std::thread::sleep(TAKE_OVER_PAUSE);
    }
}

/// The file, absolute, if it can be run at all; whether it is a Pando is root's to find out.
fn program(path: &Path) -> Result<PathBuf, ExpectedError> {
    let wrong = |why: String| {
        let what = format!("{} cannot replace the daemon", path.display());
        ExpectedError::wrong_call(what, why, "name the file of a newer `pando`")
    };
    let full = path.canonicalize().map_err(|e| wrong(e.to_string()))?;
    let meta = full.metadata().map_err(|e| wrong(e.to_string()))?;
    if !meta.is_file() || meta.permissions().mode() & 0o111 == 0 {
        return Err(wrong("it is not an executable file".into()));
    }
    Ok(full)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_program_can_take_over() {
        assert!(program(Path::new("/bin/sh")).is_ok());
        let text = tempfile::NamedTempFile::new().unwrap();
        for wrong in [Path::new("/nowhere/pando"), text.path(), Path::new("/tmp")] {
            assert_eq!(
                program(wrong).unwrap_err().exit_code(),
                2,
                "{}",
                wrong.display()
            );
        }
    }
}
