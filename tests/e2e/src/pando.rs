use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use crate::view::{self, App};
use crate::{npm, process, wait};

/// A command of the binary that takes longer hangs.
const COMMAND_LIMIT: Duration = Duration::from_secs(120);
const KILL_LIMIT: Duration = Duration::from_secs(20);
/// In the environment of everything a harness starts; its value is the harness's own.
const MARK: &str = "PANDO_E2E_MARK";

/// The binary under test: `PANDO_BIN`, or target/debug/pando, built on first use.
pub fn binary() -> anyhow::Result<PathBuf> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let built = BUILT.get_or_init(|| build().map_err(|error| format!("{error:#}")));
    built.clone().map_err(anyhow::Error::msg)
}

fn build() -> anyhow::Result<PathBuf> {
    if let Some(path) = std::env::var_os("PANDO_BIN") {
        let path = PathBuf::from(path);
        ensure!(path.is_file(), "PANDO_BIN={} is no file", path.display());
        return Ok(path);
    }
    let _lock = npm::FileLock::take(&npm::cache_dir().join("build.lock"))?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args([
            "build",
            "-p",
            "pando",
            "--message-format=json-render-diagnostics",
        ])
        .current_dir(npm::workspace())
        .output()?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "cargo build -p pando failed:\n{errors}"
    );
    let lines = String::from_utf8_lossy(&output.stdout);
    let executable = lines
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter_map(|message| message.get("executable")?.as_str().map(PathBuf::from))
        .next_back();
    executable.context("cargo build -p pando named no executable")
}

/// A fixture of tests/e2e/apps.
pub fn app(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("apps")
        .join(name)
}

/// A Pando with a home of its own. Dropped, it ends all that it started.
#[derive(Debug)]
pub struct Pando {
    binary: PathBuf,
    dir: tempfile::TempDir,
    mark: String,
    env: BTreeMap<OsString, OsString>,
    cwd: PathBuf,
}

/// What a command printed and how it ended.
#[derive(Debug)]
pub struct Output {
    pub command: String,
    /// The exit code; 128 + n when signal n ended it.
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
    pub took: Duration,
}

impl Output {
    /// It ended with 0.
    pub fn ok(self) -> anyhow::Result<Self> {
        self.exits(0)
    }

    pub fn exits(self, code: i32) -> anyhow::Result<Self> {
        if self.code == code {
            return Ok(self);
        }
        bail!(
            "{} exited {}, not {code}\nstdout: {}\nstderr: {}",
            self.command,
            self.code,
            self.stdout,
            self.stderr
        )
    }

    /// Its standard error has each of `words`.
    pub fn says(self, words: &[&str]) -> anyhow::Result<Self> {
        for word in words {
            ensure!(
                self.stderr.contains(word),
                "{} does not say {word:?}: {}",
                self.command,
                self.stderr
            );
        }
        Ok(self)
    }
}

impl Pando {
    pub fn new() -> anyhow::Result<Self> {
        Self::with_binary(binary()?)
    }

