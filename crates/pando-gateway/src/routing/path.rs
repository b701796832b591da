//! One spelling for each path (RFC 3986 section 6.2.2), so that a route that guards `/admin/` is
//! not passed by `/%61dmin/` or `/x/../admin/`.

use std::borrow::Cow;

/// `None` for a path that leaves the root, has a bad escape or does not begin with a slash.
pub fn normalise(path: &str) -> Option<Cow<'_, str>> {
    let bytes = path.as_bytes();
    if bytes.first() != Some(&b'/') {
        return None;
    }
    if memchr::memchr(b'%', bytes).is_none() && memchr::memmem::find(bytes, b"/.").is_none() {
        return Some(Cow::Borrowed(path));
    }
    let unescaped = unescape(bytes)?;
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = unescaped.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "." if last => kept.push(""),
            "." => {}
            ".." => {
                kept.pop()?;
                if last {
                    kept.push("");
                }
            }
            _ => kept.push(segment),
        }
    }
    let mut out = String::with_capacity(unescaped.len());
    for segment in kept {
        out.push('/');
        out.push_str(segment);
    }
    if out.is_empty() {
        out.push('/');
    }
    Some(Cow::Owned(out))
}

/// Escapes of unreserved characters are decoded, the others' digits made upper case.
fn unescape(bytes: &[u8]) -> Option<String> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        if byte != b'%' {
            out.push(byte);
            at += 1;
            continue;
        }
        let (high, low) = (*bytes.get(at + 1)?, *bytes.get(at + 2)?);
        let value = digit(high)? << 4 | digit(low)?;
        if value == 0 {
            return None;
        }
        if value.is_ascii_alphanumeric() || matches!(value, b'-' | b'.' | b'_' | b'~') {
            out.push(value);
        } else {
            out.extend([b'%', high.to_ascii_uppercase(), low.to_ascii_uppercase()]);
        }
        at += 3;
    }
    String::from_utf8(out).ok()
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte)
        .to_digit(16)
        .and_then(|d| u8::try_from(d).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_spelling_for_each_path() {
        for (path, normal) in [
            ("/", Some("/")),
            ("/a/b", Some("/a/b")),
            ("/%61dmin/", Some("/admin/")),
            ("/x/../admin/", Some("/admin/")),
            ("/x/%2e%2e/admin", Some("/admin")),
            ("/a/./b/.", Some("/a/b/")),
            ("/a/b/..", Some("/a/")),
            ("/a%2fb", Some("/a%2Fb")),
            ("/.well-known/x", Some("/.well-known/x")),
            ("/a//b", Some("/a//b")),
            ("/..", None),
            ("/a/../..", None),
            ("/%2e%2e/etc", None),
            ("/%zz", None),
            ("/%0", None),
            ("/%00", None),
            ("*", None),
        ] {
            assert_eq!(normalise(path).as_deref(), normal, "{path}");
        }
    }

    proptest::proptest! {
        #[test]
        fn normal_paths_stay(path in "/[a-c%2eE./]{0,20}") {
            if let Some(once) = normalise(&path) {
                let twice = normalise(&once);
                proptest::prop_assert_eq!(twice.as_deref(), Some(&*once));
            }
        }
    }
}
