//! `pando kill`: every app and the daemon.

use std::time::{Duration, Instant};

use pando_control::CallError;
use pando_control::api::{Frame, Request};

use crate::context::{Context, Daemon};
use crate::display::progress::ProgressLine;
use crate::error::{ExpectedError, exit};
use crate::home;

/// From the daemon's last word to its end.
const END_TIMEOUT: Duration = Duration::from_secs(10);
const LOOK_PAUSE: Duration = Duration::from_millis(50);

pub fn kill(ctx: &mut Context) -> anyhow::Result<u8> {
    if !ctx.reach(Daemon::Never)? {
        return told(ctx, false, "No Pando daemon runs");
    }
    let mut progress = ProgressLine::new(ctx.json);
    let answer = ctx.call_raw(Request::Kill, |_, frame| {
        if let Frame::Progress(p) = frame {
            progress.show(&p);
        }
    });
    progress.clear();
    match answer {
        // A daemon that ends may be gone before its answer is.
        Ok(_) | Err(CallError::Broken) => {}
        Err(error) => return Err(ExpectedError::from(error).into()),
    }
    home::set_killed(&ctx.home, true)?;
    let deadline = Instant::now() + END_TIMEOUT;
    ctx.disconnect();
    while ctx.reach_now()? {
        if Instant::now() > deadline {
            let what = "the daemon took the call but still runs";
            let fix = "see its log, `daemon.log` in the home directory; then kill its processes";
            return Err(ExpectedError::failed(what, "it answers on its socket", fix).into());
        }
        ctx.sleep(LOOK_PAUSE);
    }
    told(
        ctx,
        true,
        "Every app and the daemon are stopped. `pando resurrect` brings them back",
    )
}

fn told(ctx: &mut Context, killed: bool, text: &str) -> anyhow::Result<u8> {
    if ctx.json {
        ctx.out.json(&serde_json::json!({ "killed": killed }));
    } else if killed {
        ctx.out.line(&format!("{text}."));
    } else {
        let home = ctx.home.display().to_string();
        ctx.out.line(&format!("{text} for {home}."));
    }
    Ok(exit::OK)
}
