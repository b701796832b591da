//! Finding the daemon, or starting it.
//!
//! ```text
//! pando start ─ start.lock ─► pando root --daemon      (own session, cwd /, stdin /dev/null)
//!      │                          │ stdout: a pipe, for one word: "ok", or what went wrong
//!      └── waits for the word ◄───┘ then stdout becomes daemon.log, as stderr is from the start
//! ```
//! Commands that race take turns at `start.lock`: the second finds the first one's daemon.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, PipeReader, Read, Seek, SeekFrom, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use pando_control::{Client, ConnectError};

use crate::error::ExpectedError;
use crate::home;

/// From the start of root to a socket that answers.
const READY_TIMEOUT: Duration = Duration::from_secs(15);
/// Of waiting for another command that starts the daemon; longer than that command waits itself.
const LOCK_TIMEOUT: Duration = Duration::from_secs(20);
const LOCK_PAUSE: Duration = Duration::from_millis(20);
/// What is kept of root's word.
const MAX_WORD_BYTES: usize = 16 * 1024;
/// Lines of a new daemon's log that are shown.
const MAX_COMPLAINTS: usize = 8;
/// The word of a daemon that serves.
const OK: &str = "ok";

/// What the daemon gets of the environment of the command that happens to start it. Apps get
/// theirs by their specs; a secret of this shell is nothing that a daemon should keep.
const KEPT_ENV: [&str; 10] = [
    "HOME",
    "LANG",
    "LC_ALL",
    "LOGNAME",
    "PATH",
    "TMPDIR",
    "TZ",
    "USER",
    "XDG_RUNTIME_DIR",
    "RUST_BACKTRACE",
];

/// A client of the daemon of `home`, which is started if none runs.
pub async fn connect_or_start(home: &Path) -> anyhow::Result<Client> {
    // A socket that nobody listens on is from a daemon that was killed: root holds the listener
    // for as long as it lives. There is nothing to wait for.
    match Client::connect_within(home, Duration::ZERO).await {
        Err(ConnectError::NoDaemon { .. }) => {}
        other => return other.map_err(|e| ExpectedError::from(e).into()),
    }
    home::prepare(home)?;
    let lock = take_turn(home)?;
    match Client::connect_within(home, Duration::ZERO).await {
        Err(ConnectError::NoDaemon { .. }) => {}
        other => return other.map_err(|e| ExpectedError::from(e).into()),
    }
    home::set_killed(home, false)?;
    start(home)?;
    drop(lock);
    Client::connect(home)
        .await
        .map_err(|e| ExpectedError::from(e).into())
}

fn take_turn(home: &Path) -> anyhow::Result<File> {
    let path = home.join(home::START_LOCK);
    let lock = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&path)
        .map_err(|e| unwritable(&path, &e))?;
    let deadline = Instant::now() + LOCK_TIMEOUT;
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(lock),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                std::thread::sleep(LOCK_PAUSE);
            }
            Err(TryLockError::WouldBlock) => {
                return Err(ExpectedError::failed(
                    "the daemon is being started by another command, which does not get done",
                    format!(
                        "{} is locked for {} s",
                        path.display(),
                        LOCK_TIMEOUT.as_secs()
                    ),
                    "look for a `pando` that hangs and end it",
                )
                .into());
            }
            Err(TryLockError::Error(e)) => return Err(unwritable(&path, &e).into()),
        }
    }
}

fn unwritable(path: &Path, error: &io::Error) -> ExpectedError {
    ExpectedError::failed(
        format!("{} cannot be used", path.display()),
        error.to_string(),
        "look at the directory's owner and mode, or choose another home with --home",
    )
}

/// Starts root and waits for its word.
fn start(home: &Path) -> anyhow::Result<()> {
    let log_path = home.join(home::DAEMON_LOG);
    let log = open_log(&log_path).map_err(|e| unwritable(&log_path, &e))?;
    let before = log.metadata()?.len();
    let (reader, writer) = io::pipe()?;
    let mut command = Command::new(own_program()?);
    command
        .arg("--home")
        .arg(home)
        .args(["root", "--daemon"])
        .current_dir("/")
        .env_clear()
        .envs(
            KEPT_ENV
                .iter()
                .filter_map(|name| Some((name, std::env::var_os(name)?))),
        )
        .stdin(Stdio::null())
        .stdout(writer)
        .stderr(log);
    let child = command.spawn();
    // With the command its copy of the pipe's writing end goes: only root has it now.
    drop(command);
    let child = child.map_err(|e| {
        ExpectedError::failed(
            "the daemon cannot be started",
            e.to_string(),
            "see `pando --help`",
        )
    })?;
    let word = wait_for_word(reader, READY_TIMEOUT)?;
    let complaints = complaints_since(&log_path, before);
    let why = match word {
        Word::Ok => {
            // A damaged journal, say: nothing that should wait until somebody reads the log.
            for complaint in complaints {
                // A stderr that is closed hears no warning.
                let _ = writeln!(io::stderr(), "warning: {complaint}");
            }
            return Ok(());
        }
        Word::Failed(why) => [vec![why], complaints].concat().join("; "),
        Word::Ended => "it ended without a word".into(),
        Word::Late => format!("process {} said nothing for {READY_TIMEOUT:?}", child.id()),
    };
    let fix = format!("its log says more: {}", log_path.display());
    Err(ExpectedError::failed("the daemon could not be started", why, fix).into())
}

