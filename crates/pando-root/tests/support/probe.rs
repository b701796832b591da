//! A root whose supervisor does what a test tells it. Told by datagrams to `HOME/ctl`
//! ([`control::Control`] as JSON); writes all it hears from root to `HOME/events`, a line each.
//!
//! A copy of this binary behaves by its file name: `mute`, `dying`, `amnesiac`, `refusing`.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsFd, BorrowedFd, IntoRawFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, exit};
use std::time::{Duration, Instant};

use pando_root::proto::{ChildId, FromRoot, SpawnSpec, ToRoot};
use pando_root::{Ended, Link, Mode, Options, SELFCHECK_ARG, run, selfcheck_line};
use rustix::event::{PollFd, PollFlags, poll};

#[path = "control.rs"]
mod control;
use control::{Control, DYING_FIRST_ENV, FAILED, LOCKED, READY_ENV, TUNING_ENV};

const CONTROL_BYTES: usize = 512 * 1024;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        [SELFCHECK_ARG] if behaves("refusing") => {
            println!("something is missing here");
            ExitCode::from(3)
        }
        [SELFCHECK_ARG] => {
            println!("{}", selfcheck_line());
            ExitCode::SUCCESS
        }
        ["root", "--resume", number] => {
            let number = number.parse().expect("a number");
            let forgets = || File::open("/dev/null").expect("exists").into_raw_fd();
            root(Options::resume(if behaves("amnesiac") {
                forgets()
            } else {
                number
            }))
        }
        ["root", home, mode] => {
            let mode = if mode == "daemon" {
                Mode::Daemon
            } else {
                Mode::Foreground
            };
            let mut options = Options::new(home.into(), mode, vec!["supervisor".into()]);
            if let Ok(tuning) = std::env::var(TUNING_ENV) {
                options.tuning = serde_json::from_str(&tuning).expect("tuning");
            }
            if let Some(fifo) = std::env::var_os(READY_ENV) {
                options.ready_fd = Some(File::create(fifo).expect("a reader").into());
            }
            root(options)
        }
        ["supervisor"] => supervise().map_or_else(
            |error| {
                eprintln!("probe supervisor: {error}");
                ExitCode::FAILURE
            },
            |()| ExitCode::SUCCESS,
        ),
        _ => ExitCode::from(2),
    }
}

fn behaves(how: &str) -> bool {
    let exe = std::env::current_exe().expect("this binary's path");
    exe.file_name()
        .is_some_and(|name| name.to_string_lossy().contains(how))
}

fn root(options: Options) -> ExitCode {
    let ended = run(options);
    println!("{ended:?}");
    match ended {
        Ended::Shutdown { code } => exit(code),
        Ended::Locked { .. } => ExitCode::from(LOCKED),
        Ended::Failed(_) => ExitCode::from(FAILED),
    }
}

struct Probe {
    home: PathBuf,
    link: Link,
    stored: BTreeMap<String, OwnedFd>,
    events: File,
    upgrading: bool,
}

fn supervise() -> io::Result<()> {
    if behaves("dying") || std::env::var_os(DYING_FIRST_ENV).is_some() {
        return Err(io::Error::other("as told"));
    }
    while behaves("mute") {
        std::thread::sleep(Duration::from_secs(1));
    }
    let home = PathBuf::from(std::env::var_os("PANDO_HOME").expect("root sets it"));
    let events = OpenOptions::new()
        .append(true)
        .create(true)
        .open(home.join("events"))?;
    let mut probe = Probe {
        link: Link::from_env()?,
        stored: BTreeMap::new(),
        events,
        upgrading: false,
        home,
    };
    let control = probe.home.join("ctl");
    let _ = std::fs::remove_file(&control);
    let control = UnixDatagram::bind(control)?;
    loop {
        wait(&probe.link, control.as_fd())?;
        while let Some((message, fds)) = probe.hear()? {
            probe.on_message(message, fds)?;
        }
        probe.link.flush()?;
        control.set_nonblocking(true)?;
        let mut buffer = vec![0; CONTROL_BYTES];
        while let Ok(length) = control.recv(&mut buffer) {
            let control = serde_json::from_slice(&buffer[..length])?;
            probe.on_control(control)?;
        }
    }
}

fn wait(link: &Link, control: BorrowedFd<'_>) -> io::Result<()> {
    let mut flags = PollFlags::IN;
    flags.set(PollFlags::OUT, link.wants_write());
    let mut fds = [
        PollFd::new(link, flags),
        PollFd::from_borrowed_fd(control, PollFlags::IN),
    ];
    poll(&mut fds, None)?;
    Ok(())
}

