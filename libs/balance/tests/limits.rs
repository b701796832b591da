//! The rate limit against nginx's figures and against a naive bucket.

use balance::{Bucket, Leaky, Verdict};
use proptest::prelude::*;

const NODELAY: Leaky = Leaky {
    rate: 10,
    period_ms: 1000,
    burst: 20,
    nodelay: true,
};
const DELAYED: Leaky = Leaky {
    burst: 5,
    nodelay: false,
    ..NODELAY
};

fn passed(limit: &Leaky, bucket: &mut Bucket, requests: u32, now_ms: u64) -> usize {
    (0..requests)
        .filter(|_| limit.check(bucket, now_ms).passes())
        .count()
}

/// Requests a millisecond apart, as a client that waits for each answer sends them. One second
/// after the last of 50 the bucket has leaked for 1.05 s or a little more.
#[test]
fn fifty_back_to_back_as_nginx_counts_them() {
    let mut bucket = Bucket::default();
    let mut now_ms = 1_000_000;
    let mut round = |wait_ms| {
        now_ms += wait_ms;
        let each = (0..50).map(|n| NODELAY.check(&mut bucket, now_ms + n));
        let passed = each.filter(|verdict| verdict.passes()).count();
        now_ms += 50;
        passed
    };
    assert_eq!([round(0), round(1050), round(3000)], [21, 11, 21]);
}

#[test]
fn a_burst_waits_for_its_turn() {
    let mut bucket = Bucket::default();
    let verdicts: Vec<Verdict> = (0..12)
        .map(|n| DELAYED.check(&mut bucket, 500 + n))
        .collect();
    let mut expect = vec![Verdict::Pass];
    expect.extend((1..6).map(|n| Verdict::Delay(n * 100 - n)));
    expect.extend((6..12).map(|n| Verdict::Reject {
        retry_after_ms: 100 - n,
    }));
    assert_eq!(verdicts, expect);
}

#[test]
fn headers_say_what_is_left() {
    let mut bucket = Bucket::default();
    assert_eq!(NODELAY.quota(), 21);
    assert_eq!(NODELAY.remaining(&bucket, 0), 21);
    assert_eq!(NODELAY.reset_ms(&bucket, 0), 0);
    assert_eq!(passed(&NODELAY, &mut bucket, 5, 0), 5);
    assert_eq!(NODELAY.remaining(&bucket, 0), 16);
    assert_eq!(NODELAY.reset_ms(&bucket, 0), 500);
    assert_eq!(NODELAY.remaining(&bucket, 100), 17);
    assert_eq!(passed(&NODELAY, &mut bucket, 99, 100), 17);
    assert_eq!(NODELAY.remaining(&bucket, 100), 0);
    let verdict = NODELAY.peek(&bucket, 130);
    assert_eq!(verdict, Verdict::Reject { retry_after_ms: 70 });
}

#[test]
fn a_refund_makes_room_for_one() {
    let mut bucket = Bucket::default();
    assert_eq!(passed(&NODELAY, &mut bucket, 99, 0), 21);
    NODELAY.refund(&mut bucket);
    assert_eq!(passed(&NODELAY, &mut bucket, 99, 0), 1);
    let mut empty = Bucket::default();
    NODELAY.refund(&mut empty);
    assert_eq!(empty, Bucket::default());
}

#[test]
fn slow_rates_lose_nothing_to_rounding() {
    let hourly = Leaky {
        rate: 7,
        period_ms: 3_600_000,
        burst: 0,
        nodelay: true,
    };
    let mut bucket = Bucket::default();
    let passed = (0..24 * 36_000_u64)
        .filter(|tick| hourly.check(&mut bucket, tick * 100).passes())
        .count();
    assert_eq!(passed, 7 * 24);
}

