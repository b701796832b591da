//! Stored passwords, as Apache's htpasswd writes them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest, Md5};
use sha1::Sha1;
use subtle::ConstantTimeEq;

const APR1: &str = "$apr1$";
const APR1_ROUNDS: usize = 1000;
/// RFC 2307: a salted SHA-1 has the salt after its 20 bytes.
const SHA1_BYTES: usize = 20;
/// The alphabet of crypt(3), not that of RFC 4648.
const CRYPT64: [u8; 64] = *b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// One stored password.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Stored {
    /// `$2y$…`
    Bcrypt(String),
    /// `$apr1$salt$hash`
    Apr1 {
        salt: String,
        hash: String,
    },
    /// `{SHA}` and `{SSHA}`, the latter with its salt.
    Sha1 {
        hash: [u8; SHA1_BYTES],
        salt: Vec<u8>,
    },
    Plain(String),
}

impl Stored {
    /// A hash that htpasswd writes. `None`: of another kind.
    pub(super) fn hash(text: &str) -> Option<Self> {
        if ["$2y$", "$2b$", "$2a$", "$2x$"]
            .iter()
            .any(|start| text.starts_with(start))
        {
            return Some(Self::Bcrypt(text.to_owned()));
        }
        if let Some(rest) = text.strip_prefix(APR1) {
            let (salt, hash) = rest.split_once('$')?;
            // The original uses at most eight bytes of the salt.
            let salt = salt.get(..salt.len().min(8))?;
            return Some(Self::Apr1 {
                salt: salt.to_owned(),
                hash: hash.to_owned(),
            });
        }
        let salted = text.strip_prefix("{SSHA}");
        let bytes = STANDARD
            .decode(salted.or_else(|| text.strip_prefix("{SHA}"))?)
            .ok()?;
        let (hash, salt) = bytes.split_at_checked(SHA1_BYTES)?;
        (salted.is_some() || salt.is_empty()).then_some(())?;
        Some(Self::Sha1 {
            hash: hash.try_into().ok()?,
            salt: salt.to_owned(),
        })
    }

    /// From pando.toml: what does not look like a hash is the password itself.
    pub(super) fn hash_or_plain(text: &str) -> Self {
        Self::hash(text).unwrap_or_else(|| Self::Plain(text.to_owned()))
    }

    /// Whether `verify` takes so long that it must not run on a thread that serves.
    pub(super) fn is_slow(&self) -> bool {
        match self {
            Self::Bcrypt(_) | Self::Apr1 { .. } => true,
            Self::Sha1 { .. } | Self::Plain(_) => false,
        }
    }

    pub(super) fn verify(&self, password: &[u8]) -> bool {
        match self {
            Self::Bcrypt(hash) => bcrypt::verify(password, hash).unwrap_or(false),
            Self::Apr1 { salt, hash } => apr1(password, salt.as_bytes())
                .as_bytes()
                .ct_eq(hash.as_bytes())
                .into(),
            Self::Sha1 { hash, salt } => {
                let given = Sha1::new()
                    .chain_update(password)
                    .chain_update(salt)
                    .finalize();
                given.as_slice().ct_eq(hash).into()
            }
            // Hashed first, so that the time does not tell the length.
            Self::Plain(plain) => Sha1::digest(password)
                .ct_eq(&Sha1::digest(plain.as_bytes()))
                .into(),
        }
    }

    /// Tells this stored password from another one.
    pub(super) fn identity(&self) -> Vec<u8> {
        match self {
            Self::Bcrypt(hash) => hash.clone().into_bytes(),
            Self::Apr1 { salt, hash } => [salt.as_bytes(), b"$", hash.as_bytes()].concat(),
            Self::Sha1 { hash, salt } => [hash.as_slice(), salt].concat(),
            Self::Plain(plain) => plain.clone().into_bytes(),
        }
    }
}

/// Apache's variant of the MD5 crypt of FreeBSD: the same but for its name in the first digest.
/// Without the leading `$apr1$salt$`.
fn apr1(password: &[u8], salt: &[u8]) -> String {
    let digest = |parts: &[&[u8]]| -> [u8; 16] {
        parts
            .iter()
            .fold(Md5::new(), |md5, part| md5.chain_update(part))
            .finalize()
            .into()
    };
    let inner = digest(&[password, salt, password]);
    let mut first = Md5::new();
    first.update(password);
    first.update(APR1);
    first.update(salt);
    for chunk in (0..password.len()).step_by(16) {
        first.update(&inner[..(password.len() - chunk).min(16)]);
    }
    let mut bits = password.len();
    while bits > 0 {
        // The terminating NUL, or the first byte: an accident of the original.
        first.update(if bits & 1 == 1 { &[0] } else { &password[..1] });
        bits >>= 1;
    }
    let mut hash: [u8; 16] = first.finalize().into();
    for round in 0..APR1_ROUNDS {
        let odd = round % 2 == 1;
        let mut next = Md5::new();
        next.update(if odd { password } else { &hash });
        if round % 3 != 0 {
            next.update(salt);
        }
        if round % 7 != 0 {
            next.update(password);
        }
        next.update(if odd { &hash } else { password });
        hash = next.finalize().into();
    }
    encode(&hash)
}