/// What a new daemon has complained of in its log, which had this length before.
fn complaints_since(log: &Path, before: u64) -> Vec<String> {
    let mut text = Vec::new();
    let read = File::open(log).and_then(|mut log| {
        log.seek(SeekFrom::Start(before))?;
        log.take(MAX_WORD_BYTES as u64).read_to_end(&mut text)
    });
    if read.is_err() {
        return Vec::new();
    }
    String::from_utf8_lossy(&text)
        .lines()
        .filter_map(|line| {
            let (_time, rest) = line.split_once(' ')?;
            let (level, what) = rest.trim_start().split_once(' ')?;
            matches!(level, "WARN" | "ERROR").then(|| what.trim().to_owned())
        })
        .take(MAX_COMPLAINTS)
        .collect()
}

fn open_log(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)
}

/// This program's file. After it was replaced on disk the kernel adds a word to the path; the new
/// file is then the one to run.
fn own_program() -> io::Result<PathBuf> {
    let path = std::env::current_exe()?;
    match path.to_str().and_then(|p| p.strip_suffix(" (deleted)")) {
        Some(replaced) if !path.exists() => Ok(PathBuf::from(replaced)),
        Some(_) | None => Ok(path),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Word {
    Ok,
    Failed(String),
    Ended,
    Late,
}

fn wait_for_word(mut reader: PipeReader, timeout: Duration) -> io::Result<Word> {
    let deadline = Instant::now() + timeout;
    let mut word = Vec::new();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let mut polled = [rustix::event::PollFd::new(
            &reader,
            rustix::event::PollFlags::IN,
        )];
        let wait = rustix::event::Timespec::try_from(left).ok();
        match rustix::event::poll(&mut polled, wait.as_ref()) {
            Ok(0) => return Ok(Word::Late),
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(e) => return Err(e.into()),
        }
        let mut piece = [0; 1024];
        let count = reader.read(&mut piece)?;
        word.extend_from_slice(&piece[..count]);
        if count == 0 || word.len() > MAX_WORD_BYTES {
            return Ok(parse_word(&word));
        }
        // The daemon may keep its end open by mistake; a whole `ok` line is enough.
        if word.strip_suffix(b"\n") == Some(OK.as_bytes()) {
            return Ok(Word::Ok);
        }
    }
}

fn parse_word(word: &[u8]) -> Word {
    let text = String::from_utf8_lossy(word);
    match text.trim() {
        "" => Word::Ended,
        OK => Word::Ok,
        why => Word::Failed(why.to_owned()),
    }
}

/// The daemon's side of the pipe on which the starting command waits.
#[derive(Debug)]
pub struct Readiness {
    pipe: File,
}

impl Readiness {
    /// Makes this process a daemon: a session of its own, so that the terminal's signals and its
    /// end do not reach it; and stdout, which is the pipe, moves to the log. Call it first, while
    /// there is one thread.
    ///
    /// # Errors
    /// The log cannot be opened, or descriptors are short.
    pub fn detach(home: &Path) -> io::Result<Self> {
        // Fails only for the leader of a process group, and such a one has what it needs.
        let _ = rustix::process::setsid();
        let pipe: OwnedFd = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3)?;
        let log = open_log(&home.join(home::DAEMON_LOG))?;
        rustix::stdio::dup2_stdout(&log)?;
        Ok(Self {
            pipe: File::from(pipe),
        })
    }

    /// The pipe itself: root writes the word when the first supervisor is in charge.
    pub fn into_fd(self) -> OwnedFd {
        self.pipe.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(says: &str, timeout_ms: u64, keep_open: bool) -> Word {
        let (reader, mut writer) = io::pipe().unwrap();
        writer.write_all(says.as_bytes()).unwrap();
        let kept = keep_open.then(|| writer.try_clone().unwrap());
        drop(writer);
        let word = wait_for_word(reader, Duration::from_millis(timeout_ms)).unwrap();
        drop(kept);
        word
    }

    #[test]
    fn the_daemons_word_is_understood() {
        assert_eq!(word("ok\n", 10_000, false), Word::Ok);
        assert_eq!(word("ok\n", 10_000, true), Word::Ok);
        assert_eq!(word("", 10_000, false), Word::Ended);
        assert_eq!(
            word("disk full\nsee x\n", 10_000, false),
            Word::Failed("disk full\nsee x".into())
        );
        assert_eq!(word("o", 20, true), Word::Late);
    }

    #[test]
    fn what_a_new_daemon_complains_of_is_found_in_its_log() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("daemon.log");
        let old = "2026-01-01T00:00:00Z ERROR long ago\n";
        let new = "2026-01-02T00:00:00Z  INFO up\n2026-01-02T00:00:00Z  WARN a bad line n=1\n\
                   pando root: x\n2026-01-02T00:00:00Z ERROR worse";
        std::fs::write(&log, format!("{old}{new}")).unwrap();
        let found = complaints_since(&log, old.len() as u64);
        assert_eq!(found, ["a bad line n=1", "worse"]);
        assert!(complaints_since(&dir.path().join("none"), 0).is_empty());
    }

    #[test]
    fn one_command_at_a_time_starts_the_daemon() {
        let dir = tempfile::tempdir().unwrap();
        let first = take_turn(dir.path()).unwrap();
        let home = dir.path().to_owned();
        let second = std::thread::spawn(move || take_turn(&home).is_ok());
        std::thread::sleep(Duration::from_millis(60));
        assert!(!second.is_finished());
        drop(first);
        assert!(second.join().unwrap());
    }
}
