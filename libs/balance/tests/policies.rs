//! Each policy against what it promises, over arbitrary endpoints and histories.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use balance::{Endpoint, Picker, Policy};
use proptest::prelude::*;

const POLICIES: [Policy; 7] = [
    Policy::PeakEwma,
    Policy::TwoChoices,
    Policy::RingHash,
    Policy::RoundRobin,
    Policy::LeastConnections,
    Policy::IpHash,
    Policy::Random,
];

fn up(id: u32) -> Endpoint {
    Endpoint {
        id,
        available: true,
        load: 0,
    }
}

fn ids() -> impl Strategy<Value = BTreeSet<u32>> {
    prop::collection::btree_set(any::<u32>(), 1..24)
}

fn endpoints() -> impl Strategy<Value = Vec<Endpoint>> {
    let endpoint = (any::<bool>(), 0..4_u32);
    prop::collection::btree_map(0..40_u32, endpoint, 0..24)
        .prop_map(|endpoints| {
            let endpoint = |(id, (available, load))| Endpoint {
                id,
                available,
                load,
            };
            endpoints.into_iter().map(endpoint).collect()
        })
        .prop_shuffle()
}

fn client() -> impl Strategy<Value = Option<IpAddr>> {
    prop_oneof![
        Just(None),
        any::<u32>().prop_map(|bits| Some(IpAddr::V4(Ipv4Addr::from_bits(bits)))),
        any::<u128>().prop_map(|bits| Some(IpAddr::V6(Ipv6Addr::from_bits(bits)))),
    ]
}

/// A sequence of random numbers that a test can repeat: Weyl's, then multiplied.
fn random(step: u64) -> u64 {
    let x = step.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (x ^ (x >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93)
}

fn clients(count: u32) -> impl Iterator<Item = IpAddr> {
    (0..count).map(|n| IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + n)))
}

fn place(ids: &BTreeSet<u32>, down: &BTreeSet<u32>, client: IpAddr) -> Option<u32> {
    let endpoint = |&id| Endpoint {
        id,
        available: !down.contains(&id),
        load: 0,
    };
    let endpoints: Vec<Endpoint> = ids.iter().map(endpoint).collect();
    Picker::new(Policy::IpHash).pick(&endpoints, Some(client), 0)
}

proptest! {
    /// The list may even be another at each pick.
    #[test]
    fn picks_an_available_one_and_none_only_if_there_is_none(
        lists in prop::collection::vec((endpoints(), client(), any::<u64>()), 1..20),
    ) {
        for policy in POLICIES {
            let mut picker = Picker::new(policy);
            for (endpoints, client, random) in &lists {
                let picked = picker.pick(endpoints, *client, *random);
                let available: BTreeSet<u32> =
                    endpoints.iter().filter(|e| e.available).map(|e| e.id).collect();
                match picked {
                    Some(id) => prop_assert!(available.contains(&id), "{policy:?} {id}"),
                    None => prop_assert!(available.is_empty(), "{policy:?}"),
                }
            }
        }
    }

    /// The model keeps a queue: whoever is picked goes to its end.
    #[test]
    fn round_robin_is_a_queue(
        count in 1..12_usize,
        masks in prop::collection::vec(any::<u16>(), 1..200),
    ) {
        let mut picker = Picker::new(Policy::RoundRobin);
        let mut queue: Vec<u32> = (0..count as u32).collect();
        for mask in masks {
            let available = |id: u32| mask >> id & 1 == 1;
            let endpoints: Vec<Endpoint> = (0..count as u32)
                .map(|id| Endpoint { id, available: available(id), load: 0 })
                .collect();
            let first = queue.iter().position(|&id| available(id));
            let expected = first.map(|position| queue.remove(position));
            queue.extend(expected);
            prop_assert_eq!(picker.pick(&endpoints, None, 0), expected);
        }
    }

    /// Whatever the others do, and in whatever order the list comes.
    #[test]
    fn round_robin_is_fair_to_those_that_stay(
        others in prop::collection::vec(any::<u8>(), 1..300),
        shuffle in any::<u64>(),
    ) {
        let mut picker = Picker::new(Policy::RoundRobin);
        let mut picks: BTreeMap<u32, u32> = BTreeMap::from([(100, 0), (101, 0), (102, 0)]);
        for (step, mask) in others.into_iter().enumerate() {
            let mut endpoints: Vec<Endpoint> = (0..8_u32)
                .map(|id| Endpoint { id, available: mask >> id & 1 == 1, load: 0 })
                .chain(picks.keys().copied().map(up))
                .collect();
            let by = random(shuffle.wrapping_add(step as u64)) as usize % endpoints.len();
            endpoints.rotate_left(by);
            let id = picker.pick(&endpoints, None, 0).unwrap();
            picks.entry(id).and_modify(|count| *count += 1);
            let counts = || picks.values();
            prop_assert!(counts().max().unwrap() - counts().min().unwrap() <= 1, "{picks:?}");
        }
    }

    /// Against a naive minimum; ties go round.
    #[test]
    fn least_connections_has_the_least_load(
        rounds in prop::collection::vec(
            prop::collection::vec((any::<bool>(), 0..3_u32), 6), 1..60),
    ) {
        let mut picker = Picker::new(Policy::LeastConnections);
        let mut last_turn = [0; 6];
        for (step, round) in rounds.into_iter().enumerate() {
            let endpoints: Vec<Endpoint> = round
                .into_iter()
                .zip(0..)
                .map(|((available, load), id)| Endpoint { id, available, load })
                .collect();
            let available = || endpoints.iter().filter(|e| e.available);
            let least = available().map(|e| e.load).min();
            let mut candidates: Vec<u32> =
                available().filter(|e| Some(e.load) == least).map(|e| e.id).collect();
            candidates.sort_by_key(|&id| (last_turn[id as usize], id));
            let picked = picker.pick(&endpoints, None, 0);
            prop_assert_eq!(picked, candidates.first().copied());
            if let Some(id) = picked {
                last_turn[id as usize] = step + 1;
            }
        }
    }

    #[test]
    fn ip_hash_ignores_order_load_and_history(
        endpoints in endpoints(),
        client in any::<u32>(),
        by in any::<prop::sample::Index>(),
    ) {
        let client = Some(IpAddr::V4(Ipv4Addr::from_bits(client)));
        let mut picker = Picker::new(Policy::IpHash);
        let first = picker.pick(&endpoints, client, 0);
        let mut other = endpoints.clone();
        if !other.is_empty() {
            let by = by.index(other.len());
            other.rotate_left(by);
        }
        for endpoint in &mut other {
            endpoint.load += 7;
        }
        prop_assert_eq!(picker.pick(&other, client, 1), first);
        prop_assert_eq!(Picker::new(Policy::IpHash).pick(&other, client, 2), first);
    }

    /// Only the clients of what goes away move; whether it is gone or unavailable is the same to
    /// them; when it is back, so are they.
    #[test]
    fn ip_hash_moves_only_the_clients_of_what_goes(ids in ids(), gone in any::<prop::sample::Index>()) {
        let gone = *gone.get(&Vec::from_iter(ids.iter().copied()));
        let without: BTreeSet<u32> = ids.iter().copied().filter(|&id| id != gone).collect();
        let nobody = BTreeSet::new();
        for client in clients(200) {
            let before = place(&ids, &nobody, client);
            let after = place(&without, &nobody, client);
            prop_assert_eq!(place(&ids, &BTreeSet::from([gone]), client), after);
            if before != Some(gone) {
                prop_assert_eq!(after, before);
            }
        }
    }

    /// Within six standard deviations of the binomial distribution.
    #[test]
    fn ip_hash_gives_a_newcomer_its_share_and_moves_nobody_else(
        mut ids in ids(),
        newcomer in any::<u32>(),
    ) {
        const CLIENTS: u32 = 4000;
        ids.remove(&newcomer);
        prop_assume!(!ids.is_empty());
        let mut with = ids.clone();
        with.insert(newcomer);
        let nobody = BTreeSet::new();
        let mut moved = 0;
        for client in clients(CLIENTS) {
            let (before, after) = (place(&ids, &nobody, client), place(&with, &nobody, client));
            if before != after {
                prop_assert_eq!(after, Some(newcomer));
                moved += 1;
            }
        }
        let share = 1.0 / with.len() as f64;
        let expected = f64::from(CLIENTS) * share;
        let deviation = (expected * (1.0 - share)).sqrt();
        prop_assert!((f64::from(moved) - expected).abs() < 6.0 * deviation, "{moved} {expected}");
    }
}

