//! The steering program, by its interpreter: every chosen seat equally often, no other ever.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use steer::bpf::{self, MAX_SEATS};

/// The kernel's BPF_MAXINSNS.
const MAX_INSNS: usize = 4096;

fn check(seats: &[usize], first_random: u32) {
    const ROUNDS: u32 = 3;
    let chosen: BTreeSet<u32> = seats.iter().map(|&seat| seat as u32).collect();
    let program = bpf::program(seats);
    assert!(program.len() <= MAX_INSNS, "{} instructions", program.len());
    let mut counts: BTreeMap<u32, u32> = BTreeMap::new();
    let count = chosen.len() as u32;
    // As many neighbouring numbers as there are seats give each rank once. They must not wrap:
    // 2^32 is no multiple of every count.
    let first = first_random.min(u32::MAX - ROUNDS * count);
    for random in first..first + ROUNDS * count {
        *counts.entry(bpf::run(&program, random)).or_default() += 1;
    }
    let expected: BTreeMap<u32, u32> = chosen.into_iter().map(|seat| (seat, ROUNDS)).collect();
    assert_eq!(counts, expected, "{program:?}");
}

proptest! {
    #[test]
    fn each_seat_has_an_equal_share(
        seats in prop::collection::btree_set(0..MAX_SEATS, 1..200),
        first_random in any::<u32>(),
    ) {
        check(&Vec::from_iter(seats), first_random);
    }

    /// Dense sets, as real ones are: all seats but a few.
    #[test]
    fn so_do_all_but_a_few(
        seats in 1..40_usize,
        out in prop::collection::btree_set(0..40_usize, 0..8),
        first_random in any::<u32>(),
    ) {
        let seats: Vec<usize> = (0..seats).filter(|seat| !out.contains(seat)).collect();
        if !seats.is_empty() {
            check(&seats, first_random);
        }
    }

    #[test]
    fn order_and_repetition_do_not_matter(
        seats in prop::collection::vec(0..50_usize, 1..30).prop_shuffle(),
    ) {
        let sorted: BTreeSet<usize> = seats.iter().copied().collect();
        prop_assert_eq!(bpf::program(&seats), bpf::program(&Vec::from_iter(sorted)));
    }
}

#[test]
fn the_usual_programs_are_short() {
    let all: Vec<usize> = (0..512).collect();
    assert_eq!(bpf::program(&all).len(), 3);
    let one_out: Vec<usize> = (0..512).filter(|&seat| seat != 100).collect();
    assert_eq!(bpf::program(&one_out).len(), 6);
    let every_second: Vec<usize> = (0..MAX_SEATS).step_by(2).collect();
    assert!(bpf::program(&every_second).len() <= MAX_INSNS / 2);
    check(&every_second, 0);
    check(&(1..MAX_SEATS).step_by(2).collect::<Vec<_>>(), u32::MAX);
}

#[test]
fn there_is_no_program_for_nobody() {
    assert!(bpf::program(&[]).is_empty());
    assert_eq!(bpf::run(&[], 7), bpf::INVALID);
}