impl Probe {
    fn hear(&mut self) -> io::Result<Option<(FromRoot, Vec<OwnedFd>)>> {
        match self.link.recv() {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                if !self.upgrading {
                    let killed = pando_root::kill_leftovers(&self.home)?;
                    writeln!(self.events, "{{\"root_is_gone\":{killed:?}}}")?;
                }
                exit(0)
            }
            other => other,
        }
    }

    fn on_message(&mut self, message: FromRoot, fds: Vec<OwnedFd>) -> io::Result<()> {
        let line = serde_json::json!({ "pid": std::process::id(), "from_root": message });
        writeln!(self.events, "{line}")?;
        match message {
            FromRoot::Fds { names } => self.stored.extend(names.into_iter().zip(fds)),
            FromRoot::Ready => self.link.send(&ToRoot::Hello, &[])?,
            FromRoot::Upgrading => self.upgrading = true,
            FromRoot::Hello { .. }
            | FromRoot::Spawned { .. }
            | FromRoot::SpawnFailed { .. }
            | FromRoot::Exited { .. }
            | FromRoot::Signal { .. }
            | FromRoot::Refused { .. }
            | FromRoot::UpgradeFailed { .. } => {}
        }
        Ok(())
    }

    fn on_control(&mut self, control: Control) -> io::Result<()> {
        match control {
            Control::Order { order, files } => self.order(&order, &files),
            Control::Store {
                prefix,
                count,
                file,
            } => {
                for n in 0..count {
                    let order = ToRoot::Store {
                        name: format!("{prefix}{n}"),
                    };
                    self.order(&order, std::slice::from_ref(&file))?;
                }
                Ok(())
            }
            Control::Put { name, bytes } => {
                let value = Some("\"".repeat(bytes));
                self.order(&ToRoot::Put { name, value }, &[])
            }
            Control::Write { name, text } => {
                let fd = self.stored.get(&name).expect("a stored fd").try_clone()?;
                File::from(fd).write_all(text.as_bytes())
            }
            Control::LastWords { orders } => {
                for order in &orders {
                    self.link.send(order, &[])?;
                }
                rustix::process::kill_process(
                    rustix::process::getpid(),
                    rustix::process::Signal::KILL,
                )?;
                Ok(())
            }
            Control::Bench { count } => self.bench(count),
            Control::Exit { code } => exit(code),
        }
    }

    fn order(&mut self, order: &ToRoot, files: &[PathBuf]) -> io::Result<()> {
        let open = |path: &PathBuf| {
            OpenOptions::new()
                .read(true)
                .append(true)
                .create(true)
                .open(path)
        };
        let files = files.iter().map(open).collect::<io::Result<Vec<_>>>()?;
        self.link
            .send(order, &files.iter().map(AsFd::as_fd).collect::<Vec<_>>())
    }

    /// Microseconds from the order to `Spawned`, for one after the other.
    fn bench(&mut self, count: u64) -> io::Result<()> {
        let mut micros = Vec::new();
        for n in 0..count {
            let child = ChildId(1_000_000 + n);
            let start = Instant::now();
            self.link
                .send(&ToRoot::Spawn(true_spec(child, &self.home)), &[])?;
            let mut spawned = None;
            while self.next(child, &mut spawned, start)? {}
            micros.extend(spawned.map(|d| u64::try_from(d.as_micros()).unwrap_or(u64::MAX)));
            self.link.send(&ToRoot::Forget { child }, &[])?;
        }
        micros.sort_unstable();
        let line = serde_json::json!({ "spawn_micros": micros });
        writeln!(self.events, "{line}")
    }

    /// False when the child has exited.
    fn next(
        &mut self,
        child: ChildId,
        spawned: &mut Option<Duration>,
        start: Instant,
    ) -> io::Result<bool> {
        poll(&mut [PollFd::new(&self.link, PollFlags::IN)], None)?;
        match self.hear()? {
            Some((FromRoot::Spawned { child: id, .. }, _)) if id == child => {
                *spawned = Some(start.elapsed());
                Ok(true)
            }
            Some((FromRoot::Exited { child: id, .. }, _)) if id == child => Ok(false),
            Some(_) | None => Ok(true),
        }
    }
}

fn true_spec(child: ChildId, cwd: &Path) -> SpawnSpec {
    SpawnSpec {
        child,
        program: "/bin/true".into(),
        args: Vec::new(),
        argv0: None,
        env: Vec::new(),
        cwd: cwd.into(),
        fds: Vec::new(),
        user: None,
        marker: "bench".into(),
        nofile: true,
    }
}
