//! What of the measured will never be on disk, counted until it is told.

use crate::history::tier::CHAPTER_S;
use crate::history::{BATCH_S, Write};
use crate::when::local;

#[derive(Debug, Default)]
pub(super) struct Lost {
    events: u64,
    /// From the first second to the first one that is not meant.
    span_s: Option<(i64, i64)>,
}

impl Lost {
    pub fn event(&mut self) {
        self.events = self.events.saturating_add(1);
    }

    pub fn write(&mut self, write: &Write) {
        let (from, to) = match write {
            Write::Batch { start_s, .. } => (*start_s, start_s + BATCH_S),
            Write::Chapter { start_s, .. } => (*start_s, start_s + CHAPTER_S),
        };
        let known = self.span_s.unwrap_or((from, to));
        self.span_s = Some((known.0.min(from), known.1.max(to)));
    }

    pub fn is_nothing(&self) -> bool {
        self.events == 0 && self.span_s.is_none()
    }

    pub fn between(from_s: i64, to_s: i64) -> String {
        let (from, to) = (local(from_s * 1_000), local(to_s * 1_000));
        format!("histories between {from} and {to}")
    }

    /// `lost: histories between A and B, 7 events`.
    pub fn words(&self) -> String {
        let span = self
            .span_s
            .map(|(from_s, to_s)| Self::between(from_s, to_s));
        let events = (self.events > 0).then(|| format!("{} events", self.events));
        let parts: Vec<String> = span.into_iter().chain(events).collect();
        if parts.is_empty() {
            "nothing was lost".into()
        } else {
            format!("lost: {}", parts.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lost_is_said() {
        let mut lost = Lost::default();
        assert!(lost.is_nothing());
        assert_eq!(lost.words(), "nothing was lost");
        lost.write(&Write::Batch {
            start_s: 1_800_001_190,
            bytes: Vec::new(),
        });
        lost.write(&Write::Chapter {
            start_s: 1_800_000_000,
            blocks: Vec::new(),
        });
        lost.event();
        let (from, to) = (local(1_800_000_000_000), local(1_800_001_200_000));
        let wanted = format!("lost: histories between {from} and {to}, 1 events");
        assert_eq!(lost.words(), wanted);
    }
}
