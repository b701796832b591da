//! `pando monit` in a terminal of tmux's, at both sizes, with the real daemon.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use e2e::{Pando, http, local, process, wait, wait_within};

/// Between an order and the same order again.
const ANSWER: Duration = Duration::from_secs(5);

/// A terminal with a shell in it. Dropped, it ends its own tmux and nothing else.
struct Terminal {
    socket: String,
}

impl Terminal {
    fn open(pando: &Pando, width: u16, height: u16) -> anyhow::Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let socket = format!("pando-e2e-{}-{count}", std::process::id());
        let terminal = Self { socket };
        let mut tmux = terminal.tmux();
        let like = pando.command(&[]);
        for (name, value) in like.get_envs() {
            match value {
                Some(value) => tmux.env(name, value),
                None => tmux.env_remove(name),
            };
        }
        let (width, height) = (width.to_string(), height.to_string());
        let status = tmux
            .args(["-f", "/dev/null", "new-session", "-d", "-x", &width, "-y"])
            .args([&height, "sh -i"])
            .env("PANDO", like.get_program())
            .env("LANG", "C.UTF-8")
            .env("LC_ALL", "C.UTF-8")
            .status()
            .context("tmux does not start: is it installed?")?;
        ensure!(status.success(), "tmux: {status}");
        Ok(terminal)
    }

    fn tmux(&self) -> Command {
        let mut tmux = Command::new("tmux");
        tmux.args(["-L", &self.socket]).env_remove("TMUX");
        tmux
    }

    fn asks(&self, args: &[&str]) -> String {
        let output = self.tmux().args(args).stderr(Stdio::null()).output();
        output.map_or_else(
            |_| String::new(),
            |output| String::from_utf8_lossy(&output.stdout).into_owned(),
        )
    }

    fn screen(&self) -> String {
        self.asks(&["capture-pane", "-p"])
    }

    /// Keys by tmux's names, or characters.
    fn press(&self, keys: &[&str]) {
        for key in keys {
            self.asks(&["send-keys", key]);
        }
    }

    /// A line to the shell.
    fn run(&self, line: &str) {
        self.asks(&["send-keys", "-l", line]);
        self.press(&["Enter"]);
    }

    fn shows(&self, words: &[&str]) -> anyhow::Result<String> {
        let mut last = String::new();
        wait::for_some("the screen shows it", || {
            last = self.screen();
            words
                .iter()
                .all(|word| last.contains(word))
                .then(|| last.clone())
        })
        .with_context(|| format!("{words:?} is not all on the screen:\n{last}"))
    }

    /// The shell has its screen back, and what is typed is shown and comes by lines.
    fn is_given_back(&self) -> anyhow::Result<()> {
        wait::for_true("the terminal leaves the other screen", || {
            self.asks(&["display-message", "-p", "#{alternate_on}"])
                .trim()
                == "0"
        })?;
        self.run("clear; stty -a | tr ';' '\\n' | tr ' ' '\\n' | grep -c '^icanon$\\|^echo$'");
        wait::for_true("the terminal's mode is as it was", || {
            self.screen().lines().any(|line| line.trim() == "2")
        })
        .with_context(|| self.screen())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.asks(&["kill-server"]);
    }
}

/// The dashboard's process.
fn dashboard(pando: &Pando) -> anyhow::Result<u32> {
    wait::for_some("the dashboard runs", || {
        let is_it = |pid: &u32| process::command_line(*pid).trim_end().ends_with(" monit");
        pando.processes().into_iter().find(is_it)
    })
}

