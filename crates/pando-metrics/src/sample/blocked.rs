//! Whether a main thread sleeps in something else than its event loop, as `execSync` does. An
//! idle loop waits at its own epoll descriptor: the one at which it is seen most.

use std::collections::BTreeMap;

use proc_files::Place;

/// Descriptors that are remembered.
const POLLED_MAX: usize = 8;
/// So often it must have been seen at its loop's descriptor before another place means anything.
const SEEN_LEAST: u32 = 3;

#[derive(Debug, Default)]
pub(crate) struct Watch {
    polled: BTreeMap<u64, u32>,
    /// Where it sleeps since when, and how often it had run by then.
    asleep: Option<(Place, u64, u64)>,
}

impl Watch {
    /// For how long it has been away from its loop. `slices` is how often it has run.
    pub fn see(&mut self, now_us: u64, place: Place, slices: u64) -> Option<u64> {
        if let Place::Polls(fd) = place
            && (self.polled.len() < POLLED_MAX || self.polled.contains_key(&fd))
        {
            let seen = self.polled.entry(fd).or_default();
            *seen = seen.saturating_add(1);
        }
        let (own, seen) = self.polled.iter().max_by_key(|(_, seen)| **seen)?;
        if *seen < SEEN_LEAST || place == Place::Polls(*own) || place == Place::Running {
            self.asleep = None;
            return None;
        }
        match self.asleep {
            // It has not run since: it is the same sleep.
            Some((at, since, ran)) if at == place && ran == slices => {
                Some(now_us.saturating_sub(since))
            }
            _ => {
                self.asleep = Some((place, now_us, slices));
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_sleep_elsewhere_is_a_blocked_loop() {
        let mut watch = Watch::default();
        let second = 1_000_000;
        for n in 0..5 {
            assert_eq!(watch.see(n * second, Place::Polls(13), n), None);
        }
        // A moment elsewhere, and another one.
        assert_eq!(watch.see(5 * second, Place::Elsewhere, 5), None);
        assert_eq!(watch.see(6 * second, Place::Elsewhere, 6), None);
        // The same sleep: at another descriptor as `execSync`, or in any call.
        assert_eq!(watch.see(7 * second, Place::Polls(25), 7), None);
        assert_eq!(watch.see(8 * second, Place::Polls(25), 7), Some(second));
        assert_eq!(
            watch.see(10 * second, Place::Polls(25), 7),
            Some(3 * second)
        );
        assert_eq!(watch.see(11 * second, Place::Polls(13), 8), None);
    }

    #[test]
    fn nothing_is_said_of_what_has_no_loop() {
        let mut watch = Watch::default();
        for n in 0..100 {
            assert_eq!(watch.see(n, Place::Elsewhere, 1), None);
        }
    }
}
