//! Where output goes: stdout with a buffer, colours where a terminal shows them, and a quiet end
//! when the reader has gone (`pando logs | head`).

use std::io::{self, BufWriter, IsTerminal, Stdout, Write};

use serde::Serialize;

use super::table::Layout;

/// A terminal that does not say how wide it is.
const DEFAULT_WIDTH: usize = 80;
/// Room for a burst of log lines between two writes.
const BUFFER_BYTES: usize = 64 * 1024;

/// The program's stdout.
#[derive(Debug)]
pub struct Output {
    stdout: BufWriter<Stdout>,
    pub layout: Layout,
}

impl Output {
    /// Looks at the terminal and at `NO_COLOR` (no-color.org).
    pub fn new() -> Self {
        let stdout = io::stdout();
        let terminal = stdout.is_terminal();
        let layout = Layout {
            width: terminal.then(terminal_width),
            color: terminal && wants_color(),
        };
        Self {
            stdout: BufWriter::with_capacity(BUFFER_BYTES, stdout),
            layout,
        }
    }

    pub fn line(&mut self, line: &str) {
        let result = writeln!(self.stdout, "{line}");
        end_if_failed(result);
    }

    pub fn lines(&mut self, lines: impl IntoIterator<Item = impl AsRef<str>>) {
        for line in lines {
            self.line(line.as_ref());
        }
    }

    /// Bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) {
        let result = self.stdout.write_all(bytes);
        end_if_failed(result);
    }

    /// One JSON value a line, for programs that read streams.
    pub fn json_line(&mut self, value: &impl Serialize) {
        let text =
            serde_json::to_string(value).unwrap_or_else(|e| format!("{{\"error\":\"{e}\"}}"));
        self.line(&text);
    }

    /// One JSON value, indented.
    pub fn json(&mut self, value: &impl Serialize) {
        let text = serde_json::to_string_pretty(value)
            .unwrap_or_else(|e| format!("{{\"error\":\"{e}\"}}"));
        self.line(&text);
    }

    pub fn flush(&mut self) {
        let result = self.stdout.flush();
        end_if_failed(result);
    }
}

impl Default for Output {
    fn default() -> Self {
        Self::new()
    }
}

/// Colours are unwelcome where `NO_COLOR` is set and not empty, and where TERM says `dumb`.
pub fn wants_color() -> bool {
    let set = |name: &str| std::env::var_os(name).is_some_and(|v| !v.is_empty());
    !set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|t| t != "dumb")
}

/// Columns of the terminal behind stdout or stderr.
pub fn terminal_width() -> usize {
    let of = |fd: rustix::fd::BorrowedFd<'_>| {
        let columns = rustix::termios::tcgetwinsize(fd).ok()?.ws_col;
        (columns > 0).then_some(usize::from(columns))
    };
    let asked = of(rustix::stdio::stdout()).or_else(|| of(rustix::stdio::stderr()));
    asked.unwrap_or(DEFAULT_WIDTH)
}

/// A reader that has gone is no error (exit 0); a full disk is.
fn end_if_failed(result: io::Result<()>) {
    let Err(error) = result else { return };
    if error.kind() == io::ErrorKind::BrokenPipe {
        std::process::exit(0);
    }
    // Nothing can be done about a stderr that fails as well.
    let _ = writeln!(
        io::stderr(),
        "error: the output cannot be written\n  why: {error}"
    );
    std::process::exit(1);
}
