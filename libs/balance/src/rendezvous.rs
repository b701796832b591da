//! Rendezvous (highest random weight) hashing: every endpoint gets a score from its id and the
//! client; the highest available score wins. Thaler and Ravishankar, "Using name-based mappings
//! to increase hit rates", IEEE/ACM Transactions on Networking 6(1), 1998.
//!
//! An endpoint's score depends on nothing but its own id and weight, so no endpoint's coming or
//! going changes the order of the others: this is what keeps clients where they are.

use std::cmp::Reverse;
use std::net::IpAddr;

use crate::hash::{address_key, mix};
use crate::member::List;
use crate::{Endpoint, Member};

/// The available endpoint with the highest score for this client; the lower id on a tie.
pub(crate) fn pick(endpoints: &[Endpoint], client: IpAddr) -> Option<u32> {
    let client = address_key(client);
    endpoints
        .iter()
        .filter(|endpoint| endpoint.available)
        .map(|endpoint| endpoint.id)
        .max_by_key(|&id| (score(client, u64::from(id)), Reverse(id)))
}

/// The position of the available member with the highest score for this key. Members of one
/// weight are placed as [`pick`] places endpoints of the same ids.
pub(crate) fn place(members: &impl List, key: u64) -> Option<usize> {
    let mut best: Option<(f64, u64, u64, usize)> = None;
    let mut weight = None;
    let equal = members
        .iter()
        .all(|member| *weight.get_or_insert(member.weight()) == member.weight());
    for (index, member) in members.iter().enumerate() {
        if member.weight() == 0 || !member.available() {
            continue;
        }
        let (id, score) = (member.id(), score(key, member.id()));
        let weighed = if equal {
            0.0
        } else {
            weighed(score, member.weight())
        };
        let better = best.is_none_or(|(best_weighed, best_score, best_id, _)| {
            weighed
                .total_cmp(&best_weighed)
                .then(score.cmp(&best_score))
                .then(best_id.cmp(&id))
                .is_gt()
        });
        if better {
            best = Some((weighed, score, id, index));
        }
    }
    best.map(|(.., index)| index)
}

fn score(client: u64, id: u64) -> u64 {
    mix(client ^ mix(id))
}

/// Wins with a probability in proportion to `weight`: Schindelhauer and Schomaker, "Weighted
/// distributed hash tables", SPAA 2005 (the logarithmic method).
fn weighed(score: u64, weight: u32) -> f64 {
    // Strictly between 0 and 1, so that the logarithm is finite and below zero.
    let even = ((score >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
    -f64::from(weight) / even.ln()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Candidate;

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
        let members: Vec<Candidate> = (0..8).map(Candidate::new).collect();
        let clients = [
            "10.0.0.1",
            "10.0.0.2",
            "192.168.1.77",
            "::1",
            "2001:db8::42",
        ];
        let placed = [1, 5, 4, 0, 0];
        for (client, expect) in clients.into_iter().zip(placed) {
            let client = client.parse().unwrap();
            assert_eq!(pick(&endpoints, client), Some(expect));
            let members = crate::member::Seen {
                items: &members,
                see: |member| member,
            };
            assert_eq!(place(&members, address_key(client)), Some(expect as usize));
        }
    }
}
