//! Log lines for reading and as JSON.

use pando_control::api::{LogLine, LogStream};
use serde_json::{Map, Value};

use super::text::{self, Style};
use super::time::{Clock, rfc3339};

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

/// A JSON line (pino, winston, bunyan) as a person reads it; any other as it is.
fn readable(line: &str, _color: bool) -> String {
    line.to_owned()
}

/// The line as one JSON object. A line that is one already keeps its fields, under ours.
pub fn to_json(line: &LogLine) -> String {
    let stream = match line.stream {
        LogStream::Out => "out",
        LogStream::Err => "err",
    };
    let mut object = match serde_json::from_str(&line.text) {
        Ok(Value::Object(object)) => object,
        Ok(_) | Err(_) => Map::from_iter([("msg".to_owned(), line.text.clone().into())]),
    };
    object
        .entry("time")
        .or_insert_with(|| rfc3339(line.time_ms).into());
    object.insert("app".into(), line.app.clone().into());
    object.insert("worker".into(), line.worker.into());
    object.insert("stream".into(), stream.into());
    Value::Object(object).to_string()
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
    fn colours_tell_workers_apart() {
        let mut format = format(true);
        let shown = [0, 1].map(|w| format.show(&line(w, LogStream::Err, "x")));
        assert!(shown[0].contains("\x1b[31m|\x1b[0m x"), "{}", shown[0]);
        assert_ne!(shown[0].replace("api.0", ""), shown[1].replace("api.1", ""));
    }
}
