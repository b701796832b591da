//! What a call does while it is under way: one line that is rewritten on a terminal, one line a
//! change elsewhere. Always on stderr, so that stdout stays the result.

use std::io::{self, IsTerminal, Write};

use pando_control::api::Progress;

use super::output::{terminal_width, wants_color};
use super::text::{self, Style};

/// Shows progress frames.
#[derive(Debug)]
pub struct ProgressLine {
    /// Columns of the terminal; `None` if there is none.
    terminal: Option<usize>,
    color: bool,
    /// Neither on a terminal nor elsewhere (`--json`).
    silent: bool,
    shown: bool,
    last: Option<(String, u32, u32)>,
}

impl ProgressLine {
    pub fn new(silent: bool) -> Self {
        let terminal = io::stderr().is_terminal().then(terminal_width);
        let color = terminal.is_some() && wants_color();
        Self {
            terminal,
            color,
            silent,
            shown: false,
            last: None,
        }
    }

    pub fn show(&mut self, progress: &Progress) {
        if self.silent {
            return;
        }
        let text = match self.terminal {
            Some(width) => {
                self.shown = true;
                format!("\r\x1b[2K{}", on_terminal(progress, width, self.color))
            }
            None => match self.change(progress) {
                Some(line) => format!("{line}\n"),
                None => return,
            },
        };
        // Progress that cannot be shown is no reason to end what is under way.
        let _ = io::stderr().write_all(text.as_bytes());
    }

    /// Takes the line away again.
    pub fn clear(&mut self) {
        if std::mem::take(&mut self.shown) {
            let _ = io::stderr().write_all(b"\r\x1b[2K");
        }
    }

    /// The line for a log file, if the state is another than before.
    fn change(&mut self, progress: &Progress) -> Option<String> {
        let state = (progress.app.clone(), progress.ready, progress.wanted);
        if self.last.as_ref() == Some(&state) {
            return None;
        }
        self.last = Some(state);
        let Progress {
            app,
            ready,
            wanted,
            text,
        } = progress;
        let counts = counts(*ready, *wanted);
        let counts = counts
            .map(|counts| format!("{counts}, "))
            .unwrap_or_default();
        Some(text::one_line(&format!("{app}: {counts}{text}")))
    }
}

impl Drop for ProgressLine {
    fn drop(&mut self) {
        self.clear();
    }
}

/// `2/4 ready`; nothing for an app that is to have no worker.
fn counts(ready: u32, wanted: u32) -> Option<String> {
    (wanted > 0).then(|| format!("{ready}/{wanted} ready"))
}

fn on_terminal(progress: &Progress, width: usize, color: bool) -> String {
    let Progress {
        app,
        ready,
        wanted,
        text,
    } = progress;
    let counts = counts(*ready, *wanted).map(|counts| format!(" {counts}"));
    let head = format!("{}{}", text::one_line(app), counts.unwrap_or_default());
    let head = text::fit(&head, width.saturating_sub(1));
    let room = width.saturating_sub(text::width(&head) + 3);
    let rest = text::fit(&text::one_line(text), room);
    format!(
        "{}  {}",
        Style::Cyan.paint(&head, color),
        Style::Dim.paint(&rest, color)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ready: u32, text: &str) -> Progress {
        Progress {
            app: "api".into(),
            ready,
            wanted: 4,
            text: text.into(),
        }
    }

    #[test]
    fn a_terminal_line_never_wraps() {
        for width in 1..60 {
            let line = on_terminal(&at(2, "starting worker 3 of 4"), width, false);
            assert!(
                text::width(line.trim_end()) < width.max(4),
                "{width}: {line}"
            );
        }
        let line = on_terminal(&at(2, "starting worker 3 of 4"), 80, false);
        assert_eq!(line, "api 2/4 ready  starting worker 3 of 4");
        let stopping = Progress {
            wanted: 0,
            ..at(0, "draining 2")
        };
        assert_eq!(on_terminal(&stopping, 80, false), "api  draining 2");
    }

    #[test]
    fn elsewhere_only_changes_are_told() {
        let mut line = ProgressLine {
            terminal: None,
            color: false,
            silent: false,
            shown: false,
            last: None,
        };
        assert_eq!(
            line.change(&at(0, "starting")).unwrap(),
            "api: 0/4 ready, starting"
        );
        assert_eq!(line.change(&at(0, "waiting")), None);
        assert_eq!(
            line.change(&at(1, "starting")).unwrap(),
            "api: 1/4 ready, starting"
        );
    }
}
