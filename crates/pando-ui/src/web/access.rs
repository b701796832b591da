//! Who may look: a link's token is good once and for a while, and buys a session.
//!
//! ```text
//! link (32 random bytes, printed) ── first use within LINK_LIFE ──► session (32 random bytes, cookie)
//!                                 └─ second use, or too late ─────► refused
//! ```
//! Random bytes and the time are arguments. Only values of the same length are compared, all of
//! them and without an early end, so that time tells nothing.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq;

/// A link that nobody has used after this long opens nothing.
pub const LINK_LIFE: Duration = Duration::from_secs(15 * 60);
/// Links at a time: a new one beyond that replaces the oldest.
const MAX_LINKS: usize = 4;
/// Browsers at a time: a new one beyond that replaces the oldest.
const MAX_SESSIONS: usize = 16;
/// 256 bits.
pub const SECRET_BYTES: usize = 32;

/// Random bytes that are known to one browser, in the letters of a URL.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    pub fn new(random: [u8; SECRET_BYTES]) -> Self {
        Self(URL_SAFE_NO_PAD.encode(random))
    }

    pub fn text(&self) -> &str {
        &self.0
    }

    fn is(&self, said: &str) -> bool {
        self.0.as_bytes().ct_eq(said.as_bytes()).into()
    }
}

/// What a browser has after it opened a link.
#[derive(Clone)]
pub struct Session {
    /// The cookie's value.
    pub cookie: Secret,
    /// Goes with every order in a header, which no other site's form can send.
    pub csrf: Secret,
}

impl Session {
    pub fn has_csrf(&self, said: &str) -> bool {
        self.csrf.is(said)
    }
}

/// Why a link opens nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Used before, never given, or replaced by newer ones.
    Unknown,
    /// Not used within [`LINK_LIFE`].
    Late,
}

#[derive(Default)]
pub struct Access {
    links: Vec<(Secret, Duration)>,
    sessions: Vec<Session>,
}

impl Access {
    /// A link that is good once. `now` is the time since the start of the server.
    pub fn offer(&mut self, now: Duration, token: Secret) {
        if self.links.len() >= MAX_LINKS {
            self.links.remove(0);
        }
        self.links.push((token, now));
    }

    /// Uses a link up and opens `session`.
    ///
    /// # Errors
    /// The link is not good; then no session is opened.
    pub fn exchange(
        &mut self,
        now: Duration,
        token: &str,
        session: Session,
    ) -> Result<(), Refused> {
        let mut found = None;
        for (index, (link, _)) in self.links.iter().enumerate() {
            if link.is(token) {
                found = Some(index);
            }
        }
        let (_, offered) = self.links.remove(found.ok_or(Refused::Unknown)?);
        if now.saturating_sub(offered) > LINK_LIFE {
            return Err(Refused::Late);
        }
        if self.sessions.len() >= MAX_SESSIONS {
            self.sessions.remove(0);
        }
        self.sessions.push(session);
        Ok(())
    }

    /// The session of a cookie.
    pub fn session(&self, cookie: &str) -> Option<&Session> {
        let mut found = None;
        for session in &self.sessions {
            if session.cookie.is(cookie) {
                found = Some(session);
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(n: u8) -> Secret {
        Secret::new([n; SECRET_BYTES])
    }

    fn session(n: u8) -> Session {
        Session {
            cookie: secret(n),
            csrf: secret(n + 100),
        }
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_link_is_good_once() {
        let mut access = Access::default();
        access.offer(at(0), secret(1));
        let token = secret(1);
        assert_eq!(access.exchange(at(5), token.text(), session(10)), Ok(()));
        let again = access.exchange(at(6), token.text(), session(11));
        assert_eq!(again, Err(Refused::Unknown));
        assert!(access.session(secret(10).text()).is_some());
        assert!(access.session(secret(11).text()).is_none());
    }

    #[test]
    fn a_late_link_is_used_up_too() {
        let mut access = Access::default();
        access.offer(at(0), secret(1));
        let late = LINK_LIFE + at(1);
        let token = secret(1);
        let first = access.exchange(late, token.text(), session(10));
        assert_eq!(first, Err(Refused::Late));
        let second = access.exchange(at(1), token.text(), session(10));
        assert_eq!(second, Err(Refused::Unknown));
    }

    #[test]
    fn wrong_values_open_nothing() {
        let mut access = Access::default();
        access.offer(at(0), secret(1));
        for wrong in ["", "x", &secret(2).text()[1..], secret(2).text()] {
            let tried = access.exchange(at(0), wrong, session(10));
            assert_eq!(tried, Err(Refused::Unknown), "{wrong}");
            assert!(access.session(wrong).is_none(), "{wrong}");
        }
        assert!(
            access
                .exchange(at(0), secret(1).text(), session(10))
                .is_ok()
        );
    }

    #[test]
    fn the_oldest_go_first() {
        let mut access = Access::default();
        for n in 0..=MAX_SESSIONS as u8 {
            access.offer(at(0), secret(n));
            assert!(access.exchange(at(0), secret(n).text(), session(n)).is_ok());
        }
        assert!(access.session(secret(0).text()).is_none());
        assert!(access.session(secret(1).text()).is_some());
        for n in 0..=MAX_LINKS as u8 {
            access.offer(at(0), secret(n));
        }
        let oldest = access.exchange(at(0), secret(0).text(), session(50));
        assert_eq!(oldest, Err(Refused::Unknown));
    }

    #[test]
    fn an_order_needs_the_word_of_its_own_session() {
        let one = session(1);
        assert!(one.has_csrf(secret(101).text()));
        assert!(!one.has_csrf(secret(102).text()));
        assert!(!one.has_csrf(""));
    }
}
