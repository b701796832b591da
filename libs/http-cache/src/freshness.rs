//! Whether a stored answer may be used (RFC 9111 section 4.2, RFC 5861).

use crate::control::RequestControl;

/// The numbers of one stored answer, all that is needed at a hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freshness {
    /// When it was received, or last found unchanged; milliseconds since 1970.
    pub received_ms: u64,
    /// Its age then (`corrected_initial_age`).
    pub initial_age_ms: u64,
    /// It is fresh while its age is below this.
    pub lifetime_ms: u64,
    /// How long past its lifetime it may be used while it is fetched anew; 0 where forbidden.
    pub stale_while_revalidate_ms: u64,
    /// How long past its lifetime it may be used when fetching it fails; 0 where forbidden.
    pub stale_if_error_ms: u64,
    /// Never used without asking the origin: `no-cache`.
    pub always_validate: bool,
    /// Not even a client that takes stale answers gets it stale.
    pub must_revalidate: bool,
}

/// How a stored answer may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usable {
    /// As it is.
    Fresh,
    /// As it is, because the client takes it stale (`max-stale`).
    Stale,
    /// As it is, while it is fetched anew behind the client's back.
    WhileRevalidating,
    /// After the origin has said that it did not change.
    AfterValidation,
}

impl Freshness {
    /// `current_age` of section 4.2.3, in milliseconds.
    pub fn age_ms(&self, now_ms: u64) -> u64 {
        self.initial_age_ms
            .saturating_add(now_ms.saturating_sub(self.received_ms))
    }

    /// Milliseconds until it is stale; 0 when it is.
    pub fn remaining_ms(&self, now_ms: u64) -> u64 {
        self.lifetime_ms.saturating_sub(self.age_ms(now_ms))
    }

    /// Whether, and how, the answer to a request with this Cache-Control is the stored one.
    pub fn usable(&self, asked: &RequestControl, now_ms: u64) -> Usable {
        let age_ms = self.age_ms(now_ms);
        if self.always_validate || asked.no_cache {
            return Usable::AfterValidation;
        }
        let too_old = |seconds: u64| age_ms > seconds.saturating_mul(1000);
        // A client that names an age and takes stale answers besides takes older ones too.
        if asked.max_stale.is_none() && asked.max_age.is_some_and(too_old) {
            return Usable::AfterValidation;
        }
        let wanted_ms = asked.min_fresh.unwrap_or(0).saturating_mul(1000);
        if age_ms.saturating_add(wanted_ms) < self.lifetime_ms {
            return Usable::Fresh;
        }
        if age_ms < self.lifetime_ms {
            return Usable::AfterValidation;
        }
        let stale_ms = age_ms - self.lifetime_ms;
        let takes = |seconds: u64| stale_ms <= seconds.saturating_mul(1000);
        if !self.must_revalidate && asked.max_stale.is_some_and(takes) {
            return Usable::Stale;
        }
        if stale_ms < self.stale_while_revalidate_ms && asked.min_fresh.is_none() {
            return Usable::WhileRevalidating;
        }
        Usable::AfterValidation
    }

    /// Whether it may stand in when the origin failed (RFC 5861 section 4).
    pub fn after_error(&self, now_ms: u64) -> bool {
        let stale_ms = self.age_ms(now_ms).saturating_sub(self.lifetime_ms);
        !self.always_validate && !self.must_revalidate && stale_ms < self.stale_if_error_ms
    }

    /// The age at which there is no use left in it without a validator.
    fn end_ms(&self) -> u64 {
        let longest_ms = self.stale_while_revalidate_ms.max(self.stale_if_error_ms);
        match self.always_validate {
            true => 0,
            false => self.lifetime_ms.saturating_add(longest_ms),
        }
    }

    /// Whether there is any use left in it without a validator.
    pub fn spent(&self, now_ms: u64) -> bool {
        self.age_ms(now_ms) >= self.end_ms()
    }

    /// How long it is of use without a validator, from when it was received.
    pub fn lasts_ms(&self) -> u64 {
        self.end_ms().saturating_sub(self.initial_age_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FRESH: Freshness = Freshness {
        received_ms: 1_000_000,
        initial_age_ms: 5_000,
        lifetime_ms: 60_000,
        stale_while_revalidate_ms: 10_000,
        stale_if_error_ms: 100_000,
        always_validate: false,
        must_revalidate: false,
    };

    fn asks(change: impl FnOnce(&mut RequestControl)) -> RequestControl {
        let mut asked = RequestControl::default();
        change(&mut asked);
        asked
    }

    #[test]
    fn plain_requests() {
        let check = |after_ms, want| {
            let now_ms = FRESH.received_ms + after_ms;
            assert_eq!(
                FRESH.usable(&RequestControl::default(), now_ms),
                want,
                "{after_ms}"
            );
        };
        check(0, Usable::Fresh);
        check(54_999, Usable::Fresh);
        check(55_000, Usable::WhileRevalidating);
        check(64_999, Usable::WhileRevalidating);
        check(65_000, Usable::AfterValidation);
        assert!(FRESH.after_error(FRESH.received_ms + 154_999));
        assert!(!FRESH.after_error(FRESH.received_ms + 155_000));
        assert!(FRESH.spent(FRESH.received_ms + 155_000));
        assert!(!FRESH.spent(FRESH.received_ms + 154_999));
        assert_eq!(FRESH.lasts_ms(), 155_000);
    }

    #[test]
    fn requests_that_say_more() {
        let now_ms = FRESH.received_ms + 10_000;
        let check = |asked: RequestControl, want| assert_eq!(FRESH.usable(&asked, now_ms), want);
        check(asks(|a| a.no_cache = true), Usable::AfterValidation);
        check(asks(|a| a.max_age = Some(15)), Usable::Fresh);
        check(asks(|a| a.max_age = Some(14)), Usable::AfterValidation);
        check(asks(|a| a.min_fresh = Some(44)), Usable::Fresh);
        check(asks(|a| a.min_fresh = Some(45)), Usable::AfterValidation);
        let late_ms = FRESH.received_ms + 75_000;
        let stale = asks(|a| a.max_stale = Some(20));
        assert_eq!(FRESH.usable(&stale, late_ms), Usable::Stale);
        assert_eq!(FRESH.usable(&stale, late_ms + 1), Usable::AfterValidation);
        let strict = Freshness {
            must_revalidate: true,
            ..FRESH
        };
        assert_eq!(strict.usable(&stale, late_ms), Usable::AfterValidation);
        assert!(!strict.after_error(late_ms));
    }

    proptest! {
        #[test]
        fn nothing_becomes_fresh_again(lifetime_ms: u64, age: u64, a: u64, b: u64) {
            let (early, late) = (a.min(b), a.max(b));
            let stored = Freshness { lifetime_ms, initial_age_ms: age, received_ms: 0, ..FRESH };
            let asked = RequestControl::default();
            if stored.usable(&asked, early) != Usable::Fresh {
                prop_assert_ne!(stored.usable(&asked, late), Usable::Fresh);
            }
            prop_assert!(stored.age_ms(early) <= stored.age_ms(late));
        }
    }
}
