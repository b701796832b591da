//! Latency averages, ejection and the breaker against tables and naive models.

use balance::{Breaker, BreakerOptions, Ejection, Outlier, PeakEwma, Permit};
use proptest::prelude::*;

const MS: u64 = 1000;
const SECOND: u64 = 1000 * MS;

#[test]
fn an_average_jumps_up_and_sinks_with_time() {
    let ewma = PeakEwma::new(10_000);
    assert_eq!(ewma.latency_us(SECOND), 0);
    ewma.observe(1000, SECOND);
    assert_eq!(ewma.latency_us(SECOND), 1000);
    ewma.observe(4_000, SECOND);
    assert_eq!(ewma.latency_us(SECOND), 4_000);
    // Within the same millisecond a quicker answer changes nothing.
    ewma.observe(1000, SECOND);
    assert_eq!(ewma.latency_us(SECOND), 4_000);
    // After one decay time 1/e of the peak is left, with or without other answers.
    assert!(ewma.latency_us(11 * SECOND).abs_diff(1_472) < 10);
    for step in 1..=10_000 {
        ewma.observe(1000, SECOND + step * MS);
    }
    let expect = 1_472 + 632;
    assert!(ewma.latency_us(11 * SECOND).abs_diff(expect) < 20);
    // A clock of another thread that is a little behind changes nothing.
    assert_eq!(ewma.latency_us(10 * SECOND), ewma.latency_us(11 * SECOND));
}

#[test]
fn much_quicker_answers_end_a_peak() {
    let ewma = PeakEwma::new(10_000);
    ewma.observe(5_000_000, SECOND);
    let after = |answers| {
        (0..answers).for_each(|_| ewma.observe(1000, SECOND));
        ewma.latency_us(SECOND)
    };
    assert!((2_000_000..5_000_000).contains(&after(5)));
    assert!((4_000..6_000).contains(&after(60)));
}

#[test]
fn an_unanswered_request_counts_before_its_answer() {
    let ewma = PeakEwma::default();
    let at = SECOND;
    ewma.started(at);
    ewma.answered(300, at + 300);
    ewma.ended();
    assert_eq!((ewma.in_flight(), ewma.unanswered_us(at + SECOND)), (0, 0));
    ewma.started(at + MS);
    ewma.started(at + 2 * MS);
    assert_eq!(ewma.unanswered_us(at + 41 * MS), 40 * MS);
    assert_eq!(ewma.cost(5 * MS, at + 41 * MS), 45 * MS * 3);
    // A quick answer beside a slow one: nothing stalls, and the next request begins to wait.
    ewma.answered(300, at + 41 * MS);
    ewma.ended();
    assert_eq!(ewma.unanswered_us(at + 90 * MS), 0);
    ewma.started(at + 91 * MS);
    assert_eq!(ewma.unanswered_us(at + 93 * MS), 2 * MS);
    // Both clients went away: nobody waits.
    ewma.ended();
    ewma.ended();
    assert_eq!(ewma.unanswered_us(at + SECOND), 0);
}

#[test]
fn a_quick_failure_is_not_a_quick_answer() {
    let ewma = PeakEwma::default();
    ewma.started(SECOND);
    ewma.failed(50, SECOND);
    ewma.ended();
    assert_eq!(ewma.latency_us(SECOND), 1_000_000);
}

proptest! {
    /// The average lies between the least and the greatest latency; while none is quicker by far,
    /// never below what is left of the greatest.
    #[test]
    fn an_average_is_within_its_observations(
        observed in prop::collection::vec((0..200_000_u64, 1..1_000_000_u64), 1..50),
        wide: bool,
    ) {
        let ewma = PeakEwma::new(10_000);
        let (mut now, mut low, mut high) = (SECOND, u64::MAX, 0);
        let mut peak: f64 = 0.0;
        for (gap, rtt) in observed {
            let rtt = if wide { rtt } else { 1_000_000 + rtt * 3 };
            peak *= (-(((now + gap) / MS - now / MS) as f64) / 10_000.0).exp();
            now += gap;
            ewma.observe(rtt, now);
            (low, high) = (low.min(rtt), high.max(rtt));
            peak = peak.max(rtt as f64);
            let latency = ewma.latency_us(now) as f64;
            prop_assert!(latency >= low as f64 * 0.999 - 1.0 && latency <= high as f64 * 1.001);
            prop_assert!(wide || latency >= peak * 0.999 - 1.0);
        }
    }
}

const OUTLIER: Outlier = Outlier {
    consecutive: 3,
    eject_ms: 10_000,
    max_eject_ms: 25_000,
    max_share: 0.5,
};

fn group(members: usize) -> Vec<Ejection> {
    (0..members).map(|_| Ejection::default()).collect()
}

