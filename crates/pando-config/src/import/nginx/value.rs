//! nginx's times, sizes and variables.

/// Milliseconds of `30s`, `1h30m`, `500ms`, `60` (seconds), `1M`.
pub(super) fn duration_ms(text: &str) -> Option<u64> {
    let mut total: u64 = 0;
    let mut rest = text;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len());
        let number: u64 = rest.get(..digits)?.parse().ok()?;
        rest = &rest[digits..];
        let unit_end = rest
            .find(|c: char| c.is_ascii_digit() || c.is_whitespace())
            .unwrap_or(rest.len());
        let factor = match &rest[..unit_end] {
            "ms" => 1,
            "" | "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "w" => 7 * 86_400_000,
            "M" => 30 * 86_400_000,
            "y" => 365 * 86_400_000,
            _ => return None,
        };
        total = total.checked_add(number.checked_mul(factor)?)?;
        rest = rest[unit_end..].trim_start();
    }
    Some(total)
}

/// A wait: at most the day that pando.toml takes.
pub(super) fn wait_ms(text: &str) -> Option<u64> {
    duration_ms(text).map(|ms| ms.clamp(1, 86_400_000))
}

/// Bytes of `10m`, `1k`, `1G`, `512`.
pub(super) fn size_bytes(text: &str) -> Option<u64> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let number: u64 = text[..digits].parse().ok()?;
    let factor: u64 = match &text[digits..] {
        "" => 1,
        "k" | "K" => 1 << 10,
        "m" | "M" => 1 << 20,
        "g" | "G" => 1 << 30,
        _ => return None,
    };
    // The most that pando.toml takes.
    number
        .checked_mul(factor)
        .filter(|bytes| *bytes <= 16 << 40)
}

/// A text with `$variables` as one with `{names}`.
///
/// # Errors
/// The variable that a template cannot name.
pub(super) fn template(text: &str) -> Result<String, String> {
    if text.contains(['{', '}']) && !text.contains("${") {
        return Err("{".to_owned());
    }
    // A query comes with its question mark.
    let text = text
        .replace("$is_args$args", "$\u{1}")
        .replace("?$args", "$\u{1}")
        .replace("?$query_string", "$\u{1}");
    let mut out = String::new();
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        if let Some(tail) = after.strip_prefix('\u{1}') {
            out.push_str("{query}");
            rest = tail;
            continue;
        }
        let (name, tail) = variable(after);
        out.push_str(match name {
            "host" | "http_host" => "{host}",
            "request_uri" => "{uri}",
            "uri" | "document_uri" => "{path}",
            "scheme" => "{scheme}",
            "remote_addr" | "realip_remote_addr" => "{client_ip}",
            "request_id" => "{request_id}",
            other => return Err(format!("${other}")),
        });
        rest = tail;
    }
    out.push_str(rest);
    Ok(out)
}

/// The name of a variable behind its `$`, and what follows it.
pub(super) fn variable(after: &str) -> (&str, &str) {
    if let Some(inner) = after.strip_prefix('{')
        && let Some((name, tail)) = inner.split_once('}')
    {
        return (name, tail);
    }
    let end = after
        .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .unwrap_or(after.len());
    after.split_at(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes() {
        for (text, ms) in [
            ("30s", Some(30_000)),
            ("60", Some(60_000)),
            ("1h30m", Some(5_400_000)),
            ("1h 30m", Some(5_400_000)),
            ("500ms", Some(500)),
            ("365d", Some(31_536_000_000)),
            ("", None),
            ("x", None),
            ("1x", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(duration_ms(text), ms, "{text}");
        }
        for (text, bytes) in [
            ("10m", Some(10 << 20)),
            ("1K", Some(1024)),
            ("7", Some(7)),
            ("1t", None),
            ("", None),
        ] {
            assert_eq!(size_bytes(text), bytes, "{text}");
        }
    }

    #[test]
    fn variables_become_names() {
        for (text, expect) in [
            ("https://$host$request_uri", Ok("https://{host}{uri}")),
            (
                "${scheme}://a$uri$is_args$args",
                Ok("{scheme}://a{path}{query}"),
            ),
            ("/x?$args", Ok("/x{query}")),
            ("plain", Ok("plain")),
            ("$1", Err("$1")),
            ("a$b-c", Err("$b")),
            ("{x}", Err("{")),
        ] {
            assert_eq!(
                template(text),
                expect.map(str::to_owned).map_err(str::to_owned),
                "{text}"
            );
        }
    }
}
