//! A consistent ring: every member has points on a circle of 2^64, a key belongs to the member
//! of the next point. Karger and others, "Consistent hashing and random trees", STOC 1997; the
//! number of points as in libketama: 160 for a member of average weight, others in proportion.
//!
//! A member's points depend on its id and their number only, so a member that comes takes its
//! share from all others, one that goes leaves it to all others, and no other key moves while the
//! members' weights are equal. Where they are not, a change of the average moves few more.

use crate::hash::mix;
use crate::member::List;
use crate::{Member, rendezvous};

/// Points of a member of average weight.
const POINTS: u64 = 160;
/// All points of a ring, 1 MB: with more than 409 members each has fewer than [`POINTS`].
const RING_POINTS_MAX: u64 = 1 << 16;
/// Points looked at for one key; with no more than a few members away it takes one or two.
const WALK_MAX: usize = 256;

#[derive(Clone, Debug, Default)]
pub(crate) struct Ring {
    /// Sorted by place.
    points: Vec<Point>,
    /// What the ring was built from: id and weight of each member.
    built: Vec<(u64, u32)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Point {
    place: u64,
    id: u64,
    member: u32,
}

impl Ring {
    /// The position of the available member to which `key` belongs.
    pub(crate) fn place(&mut self, members: &impl List, key: u64) -> Option<usize> {
        self.build(members);
        let place = mix(key);
        let start = self.points.partition_point(|point| point.place < place);
        let points = self.points[start..].iter().chain(&self.points[..start]);
        points
            .take(WALK_MAX)
            .map(|point| point.member as usize)
            .find(|&member| members.at(member).available())
            // Nearly all are away: the rest share the keys in another stable way.
            .or_else(|| rendezvous::place(members, key))
    }

    fn build<L: List>(&mut self, members: &L) {
        let same = self.built.len() == members.len()
            && self
                .built
                .iter()
                .zip(members.iter())
                .all(|(built, member)| *built == (member.id(), member.weight()));
        if same {
            return;
        }
        self.built.clear();
        let identity = |member: L::Item| (member.id(), member.weight());
        self.built.extend(members.iter().map(identity));
        self.points.clear();
        let count = self.built.iter().filter(|(_, weight)| *weight > 0).count() as u64;
        let weights: u64 = self
            .built
            .iter()
            .map(|(_, weight)| u64::from(*weight))
            .sum();
        let all = (POINTS * count).min(RING_POINTS_MAX);
        for (member, &(id, weight)) in (0_u32..).zip(&self.built) {
            if weight == 0 {
                continue;
            }
            // At most 2^16 * 2^32; at least one, so that nobody is left out.
            let share = (all * u64::from(weight) / weights).max(1);
            self.points.extend((0..share).map(|n| Point {
                place: mix(mix(id) ^ n),
                id,
                member,
            }));
        }
        self.points.sort_unstable();
    }
}
