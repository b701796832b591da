//! Whose turn it is: the endpoint whose last turn is longest ago.
//!
//! A cursor that walks the list would do while nothing changes, but it starves an endpoint that
//! happens to be unavailable whenever the cursor passes, and a list that shrinks or grows shifts
//! it. Remembering each endpoint's last turn has neither fault.
//!
//! Invariant: after `align`, `turns[i].id == endpoints[i].id` for every i, so a pick is one walk
//! over both without a search.

use crate::Endpoint;

#[derive(Clone, Debug, Default)]
pub(crate) struct Turns {
    turns: Vec<Turn>,
    /// The previous list, kept for its memory: endpoints that come and go cost no allocation.
    spare: Vec<Turn>,
    /// Counts turns; at 10 million a second it lasts 58,000 years.
    clock: u64,
}

#[derive(Clone, Copy, Debug)]
struct Turn {
    id: u32,
    /// The clock at the endpoint's last turn, 0 before the first.
    last: u64,
}

impl Turns {
    /// Among the available endpoints with the least `cost`, the one whose last turn is longest
    /// ago (the earlier in the list among those that had none); its turn is now.
    pub(crate) fn next(
        &mut self,
        endpoints: &[Endpoint],
        cost: impl Fn(&Endpoint) -> u32,
    ) -> Option<u32> {
        self.align(endpoints);
        let (_, turn) = endpoints
            .iter()
            .zip(&mut self.turns)
            .filter(|(endpoint, _)| endpoint.available)
            .min_by_key(|(endpoint, turn)| (cost(endpoint), turn.last))?;
        self.clock += 1;
        turn.last = self.clock;
        Some(turn.id)
    }

    /// Makes `turns` follow the list of endpoints; those no longer in it are forgotten.
    fn align(&mut self, endpoints: &[Endpoint]) {
        let aligned = self.turns.len() == endpoints.len()
            && self
                .turns
                .iter()
                .zip(endpoints)
                .all(|(turn, endpoint)| turn.id == endpoint.id);
        if aligned {
            return;
        }
        std::mem::swap(&mut self.turns, &mut self.spare);
        self.spare.sort_unstable_by_key(|turn| turn.id);
        self.turns.clear();
        self.turns.extend(endpoints.iter().map(|endpoint| {
            let known = self
                .spare
                .binary_search_by_key(&endpoint.id, |turn| turn.id);
            Turn {
                id: endpoint.id,
                last: known.map_or(0, |index| self.spare[index].last),
            }
        }));
    }
}
