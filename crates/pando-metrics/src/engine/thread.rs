//! What one thread's preload says, taken by our clock.

use std::collections::VecDeque;

use monitor_spec::agent::{Broken, Delay, Gc, Heap, Outgoing, Report, Route};

use super::leak::{Leak, Of};

/// A delay can be longer than the silence before it by this, no more.
const SLACK_US: u64 = 2_000_000;
/// Before the first report nothing is known of the silence.
const FIRST_SILENCE_US: u64 = 600_000_000;

#[derive(Clone, Debug)]
pub(crate) struct Thread {
    waiting: VecDeque<(u64, Report)>,
    /// When the last report came.
    pub last_us: u64,
    silence_us: u64,
    pub heap: Option<Heap>,
    pub leak: Leak,
    pub handles: u32,
    pub in_flight: u32,
    /// What its preload cannot do, by its last report.
    pub broken: Vec<Broken>,
}

/// What a thread did in a second.
#[derive(Clone, Debug, Default)]
pub(crate) struct Beat {
    pub delay: Option<Delay>,
    /// Active share of the loop, 0 to 1.
    pub utilization: Option<f64>,
    pub gc: Gc,
    pub routes: Vec<Route>,
    pub outgoing: Vec<Outgoing>,
}

impl Thread {
    pub fn new() -> Self {
        Self {
            waiting: VecDeque::new(),
            last_us: 0,
            silence_us: FIRST_SILENCE_US,
            heap: None,
            leak: Leak::new(Of::Floors),
            handles: 0,
            in_flight: 0,
            broken: Vec::new(),
        }
    }

    /// False: there are `room` already.
    pub fn report(&mut self, now_us: u64, room: usize, report: Report) -> bool {
        if self.waiting.len() >= room {
            return false;
        }
        if self.last_us > 0 {
            self.silence_us = now_us.saturating_sub(self.last_us);
        }
        self.last_us = now_us;
        self.waiting.push_back((self.silence_us, report));
        true
    }

    /// One report a second; a second one waits for a second without any.
    pub fn beat(&mut self, now_s: f64) -> Option<Beat> {
        let take = match self.waiting.len() {
            0 => return None,
            1 => 1,
            more => more - 1,
        };
        Some(self.take(take, now_s))
    }

    /// All that still waits, of one that speaks no more.
    pub fn rest(&mut self) -> Option<Beat> {
        let all = self.waiting.len();
        (all > 0).then(|| self.take(all, 0.0))
    }

    fn take(&mut self, take: usize, now_s: f64) -> Beat {
        let mut beat = Beat::default();
        let (mut active, mut idle) = (0.0, 0.0);
        for (silence_us, report) in self.waiting.drain(..take).collect::<Vec<_>>() {
            let limit = silence_us.saturating_add(SLACK_US);
            if let Some(delay) = report.delay {
                let delay = bounded(delay, limit);
                beat.delay = Some(beat.delay.map_or(delay, |before| worse(before, delay)));
            }
            active += report.active_ms;
            idle += report.idle_ms;
            add_gc(&mut beat.gc, report.gc, limit);
            self.handles = report.handles;
            self.in_flight = report.in_flight;
            self.broken = report.broken;
            self.note_heap(now_s, report.heap, report.gc.major.count > 0);
            beat.routes.extend(report.routes);
            beat.outgoing.extend(report.outgoing);
        }
        let all = active + idle;
        beat.utilization = (all > 0.0 && all.is_finite()).then(|| (active / all).clamp(0.0, 1.0));
        beat
    }

    fn note_heap(&mut self, now_s: f64, heap: Option<Heap>, collected: bool) {
        let before = self.heap.and_then(|heap| heap.floor_bytes);
        let Some(heap) = heap else { return };
        if let Some(floor) = heap.floor_bytes {
            // The same floor told again is no new one.
            if collected || before != Some(floor) {
                self.leak.add(now_s, floor as f64);
            }
        }
        self.heap = Some(heap);
    }
}

