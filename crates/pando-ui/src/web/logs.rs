//! Log lines for one browser. They are searched here, so that a rare word is found in all that is
//! kept; what waits for a slow reader is bounded, and what it misses is counted.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::body::Bytes;
use pando_control::Client;
use pando_control::api::{Frame, LogLine, Request};
use regex::{Regex, RegexBuilder};
use serde_json::json;
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;

use super::route::{Lines, MAX_LINES};
use super::{respond, sse};
use crate::text;

/// Of all lines that wait.
const MAX_WAITING_BYTES: usize = 4 * 1024 * 1024;
/// Of one line that goes out: a page holds thousands, and nobody reads more of one there.
const MAX_LINE_BYTES: usize = 8 * 1024;
/// Lines that go out together.
const BATCH: usize = 500;
const PING_EVERY: Duration = Duration::from_secs(15);
/// Of a compiled expression.
const MAX_REGEX_BYTES: usize = 1024 * 1024;

/// What lines are looked for.
#[derive(Debug)]
pub struct Search(Option<Regex>);

impl Search {
    /// Plain text, upper and lower case alike; `/…/` is a regular expression, with its case.
    ///
    /// # Errors
    /// What is wrong with the expression.
    pub fn new(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self(None));
        }
        let inner = text.strip_prefix('/').and_then(|t| t.strip_suffix('/'));
        let (pattern, ignore_case) = match inner {
            Some(inner) if !inner.is_empty() => (inner.to_owned(), false),
            Some(_) | None => (regex::escape(text), true),
        };
        let built = RegexBuilder::new(&pattern)
            .case_insensitive(ignore_case)
            .size_limit(MAX_REGEX_BYTES)
            .build();
        built.map(|regex| Self(Some(regex))).map_err(|e| {
            let text = e.to_string();
            let last = text.lines().last().unwrap_or_default().trim();
            last.trim_start_matches("error: ").to_owned()
        })
    }

    /// The line as the page has it, if it is one that is looked for. Colours of the app's are no
    /// part of its text.
    fn finds(&self, mut line: LogLine) -> Option<LogLine> {
        if line.text.contains('\u{1b}') {
            line.text = text::without_escapes(&line.text);
        }
        let found = self
            .0
            .as_ref()
            .is_none_or(|regex| regex.is_match(&line.text));
        found.then(|| cut(line))
    }
}

/// A line without control characters; the beginning of one that is longer than a page should hold,
/// and how long it was.
fn cut(mut line: LogLine) -> LogLine {
    let all = line.text.len();
    let end = line.text.floor_char_boundary(MAX_LINE_BYTES);
    line.text.truncate(end);
    line.text = text::without_escapes(&line.text);
    if end < all {
        let said = format!(" … {end} of {all} bytes; `pando logs` has the rest");
        line.text.push_str(&said);
    }
    line
}

/// Lines that wait for the reader; the oldest give way.
#[derive(Default)]
struct Waiting {
    lines: VecDeque<LogLine>,
    bytes: usize,
    missed: u64,
    ended: bool,
}

impl Waiting {
    fn push(&mut self, line: LogLine, most: usize) {
        self.bytes += line.text.len();
        self.lines.push_back(line);
        while self.lines.len() > most || self.bytes > MAX_WAITING_BYTES {
            let Some(old) = self.lines.pop_front() else {
                return;
            };
            self.bytes -= old.text.len();
            self.missed += 1;
        }
    }

    fn take(&mut self) -> (Vec<LogLine>, u64) {
        let count = self.lines.len().min(BATCH);
        let lines: Vec<LogLine> = self.lines.drain(..count).collect();
        self.bytes -= lines.iter().map(|line| line.text.len()).sum::<usize>();
        (lines, std::mem::take(&mut self.missed))
    }
}

#[derive(Clone, Default)]
struct Queue {
    waiting: Arc<Mutex<Waiting>>,
    news: Arc<Notify>,
}

