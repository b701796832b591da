//! `pando resurrect`: a daemon that starts brings back what its journal has.

use std::time::{Duration, Instant};

use pando_control::api::{AppStatus, AppView, Progress, Select};

use crate::context::{Context, Daemon};
use crate::display::apps;
use crate::display::progress::ProgressLine;
use crate::error::{ExpectedError, exit};
use crate::home;

/// What apps that start slowly may take before this command returns; they go on.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(60);
const LOOK_PAUSE: Duration = Duration::from_millis(100);

pub fn resurrect(ctx: &mut Context) -> anyhow::Result<u8> {
    if !ctx.reach(Daemon::Never)? && !home::has_apps(&ctx.home) {
        let what = format!("nothing is kept in {}", ctx.home.display());
        let fix = "`pando start server.js` starts an app; it is kept from then on";
        return Err(ExpectedError::failed(what, "it has no journal of apps", fix).into());
    }
    ctx.reach(Daemon::Start)?;
    let deadline = Instant::now() + SETTLE_TIMEOUT;
    let mut progress = ProgressLine::new(ctx.json);
    let apps = loop {
        let apps = ctx.list(Select::All)?;
        match apps.iter().find(|app| !settled(app)) {
            Some(app) if Instant::now() < deadline => progress.show(&starting(app)),
            Some(_) | None => break apps,
        }
        ctx.sleep(LOOK_PAUSE);
    };
    progress.clear();
    if ctx.json {
        ctx.out.json(&apps);
    } else {
        let table = apps::table(&apps, None, ctx.out.layout);
        ctx.out.lines(table);
    }
    let well = apps
        .iter()
        .all(|app| matches!(app.status, AppStatus::Ready | AppStatus::Stopped));
    Ok(if well { exit::OK } else { exit::FAILED })
}

fn settled(app: &AppView) -> bool {
    match app.status {
        AppStatus::Starting | AppStatus::Waiting | AppStatus::Degraded | AppStatus::Stopping => {
            false
        }
        AppStatus::Ready
        | AppStatus::Unhealthy
        | AppStatus::CrashLoop
        | AppStatus::Stopped
        | AppStatus::Exited => true,
    }
}

fn starting(app: &AppView) -> Progress {
    let (name, ready, wanted) = (app.name.clone(), app.ready, app.wanted);
    Progress {
        app: name,
        ready,
        wanted,
        text: apps::status(app).0.to_owned(),
    }
}
