//! From the path of a request to a name below the root, or to nothing.

use std::borrow::Cow;

/// Longer paths name no file (PATH_MAX).
const MAX_BYTES: usize = 4095;
/// RFC 8615: the one name with a dot that is meant for everybody.
const WELL_KNOWN: &[u8] = b".well-known";

/// The name below the root that a path means: without a leading slash, without empty segments,
/// with a trailing slash exactly where the path has one. Empty is the root itself.
///
/// `None` for what no file may be asked by: broken escapes, NUL, an escaped slash, a backslash,
/// `.` and `..` however they are written, and names that begin with a dot unless `dotfiles`.
pub fn resolve(path: &str, dotfiles: bool) -> Option<Cow<'_, [u8]>> {
    if path.len() > MAX_BYTES {
        return None;
    }
    let decoded = decode(path.trim_start_matches('/').as_bytes())?;
    let mut segments = decoded.split(|&byte| byte == b'/').enumerate().peekable();
    let mut doubled = false;
    while let Some((index, segment)) = segments.next() {
        doubled |= segment.is_empty() && segments.peek().is_some();
        if !allowed(segment, index, dotfiles) {
            return None;
        }
    }
    Some(if doubled {
        Cow::Owned(single_slashes(&decoded))
    } else {
        decoded
    })
}

fn allowed(segment: &[u8], index: usize, dotfiles: bool) -> bool {
    match segment {
        b"." | b".." => false,
        [b'.', ..] => dotfiles || (index == 0 && segment == WELL_KNOWN),
        _ => true,
    }
}

fn decode(path: &[u8]) -> Option<Cow<'_, [u8]>> {
    if path.iter().any(|&byte| byte == 0 || byte == b'\\') {
        return None;
    }
    if memchr::memchr(b'%', path).is_none() {
        return Some(Cow::Borrowed(path));
    }
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path.iter();
    while let Some(&byte) = rest.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let byte = hex(*rest.next()?)? << 4 | hex(*rest.next()?)?;
        if matches!(byte, 0 | b'/' | b'\\') {
            return None;
        }
        decoded.push(byte);
    }
    Some(Cow::Owned(decoded))
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

fn single_slashes(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    for &byte in path {
        if byte != b'/' || out.last().is_some_and(|&last| last != b'/') {
            out.push(byte);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(path: &str, expected: Option<&str>) {
        let resolved = resolve(path, false);
        assert_eq!(resolved.as_deref(), expected.map(str::as_bytes), "{path}");
    }

    #[test]
    fn paths() {
        check("/", Some(""));
        check("", Some(""));
        check("/a/b.txt", Some("a/b.txt"));
        check("a/", Some("a/"));
        check("///a//b///", Some("a/b/"));
        check("/a%20b/%C3%A9", Some("a b/é"));
        check("/%61", Some("a"));
        check("/a%2fb", None);
        check("/a%2Fb", None);
        check("/a%00", None);
        check("/a\0", None);
        check("/a\\b", None);
        check("/a%5cb", None);
        check("/%", None);
        check("/%4", None);
        check("/%zz", None);
        check("/%+1", None);
        check("/..", None);
        check("/a/../b", None);
        check("/%2e%2e/etc/passwd", None);
        check("/.%2e/", None);
        check("/a/./b", None);
        check("/%252e%252e/a", Some("%2e%2e/a"));
        check("/.env", None);
        check("/a/.git/config", None);
        check("/%2egit", None);
        check(
            "/.well-known/acme-challenge/x",
            Some(".well-known/acme-challenge/x"),
        );
        check("/a/.well-known/x", None);
        check("/.well-known/.x", None);
        check("/.well-known-not", None);
        check(&"/a".repeat(3000), None);
    }

    #[test]
    fn dotfiles_where_they_are_wanted_but_never_the_parent() {
        assert_eq!(resolve("/.env", true).as_deref(), Some(&b".env"[..]));
        assert_eq!(resolve("/...", true).as_deref(), Some(&b"..."[..]));
        assert_eq!(resolve("/a/%2e%2E", true), None);
        assert_eq!(resolve("/.", true), None);
    }

    proptest! {
        #[test]
        fn no_path_has_a_segment_that_leads_elsewhere(
            path in "(/|\\.|\\.\\.|%2e|%2E|%2f|%5c|%00|\\\\|a|é|%|%25|//|\\.well-known){0,12}",
            dotfiles: bool,
        ) {
            let Some(name) = resolve(&path, dotfiles) else { return Ok(()) };
            prop_assert!(!name.starts_with(b"/") && !name.contains(&0) && !name.contains(&b'\\'));
            let text = String::from_utf8_lossy(&name).into_owned();
            let segments: Vec<&str> = text.split('/').collect();
            for (index, segment) in segments.iter().enumerate() {
                prop_assert!(*segment != "." && *segment != "..");
                prop_assert!(!segment.is_empty() || index + 1 == segments.len());
                prop_assert!(
                    dotfiles || !segment.starts_with('.') || (index == 0 && *segment == ".well-known")
                );
            }
        }
    }
}
