//! Basic authentication, RFC 7617.

use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use http::header::AUTHORIZATION;
use http::request::Parts;
use quick_cache::sync::Cache;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

use super::password::{Stored, parse_htpasswd};
use super::watched::Watched;
use super::{Holder, Refusal};
use crate::tls::FileSource;

/// Credentials that were right, so that a request costs a digest and not a bcrypt.
const KNOWN: usize = 1024;
/// Slow hashes that are computed at the same time, and requests that wait for it. Beyond it the
/// answer is 503: guessing must not take the machine.
const SLOW_AT_ONCE: usize = 2;
const SLOW_WAITING: usize = 256;
/// Longer credentials are nobody's (bcrypt itself reads 72 bytes).
const MAX_PASSWORD_BYTES: usize = 1024;

type Users = HashMap<String, Stored>;

#[derive(Debug)]
pub(super) struct Basic {
    challenge: HeaderValue,
    users: UsersOf,
    file: Option<Watched<UsersOf>>,
    /// Digests of name, password and stored hash, with a salt of this process.
    known: Cache<[u8; 32], ()>,
    salt: [u8; 32],
    slow: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

struct UsersOf(Users);

impl std::fmt::Debug for UsersOf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} users", self.0.len())
    }
}

impl Basic {
    pub(super) fn new(spec: &gateway_spec::Basic, files: Arc<dyn FileSource>) -> Self {
        let users = spec.users.iter();
        let users = users.map(|(name, hash)| (name.clone(), Stored::hash_or_plain(hash.expose())));
        Self {
            challenge: challenge(&spec.realm),
            users: UsersOf(users.collect()),
            file: spec
                .file
                .clone()
                .map(|path| Watched::new(path, files, parse)),
            known: Cache::new(KNOWN),
            salt: super::random(),
            slow: Arc::new(Semaphore::new(SLOW_AT_ONCE)),
            waiting: Arc::new(Semaphore::new(SLOW_WAITING)),
        }
    }

    pub(super) async fn check(&self, head: &Parts) -> Result<Holder, Refusal> {
        let file = match &self.file {
            Some(file) => Some(file.current().ok_or(Refusal::Unavailable)?),
            None => None,
        };
        let refused = || Refusal::Unauthorized(self.challenge.clone());
        let (name, password) = credentials(head).ok_or_else(refused)?;
        let of_file = file.as_ref().and_then(|users| users.0.get(&name));
        let right = match self.users.0.get(&name).or(of_file) {
            Some(stored) => self.verify(&name, &password, stored).await?,
            None => {
                // As long as for somebody who exists, so that names cannot be guessed by time.
                let any = self.users.0.values().next();
                let any = any.or_else(|| file.as_ref()?.0.values().next());
                if let Some(any) = any {
                    self.slowly(&password, any).await?;
                }
                false
            }
        };
        right.then(|| Holder(name.into())).ok_or_else(refused)
    }

    async fn verify(&self, name: &str, password: &str, stored: &Stored) -> Result<bool, Refusal> {
        if !stored.is_slow() {
            return Ok(stored.verify(password.as_bytes()));
        }
        let mut key = Sha256::new().chain_update(self.salt);
        for part in [name.as_bytes(), password.as_bytes(), &stored.identity()] {
            key.update((part.len() as u64).to_le_bytes());
            key.update(part);
        }
        let key: [u8; 32] = key.finalize().into();
        if self.known.get(&key).is_some() {
            return Ok(true);
        }
        let right = self.slowly(password, stored).await?;
        if right {
            self.known.insert(key, ());
        }
        Ok(right)
    }

    async fn slowly(&self, password: &str, stored: &Stored) -> Result<bool, Refusal> {
        let busy = |_| Refusal::Unavailable;
        let waiting = Arc::clone(&self.waiting)
            .try_acquire_owned()
            .map_err(busy)?;
        let running = Arc::clone(&self.slow).acquire_owned().await;
        let running = running.map_err(|_| Refusal::Unavailable)?;
        let (password, stored) = (password.to_owned(), stored.clone());
        let verified = tokio::task::spawn_blocking(move || {
            let right = stored.verify(password.as_bytes());
            drop((running, waiting));
            right
        });
        verified.await.map_err(|_| Refusal::Unavailable)
    }
}