    pub fn with_binary(binary: PathBuf) -> anyhow::Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let dir = tempfile::Builder::new().prefix("pando-e2e-").tempdir()?;
        fs::create_dir(dir.path().join("work"))?;
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let mark = format!("{}-{count}", std::process::id());
        let cwd = dir.path().join("work");
        Ok(Self {
            binary,
            dir,
            mark,
            env: BTreeMap::new(),
            cwd,
        })
    }

    /// `PANDO_HOME`.
    pub fn home(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    /// An empty directory for the test's own files, where commands run unless told otherwise.
    pub fn work(&self) -> PathBuf {
        self.dir.path().join("work")
    }

    /// Sets a variable for the commands to come, and so for the apps that they start.
    pub fn env(&mut self, name: &str, value: impl Into<OsString>) -> &mut Self {
        self.env.insert(name.into(), value.into());
        self
    }

    /// Runs the commands to come in `dir`.
    pub fn cwd(&mut self, dir: impl Into<PathBuf>) -> &mut Self {
        self.cwd = dir.into();
        self
    }

    /// Writes a file below [`Pando::work`].
    pub fn write(&self, name: &str, text: &str) -> anyhow::Result<PathBuf> {
        let path = self.work().join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
        Ok(path)
    }

    /// The command, ready to be spawned with other stdio.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command
            .args(args)
            .current_dir(&self.cwd)
            .env("PANDO_HOME", self.home())
            .env("NO_COLOR", "1")
            .env(MARK, &self.mark)
            .env_remove("PORT")
            .envs(&self.env)
            .stdin(Stdio::null());
        command
    }

    /// Runs a command to its end. Its output goes to files, not pipes: a daemon that wrongly kept
    /// a pipe open would otherwise hang the test in place of failing it.
    pub fn cmd(&self, args: &[&str]) -> anyhow::Result<Output> {
        let out = tempfile::tempfile_in(self.dir.path())?;
        let err = tempfile::tempfile_in(self.dir.path())?;
        let start = Instant::now();
        let mut child = self
            .command(args)
            .stdout(out.try_clone()?)
            .stderr(err.try_clone()?)
            .spawn()
            .with_context(|| format!("{} does not start", self.binary.display()))?;
        let status = wait_within(&mut child, COMMAND_LIMIT);
        let output = Output {
            command: format!("pando {}", args.join(" ")),
            code: status.as_ref().map_or(-1, exit_code),
            stdout: read_back(out)?,
            stderr: read_back(err)?,
            took: start.elapsed(),
        };
        ensure!(status.is_some(), "hangs for {COMMAND_LIMIT:?}: {output:?}");
        Ok(output)
    }

    /// `pando ls --json`.
    pub fn apps(&self) -> anyhow::Result<Vec<App>> {
        view::apps(&self.cmd(&["ls", "--json"])?.ok()?.stdout)
    }

    pub fn app(&self, name: &str) -> anyhow::Result<App> {
        let apps = self.apps()?;
        let found = apps.iter().find(|app| app.name() == name);
        found
            .cloned()
            .with_context(|| format!("no app {name} in {apps:?}"))
    }

    /// Waits until the app is as `wanted`.
    pub fn wait_app(
        &self,
        name: &str,
        what: &str,
        mut wanted: impl FnMut(&App) -> bool,
    ) -> anyhow::Result<App> {
        let mut last = String::new();
        wait::for_some(what, || match self.app(name) {
            Ok(app) if wanted(&app) => Some(app),
            Ok(app) => {
                last = app.0.to_string();
                None
            }
            Err(error) => {
                last = format!("{error:#}");
                None
            }
        })
        .with_context(|| format!("app {name} is: {last}"))
    }

    /// Waits until `n` of `n` workers are ready.
    pub fn wait_ready(&self, name: &str, n: u64) -> anyhow::Result<App> {
        self.wait_app(name, &format!("{name}: {n} ready"), |app| {
            app.status() == "ready" && app.ready() == n && app.wanted() == n
        })
    }

    /// Starts `apps/hello.js` as `api` on a free port with so many workers.
    pub fn start_hello(&mut self, instances: &str, more: &[&str]) -> anyhow::Result<u16> {
        let port = crate::port::free()?;
        self.env("PORT", port.to_string());
        let script = app("hello.js").display().to_string();
        let mut args = vec!["start", &script, "--name", "api", "-i", instances];
        args.extend(more);
        self.cmd(&args)?.ok()?;
        Ok(port)
    }

    /// Every living process that this harness's commands brought forth, also by detours.
    pub fn processes(&self) -> Vec<u32> {
        let mut pids = process::with_env(MARK, &self.mark);
        // The daemon keeps little of the environment of the command that started it.
        pids.extend(self.daemons().into_iter().flat_map(process::tree));
        pids.retain(|pid| process::is_alive(*pid));
        pids.sort_unstable();
        pids.dedup();
        pids
    }

    /// Processes of this binary that have this home on their command line.
    fn daemons(&self) -> Vec<u32> {
        let home = self.home().display().to_string();
        let ours = |pid: &u32| is_pando(*pid) && process::command_line(*pid).contains(&home);
        process::all()
            .into_iter()
            .map(|stat| stat.pid)
            .filter(ours)
            .collect()
    }

    /// Root and supervisor, when both run.
    pub fn daemon(&self) -> Option<(u32, u32)> {
        let daemons = self.daemons();
        let is_root = |pid: &u32| {
            process::command_line(*pid)
                .split(' ')
                .any(|word| word == "root")
        };
        let root = daemons.into_iter().find(is_root)?;
        let child = |stat: &process::Stat| stat.parent == root && is_pando(stat.pid);
        process::all()
            .iter()
            .find(|stat| child(stat))
            .map(|stat| (root, stat.pid))
    }

    /// Root and supervisor, waited for.
    pub fn wait_daemon(&self) -> anyhow::Result<(u32, u32)> {
        wait::for_some("root and supervisor run", || self.daemon())
    }

    /// `kill -9` of everything at once, as a power cut would.
    pub fn kill_all(&self) -> anyhow::Result<()> {
        let limit = Instant::now() + KILL_LIMIT;
        loop {
            let pids = self.processes();
            if pids.is_empty() {
                return Ok(());
            }
            ensure!(
                Instant::now() < limit,
                "processes survive SIGKILL: {pids:?}"
            );
            for pid in pids {
                process::kill(pid);
            }
            std::thread::sleep(wait::POLL);
        }
    }
}

impl Drop for Pando {
    fn drop(&mut self) {
        if !self.daemons().is_empty()
            && let Ok(mut child) = self
                .command(&["kill"])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
        {
            wait_within(&mut child, KILL_LIMIT);
        }
        if let Err(error) = self.kill_all() {
            eprintln!("{error:#}");
        }
        if std::thread::panicking() || std::env::var_os("PANDO_E2E_KEEP").is_some() {
            eprintln!("the daemon's files: {}", keep(&self.home()).display());
        }
    }
}

/// Copies of a failed test's home, for a person to look at.
fn keep(home: &Path) -> PathBuf {
    let name = home.parent().and_then(Path::file_name).unwrap_or_default();
    let kept = npm::cache_dir().join("failed").join(name);
    let _ = fs::create_dir_all(&kept);
    let _ = Command::new("cp").arg("-a").arg(home).arg(&kept).status();
    kept
}

fn is_pando(pid: u32) -> bool {
    process::executable(pid)
        .and_then(|path| {
            path.file_name()?
                .to_str()
                .map(|name| name.starts_with("pando"))
        })
        .unwrap_or(false)
}

/// Waits for a child; past `limit` kills it and gives `None`.
pub fn wait_within(child: &mut Child, limit: Duration) -> Option<std::process::ExitStatus> {
    let mut status = None;
    wait::until(limit, || {
        status = child.try_wait().ok().flatten();
        status.is_some()
    });
    if status.is_none() {
        let _ = child.kill();
        let _ = child.wait();
    }
    status
}

/// A shell's view of how a process ended.
pub fn exit_code(status: &std::process::ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

fn read_back(mut file: File) -> anyhow::Result<String> {
    use std::io::Seek;
    file.rewind()?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// 127.0.0.1 with that port.
pub fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}
