//! How a stream of log lines goes on after the supervisor that sent it was replaced: ask again
//! from shortly before the last line seen, and pass over what was seen already.

use std::collections::{HashMap, VecDeque};

use crate::address::fnv1a;
use crate::api::{LogLine, LogQuery, LogStream};

/// Lines of different workers are not in strict order of time: one that came late may be this much
/// older than the newest.
const OVERLAP_MS: i64 = 1_000;
/// Lines remembered. Beyond it (a flood) a resumed stream may repeat lines, never drop them.
const MAX_REMEMBERED: usize = 65_536;
/// What the new supervisor may send from the past.
const MAX_RESUMED_LINES: usize = 1_000_000;

/// What was seen of one stream of log lines.
#[derive(Debug, Default)]
pub(crate) struct Resume {
    newest_ms: Option<i64>,
    /// What is older was not asked for: the first stream began here.
    oldest_ms: Option<i64>,
    /// Time and hash of the lines of the last [`OVERLAP_MS`].
    recent: VecDeque<(i64, u64)>,
    /// After a resumption: how often each line of the overlap was seen before.
    pass_over: HashMap<u64, u32>,
}

impl Resume {
    /// Whether the line is new; remembers it.
    pub(crate) fn is_new(&mut self, line: &LogLine) -> bool {
        let hash = hash(line);
        if let Some(times) = self.pass_over.get_mut(&hash) {
            *times -= 1;
            if *times == 0 {
                self.pass_over.remove(&hash);
            }
            return false;
        }
        let newest = self.newest_ms.map_or(line.time_ms, |n| n.max(line.time_ms));
        self.newest_ms = Some(newest);
        self.oldest_ms = Some(self.oldest_ms.map_or(line.time_ms, |o| o.min(line.time_ms)));
        self.recent.push_back((line.time_ms, hash));
        let old = newest.saturating_sub(OVERLAP_MS);
        while self.recent.len() > MAX_REMEMBERED || self.recent.front().is_some_and(|f| f.0 < old) {
            self.recent.pop_front();
        }
        true
    }

    /// The query that continues `first`.
    pub(crate) fn resumed(&mut self, first: &LogQuery) -> LogQuery {
        let Some(newest) = self.newest_ms else {
            return first.clone();
        };
        let from = newest
            .saturating_sub(OVERLAP_MS)
            .max(self.oldest_ms.unwrap_or(i64::MIN));
        self.pass_over.clear();
        for (_, hash) in self.recent.iter().filter(|(time, _)| *time >= from) {
            *self.pass_over.entry(*hash).or_default() += 1;
        }
        let since_ms = Some(first.since_ms.map_or(from, |s| s.max(from)));
        LogQuery {
            since_ms,
            lines: MAX_RESUMED_LINES,
            ..first.clone()
        }
    }
}

fn hash(line: &LogLine) -> u64 {
    let stream: &[u8] = match line.stream {
        LogStream::Out => b"o",
        LogStream::Err => b"e",
    };
    let mut bytes = Vec::with_capacity(line.app.len() + line.text.len() + 16);
    bytes.extend_from_slice(&line.time_ms.to_le_bytes());
    bytes.extend_from_slice(&line.worker.to_le_bytes());
    bytes.extend_from_slice(stream);
    bytes.extend_from_slice(line.app.as_bytes());
    bytes.push(0);
    bytes.extend_from_slice(line.text.as_bytes());
    fnv1a(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(time_ms: i64, text: &str) -> LogLine {
        LogLine {
            app: "a".into(),
            worker: 0,
            stream: LogStream::Out,
            time_ms,
            text: text.into(),
        }
    }

    #[test]
    fn a_resumed_stream_repeats_nothing_and_drops_nothing() {
        let mut resume = Resume::default();
        let first = LogQuery {
            lines: 15,
            follow: true,
            ..LogQuery::default()
        };
        assert_eq!(
            resume.resumed(&first),
            first,
            "nothing seen: ask the same again"
        );
        for (time, text) in [
            (1_000, "old"),
            (5_000, "tick"),
            (5_000, "tick"),
            (4_900, "late"),
        ] {
            assert!(resume.is_new(&line(time, text)));
        }
        let again = resume.resumed(&first);
        assert_eq!((again.since_ms, again.follow), (Some(4_000), true));
        // The file has one more `tick` of the same millisecond, and a new line.
        let replay = [
            (4_900, "late"),
            (5_000, "tick"),
            (5_000, "tick"),
            (5_000, "tick"),
            (6_000, "new"),
        ];
        let new: Vec<_> = replay
            .iter()
            .filter(|(t, s)| resume.is_new(&line(*t, s)))
            .collect();
        assert_eq!(new, [&(5_000, "tick"), &(6_000, "new")]);
    }

    #[test]
    fn a_resumed_stream_does_not_reach_back_before_its_beginning() {
        let mut resume = Resume::default();
        assert!(resume.is_new(&line(5_000, "first shown")));
        let again = resume.resumed(&LogQuery {
            lines: 1,
            follow: true,
            ..LogQuery::default()
        });
        assert_eq!(again.since_ms, Some(5_000));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut resume = Resume::default();
        for n in 0..MAX_REMEMBERED + 10 {
            resume.is_new(&line(5, &n.to_string()));
        }
        assert_eq!(resume.recent.len(), MAX_REMEMBERED);
        resume.is_new(&line(5_000, "later"));
        assert_eq!(resume.recent.len(), 1);
    }
}
