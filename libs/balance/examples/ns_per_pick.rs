//! What a pick costs: `cargo run --release -p balance --example ns_per_pick`.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use balance::{Endpoint, Picker, Policy};

const PICKS: u32 = 2_000_000;

fn main() {
    println!("{:<18}{:>10}{:>10}{:>10}", "ns/pick, endpoints", 4, 16, 128);
    let policies = [
        Policy::RoundRobin,
        Policy::LeastConnections,
        Policy::IpHash,
        Policy::Random,
    ];
    for policy in policies {
        let [few, some, many] = [4, 16, 128].map(|count| ns_per_pick(policy, count));
        println!(
            "{:<18}{few:>10.1}{some:>10.1}{many:>10.1}",
            format!("{policy:?}")
        );
    }
}

fn ns_per_pick(policy: Policy, count: u32) -> f64 {
    let mut picker = Picker::new(policy);
    let mut endpoints: Vec<Endpoint> = (0..count)
        .map(|id| Endpoint {
            id,
            available: true,
            load: id % 5,
        })
        .collect();
    let started = Instant::now();
    for n in 0..PICKS {
        endpoints[(n % count) as usize].load = n % 7;
        let client = Some(IpAddr::V4(Ipv4Addr::from_bits(n)));
        let random = u64::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        black_box(picker.pick(black_box(&endpoints), client, random));
    }
    started.elapsed().as_secs_f64() * 1e9 / f64::from(PICKS)
}