#[test]
fn ip_hash_spreads_neighbouring_addresses_evenly() {
    const CLIENTS: u32 = 40_000;
    const ENDPOINTS: u32 = 10;
    let ids: BTreeSet<u32> = (0..ENDPOINTS).collect();
    let mut counts = [0_u32; ENDPOINTS as usize];
    for client in clients(CLIENTS) {
        counts[place(&ids, &BTreeSet::new(), client).unwrap() as usize] += 1;
    }
    // 4000 each, and a standard deviation of 60.
    assert!(
        counts.iter().all(|count| (3640..4360).contains(count)),
        "{counts:?}"
    );
}

#[test]
fn ip_hash_knows_an_address_in_both_its_spellings() {
    let endpoints: Vec<Endpoint> = (0..64).map(up).collect();
    let mut picker = Picker::new(Policy::IpHash);
    for n in 0..100 {
        let v4 = Ipv4Addr::new(203, 0, 113, n);
        let plain = picker.pick(&endpoints, Some(v4.into()), 0);
        let mapped = picker.pick(&endpoints, Some(v4.to_ipv6_mapped().into()), 0);
        assert_eq!(plain, mapped);
    }
}

#[test]
fn random_gives_each_available_one_the_same() {
    const PICKS: u64 = 40_000;
    let mut endpoints: Vec<Endpoint> = (0..5).map(up).collect();
    endpoints[2].available = false;
    let mut picker = Picker::new(Policy::Random);
    let mut counts = [0_u32; 5];
    for step in 0..PICKS {
        counts[picker.pick(&endpoints, None, random(step)).unwrap() as usize] += 1;
    }
    assert_eq!(counts[2], 0);
    for id in [0, 1, 3, 4] {
        assert!((9_000..11_000).contains(&counts[id]), "{counts:?}");
    }
    assert!(
        picker.pick(&endpoints, None, u64::MAX).is_some(),
        "the largest number is in range"
    );
}

#[test]
fn one_that_returns_gets_one_turn_and_no_more() {
    let mut picker = Picker::new(Policy::RoundRobin);
    let mut endpoints = [up(0), up(1), up(2)];
    endpoints[1].available = false;
    for _ in 0..50 {
        picker.pick(&endpoints, None, 0);
    }
    endpoints[1].available = true;
    let picks: Vec<u32> = (0..6)
        .map(|_| picker.pick(&endpoints, None, 0).unwrap())
        .collect();
    assert_eq!(picks, [1, 0, 2, 1, 0, 2]);
}