fn bounded(delay: Delay, limit_us: u64) -> Delay {
    let max_us = delay.max_us.min(limit_us);
    Delay {
        mean_us: delay.mean_us.min(max_us),
        p50_us: delay.p50_us.min(max_us),
        p99_us: delay.p99_us.min(max_us),
        max_us,
    }
}

fn worse(a: Delay, b: Delay) -> Delay {
    Delay {
        mean_us: a.mean_us.midpoint(b.mean_us),
        p50_us: a.p50_us.max(b.p50_us),
        p99_us: a.p99_us.max(b.p99_us),
        max_us: a.max_us.max(b.max_us),
    }
}

pub(crate) fn add_gc(sum: &mut Gc, more: Gc, limit_us: u64) {
    for (sum, more) in [
        (&mut sum.minor, more.minor),
        (&mut sum.major, more.major),
        (&mut sum.incremental, more.incremental),
        (&mut sum.weak_callbacks, more.weak_callbacks),
    ] {
        sum.count = sum.count.saturating_add(more.count);
        sum.total_us = sum.total_us.saturating_add(more.total_us.min(limit_us));
        sum.max_us = sum.max_us.max(more.max_us.min(limit_us));
    }
}

pub(crate) fn gc_us(gc: &Gc) -> u64 {
    let all = [gc.minor, gc.major, gc.incremental, gc.weak_callbacks];
    all.iter()
        .fold(0, |sum, kind| sum.saturating_add(kind.total_us))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: usize = 4;

    fn report(active_ms: f64, max_us: u64) -> Report {
        Report {
            active_ms,
            idle_ms: 1_000.0 - active_ms,
            delay: Some(Delay {
                max_us,
                ..Delay::default()
            }),
            ..Report::default()
        }
    }

    #[test]
    fn one_report_a_second_whatever_their_beat() {
        let mut thread = Thread::new();
        let second = 1_000_000;
        thread.report(second, ROOM, report(0.0, 1));
        assert!(thread.beat(1.0).is_some());
        // Two in one second, none in the next.
        thread.report(second + 1, ROOM, report(0.0, 1));
        thread.report(2 * second, ROOM, report(0.0, 1));
        assert!(thread.beat(2.0).is_some());
        assert!(thread.beat(3.0).is_some());
        assert!(thread.beat(4.0).is_none());
    }

    #[test]
    fn a_flood_is_bounded() {
        let mut thread = Thread::new();
        let taken = (0..100).filter(|n| thread.report(*n, ROOM, report(1.0, 1)));
        assert_eq!(taken.count(), ROOM);
    }

    #[test]
    fn a_delay_cannot_be_longer_than_the_silence() {
        let mut thread = Thread::new();
        thread.report(10_000_000, ROOM, report(0.0, 5));
        thread.beat(1.0);
        thread.report(11_000_000, ROOM, report(0.0, u64::MAX));
        let beat = thread.beat(2.0).unwrap();
        assert_eq!(beat.delay.unwrap().max_us, 3_000_000);
        // A loop that stood still for a minute says so.
        thread.report(71_000_000, ROOM, report(0.0, 59_500_000));
        let beat = thread.beat(60.0).unwrap();
        assert_eq!(beat.delay.unwrap().max_us, 59_500_000);
    }

    #[test]
    fn shares_are_shares() {
        let mut thread = Thread::new();
        for (active, idle, expect) in [
            (500.0, 500.0, Some(0.5)),
            (0.0, 0.0, None),
            (f64::MAX, f64::MAX, None),
            (3.0, 0.0, Some(1.0)),
        ] {
            let wild = Report {
                active_ms: active,
                idle_ms: idle,
                ..Report::default()
            };
            thread.report(1, ROOM, wild);
            assert_eq!(thread.beat(1.0).unwrap().utilization, expect);
        }
    }
}
