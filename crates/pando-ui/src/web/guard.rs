//! Which requests come from the page itself.
//!
//! Another site that a browser has open can send requests here, and with a name whose address it
//! changes to 127.0.0.1 (DNS rebinding) it could read the answers. So the host must be a loopback
//! name, and what the browser says about the sender must be ourselves. The port is free: behind
//! `ssh -L` it is another one.

use hyper::HeaderMap;
use hyper::header::{HOST, HeaderName, ORIGIN};

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const LOOPBACK: [&str; 3] = ["127.0.0.1", "localhost", "[::1]"];

/// What kind of request it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A page that a person opens, perhaps from a link elsewhere.
    Page,
    /// What the page fetches.
    Data,
    /// What changes something.
    Order,
}

/// Why a request is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Breach {
    Host,
    Origin,
}

/// Looks at `Host`, `Origin` and `Sec-Fetch-Site`.
///
/// # Errors
/// The first one that is wrong.
pub fn check(headers: &HeaderMap, kind: Kind) -> Result<(), Breach> {
    let host = one(headers, &HOST).flatten().ok_or(Breach::Host)?;
    if !is_loopback(host) {
        return Err(Breach::Host);
    }
    match one(headers, &ORIGIN) {
        Some(Some(origin)) if origin == format!("http://{host}") => {}
        Some(_) => return Err(Breach::Origin),
        None if kind == Kind::Order => return Err(Breach::Origin),
        None => {}
    }
    let site = one(headers, &FETCH_SITE);
    let is_own = match (site, kind) {
        // A browser that is older than the header, or no browser.
        (None, _) | (Some(Some("same-origin")), _) => true,
        // `none`: typed, or from the terminal.
        (Some(Some(_)), Kind::Page) => true,
        (Some(Some("none")), Kind::Data) => true,
        (Some(_), _) => false,
    };
    if is_own { Ok(()) } else { Err(Breach::Origin) }
}

/// `None`: not there. `Some(None)`: there more than once, or not text.
fn one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<Option<&'a str>> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    if values.next().is_some() {
        return Some(None);
    }
    Some(first.to_str().ok())
}

fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => name,
        Some(_) | None => host,
    };
    LOOPBACK
        .iter()
        .any(|known| name.eq_ignore_ascii_case(known))
}

/// The value of a cookie in a `Cookie` header.
pub fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let all = headers.get_all(hyper::header::COOKIE).iter();
    let pairs = all.filter_map(|value| value.to_str().ok());
    pairs
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(key, value)| (key == name).then_some(value))
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(*name, HeaderValue::from_static(value));
        }
        map
    }

    fn verdict(kind: Kind, pairs: &[(&'static str, &'static str)]) -> Result<(), Breach> {
        check(&headers(pairs), kind)
    }

    #[test]
    fn hosts() {
        for good in [
            "127.0.0.1:4000",
            "localhost:1",
            "LOCALHOST",
            "[::1]:80",
            "[::1]",
        ] {
            assert_eq!(verdict(Kind::Page, &[("host", good)]), Ok(()), "{good}");
        }
        for bad in [
            "evil.example:4000",
            "127.0.0.1.evil.example",
            "127.0.0.1:4000.evil.example",
            "localhost:",
            "localhost:x",
            "",
            "192.168.1.2:4000",
            "0.0.0.0:4000",
        ] {
            let said = verdict(Kind::Page, &[("host", bad)]);
            assert_eq!(said, Err(Breach::Host), "{bad}");
        }
        assert_eq!(verdict(Kind::Page, &[]), Err(Breach::Host));
        let two = [("host", "localhost"), ("host", "evil.example")];
        assert_eq!(verdict(Kind::Page, &two), Err(Breach::Host));
    }

    #[test]
    fn origins() {
        let host = ("host", "127.0.0.1:4000");
        let own = ("origin", "http://127.0.0.1:4000");
        assert_eq!(verdict(Kind::Order, &[host, own]), Ok(()));
        assert_eq!(verdict(Kind::Order, &[host]), Err(Breach::Origin));
        assert_eq!(verdict(Kind::Data, &[host]), Ok(()));
        for other in [
            "http://127.0.0.1:4001",
            "https://127.0.0.1:4000",
            "http://localhost:4000",
            "null",
            "http://evil.example",
        ] {
            for kind in [Kind::Page, Kind::Data, Kind::Order] {
                let said = verdict(kind, &[host, ("origin", other)]);
                assert_eq!(said, Err(Breach::Origin), "{kind:?} {other}");
            }
        }
    }

    #[test]
    fn what_the_browser_says_of_the_sender() {
        let host = ("host", "127.0.0.1:4000");
        let own = ("origin", "http://127.0.0.1:4000");
        let site = |value| ("sec-fetch-site", value);
        assert_eq!(verdict(Kind::Page, &[host, site("cross-site")]), Ok(()));
        for kind in [Kind::Data, Kind::Order] {
            assert_eq!(verdict(kind, &[host, own, site("same-origin")]), Ok(()));
            for other in ["same-site", "cross-site"] {
                let said = verdict(kind, &[host, own, site(other)]);
                assert_eq!(said, Err(Breach::Origin), "{kind:?} {other}");
            }
        }
        assert_eq!(verdict(Kind::Data, &[host, site("none")]), Ok(()));
        let said = verdict(Kind::Order, &[host, own, site("none")]);
        assert_eq!(said, Err(Breach::Origin));
    }

    #[test]
    fn cookies() {
        let map = headers(&[("cookie", "a=1; pando=x=y; b=2"), ("cookie", "c=3")]);
        assert_eq!(cookie(&map, "pando"), Some("x=y"));
        assert_eq!(cookie(&map, "c"), Some("3"));
        assert_eq!(cookie(&map, "d"), None);
    }
}