/// Three bytes are four letters, lowest bits first, with the bytes in crypt's order.
fn encode(hash: &[u8; 16]) -> String {
    const ORDER: [[usize; 3]; 5] = [[0, 6, 12], [1, 7, 13], [2, 8, 14], [3, 9, 15], [4, 10, 5]];
    let mut text = String::with_capacity(22);
    let mut letters = |value: u32, count: u32| {
        for place in 0..count {
            text.push(char::from(CRYPT64[(value >> (6 * place)) as usize & 63]));
        }
    };
    for [high, middle, low] in ORDER {
        let [high, middle, low] = [hash[high], hash[middle], hash[low]].map(u32::from);
        letters(high << 16 | middle << 8 | low, 4);
    }
    letters(u32::from(hash[11]), 2);
    text
}

/// Lines `name:hash`; empty ones and those that begin with `#` are passed over. The names, and
/// the numbers of lines that nobody can log in by.
pub(super) fn parse_htpasswd(text: &str) -> (Vec<(String, Stored)>, Vec<usize>) {
    let (mut users, mut bad) = (Vec::new(), Vec::new());
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let entry = line.split_once(':').and_then(|(name, rest)| {
            let hash = rest.split(':').next().unwrap_or(rest);
            Some((name.to_owned(), Stored::hash(hash)?))
        });
        match entry {
            Some(entry) => users.push(entry),
            None => bad.push(index + 1),
        }
    }
    (users, bad)
}

/// For the fuzzer.
#[doc(hidden)]
pub fn fuzz_htpasswd(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (users, _) = parse_htpasswd(&text);
    for (_, stored) in users
        .iter()
        .filter(|(_, stored)| !matches!(stored, Stored::Bcrypt(_)))
        .take(4)
    {
        stored.verify(data);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_of_other_programs() {
        for (hash, password) in [
            // openssl passwd -apr1 -salt r31..... myPassword
            ("$apr1$r31.....$HqJZimcKQFAMYayBlzkrA/", "myPassword"),
            ("$apr1$abcdefgh$L.PT565ESX4Tp2bqNs7Ie.", ""),
            (
                "$apr1$x$pkS4RMko5.rqcKt.eKtmX0",
                "a long password that has more than sixteen bytes",
            ),
            // Apache's documentation of htpasswd formats.
            ("$apr1$qHDFfhPC$nITSVHgYbDAK1Y0acGRnY0", "myPassword"),
            ("{SHA}VBPuJHI7uixaa6LQGWx4s+5GKNE=", "myPassword"),
            ("{SHA}2jmj7l5rSw0yVb/vlWAYkK/YBwk=", ""),
            (
                "$2y$05$c4WoMPo3SXsafkva.HHa6uXQZWr7oboPiC2bT/r7q1BB8I2s0BRqC",
                "myPassword",
            ),
        ] {
            let stored = Stored::hash(hash).unwrap_or_else(|| panic!("{hash}"));
            assert!(stored.verify(password.as_bytes()), "{hash}");
            assert!(!stored.verify(b"another"), "{hash}");
            assert!(!stored.verify(format!("{password} ").as_bytes()), "{hash}");
        }
    }

    #[test]
    fn salted_sha() {
        let salted = Sha1::new()
            .chain_update("secret")
            .chain_update("salt")
            .finalize();
        let text = format!(
            "{{SSHA}}{}",
            STANDARD.encode([&salted[..], b"salt"].concat())
        );
        assert!(Stored::hash(&text).unwrap().verify(b"secret"));
        assert!(!Stored::hash(&text).unwrap().verify(b"secretsalt"));
    }

    #[test]
    fn what_is_no_hash() {
        for text in [
            "",
            "plain",
            "$1$abc$def",
            "$6$abc$def",
            "{SHA}",
            "{SHA}!!",
            "{SHA}YWJj",
            "$apr1$x",
        ] {
            assert!(Stored::hash(text).is_none(), "{text}");
        }
        assert!(Stored::hash_or_plain("pw").verify(b"pw"));
        assert!(!Stored::hash_or_plain("pw").verify(b"pw2"));
        assert!(!Stored::Bcrypt("$2y$05$broken".into()).verify(b"x"));
    }

    #[test]
    fn htpasswd_lines() {
        let (users, bad) = parse_htpasswd(
            "# users\n\nann:{SHA}VBPuJHI7uixaa6LQGWx4s+5GKNE=\r\nbob:plain\nnothing\n\
             eve:$apr1$qHDFfhPC$nITSVHgYbDAK1Y0acGRnY0:a comment\n",
        );
        let names: Vec<&str> = users.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!((names, bad), (vec!["ann", "eve"], vec![4, 5]));
    }
}
