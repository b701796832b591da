//! Lists with q-values whose order means nothing: Accept-Language, Accept-Encoding (RFC 9110
//! section 12.5).

use crate::control::members;

/// Thousandths, 0 to 1000. What cannot be read counts as 1.
fn quality(member: &[u8]) -> u16 {
    let q = members(member, b';').skip(1).find_map(|part| {
        let (name, value) = part.split_at_checked(2)?;
        name.eq_ignore_ascii_case(b"q=").then_some(value)
    });
    let parsed = q.and_then(|q| std::str::from_utf8(q).ok()?.trim().parse::<f32>().ok());
    match parsed {
        Some(q) if (0.0..=1.0).contains(&q) => (q * 1000.0).round() as u16,
        Some(_) | None => 1000,
    }
}

/// The members in lower case with their quality, in an order of their own.
pub(crate) fn normalised(lines: &[u8]) -> Vec<u8> {
    let mut list: Vec<(Vec<u8>, u16)> = members(lines, b',')
        .map(|member| (name(member).to_ascii_lowercase(), quality(member)))
        .collect();
    list.sort();
    list.dedup();
    let mut out = Vec::with_capacity(lines.len() + 8 * list.len());
    for (name, quality) in list {
        out.extend(name);
        if quality != 1000 {
            out.extend(format!(";{quality}").into_bytes());
        }
        out.push(b',');
    }
    out
}

/// Whether `language` is what the list prefers to all else.
pub(crate) fn prefers(lines: &[u8], language: &[u8]) -> bool {
    let best = members(lines, b',').map(quality).max().unwrap_or(0);
    let mut preferred = members(lines, b',').filter(|member| quality(member) == best);
    let first = preferred.next().map(name);
    best > 0
        && preferred.next().is_none()
        && first.is_some_and(|first| first.eq_ignore_ascii_case(language))
}

fn name(member: &[u8]) -> &[u8] {
    members(member, b';').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_case_and_spaces_do_not_count() {
        let same = |a: &str, b: &str| normalised(a.as_bytes()) == normalised(b.as_bytes());
        assert!(same("en, de", "de, en"));
        assert!(same("en, de", "eN, De"));
        assert!(same("en, de", " en ,   de"));
        assert!(same("en;q=1.0", "en"));
        assert!(!same("en;q=0.5, de", "en, de;q=0.5"));
        assert!(!same("en", "de"));
    }

    #[test]
    fn the_one_preferred() {
        assert!(prefers(b"fr;q=0.5, de;q=1.0", b"de"));
        assert!(prefers(b"fr;q=0.5, de;q=0.7", b"DE"));
        assert!(!prefers(b"fr, de", b"de"));
        assert!(!prefers(b"de;q=0", b"de"));
        assert!(!prefers(b"", b"de"));
    }
}
