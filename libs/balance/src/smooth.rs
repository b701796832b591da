//! Smooth weighted round robin, by nginx's algorithm (its commit 52327e0627f4 of 2012 explains
//! it): at every pick each member's credit grows by its share; the one with the most credit is
//! picked and pays the sum of all shares. In a round of n picks each gets exactly its share, and
//! a heavy member's turns are spread over the round.
//!
//! Invariant: after `align`, `turns[i].id == members[i].id()` for every i.

use crate::Member;
use crate::member::{List, share};

#[derive(Clone, Debug, Default)]
pub(crate) struct Smooth {
    turns: Vec<Turn>,
    /// The previous list, kept for its memory.
    spare: Vec<Turn>,
}

#[derive(Clone, Copy, Debug)]
struct Turn {
    id: u64,
    /// In shares; the sum over members that stay available stays 0.
    credit: i64,
}

impl Smooth {
    /// The available member whose turn it is.
    pub(crate) fn next(&mut self, members: &impl List) -> Option<usize> {
        self.turn(members, |_| true)
    }

    /// The available member with the fewest requests for its share; among equals the one whose
    /// turn it is.
    pub(crate) fn least(&mut self, members: &impl List) -> Option<usize> {
        let mut least: Option<(u64, u64)> = None;
        for member in members.iter() {
            let share = share(&member);
            if share == 0 {
                continue;
            }
            let load = u64::from(member.in_flight());
            if least.is_none_or(|least| less(load, share, least)) {
                least = Some((load, share));
            }
        }
        let least = least?;
        self.turn(members, |member| {
            let load = u64::from(member.in_flight());
            // The counters may move while we look: at least is as good as equal.
            !less(least.0, least.1, (load, share(member).max(1)))
        })
        // All of them got busier since the first look: any turn is right.
        .or_else(|| self.next(members))
    }

    fn turn<L: List>(
        &mut self,
        members: &L,
        takes_part: impl Fn(&L::Item) -> bool,
    ) -> Option<usize> {
        self.align(members);
        let mut total = 0_i64;
        let mut best: Option<(i64, usize)> = None;
        for (index, (member, turn)) in members.iter().zip(&mut self.turns).enumerate() {
            // At most 2^32 * 1000, and 2^20 members: far from the end of an i64.
            let share = share(&member) as i64;
            if share == 0 || !takes_part(&member) {
                continue;
            }
            total += share;
            turn.credit += share;
            if best.is_none_or(|(credit, _)| turn.credit > credit) {
                best = Some((turn.credit, index));
            }
        }
        let (_, index) = best?;
        self.turns[index].credit -= total;
        Some(index)
    }

    /// Makes `turns` follow the list of members; those no longer in it are forgotten.
    fn align(&mut self, members: &impl List) {
        let aligned = self.turns.len() == members.len()
            && self
                .turns
                .iter()
                .zip(members.iter())
                .all(|(turn, member)| turn.id == member.id());
        if aligned {
            return;
        }
        std::mem::swap(&mut self.turns, &mut self.spare);
        self.spare.sort_unstable_by_key(|turn| turn.id);
        self.turns.clear();
        self.turns.extend(members.iter().map(|member| {
            let id = member.id();
            let known = self.spare.binary_search_by_key(&id, |turn| turn.id);
            Turn {
                id,
                credit: known.map_or(0, |index| self.spare[index].credit),
            }
        }));
    }
}

/// `load / share` is less than that of `than`, without a division.
fn less(load: u64, share: u64, than: (u64, u64)) -> bool {
    u128::from(load) * u128::from(than.1) < u128::from(than.0) * u128::from(share)
}
