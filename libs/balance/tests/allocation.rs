//! Picks do not allocate while the endpoints stay the same, whatever their state.
#![expect(unsafe_code, reason = "a counting allocator is an unsafe trait")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr};

use balance::{Balancer, Candidate, Endpoint, Picker, Policy};

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: everything is left to the system's allocator; counting touches a thread-local without
// a destructor, which allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promises are handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are handed on.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn picks_do_not_allocate() {
    let policies = [
        Policy::RoundRobin,
        Policy::LeastConnections,
        Policy::IpHash,
        Policy::Random,
    ];
    for policy in policies {
        let mut picker = Picker::new(policy);
        let mut endpoints: Vec<Endpoint> = (0..100)
            .map(|id| Endpoint {
                id,
                available: true,
                load: 0,
            })
            .collect();
        picker.pick(&endpoints, None, 0);
        let before = ALLOCATIONS.get();
        for n in 0..1000_u32 {
            let endpoint = &mut endpoints[n as usize % 100];
            endpoint.available = n % 3 != 0;
            endpoint.load = n % 7;
            let client = Some(IpAddr::V4(Ipv4Addr::from_bits(n)));
            assert!(
                picker
                    .pick(&endpoints, client, u64::from(n) << 40)
                    .is_some()
            );
        }
        assert_eq!(ALLOCATIONS.get() - before, 0, "{policy:?}");
    }
}

/// Scaling up and down between sizes that were seen costs nothing either.
#[test]
fn a_list_that_changes_back_and_forth_does_not_allocate() {
    let mut picker = Picker::new(Policy::RoundRobin);
    let endpoints: Vec<Endpoint> = (0..100)
        .map(|id| Endpoint {
            id,
            available: true,
            load: 0,
        })
        .collect();
    let reversed: Vec<Endpoint> = endpoints.iter().copied().rev().collect();
    picker.pick(&endpoints, None, 0);
    picker.pick(&reversed, None, 0);
    let before = ALLOCATIONS.get();
    for n in 0..100 {
        picker.pick(&endpoints[..60 + n % 41], None, 0);
    }
    assert_eq!(ALLOCATIONS.get() - before, 0);
}

#[test]
fn picks_of_a_balancer_do_not_allocate() {
    let policies = [
        Policy::PeakEwma,
        Policy::RoundRobin,
        Policy::LeastConnections,
        Policy::Random,
        Policy::TwoChoices,
        Policy::IpHash,
        Policy::RingHash,
    ];
    for policy in policies {
        let balancer = Balancer::new(policy);
        let mut members: Vec<Candidate> = (0..100).map(Candidate::new).collect();
        balancer.pick(&members, Some(0), 0, 0);
        let before = ALLOCATIONS.get();
        for n in 0..1000_u32 {
            let member = &mut members[n as usize % 100];
            member.available = n % 3 != 0;
            member.in_flight = n % 7;
            member.warmth = 1 + n % 1000;
            let picked = balancer.pick(&members, Some(u64::from(n)), u64::from(n) << 40, 0);
            assert!(picked.is_some());
        }
        assert_eq!(ALLOCATIONS.get(), before, "{policy:?}");
    }
}