fn tour(width: u16, height: u16) -> anyhow::Result<()> {
    const REQUESTS: u32 = 50;
    let mut pando = Pando::new()?;
    let port = pando.start_hello("2", &[])?;
    let terminal = Terminal::open(&pando, width, height)?;
    terminal.run("$PANDO monit");
    terminal.shows(&["pando › apps", "api", "● ready", "2/2"])?;
    terminal.press(&["Enter", "2"]);
    terminal.shows(&["pando › api", "[endpoints]"])?;
    for _ in 0..REQUESTS {
        http::get(local(port), "/")?;
    }
    terminal.shows(&["[endpoints]", "GET "])?;
    terminal.press(&["Enter"]);
    terminal.shows(&["pando › api › GET /", "requests in 60 s"])?;
    let counted = |screen: &str| {
        let line = screen
            .lines()
            .find(|line| line.contains("requests in 60 s"));
        let words = line.map(|line| line.split_whitespace().collect::<Vec<_>>());
        words.is_some_and(|words| words.get(4) == Some(&REQUESTS.to_string().as_str()))
    };
    wait::for_true("the count is that of the requests", || {
        counted(&terminal.screen())
    })
    .with_context(|| terminal.screen())?;
    terminal.press(&["Escape"]);
    terminal.shows(&["[endpoints]"])?;
    terminal.press(&["+"]);
    pando.wait_ready("api", 3)?;
    terminal.shows(&["● ready 3/3"])?;
    terminal.press(&["4"]);
    terminal.shows(&["[logs]"])?;
    terminal.press(&["?"]);
    terminal.shows(&["reload, loses nothing"])?;
    terminal.press(&["q", "q"]);
    terminal.is_given_back()
}

#[test]
fn a_small_terminal() -> anyhow::Result<()> {
    tour(80, 24)
}

#[test]
fn a_large_terminal() -> anyhow::Result<()> {
    tour(200, 60)
}

#[test]
fn it_goes_on_with_the_next_supervisor_and_says_when_there_is_none() -> anyhow::Result<()> {
    let mut pando = Pando::new()?;
    pando.start_hello("1", &[])?;
    let terminal = Terminal::open(&pando, 80, 24)?;
    terminal.run("$PANDO monit");
    terminal.shows(&["● ready", "1/1"])?;
    let (_, supervisor) = pando.wait_daemon()?;
    process::kill(supervisor);
    wait::for_true("another supervisor", || {
        pando.daemon().is_some_and(|(_, pid)| pid != supervisor)
    })?;
    // An order that comes before it listens, or before the next picture, is refused and says so:
    // who gives it gives it again.
    wait::for_true("it takes an order", || {
        terminal.run(":scale api 2");
        wait::until(ANSWER, || terminal.screen().contains("2/2"))
    })
    .with_context(|| terminal.screen())?;
    pando.wait_ready("api", 2)?;
    terminal.shows(&["2/2"])?;
    pando.cmd(&["kill"])?.ok()?;
    terminal.shows(&["figures are", "no Pando daemon runs"])?;
    terminal.press(&["C-c"]);
    terminal.is_given_back()
}

#[test]
fn the_terminal_is_given_back_on_every_way_out() -> anyhow::Result<()> {
    let mut pando = Pando::new()?;
    pando.start_hello("1", &[])?;
    let terminal = Terminal::open(&pando, 80, 24)?;
    terminal.run("$PANDO monit");
    terminal.shows(&["● ready", "q quit"])?;
    terminal.press(&["C-z"]);
    terminal.is_given_back()?;
    terminal.run("fg");
    terminal.shows(&["● ready", "q quit"])?;
    let size = ["resize-window", "-x", "120", "-y", "40"];
    terminal.asks(&size);
    terminal.shows(&["g gateway", "q quit"])?;
    process::signal(dashboard(&pando)?, rustix::process::Signal::TERM);
    terminal.is_given_back()
}

/// A plain pseudo-terminal: it answers no question about its cursor or its colours.
#[test]
fn a_terminal_that_answers_nothing_is_enough() -> anyhow::Result<()> {
    let mut pando = Pando::new()?;
    pando.start_hello("1", &[])?;
    let seen = pando.work().join("seen");
    let like = pando.command(&[]);
    let mut script = Command::new("script");
    for (name, value) in like.get_envs() {
        match value {
            Some(value) => script.env(name, value),
            None => script.env_remove(name),
        };
    }
    let line = "stty cols 80 rows 24; exec \"$PANDO\" monit";
    let mut child = script
        .args(["-q", "-f", "-e", "-c", line])
        .arg(&seen)
        .env("PANDO", like.get_program())
        .env("TERM", "xterm")
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()?;
    let drawn = || {
        let bytes = std::fs::read(&seen).unwrap_or_default();
        String::from_utf8_lossy(&bytes).contains("ready")
    };
    let shown = wait::for_true("the dashboard is drawn", drawn);
    let mut keys = child.stdin.take().context("no stdin")?;
    keys.write_all(b"q")?;
    let status = wait_within(&mut child, wait::GENEROUS).context("q does not end it")?;
    shown?;
    ensure!(status.success(), "{status}");
    Ok(())
}
