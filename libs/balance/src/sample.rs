//! Drawing members at random, and choosing the better of two: Mitzenmacher, "The power of two
//! choices in randomized load balancing", IEEE Transactions on Parallel and Distributed Systems
//! 12(10), 2001. Two that are drawn do nearly as well as a look at all, and many balancers that
//! look at once do not all run to the same one.
//!
//! The first is drawn by share (weight times warmth), the second, among the others, too; the
//! second is picked only if it is better. So while nothing tells them apart the requests follow
//! the shares.

use crate::Member;
use crate::hash::{mix, scale};
use crate::member::{List, share};

/// Past latencies of two members count as at most this many times each other's: what one slow
/// answer took must not idle a member for a minute. What a request waits *now* is not bounded.
const SLOWER_MAX: u64 = 8;
/// Latencies closer than a quarter are noise and count as equal.
const NOISE: u64 = 4;
/// An idle member that lost by its past alone is picked in one of so many cases: nobody learns
/// that it has become quick otherwise. It has one such request at a time.
const TRY_ONE_OF: u64 = 64;
/// If the better of two lets a request wait this long, all are looked at.
const STALLED_US: u64 = 50_000;

/// One available member, by share.
pub(crate) fn one(members: &impl List, random: u64) -> Option<usize> {
    draw(members, None, random)
}

/// Of two the one with fewer requests for its share.
pub(crate) fn less_loaded(members: &impl List, random: u64) -> Option<usize> {
    let first = draw(members, None, random)?;
    let Some(second) = draw(members, Some(first), mix(random)) else {
        return Some(first);
    };
    let load = |index: usize| {
        let member = members.at(index);
        let share = share(&member).max(1);
        u128::from(member.in_flight()) * u128::from(u64::MAX / share)
    };
    Some(if load(second) < load(first) {
        second
    } else {
        first
    })
}

/// Of two the one that is expected to answer first; of all, if both seem to stall.
pub(crate) fn quickest(members: &impl List, random: u64, now_us: u64) -> Option<usize> {
    let first = draw(members, None, random)?;
    let Some(second) = draw(members, Some(first), mix(random)) else {
        return Some(first);
    };
    let mut best = Expected::of(&members.at(first), first, now_us);
    let mut other = Expected::of(&members.at(second), second, now_us);
    if other.is_better_than(&best) {
        std::mem::swap(&mut best, &mut other);
    }
    if other.is_worth_a_try() && mix(!random).is_multiple_of(TRY_ONE_OF) {
        return Some(other.index);
    }
    if best.wait_us >= STALLED_US {
        for (index, member) in members.iter().enumerate() {
            let other = Expected::of(&member, index, now_us);
            if share(&member) > 0 && other.is_better_than(&best) {
                best = other;
            }
        }
    }
    Some(best.index)
}

/// What is expected of one member.
struct Expected {
    index: usize,
    /// 0 is unknown.
    latency_us: u64,
    wait_us: u64,
    in_flight: u64,
    share: u64,
}

impl Expected {
    fn of(member: &impl Member, index: usize, now_us: u64) -> Self {
        Self {
            index,
            latency_us: member.latency_us(now_us),
            wait_us: member.wait_us(now_us),
            in_flight: u64::from(member.in_flight()),
            // It may have become unavailable since it was drawn.
            share: share(member).max(1),
        }
    }

    fn is_worth_a_try(&self) -> bool {
        self.in_flight == 0 && self.wait_us == 0
    }

    fn is_better_than(&self, other: &Self) -> bool {
        let (mine, others) = comparable(self.latency_us, other.latency_us);
        let most = self.share.max(other.share);
        self.cost(mine, most) < other.cost(others, most)
    }

    /// Expected time times the requests that share it, this one included. A member of the
    /// largest share counts its requests as they are, one of half that share doubly.
    fn cost(&self, latency_us: u64, most: u64) -> f64 {
        let expected_us = latency_us.max(self.wait_us).max(1) as f64;
        let crowd = self.in_flight as f64 * (most as f64 / self.share as f64);
        expected_us * (1.0 + crowd)
    }
}

/// Two latencies as they are compared: an unknown one is as good as the other, near ones are
/// equal, and neither is more than [`SLOWER_MAX`] times the other.
fn comparable(one: u64, two: u64) -> (u64, u64) {
    let (low, high) = (one.min(two), one.max(two));
    if low == 0 || high - low <= low / NOISE {
        return (high, high);
    }
    let high = high.min(low.saturating_mul(SLOWER_MAX));
    if one < two { (low, high) } else { (high, low) }
}

/// One available member other than `but`, by share.
fn draw<L: List>(members: &L, but: Option<usize>, random: u64) -> Option<usize> {
    let shares = || {
        let drawn = move |(index, member): (usize, L::Item)| {
            let out = but == Some(index);
            (index, if out { 0 } else { share(&member) })
        };
        members.iter().enumerate().map(drawn)
    };
    let total: u64 = shares().map(|(_, share)| share).sum();
    let mut left = scale(random, total);
    let mut last = None;
    for (index, share) in shares().filter(|(_, share)| *share > 0) {
        if left < share {
            return Some(index);
        }
        left -= share;
        last = Some(index);
    }
    // Reached only if shares shrank between the two looks.
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_are_compared_within_reason() {
        assert_eq!(comparable(0, 0), (0, 0));
        assert_eq!(comparable(0, 700), (700, 700));
        assert_eq!(comparable(100, 125), (125, 125));
        assert_eq!(comparable(100, 126), (100, 126));
        assert_eq!(comparable(2_000_000, 300), (2400, 300));
    }
}
