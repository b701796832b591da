//! Log lines for reading and as JSON.

use pando_control::api::{LogLine, LogStream};

use super::text::{self, Style};
use super::time::Clock;

/// One for each worker, in turn.
const COLORS: [Style; 5] = [
    Style::Cyan,
    Style::Green,
    Style::Yellow,
    Style::Blue,
    Style::Magenta,
];

/// Shows lines one after the other; labels are aligned with those before.
#[derive(Debug)]
pub struct LogFormat {
    clock: Clock,
    color: bool,
    label_width: usize,
}

impl LogFormat {
    pub fn new(clock: Clock, color: bool) -> Self {
        Self {
            clock,
            color,
            label_width: 0,
        }
    }

    /// `14:03:44.123 api.2 | text`; a line of stderr has `err` before the bar, or a red bar.
    pub fn show(&mut self, line: &LogLine) -> String {
        let err = line.stream == LogStream::Err;
        let name = text::one_line(&line.app);
        let word = if err && !self.color { " err" } else { "" };
        let label = format!("{name}.{}{word}", line.worker);
        self.label_width = self.label_width.max(text::width(&label));
        let pad = " ".repeat(self.label_width - text::width(&label));
        let bar = if err { Style::Red } else { Style::Dim }.paint("|", self.color);
        let time = Style::Dim.paint(&self.clock.show(line.time_ms), self.color);
        let label = worker_color(&line.app, line.worker).paint(&label, self.color);
        format!(
            "{time} {label}{pad} {bar} {}",
            readable(&line.text, self.color)
        )
    }
}

fn worker_color(app: &str, worker: u32) -> Style {
    let app: usize = app.bytes().map(usize::from).sum();
    let index = app.wrapping_add(usize::try_from(worker).unwrap_or(0));
    COLORS[index % COLORS.len()]
}

/// A JSON line (pino, winston) as a person reads it: level, message, `key=value`, and what has
/// lines of its own (a stack) below. Any other line as it is, with its own colours.
fn readable(line: &str, color: bool) -> String {
    let Some(parsed) = pando_logs::json::readable(line) else {
        return line.to_owned();
    };
    let level = format!("{:<5}", text::one_line(&parsed.level).to_uppercase());
    let mut shown = level_style(&parsed.level).paint(&level, color);
    let mut below = String::new();
    if !parsed.message.is_empty() {
        shown.push(' ');
        shown.push_str(&text::one_line(&parsed.message));
    }
    for (key, value) in &parsed.rest {
        let key = text::one_line(key);
        if value.contains('\n') {
            let lines = value
                .lines()
                .map(|line| format!("\n    {}", text::one_line(line)));
            below.extend(std::iter::once(format!("\n  {key}:")).chain(lines));
        } else {
            let pair = format!(" {}={}", key, text::one_line(value));
            shown.push_str(&Style::Dim.paint(&pair, color));
        }
    }
    shown + &below
}

/// A line without colours and in one line: a JSON line as [`LogFormat`] shows it.
pub fn plain(line: &str) -> String {
    text::without_escapes(&readable(line, false).replace('\n', "  "))
}

fn level_style(level: &str) -> Style {
    match level {
        "fatal" | "error" => Style::Red,
        "warn" | "warning" => Style::Yellow,
        "info" | "notice" => Style::Green,
        _ => Style::Dim,
    }
}

/// The line as one JSON object: one that is an object already keeps its fields, with ours added.
pub fn to_json(line: LogLine) -> String {
    let LogLine {
        app,
        worker,
        stream,
        time_ms,
        text,
    } = line;
    let stream = match stream {
        LogStream::Out => pando_logs::Stream::Out,
        LogStream::Err => pando_logs::Stream::Err,
    };
    let text = text.into_bytes();
    pando_logs::json::to_json(&pando_logs::Line {
        app,
        worker,
        stream,
        time_ms,
        text,
        continues: false,
    })
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;

    fn line(worker: u32, stream: LogStream, text: &str) -> LogLine {
        let time_ms = 1_795_233_824_123;
        LogLine {
            app: "api".into(),
            worker,
            stream,
            time_ms,
            text: text.into(),
        }
    }

    fn format(color: bool) -> LogFormat {
        LogFormat::new(
            Clock::new(TimeZone::UTC, jiff::civil::date(2026, 11, 21)),
            color,
        )
    }

    #[test]
    fn labels_are_aligned_and_stderr_is_marked() {
        let mut format = format(false);
        let out = LogStream::Out;
        assert_eq!(
            format.show(&line(2, out, "hello")),
            "04:03:44.123 api.2 | hello"
        );
        assert_eq!(
            format.show(&line(2, LogStream::Err, "oh")),
            "04:03:44.123 api.2 err | oh"
        );
        assert_eq!(
            format.show(&line(10, out, "x")),
            "04:03:44.123 api.10    | x"
        );
    }

    #[test]
    fn json_lines_are_made_readable() {
        let mut format = format(false);
        let mut check = |text: &str, expect: &str| {
            let shown = format.show(&line(0, LogStream::Out, text));
            assert_eq!(shown, format!("04:03:44.123 api.0 | {expect}"));
        };
        check(
            r#"{"level":30,"time":1,"pid":7,"msg":"up","port":3000}"#,
            "INFO  up port=3000",
        );
        check(r#"{"level":"error","message":"no"}"#, "ERROR no");
        check(
            r#"{"level":50,"msg":"boom","stack":"Error: boom\n    at a.js:1"}"#,
            "ERROR boom\n  stack:\n    Error: boom\n        at a.js:1",
        );
        check(r#"{"level":30,"msg":"a\u001b[2Jb\n"}"#, "INFO  a [2Jb ");
        check("{not json", "{not json");
    }

    #[test]
    fn json_output_is_one_object_a_line() {
        for (text, key, expect) in [
            ("plain", "message", "plain"),
            (r#"{"level":30,"msg":"up"}"#, "msg", "up"),
        ] {
            let json = to_json(line(2, LogStream::Err, text));
            let value: serde_json::Value = serde_json::from_str(&json).unwrap();
            assert_eq!(value[key], expect);
            assert_eq!(
                (value["app"].as_str(), value["worker"].as_u64()),
                (Some("api"), Some(2))
            );
            assert_eq!(value["stream"], "err");
        }
    }

    #[test]
    fn colours_tell_workers_apart() {
        let mut format = format(true);
        let shown = [0, 1].map(|w| format.show(&line(w, LogStream::Err, "x")));
        assert!(shown[0].contains("\x1b[31m|\x1b[0m x"), "{}", shown[0]);
        assert_ne!(shown[0].replace("api.0", ""), shown[1].replace("api.1", ""));
    }
}