impl Queue {
    fn with<T>(&self, action: impl FnOnce(&mut Waiting) -> T) -> T {
        let result = action(&mut self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        self.news.notify_one();
        result
    }
}

/// Writes lines to one browser until it goes or there are no more.
pub async fn serve(home: PathBuf, wanted: Lines, search: Search, out: mpsc::Sender<Bytes>) {
    let queue = Queue::default();
    let reading = read(home, wanted, search, queue.clone());
    let writing = write(queue, &out);
    tokio::pin!(reading);
    tokio::pin!(writing);
    let failed = tokio::select! {
        failed = &mut reading => failed,
        () = &mut writing => return,
        () = out.closed() => return,
    };
    writing.await;
    let last = match failed {
        Some(problem) => sse::event("failed", &problem),
        None => sse::event("end", &json!({})),
    };
    if let Ok(last) = last {
        // A reader that has gone needs no end.
        let _ = out.send(last).await;
    }
}

async fn read(
    home: PathBuf,
    wanted: Lines,
    search: Search,
    queue: Queue,
) -> Option<pando_control::api::Problem> {
    let most = wanted.keep.clamp(1, MAX_LINES);
    let each = |frame: Frame| {
        if let Frame::Log(line) = frame
            && let Some(line) = search.finds(line)
        {
            queue.with(|waiting| waiting.push(line, most));
        }
    };
    let request = Request::Logs {
        query: wanted.query,
    };
    let ended = match Client::connect(&home).await {
        Ok(mut client) => client.call(request, each).await.map(|_| ()),
        Err(error) => Err(error.into()),
    };
    queue.with(|waiting| waiting.ended = true);
    ended.err().map(respond::call_problem)
}

async fn write(queue: Queue, out: &mpsc::Sender<Bytes>) {
    if out.send(sse::hello()).await.is_err() {
        return;
    }
    loop {
        let (lines, missed, ended) = {
            let mut waiting = queue.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            let (lines, missed) = waiting.take();
            (lines, missed, waiting.ended)
        };
        let piece = if !lines.is_empty() {
            match sse::event("lines", &json!({ "lines": lines, "missed": missed })) {
                Ok(piece) => piece,
                Err(_) => continue,
            }
        } else if ended {
            return;
        } else {
            match timeout(PING_EVERY, queue.news.notified()).await {
                Ok(()) => continue,
                Err(_) => Bytes::from_static(sse::PING),
            }
        };
        if out.send(piece).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use pando_control::api::LogStream;

    use super::*;

    fn line(text: &str) -> LogLine {
        LogLine {
            app: "api".into(),
            worker: 0,
            stream: LogStream::Out,
            time_ms: 0,
            text: text.into(),
        }
    }

    #[test]
    fn what_is_found() {
        for (search, text, found) in [
            ("", "anything", true),
            ("Error", "an ERROR here", true),
            ("a.c", "abc", false),
            ("a.c", "A.C", true),
            ("/a.c/", "abc", true),
            ("/a.c/", "ABC", false),
            ("/", "a/b", true),
            ("//", "a//b", true),
            ("/status=5\\d\\d/", "status=503", true),
            ("in red", "in \u{1b}[31mred\u{1b}[0m", true),
        ] {
            let made = Search::new(search).unwrap();
            assert_eq!(
                made.finds(line(text)).is_some(),
                found,
                "{search} in {text}"
            );
        }
        assert!(Search::new("/(/").unwrap_err().contains("unclosed"));
        assert!(Search::new("/(a{1000}){1000}/").is_err());
    }

    #[test]
    fn a_long_line_is_cut_between_characters_and_says_so() {
        let short = "é".repeat(MAX_LINE_BYTES / 2);
        assert_eq!(cut(line(&short)).text, short);
        let long = format!("x{}", "é".repeat(MAX_LINE_BYTES));
        let cut = cut(line(&long)).text;
        assert!(cut.starts_with("xé") && cut.len() < MAX_LINE_BYTES + 100);
        assert!(cut.contains("8191 of 16385 bytes"), "{}", &cut[8000..]);
    }

    #[test]
    fn what_a_line_would_do_to_a_terminal_is_not_in_it() {
        let all = Search::new("").unwrap();
        let shown = |text| all.finds(line(text)).unwrap().text;
        assert_eq!(
            shown("\u{1b}[31mred\u{1b}[0m \u{1b}]0;title\u{7}end"),
            "red end"
        );
        assert_eq!(shown("a\u{8}b\u{202e}c\0"), "a b c ");
    }

    #[test]
    fn what_waits_is_bounded_and_what_is_missed_is_counted() {
        let mut waiting = Waiting::default();
        for n in 0..1000 {
            waiting.push(line(&n.to_string()), 600);
        }
        let (first, missed) = waiting.take();
        assert_eq!((first.len(), missed), (BATCH, 400));
        assert_eq!(first[0].text, "400");
        let (rest, missed) = waiting.take();
        assert_eq!((rest.len(), missed), (100, 0));
        assert_eq!(waiting.bytes, 0);

        let large = "x".repeat(MAX_WAITING_BYTES / 2);
        for _ in 0..3 {
            waiting.push(line(&large), 600);
        }
        assert_eq!((waiting.lines.len(), waiting.missed), (2, 1));
    }
}