fn parse(text: &str) -> Result<UsersOf, String> {
    let (users, bad) = parse_htpasswd(text);
    if !bad.is_empty() {
        tracing::warn!(lines = ?bad,
            "lines of the htpasswd file have no bcrypt, apr1, SHA or SSHA hash: nobody can log in by them");
    }
    Ok(UsersOf(users.into_iter().collect()))
}

/// `Basic realm="…", charset="UTF-8"`
fn challenge(realm: &str) -> HeaderValue {
    let plain = realm.chars().filter(|char| !char.is_control());
    let escaped: String = plain
        .flat_map(|char| {
            matches!(char, '"' | '\\')
                .then_some('\\')
                .into_iter()
                .chain([char])
        })
        .collect();
    let text = format!("Basic realm=\"{escaped}\", charset=\"UTF-8\"");
    HeaderValue::from_str(&text).unwrap_or_else(|_| {
        HeaderValue::from_static("Basic realm=\"restricted\", charset=\"UTF-8\"")
    })
}

/// Name and password of the one `Authorization` header.
fn credentials(head: &Parts) -> Option<(String, String)> {
    let mut lines = head.headers.get_all(AUTHORIZATION).iter();
    let line = lines.next().filter(|_| lines.next().is_none())?;
    parse_credentials(line.as_bytes())
}

/// `Basic` and base64 of `name:password`; the name has no colon, the password may.
fn parse_credentials(header: &[u8]) -> Option<(String, String)> {
    let text = std::str::from_utf8(header).ok()?;
    let (scheme, token) = text.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = STANDARD.decode(token.trim()).ok()?;
    let decoded = String::from_utf8(decoded).ok()?;
    let (name, password) = decoded.split_once(':')?;
    let sane = password.len() <= MAX_PASSWORD_BYTES && !decoded.contains(char::is_control);
    sane.then(|| (name.to_owned(), password.to_owned()))
}

/// For the fuzzer.
#[doc(hidden)]
pub fn fuzz_authorization(data: &[u8]) {
    if let Some((name, _)) = parse_credentials(data) {
        assert!(!name.contains(':'));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_of_a_header() {
        let check = |header: &str, expected: Option<(&str, &str)>| {
            let found = parse_credentials(header.as_bytes());
            let found = found
                .as_ref()
                .map(|(name, password)| (name.as_str(), password.as_str()));
            assert_eq!(found, expected, "{header}");
        };
        check(
            "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
            Some(("Aladdin", "open sesame")),
        );
        check(
            "basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
            Some(("Aladdin", "open sesame")),
        );
        check(
            &format!("Basic {}", STANDARD.encode("a:b:c")),
            Some(("a", "b:c")),
        );
        check(&format!("Basic {}", STANDARD.encode(":")), Some(("", "")));
        check(
            &format!("Basic {}", STANDARD.encode("é:ü")),
            Some(("é", "ü")),
        );
        check(&format!("Basic {}", STANDARD.encode("a\nb:c")), None);
        check(&format!("Basic {}", STANDARD.encode("nobody")), None);
        check(
            &format!(
                "Basic {}",
                STANDARD.encode(format!("a:{}", "b".repeat(2000)))
            ),
            None,
        );
        check("Basic !", None);
        check("Basic", None);
        check("Bearer QWxhZGRpbjpvcGVuIHNlc2FtZQ==", None);
    }

    #[test]
    fn a_realm_cannot_break_its_quotes() {
        assert_eq!(
            challenge("a\"b\\c\n"),
            r#"Basic realm="a\"b\\c", charset="UTF-8""#
        );
    }
}
