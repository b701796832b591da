//! Who has a row of its own among a bounded number of names. When all rows are taken, one that
//! nobody used for [`IDLE_US`] goes: by then everybody who reads counters has read its last value.

use std::collections::BTreeMap;

use super::endpoints::Name;

/// Several times what Prometheus takes for the end of a series (5 minutes).
pub(crate) const IDLE_US: u64 = 15 * 60 * 1_000_000;

#[derive(Debug)]
pub(crate) struct Room {
    max: usize,
    /// When each was last used.
    seen: BTreeMap<Name, u64>,
    /// No row is idle before this moment, so nobody has to look.
    none_idle_before_us: u64,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// It has a row, after the one that made room for it has gone.
    Own { gone: Option<Name> },
    /// It has none: it counts with all the others of this kind.
    Shared,
}

impl Room {
    pub fn new(max: usize) -> Self {
        Self {
            max,
            seen: BTreeMap::new(),
            none_idle_before_us: 0,
        }
    }

    pub fn place(&mut self, now_us: u64, name: &Name) -> Place {
        if let Some(seen) = self.seen.get_mut(name) {
            *seen = now_us;
            return Place::Own { gone: None };
        }
        let gone = if self.seen.len() < self.max {
            None
        } else {
            match self.idlest(now_us) {
                Some(name) => Some(name),
                None => return Place::Shared,
            }
        };
        if let Some(gone) = &gone {
            self.seen.remove(gone);
        }
        self.seen.insert(name.clone(), now_us);
        Place::Own { gone }
    }

    /// The one that was not used for longest, if that is long enough.
    fn idlest(&mut self, now_us: u64) -> Option<Name> {
        if now_us < self.none_idle_before_us {
            return None;
        }
        let (name, seen) = self.seen.iter().min_by_key(|(_, seen)| **seen)?;
        if now_us.saturating_sub(*seen) >= IDLE_US {
            return Some(name.clone());
        }
        self.none_idle_before_us = seen.saturating_add(IDLE_US);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(n: u32) -> Name {
        ("GET".into(), format!("/{n}"))
    }

    #[test]
    fn the_idlest_goes_and_only_when_it_must() {
        let mut room = Room::new(3);
        for n in 0..3 {
            assert_eq!(room.place(n.into(), &name(n)), Place::Own { gone: None });
        }
        assert_eq!(room.place(10, &name(7)), Place::Shared);
        // The first is used again, so the second is the idlest.
        room.place(IDLE_US, &name(0));
        assert_eq!(room.place(IDLE_US, &name(7)), Place::Shared);
        let gone = Some(name(1));
        assert_eq!(room.place(IDLE_US + 1, &name(7)), Place::Own { gone });
        assert_eq!(room.place(IDLE_US + 1, &name(1)), Place::Shared);
        let gone = Some(name(2));
        assert_eq!(room.place(IDLE_US + 2, &name(1)), Place::Own { gone });
        assert_eq!(room.seen.len(), 3);
    }

    #[test]
    fn without_room_there_is_none() {
        assert_eq!(Room::new(0).place(IDLE_US * 2, &name(1)), Place::Shared);
    }
}
