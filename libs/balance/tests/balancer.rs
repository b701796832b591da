//! Each policy of the balancer against what it promises.

use std::collections::{BTreeMap, BTreeSet};

use balance::{Balancer, Candidate, Policy, WARM};
use proptest::prelude::*;

const POLICIES: [Policy; 7] = [
    Policy::PeakEwma,
    Policy::RoundRobin,
    Policy::LeastConnections,
    Policy::Random,
    Policy::TwoChoices,
    Policy::IpHash,
    Policy::RingHash,
];

/// A sequence of random numbers that a test can repeat: Weyl's, then multiplied.
fn random(step: u64) -> u64 {
    let x = step.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (x ^ (x >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93)
}

fn weighted(weights: &[u32]) -> Vec<Candidate> {
    let candidate = |(id, weight)| Candidate {
        weight,
        ..Candidate::new(id)
    };
    (0..).zip(weights.iter().copied()).map(candidate).collect()
}

fn members() -> impl Strategy<Value = Vec<Candidate>> {
    let member = (
        any::<bool>(),
        0..5_u32,
        1..=WARM,
        0..9_u32,
        0..5000_u64,
        0..90_000_u64,
    );
    prop::collection::btree_map(any::<u64>(), member, 0..20)
        .prop_map(|members| {
            let candidate =
                |(id, (available, weight, warmth, in_flight, latency_us, wait_us))| Candidate {
                    id,
                    available,
                    weight,
                    warmth,
                    in_flight,
                    latency_us,
                    wait_us,
                };
            members.into_iter().map(candidate).collect()
        })
        .prop_shuffle()
}

/// How often each of `members` is picked in `count` picks without keys.
fn shares(policy: Policy, members: &[Candidate], count: u64) -> Vec<u64> {
    let balancer = Balancer::new(policy);
    let mut picks = vec![0; members.len()];
    for step in 0..count {
        let picked = balancer.pick(members, None, random(step), 0);
        picks[picked.expect("some are available")] += 1;
    }
    picks
}

fn letters(weights: &[u32], picks: usize) -> String {
    let members = weighted(weights);
    let balancer = Balancer::new(Policy::RoundRobin);
    (0..picks)
        .filter_map(|_| balancer.pick(&members, None, 0, 0))
        .map(|index| ["a", "b", "c"][index])
        .collect()
}

#[test]
fn round_robin_is_nginxs() {
    assert_eq!(letters(&[5, 1, 1], 14), "aabacaaaabacaa");
    assert_eq!(letters(&[1, 1, 1], 7), "abcabca");
    assert_eq!(letters(&[4, 2, 3], 9), "acbacabca");
    assert_eq!(letters(&[0, 1], 3), "bbb");
}

proptest! {
    #[test]
    fn picks_an_available_member_exactly_if_there_is_one(
        rounds in prop::collection::vec((members(), any::<Option<u64>>(), any::<u64>()), 1..8),
    ) {
        for policy in POLICIES {
            let balancer = Balancer::new(policy);
            for (members, key, random) in &rounds {
                let picked = balancer.pick(members, *key, *random, 0);
                let can = |member: &Candidate| member.available && member.weight > 0;
                prop_assert_eq!(picked.is_some(), members.iter().any(can));
                prop_assert!(picked.is_none_or(|picked| can(&members[picked])));
            }
        }
    }

    /// In any row of picks as long as the sum of weights each member has its weight, give or take
    /// what a row that begins anywhere can cut off; in a whole round exactly.
    #[test]
    fn round_robin_is_smooth(weights in prop::collection::vec(1..9_u32, 1..9), start in 0..50_usize) {
        let members = weighted(&weights);
        let balancer = Balancer::new(Policy::RoundRobin);
        let total: u32 = weights.iter().sum();
        for _ in 0..start {
            balancer.pick(&members, None, 0, 0);
        }
        let mut counts = vec![0_u32; weights.len()];
        for step in 1..=total {
            counts[balancer.pick(&members, None, 0, 0).unwrap()] += 1;
            for (count, weight) in counts.iter().zip(&weights) {
                let due = f64::from(*weight) * f64::from(step) / f64::from(total);
                // Both ends of the row can be off by the algorithm's own bound.
                prop_assert!((f64::from(*count) - due).abs() < 2.0 * weights.len() as f64);
            }
        }
        prop_assert_eq!(counts, weights);
    }

    #[test]
    fn least_connections_is_minimal(members in members(), before in 0..5_u32) {
        let balancer = Balancer::new(Policy::LeastConnections);
        for _ in 0..before {
            balancer.pick(&members, None, 0, 0);
        }
        if let Some(picked) = balancer.pick(&members, None, 0, 0) {
            let load = |m: &Candidate| {
                f64::from(m.in_flight) / (f64::from(m.weight) * f64::from(m.warmth))
            };
            let can = |m: &&Candidate| m.available && m.weight > 0;
            let least = members.iter().filter(can).map(load).fold(f64::MAX, f64::min);
            prop_assert!(load(&members[picked]) <= least * 1.000_001);
        }
    }

    /// Of two that are compared the busier, slower one never wins.
    #[test]
    fn two_choices_avoid_the_busiest(loads in prop::collection::btree_set(0..99_u32, 2..9), seed: u64) {
        let mut members = weighted(&vec![1; loads.len()]);
        for (member, load) in members.iter_mut().zip(&loads) {
            member.in_flight = *load;
            member.latency_us = u64::from(*load) * 1000 + 1;
        }
        for policy in [Policy::TwoChoices, Policy::PeakEwma] {
            let balancer = Balancer::new(policy);
            for step in 0..20 {
                let picked = balancer.pick(&members, None, random(seed.wrapping_add(step)), 0);
                prop_assert_ne!(picked, Some(loads.len() - 1));
            }
        }
    }

    #[test]
    fn hashing_moves_no_other_keys(
        ids in prop::collection::btree_set(any::<u64>(), 2..9),
        gone in any::<prop::sample::Index>(),
        weight in 1..4_u32,
    ) {
        let candidate = |&id| Candidate { weight, ..Candidate::new(id) };
        let all: Vec<Candidate> = ids.iter().map(candidate).collect();
        let gone = gone.index(all.len());
        let mut without = all.clone();
        let leaver = without.remove(gone).id;
        let mut down = all.clone();
        down[gone].available = false;
        for policy in [Policy::IpHash, Policy::RingHash] {
            let [one, two, three] = [(); 3].map(|()| Balancer::new(policy));
            for key in 0..100 {
                let before = all[one.pick(&all, Some(key), 0, 0).unwrap()].id;
                let left = without[two.pick(&without, Some(key), 0, 0).unwrap()].id;
                let absent = down[three.pick(&down, Some(key), 0, 0).unwrap()].id;
                // Away for a while or for good: the same keys move, to the same members.
                prop_assert_eq!(left, absent);
                prop_assert!(before == left || before == leaver);
            }
        }
    }
}

#[test]
fn shares_follow_weights_where_nothing_else_tells_members_apart() {
    let members = weighted(&[1, 3, 6]);
    let policies = [
        Policy::PeakEwma,
        Policy::RoundRobin,
        Policy::LeastConnections,
        Policy::Random,
        Policy::TwoChoices,
        Policy::IpHash,
    ];
    for policy in policies {
        let picks = shares(policy, &members, 10_000);
        for (picks, weight) in picks.iter().zip([1, 3, 6]) {
            assert!(
                picks.abs_diff(weight * 1000) < 200,
                "{policy:?}: {picks} for {weight}"
            );
        }
    }
}

#[test]
fn a_cold_member_takes_a_tenth_of_its_share() {
    let mut members = weighted(&[1, 1]);
    members[0].warmth = 100;
    for policy in [
        Policy::PeakEwma,
        Policy::RoundRobin,
        Policy::LeastConnections,
        Policy::Random,
        Policy::TwoChoices,
    ] {
        let picks = shares(policy, &members, 11_000);
        assert!(picks[0].abs_diff(1000) < 200, "{policy:?}: {picks:?}");
    }
}

/// Keys that a policy gives to each of `members`.
fn placed(policy: Policy, members: &[Candidate], keys: u64) -> BTreeMap<u64, BTreeSet<u64>> {
    let balancer = Balancer::new(policy);
    let mut placed: BTreeMap<u64, BTreeSet<u64>> = BTreeMap::new();
    for key in 0..keys {
        let picked = balancer.pick(members, Some(key), 0, 0);
        let picked = picked.expect("all are available");
        placed.entry(members[picked].id).or_default().insert(key);
    }
    placed
}

#[test]
fn hashing_follows_weights() {
    let members = weighted(&[1, 3, 6]);
    for policy in [Policy::IpHash, Policy::RingHash] {
        let placed = placed(policy, &members, 20_000);
        for (id, weight) in [(0, 1), (1, 3), (2, 6)] {
            let share = placed[&id].len() as f64 / 2000.0 / f64::from(weight);
            assert!(
                (0.75..1.25).contains(&share),
                "{policy:?}: {share} of {weight}"
            );
        }
    }
}

/// The most that may move when the twentieth of a group comes is about a twentieth, be the
/// weights equal or not.
#[test]
fn a_new_member_of_a_ring_takes_about_its_share() {
    for weights in [[1; 20], std::array::from_fn(|n| 50 + n as u32 % 3 * 50)] {
        let (few, all) = (weighted(&weights[..19]), weighted(&weights));
        let (few, all) = (
            placed(Policy::RingHash, &few, 20_000),
            placed(Policy::RingHash, &all, 20_000),
        );
        let stayed: usize = few
            .iter()
            .map(|(id, keys)| keys.intersection(&all[id]).count())
            .sum();
        let moved = 20_000 - stayed;
        assert!((500..1600).contains(&moved), "{moved} moved");
    }
}

#[test]
fn a_ring_of_many_is_bounded_and_complete() {
    let members = weighted(&[1; 1024]);
    let placed = placed(Policy::RingHash, &members, 100_000);
    assert_eq!(placed.len(), 1024);
    let mut one_left = members;
    for member in &mut one_left[1..] {
        member.available = false;
    }
    let balancer = Balancer::new(Policy::RingHash);
    assert!((0..500).all(|key| balancer.pick(&one_left, Some(key), 0, 0) == Some(0)));
}

/// One of four does not answer: at most the first few requests meet it.
#[test]
fn a_stalled_member_is_avoided() {
    let mut members = weighted(&[1; 4]);
    for member in &mut members {
        (member.latency_us, member.in_flight) = (300, 4);
    }
    members[2].wait_us = 5_000;
    assert_eq!(shares(Policy::PeakEwma, &members, 1000)[2], 0);
    // Three of four: two draws alone would often meet no other.
    members[0].wait_us = 60_000;
    members[1].wait_us = 60_000;
    members[2].wait_us = 60_000;
    assert_eq!(shares(Policy::PeakEwma, &members, 1000), [0, 0, 0, 1000]);
}

/// A member whose last answer was slow is tried now and then while it is idle, and takes part
/// again when the others are busy.
#[test]
fn an_old_slow_answer_does_not_idle_a_member() {
    let mut members = weighted(&[1; 2]);
    (members[0].latency_us, members[1].latency_us) = (2_000_000, 300);
    let tried = shares(Policy::PeakEwma, &members, 6400)[0];
    assert!((50..150).contains(&tried), "{tried}");
    members[0].in_flight = 1;
    assert_eq!(shares(Policy::PeakEwma, &members, 1000), [0, 1000]);
    (members[0].in_flight, members[0].wait_us) = (0, 1);
    assert_eq!(shares(Policy::PeakEwma, &members, 1000), [0, 1000]);
    members[1].in_flight = 8;
    assert_eq!(shares(Policy::PeakEwma, &members, 1000), [1000, 0]);
}
