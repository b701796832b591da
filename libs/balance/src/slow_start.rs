//! A share that grows: a process that has just begun compiles its code while it serves.

use crate::WARM;

/// The share with which a member begins, in thousandths.
const COLD: u32 = WARM / 10;

/// The [`Member::warmth`](crate::Member::warmth) of a member that became available `age_ms` ago:
/// from a tenth in a straight line to [`WARM`] at `slow_start_ms`; always [`WARM`] if that is 0.
#[must_use]
pub fn warmth(age_ms: u64, slow_start_ms: u64) -> u32 {
    if age_ms >= slow_start_ms {
        return WARM;
    }
    let grown = u128::from(WARM - COLD) * u128::from(age_ms) / u128::from(slow_start_ms);
    // Below WARM - COLD, as age_ms < slow_start_ms.
    COLD + grown as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_from_a_tenth_to_all() {
        let table = [
            (0, 0, 1000),
            (0, 3000, 100),
            (1000, 3000, 400),
            (1500, 3000, 550),
            (2999, 3000, 999),
            (3000, 3000, 1000),
            (u64::MAX, 3000, 1000),
            (u64::MAX - 1, u64::MAX, 999),
        ];
        for (age_ms, slow_start_ms, expect) in table {
            assert_eq!(
                warmth(age_ms, slow_start_ms),
                expect,
                "{age_ms} of {slow_start_ms}"
            );
        }
    }
}
