//! Whom a limit counts: the parts of a key, as bytes.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::IpAddr;

use gateway_spec::KeyPart;
use http::header::COOKIE;
use http::{HeaderMap, HeaderName};
use sha2::{Digest, Sha256};

use crate::client::Client;

/// [`KeyPart`]s, ready to be looked up in a request.
#[derive(Clone, Debug)]
pub(super) struct Key(Vec<Part>);

#[derive(Clone, Debug)]
enum Part {
    Ip,
    Path,
    /// `None` is a name that no header can have.
    Header(Option<HeaderName>),
    Cookie(String),
    Everything,
}

impl Key {
    pub(super) fn new(parts: &[KeyPart]) -> Self {
        let part = |part: &KeyPart| match part {
            KeyPart::Ip => Part::Ip,
            KeyPart::Path => Part::Path,
            KeyPart::Header(name) => Part::Header(name.parse().ok()),
            KeyPart::Cookie(name) => Part::Cookie(name.clone()),
            KeyPart::Everything => Part::Everything,
        };
        Self(parts.iter().map(part).collect())
    }

    /// The key in this process's tables; nobody outside can find two clients with the same one.
    /// `None` if all parts are empty (a header that is absent): such a request is not counted,
    /// as in nginx.
    pub(super) fn local(
        &self,
        state: &RandomState,
        client: &Client,
        head: &http::request::Parts,
    ) -> Option<u64> {
        let mut hasher = state.build_hasher();
        self.write(client, head, &mut |bytes| hasher.write(bytes))
            .then(|| hasher.finish())
    }

    /// The key in a store that machines share: the same everywhere, and it tells nothing of the
    /// client to whoever reads it.
    pub(super) fn shared(
        &self,
        zone: &str,
        client: &Client,
        head: &http::request::Parts,
    ) -> String {
        let mut hasher = Sha256::new();
        hasher.update(zone);
        self.write(client, head, &mut |bytes| hasher.update(bytes));
        let digest = hasher.finalize();
        let hex = |text: String, byte: &u8| text + &format!("{byte:02x}");
        digest[..16].iter().fold("pando:limit:".to_owned(), hex)
    }

    /// Writes all parts; `false` if all were empty.
    fn write(
        &self,
        client: &Client,
        head: &http::request::Parts,
        to: &mut impl FnMut(&[u8]),
    ) -> bool {
        let mut any = false;
        for part in &self.0 {
            let mut written = 0_u64;
            any |= part.write(client, head, &mut |bytes| {
                written += bytes.len() as u64;
                to(bytes);
            });
            // Lengths, so that two keys never run together to the same bytes.
            to(&written.to_le_bytes());
        }
        any
    }
}

impl Part {
    fn write(
        &self,
        client: &Client,
        head: &http::request::Parts,
        to: &mut impl FnMut(&[u8]),
    ) -> bool {
        match self {
            Self::Everything => true,
            Self::Ip => {
                write_ip(client.ip, to);
                true
            }
            Self::Path => {
                // `/a` and `/%61` are one path.
                for byte in percent_encoding::percent_decode_str(head.uri.path()) {
                    to(&[byte]);
                }
                true
            }
            Self::Header(name) => {
                let values = name.iter().flat_map(|name| head.headers.get_all(name));
                let mut any = false;
                for value in values {
                    any |= !value.is_empty();
                    to(value.as_bytes());
                    to(b", ");
                }
                any
            }
            Self::Cookie(name) => match cookie(&head.headers, name) {
                Some(value) => {
                    to(value);
                    !value.is_empty()
                }
                None => false,
            },
        }
    }
}

/// The whole address, as nginx counts; an IPv4 address mapped into IPv6 is the IPv4 address.
fn write_ip(ip: IpAddr, to: &mut impl FnMut(&[u8])) {
    match ip.to_canonical() {
        IpAddr::V4(v4) => to(&v4.octets()),
        IpAddr::V6(v6) => to(&v6.octets()),
    }
}

/// The first cookie of this name (RFC 6265 section 4.2.1), over all `Cookie` fields, of which
/// HTTP/2 may have several.
fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    let fields = headers.get_all(COOKIE).into_iter();
    fields
        .flat_map(|field| field.as_bytes().split(|byte| *byte == b';'))
        .map(<[u8]>::trim_ascii)
        .find_map(|pair| pair.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Scheme;

    fn client(ip: &str) -> Client {
        Client {
            ip: ip.parse().unwrap(),
            peer: "127.0.0.1:1".parse().unwrap(),
            local: "127.0.0.1:2".parse().unwrap(),
            scheme: Scheme::Http,
        }
    }

    fn head(path: &str, headers: &[(&str, &str)]) -> http::request::Parts {
        let mut request = http::Request::builder().uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn keys_tell_apart_what_they_should() {
        let state = RandomState::new();
        let key = |part: KeyPart, ip: &str, head: &http::request::Parts| {
            let key = Key::new(&[part]);
            let local = key.local(&state, &client(ip), head);
            local.map(|local| (local, key.shared("z", &client(ip), head)))
        };
        let plain = head("/a", &[]);
        let same = |part: KeyPart, one: (&str, &_), two: (&str, &_)| {
            key(part.clone(), one.0, one.1) == key(part, two.0, two.1)
        };
        assert!(same(
            KeyPart::Ip,
            ("1.2.3.4", &plain),
            ("::ffff:1.2.3.4", &plain)
        ));
        assert!(!same(KeyPart::Ip, ("1.2.3.4", &plain), ("1.2.3.5", &plain)));
        assert!(!same(
            KeyPart::Ip,
            ("2001:db8::1", &plain),
            ("2001:db8::2", &plain)
        ));
        let (escaped, query, other) = (head("/%61", &[]), head("/a?b", &[]), head("/b", &[]));
        assert!(same(KeyPart::Path, ("::1", &plain), ("::1", &escaped)));
        assert!(same(KeyPart::Path, ("::1", &plain), ("::1", &query)));
        assert!(!same(KeyPart::Path, ("::1", &plain), ("::1", &other)));
        assert!(same(KeyPart::Everything, ("::1", &plain), ("::2", &other)));
        let token = |value| head("/", &[("x-token", value)]);
        let header = || KeyPart::Header("X-Token".into());
        assert!(!same(header(), ("::1", &token("a")), ("::1", &token("b"))));
        assert!(same(header(), ("::1", &token("a")), ("::2", &token("a"))));
        let session = |cookies: &[(&str, &str)]| head("/", cookies);
        let cookie = || KeyPart::Cookie("sid".into());
        let one = session(&[("cookie", "a=1; sid=x; b=2")]);
        let two = session(&[("cookie", "xsid=3"), ("cookie", "sid=x")]);
        assert!(same(cookie(), ("::1", &one), ("::1", &two)));
        assert!(key(cookie(), "::1", &one).is_some());
    }

    #[test]
    fn what_is_empty_is_not_counted() {
        let state = RandomState::new();
        let parts = [
            KeyPart::Header("x-token".into()),
            KeyPart::Header("not a name".into()),
            KeyPart::Cookie("sid".into()),
        ];
        let plain = head("/", &[("x-token", ""), ("cookie", "sid=; side=1")]);
        assert_eq!(Key::new(&parts).local(&state, &client("::1"), &plain), None);
        let both = [parts[0].clone(), KeyPart::Ip];
        assert!(
            Key::new(&both)
                .local(&state, &client("::1"), &plain)
                .is_some()
        );
    }
}