#[test]
fn failures_in_a_row_eject_for_longer_each_time() {
    let group = group(2);
    let fail = |now_ms| OUTLIER.failed(&group[0], &group, now_ms);
    assert_eq!([fail(0), fail(1)], [None, None]);
    group[0].succeeded();
    assert_eq!([fail(2), fail(3), fail(4)], [None, None, Some(10_004)]);
    assert!(group[0].is_ejected(10_003) && !group[0].is_ejected(10_004));
    assert_eq!(group[0].until_ms(5), Some(10_004));
    // What was on its way fails too and changes nothing.
    assert_eq!(fail(5), None);
    // On trial: one failure is enough, and it is out for longer, up to the limit.
    assert_eq!(fail(10_100), Some(30_100));
    assert_eq!(fail(30_100), Some(55_100));
    // A success ends the trial; a minute of service forgives the series.
    group[0].succeeded();
    assert_eq!([fail(99_000), fail(99_001)], [None, None]);
    assert_eq!(fail(99_002), Some(109_002));
}

#[test]
fn a_lone_member_is_never_ejected() {
    let group = group(1);
    assert!((0..99).all(|now_ms| OUTLIER.failed(&group[0], &group, now_ms).is_none()));
}

proptest! {
    #[test]
    fn no_more_than_the_share_is_ejected(
        members in 1..12_usize,
        max_share in 0.0..1.0_f64,
        events in prop::collection::vec((0..12_usize, 0..4000_u64, 0..10_u8), 1..400),
    ) {
        let outlier = Outlier { max_share, ..OUTLIER };
        let group = group(members);
        let mut now_ms = 0;
        for (member, gap, outcome) in events {
            now_ms += gap;
            let member = &group[member % members];
            if outcome == 0 {
                member.succeeded();
            } else {
                let before = member.is_ejected(now_ms);
                let until = outlier.failed(member, &group, now_ms);
                prop_assert!(until.is_none() || !before);
                prop_assert!(until.is_none_or(|until| until <= now_ms + outlier.max_eject_ms));
            }
            let ejected = group.iter().filter(|member| member.is_ejected(now_ms)).count();
            prop_assert!(ejected as f64 <= members as f64 * max_share);
        }
    }
}

const BREAKER: BreakerOptions = BreakerOptions {
    error_share: 0.5,
    window_ms: 10_000,
    min_requests: 4,
    open_ms: 5_000,
};

#[test]
fn a_breaker_opens_tries_and_closes() {
    let mut breaker = Breaker::new(BREAKER);
    for succeeded in [true, true, false] {
        let permit = breaker.admit(0);
        assert_eq!(permit, Permit::Normal);
        assert!(!breaker.record(permit, succeeded, 0));
    }
    assert!(breaker.record(Permit::Normal, false, 100));
    let refused = |retry_after_ms| Permit::Refused { retry_after_ms };
    assert_eq!(breaker.admit(100), refused(5000));
    assert_eq!(breaker.admit(5099), refused(1));
    // One probe; its failure opens again, and what began before it says nothing.
    assert!(!breaker.is_open(5100));
    assert_eq!(breaker.admit(5100), Permit::Probe);
    assert_eq!(breaker.admit(5101), refused(4999));
    assert!(!breaker.record(Permit::Normal, true, 5102));
    assert!(breaker.record(Permit::Probe, false, 5200));
    // A lost probe is followed by another.
    assert_eq!(breaker.admit(10_200), Permit::Probe);
    assert_eq!(breaker.admit(15_200), Permit::Probe);
    assert!(breaker.record(Permit::Probe, true, 15_201));
    // Closed, and the old failures are forgotten.
    assert_eq!(breaker.admit(15_202), Permit::Normal);
    assert!(!breaker.record(Permit::Normal, false, 15_202));
}

proptest! {
    /// While closed: open exactly when the share of a naive window says so.
    #[test]
    fn a_breaker_judges_by_its_window(
        events in prop::collection::vec((0..2500_u64, prop::bool::weighted(0.6)), 1..200),
    ) {
        let mut breaker = Breaker::new(BREAKER);
        let (mut now_ms, mut seen) = (0, Vec::new());
        for (gap, succeeded) in events {
            now_ms += gap;
            let permit = breaker.admit(now_ms);
            match permit {
                Permit::Normal => {
                    seen.push((now_ms / 1000, succeeded));
                    let window = || seen.iter().filter(|(slot, _)| slot + 10 > now_ms / 1000);
                    let (all, failed) = (window().count(), window().filter(|(_, ok)| !ok).count());
                    let opens = !succeeded && all >= 4 && failed * 2 >= all;
                    prop_assert_eq!(breaker.record(permit, succeeded, now_ms), opens);
                    prop_assert_eq!(breaker.is_open(now_ms), opens);
                }
                Permit::Probe => {
                    breaker.record(permit, succeeded, now_ms);
                    prop_assert_eq!(breaker.is_open(now_ms), !succeeded);
                    seen.clear();
                }
                Permit::Refused { retry_after_ms } => {
                    prop_assert!(breaker.is_open(now_ms + retry_after_ms - 1));
                    prop_assert!(!breaker.is_open(now_ms + retry_after_ms));
                }
            }
        }
    }
}
