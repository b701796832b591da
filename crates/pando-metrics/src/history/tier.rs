//! Resolutions: a second for an hour, ten for a day, a minute for 30 days.

use crate::row::Scope;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tier {
    Seconds,
    Tens,
    Minutes,
}

/// The stretch after which all that is open is folded and written as blocks.
pub const CHAPTER_S: i64 = 600;

impl Tier {
    pub const ALL: [Self; 3] = [Self::Seconds, Self::Tens, Self::Minutes];

    pub fn step_s(self) -> i64 {
        match self {
            Self::Seconds => 1,
            Self::Tens => 10,
            Self::Minutes => 60,
        }
    }

    /// What one block is of.
    pub fn block_s(self) -> i64 {
        match self {
            Self::Seconds | Self::Tens => CHAPTER_S,
            Self::Minutes => 3_600,
        }
    }

    /// A block is kept as long as any of it is younger.
    pub fn keep_s(self) -> i64 {
        match self {
            Self::Seconds => 3_600,
            Self::Tens => 86_400,
            Self::Minutes => 30 * 86_400,
        }
    }

    /// The finest one at which a thing is kept.
    pub fn finest(scope: &Scope) -> Self {
        if scope.is_coarse() {
            Self::Tens
        } else {
            Self::Seconds
        }
    }

    /// As the store numbers it.
    pub fn number(self) -> i64 {
        match self {
            Self::Seconds => 0,
            Self::Tens => 1,
            Self::Minutes => 2,
        }
    }

    /// Where a time lies: the start of its block, and its place in it.
    pub fn place(self, time_s: i64) -> (i64, usize) {
        let start = time_s.div_euclid(self.block_s()) * self.block_s();
        let place = (time_s - start) / self.step_s();
        (start, usize::try_from(place).unwrap_or(0))
    }
}