#[test]
fn extremes_do_not_panic() {
    for rate in [0, 1, u32::MAX] {
        for period_ms in [0, 1, u64::MAX] {
            for burst in [0, u32::MAX] {
                let limit = Leaky {
                    rate,
                    period_ms,
                    burst,
                    nodelay: false,
                };
                let mut bucket = Bucket::default();
                for now_ms in [u64::MAX, 0, 5] {
                    let _ = limit.check(&mut bucket, now_ms);
                    let _ = limit.remaining(&bucket, now_ms);
                    let _ = limit.reset_ms(&bucket, now_ms);
                }
            }
        }
    }
}

/// What nginx computes, in its own units: thousandths of a request, rates a second.
struct Nginx {
    rate: i64,
    burst: i64,
    seen: Option<(i64, i64)>,
}

impl Nginx {
    fn check(&mut self, now_ms: i64) -> Option<i64> {
        let Some((excess, last_ms)) = self.seen else {
            self.seen = Some((0, now_ms));
            return Some(0);
        };
        let excess = (excess - self.rate * (now_ms - last_ms) / 1000 + 1000).max(0);
        if excess > self.burst {
            return None;
        }
        self.seen = Some((excess, now_ms));
        Some(excess * 1000 / self.rate)
    }
}

/// A bucket that is emptied millisecond by millisecond.
struct Naive {
    limit: Leaky,
    level: u64,
    at_ms: u64,
}

impl Naive {
    fn check(&mut self, now_ms: u64) -> bool {
        while self.at_ms < now_ms {
            self.at_ms += 1;
            self.level = self.level.saturating_sub(u64::from(self.limit.rate));
        }
        let level = self.level + self.limit.period_ms;
        let passes = level <= (u64::from(self.limit.burst) + 1) * self.limit.period_ms;
        if passes {
            self.level = level;
        }
        passes
    }
}

proptest! {
    #[test]
    fn is_nginxs_limit_req(
        rate in 1..500_u32,
        burst in 0..40_u32,
        gaps in prop::collection::vec(prop_oneof![0..3_u64, 0..300_u64, 0..9000_u64], 1..200),
    ) {
        let limit = Leaky { rate, period_ms: 1000, burst, nodelay: false };
        let mut bucket = Bucket::default();
        let mut nginx = Nginx {
            rate: i64::from(rate) * 1000,
            burst: i64::from(burst) * 1000,
            seen: None,
        };
        let mut now_ms = 0;
        for gap in gaps {
            now_ms += gap;
            let expect = nginx.check(i64::try_from(now_ms).unwrap());
            match limit.check(&mut bucket, now_ms) {
                Verdict::Pass => prop_assert_eq!(expect, Some(0)),
                Verdict::Delay(ms) => prop_assert_eq!(expect, Some(i64::try_from(ms).unwrap())),
                Verdict::Reject { retry_after_ms } => {
                    prop_assert_eq!(expect, None);
                    let peek = |at_ms| limit.peek(&bucket, at_ms).passes();
                    prop_assert!(peek(now_ms + retry_after_ms));
                    prop_assert!(!peek(now_ms + retry_after_ms - 1));
                }
            }
        }
    }

    #[test]
    fn is_a_leaky_bucket(
        rate in 1..50_u32,
        period_ms in 1..5000_u64,
        burst in 0..9_u32,
        gaps in prop::collection::vec(0..900_u64, 1..100),
    ) {
        let limit = Leaky { rate, period_ms, burst, nodelay: true };
        let mut bucket = Bucket::default();
        let mut naive = Naive { limit, level: 0, at_ms: 0 };
        let mut now_ms = 0;
        for gap in gaps {
            now_ms += gap;
            let remaining = limit.remaining(&bucket, now_ms);
            let more = passed(&limit, &mut bucket.clone(), remaining + 1, now_ms);
            prop_assert_eq!(more, remaining as usize);
            let fresh = now_ms + limit.reset_ms(&bucket, now_ms);
            prop_assert_eq!(u64::from(limit.remaining(&bucket, fresh)), limit.quota());
            prop_assert_eq!(limit.check(&mut bucket, now_ms).passes(), naive.check(now_ms));
        }
    }
}
