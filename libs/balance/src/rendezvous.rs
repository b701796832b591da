//! Rendezvous (highest random weight) hashing: every endpoint gets a score from its id and the
//! client; the highest available score wins. Thaler and Ravishankar, "Using name-based mappings
//! to increase hit rates", IEEE/ACM Transactions on Networking 6(1), 1998.
//!
//! An endpoint's score depends on nothing but its own id, so no endpoint's coming or going
//! changes the order of the others: this is what keeps clients where they are.
//!
//! The hash is part of the behaviour: two supervisors, or one before and after an upgrade, must
//! place a client alike. So it is written down here, has no random key, and a test pins it.

use std::net::IpAddr;

use crate::Endpoint;

/// The available endpoint with the highest score for this client; the lower id on a tie.
pub(crate) fn pick(endpoints: &[Endpoint], client: IpAddr) -> Option<u32> {
    let client = client_hash(client);
    endpoints
        .iter()
        .filter(|endpoint| endpoint.available)
        .map(|endpoint| endpoint.id)
        .max_by_key(|&id| (score(client, id), std::cmp::Reverse(id)))
}

fn client_hash(client: IpAddr) -> u64 {
    match client.to_canonical() {
        IpAddr::V4(v4) => mix(u64::from(v4.to_bits())),
        IpAddr::V6(v6) => {
            let bits = v6.to_bits();
            // Truncation is meant: the two halves, one after the other.
            mix(mix((bits >> 64) as u64) ^ bits as u64)
        }
    }
}

fn score(client: u64, id: u32) -> u64 {
    mix(client ^ mix(u64::from(id)))
}

/// SplitMix64's step: adds the golden gamma, then mixes (Steele, Lea and Flood, "Fast splittable
/// pseudorandom number generators", OOPSLA 2014). A bijection whose every output bit depends on
/// every input bit.
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first outputs of SplitMix64 seeded with 0 and with 1234567, as published with the
    /// generator's reference implementation.
    #[test]
    fn mix_is_splitmix64() {
        assert_eq!(mix(0), 0xe220_a839_7b1d_cdaf);
        assert_eq!(mix(1_234_567), 6_457_827_717_110_365_317);
    }

    /// A change here moves every client of every running system: never change these.
    #[test]
    fn placement_is_pinned() {
        let endpoints: Vec<Endpoint> = (0..8)
            .map(|id| Endpoint {
                id,
                available: true,
                load: 0,
            })
            .collect();
        let clients = [
            "10.0.0.1",
            "10.0.0.2",
            "192.168.1.77",
            "::1",
            "2001:db8::42",
        ];
        let placed: Vec<u32> = clients
            .iter()
            .map(|client| pick(&endpoints, client.parse().unwrap()).unwrap())
            .collect();
        assert_eq!(placed, [1, 5, 4, 0, 0]);
    }
}
