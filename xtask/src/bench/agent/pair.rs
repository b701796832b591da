//! Base and variant side by side.

use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, ensure};
use e2e::{http, local, process, wait};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, recv, socketpair};

use super::Lab;
use super::variant::Variant;
use crate::bench::wrk::Wrk;

pub const CONNECTIONS: u32 = 16;
const WARM_UP_SECONDS: u64 = 2;
/// Round trips of a small object: about a millisecond on Node 24.
const BUSY_ROUNDS: &str = "20";
const MAX_DATAGRAM: usize = 128 * 1024;
/// After the load, before memory is looked at.
const SETTLE: Duration = Duration::from_millis(1500);

#[derive(Clone, Copy)]
pub struct Plan {
    pub rounds: usize,
    pub seconds: u64,
}

#[derive(Default)]
pub struct Figures {
    pub ratios: Vec<f64>,
    pub base_us: Vec<f64>,
    pub variant_us: Vec<f64>,
    pub more_mib: Vec<f64>,
}

pub struct App {
    pub child: Child,
    pub url: String,
    name: &'static str,
}

impl App {
    /// Started, and answering.
    pub fn spawn(mut command: Command, app: &str, name: &'static str) -> anyhow::Result<Self> {
        let port = e2e::port::free()?;
        command.env("PORT", port.to_string());
        let child = command.spawn().context("taskset does not start")?;
        let path = if app == "http" { "/" } else { "/users/7" };
        let app = Self {
            child,
            url: format!("http://127.0.0.1:{port}{path}"),
            name,
        };
        wait::for_true("the app answers", || {
            http::get(local(port), path).is_ok_and(|answer| answer.status == 200)
        })?;
        Ok(app)
    }
}

impl Drop for App {
    fn drop(&mut self) {
        process::kill(self.child.id());
        let _ = self.child.wait();
    }
}

pub fn measure(
    lab: &Lab,
    node: &Path,
    app: &str,
    variant: Variant,
    plan: Plan,
) -> anyhow::Result<Figures> {
    let mut figures = Figures::default();
    for round in 0..plan.rounds {
        // Who starts first, and whose load does, changes from round to round.
        let swapped = round % 2 == 1;
        let order = if swapped {
            [variant, Variant::Nothing]
        } else {
            [Variant::Nothing, variant]
        };
        let apps = [
            start(lab, node, app, order[0])?,
            start(lab, node, app, order[1])?,
        ];
        load(lab, &apps, WARM_UP_SECONDS)?;
        let before = [cpu_ns(&apps[0])?, cpu_ns(&apps[1])?];
        let requests = load(lab, &apps, plan.seconds)?;
        let after = [cpu_ns(&apps[0])?, cpu_ns(&apps[1])?];
        thread::sleep(SETTLE);
        let rss = [0, 1].map(|at| process::rss_bytes(apps[at].child.id()) as f64);
        let us =
            [0, 1].map(|at| (after[at] - before[at]) as f64 / 1000.0 / requests[at].max(1) as f64);
        let (base, with) = if swapped { (1, 0) } else { (0, 1) };
        figures.ratios.push(us[with] / us[base]);
        figures.base_us.push(us[base]);
        figures.variant_us.push(us[with]);
        let more = (rss[with] - rss[base]) / f64::from(1 << 20);
        figures.more_mib.push(more);
    }
    Ok(figures)
}

fn start(lab: &Lab, node: &Path, app: &str, variant: Variant) -> anyhow::Result<App> {
    let mut command = command(lab, node, app, variant);
    let theirs = match variant {
        Variant::Pando => Some(listen(&mut command, lab, &[])?),
        Variant::Nothing | Variant::PromBundle | Variant::Pm2 | Variant::OpenTelemetry => None,
    };
    let app = App::spawn(command, app, variant.name());
    drop(theirs);
    app
}

/// The app on its core, without its port.
pub fn command(lab: &Lab, node: &Path, app: &str, variant: Variant) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", &lab.app_core.to_string()]).arg(node);
    if let Some(file) = variant.preload() {
        command.arg("--require").arg(lab.apps.join(file));
    }
    command
        .arg(lab.apps.join("app.js"))
        .env("APP", app)
        .env("VARIANT", variant.key())
        .env("ROUNDS", BUSY_ROUNDS)
        .env("PACKAGES", &lab.packages)
        .env("NODE_ENV", "production")
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    command
}

/// The preload's environment and its socket, which a thread reads until it ends. `before` is loaded
/// before it.
pub fn listen(command: &mut Command, lab: &Lab, before: &[&Path]) -> anyhow::Result<OwnedFd> {
    let pair = socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::empty(),
        None,
    )?;
    let (ours, theirs) = pair;
    rustix::io::fcntl_setfd(&ours, rustix::io::FdFlags::CLOEXEC)?;
    let files = before.iter().copied().chain([lab.agent.as_path()]);
    let requires: Vec<String> = files
        .map(|file| format!("--require={}", file.display()))
        .collect();
    command.env("NODE_OPTIONS", requires.join(" "));
    command.env("PANDO_AGENT_FD", theirs.as_raw_fd().to_string());
    thread::spawn(move || {
        let mut datagram = vec![0; MAX_DATAGRAM];
        while recv(&ours, &mut datagram, RecvFlags::empty()).is_ok_and(|(length, _)| length > 0) {}
    });
    Ok(theirs)
}

/// Both at once; the requests that each answered.
fn load(lab: &Lab, apps: &[App; 2], seconds: u64) -> anyhow::Result<[u64; 2]> {
    let run = |app: &App| {
        Wrk {
            name: app.name,
            url: &app.url,
            seconds,
            connections: CONNECTIONS,
            keep_alive: true,
            core: Some(lab.load_core),
        }
        .run()
    };
    let (first, second) = thread::scope(|scope| {
        let first = scope.spawn(|| run(&apps[0]));
        let second = run(&apps[1]);
        (first.join(), second)
    });
    let first = first.map_err(|_| anyhow::anyhow!("the load's thread panicked"))??;
    Ok([first, second?])
}

/// Time on a core of all threads of it.
fn cpu_ns(app: &App) -> anyhow::Result<u64> {
    let mut total = 0;
    for task in fs::read_dir(format!("/proc/{}/task", app.child.id()))? {
        // A thread may end in between.
        let text = fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
        let first = text.split_whitespace().next();
        total += first.and_then(|ns| ns.parse::<u64>().ok()).unwrap_or(0);
    }
    ensure!(total > 0, "no schedstat of {}", app.child.id());
    Ok(total)
}
