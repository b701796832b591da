//! Whether the machine's clock was set, or the machine slept: the wall clock against the monotonic
//! one, which does neither.

use monitor_spec::state::Event;

use crate::when::local;

/// Less is a clock that is led gently, or a machine that is busy.
const JUMP_MS: i64 = 5_000;

#[derive(Debug, Default)]
pub(crate) struct Clock {
    /// Both at the last look.
    last: Option<(i64, u64)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Jump {
    from_ms: i64,
    to_ms: i64,
}

impl Clock {
    /// Milliseconds since 1970, and microseconds of the monotonic clock.
    pub fn look(&mut self, now_ms: i64, us: u64) -> Option<Jump> {
        let (before_ms, before_us) = self.last.replace((now_ms, us))?;
        let passed_ms = i64::try_from(us.saturating_sub(before_us) / 1_000).unwrap_or(i64::MAX);
        let expected_ms = before_ms.saturating_add(passed_ms);
        let jumped = now_ms.abs_diff(expected_ms) >= JUMP_MS.unsigned_abs();
        jumped.then_some(Jump {
            from_ms: expected_ms,
            to_ms: now_ms,
        })
    }
}

impl Jump {
    pub fn event(self) -> Event {
        let (from, to) = (local(self.from_ms), local(self.to_ms));
        let text = if self.to_ms > self.from_ms {
            format!(
                "the machine's clock went forward from {from} to {to}: it was set, or the machine \
                 slept; histories have a gap there"
            )
        } else {
            format!(
                "the machine's clock was set back from {from} to {to}: histories of that time are \
                 measured again, or wait until it is over"
            )
        };
        Event {
            time_ms: self.to_ms,
            app: String::new(),
            worker: None,
            kind: "clock-jumped".into(),
            text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_jumps_are_told() {
        let mut clock = Clock::default();
        let second = 1_000_000;
        for (now_ms, us, jumped) in [
            (100_000, second, false),
            (101_000, 2 * second, false),
            // Late, and led gently.
            (108_000, 9 * second, false),
            (113_900, 11 * second, false),
            // Set forward, then back, then a suspended machine.
            (3_713_900, 12 * second, true),
            (3_714_900, 13 * second, false),
            (115_900, 14 * second, true),
            (8_000_000, 14 * second, true),
            (8_001_000, 15 * second, false),
        ] {
            assert_eq!(clock.look(now_ms, us).is_some(), jumped, "{now_ms}");
        }
        let wild = clock.look(i64::MIN, u64::MAX).unwrap();
        assert!(wild.event().text.contains("set back"));
    }
}
