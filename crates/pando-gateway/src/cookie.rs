//! Cookies of a request (RFC 6265 section 5.4).

use http::{HeaderMap, header};

/// The value of the first cookie of that name.
pub fn find<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let mut values = headers.get_all(header::COOKIE).iter();
    values.find_map(|value| {
        let pairs = value.to_str().ok()?.split(';');
        let mut named = pairs.filter_map(|pair| pair.trim().split_once('='));
        named.find(|(n, _)| *n == name).map(|(_, value)| value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_are_found_by_name() {
        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, "a=1; b=2".parse().unwrap());
        headers.append(header::COOKIE, "c=x=y".parse().unwrap());
        for (name, value) in [
            ("a", Some("1")),
            ("b", Some("2")),
            ("c", Some("x=y")),
            ("d", None),
        ] {
            assert_eq!(find(&headers, name), value, "{name}");
        }
    }
}
