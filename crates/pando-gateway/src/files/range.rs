//! `Range: bytes=…`, RFC 9110 section 14.

/// Ranges of one request; more are refused.
const MAX_RANGES: usize = 16;
/// Pairs of ranges with bytes in common that are merged; more are an attack (RFC 9110 section
/// 17.15) and refused.
const MAX_OVERLAPS: usize = 2;

/// Bytes `start..end` of a representation, never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub start: u64,
    pub end: u64,
}

impl Span {
    pub fn length(self) -> u64 {
        self.end - self.start
    }

    fn touches(self, other: Self) -> bool {
        self.start <= other.end && other.start <= self.end
    }

    fn overlaps(self, other: Self) -> bool {
        self.start < other.end && other.start < self.end
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// No range, or one that is not understood and so does not count.
    Whole,
    /// At least one, in the order asked for; those that touch are one.
    Parts(Vec<Span>),
    /// 416: no range has a byte of the representation, or there are too many.
    Refused,
}

/// What a `Range` header asks of `size` bytes.
pub fn parse(header: &[u8], size: u64) -> Wanted {
    let Some(specs) = specs(header) else {
        return Wanted::Whole;
    };
    let mut parts: Vec<Span> = Vec::new();
    let mut overlaps = 0;
    for (count, spec) in specs.split(',').enumerate() {
        if count >= MAX_RANGES {
            return Wanted::Refused;
        }
        let spec = spec.trim_matches([' ', '\t']);
        if spec.is_empty() {
            continue;
        }
        let Some(spec) = parse_spec(spec) else {
            return Wanted::Whole;
        };
        let Some(span) = spec.span(size) else {
            continue;
        };
        overlaps += parts.iter().filter(|part| part.overlaps(span)).count();
        merge(&mut parts, span);
    }
    if parts.is_empty() || overlaps > MAX_OVERLAPS {
        Wanted::Refused
    } else {
        Wanted::Parts(parts)
    }
}

fn specs(header: &[u8]) -> Option<&str> {
    let (unit, specs) = std::str::from_utf8(header).ok()?.split_once('=')?;
    let known = unit.trim().eq_ignore_ascii_case("bytes");
    let any = specs.contains(|char: char| char.is_ascii_digit());
    (known && any).then_some(specs)
}

#[derive(Clone, Copy)]
enum Spec {
    From(u64),
    Between(u64, u64),
    Last(u64),
}

fn parse_spec(text: &str) -> Option<Spec> {
    let (first, last) = text.split_once('-')?;
    match (first.is_empty(), last.is_empty()) {
        (true, true) => None,
        (true, false) => Some(Spec::Last(number(last)?)),
        (false, true) => Some(Spec::From(number(first)?)),
        (false, false) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some(Spec::Between(first, last))
        }
    }
}

/// Digits only; what is too large is as good as the largest.
fn number(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(text.parse().unwrap_or(u64::MAX))
}

impl Spec {
    fn span(self, size: u64) -> Option<Span> {
        let span = match self {
            Self::From(start) => Span { start, end: size },
            Self::Between(start, last) => Span {
                start,
                end: last.saturating_add(1).min(size),
            },
            Self::Last(count) => Span {
                start: size.saturating_sub(count),
                end: size,
            },
        };
        (span.start < span.end).then_some(span)
    }
}

fn merge(parts: &mut Vec<Span>, mut span: Span) {
    let mut place = parts.len();
    while let Some(index) = parts.iter().position(|part| part.touches(span)) {
        let other = parts.remove(index);
        span = Span {
            start: span.start.min(other.start),
            end: span.end.max(other.end),
        };
        place = index;
    }
    parts.insert(place.min(parts.len()), span);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(header: &str, expected: &[(u64, u64)]) {
        let spans = expected.iter().map(|&(start, end)| Span { start, end });
        assert_eq!(
            parse(header.as_bytes(), 1000),
            Wanted::Parts(spans.collect()),
            "{header}"
        );
    }

    #[test]
    fn ranges() {
        check("bytes=0-499", &[(0, 500)]);
        check("bytes=500-", &[(500, 1000)]);
        check("bytes=-1", &[(999, 1000)]);
        check("bytes=-5000", &[(0, 1000)]);
        check("bytes=0-0,-1", &[(0, 1), (999, 1000)]);
        check("Bytes=900-99999999999999999999999", &[(900, 1000)]);
        check("bytes= 0-1 ,\t4-5", &[(0, 2), (4, 6)]);
        check("bytes=0-1,2-3", &[(0, 4)]);
        check("bytes=500-600,0-10", &[(500, 601), (0, 11)]);
        check("bytes=0-10,500-600,5-20", &[(0, 21), (500, 601)]);
        check("bytes=0-1,5000-6000", &[(0, 2)]);
    }

    #[test]
    fn what_is_not_understood_does_not_count() {
        for header in [
            "",
            "bytes",
            "bytes=",
            "bytes=,",
            "items=0-1",
            "bytes=a-b",
            "bytes=5-2",
            "bytes=--1",
            "bytes=1",
            "bytes=0x1-2",
            "bytes=0-1;2-3",
            "bytes=+1-2",
            "bytes=-",
            "bytes=0-1,x",
        ] {
            assert_eq!(parse(header.as_bytes(), 1000), Wanted::Whole, "{header}");
        }
        assert_eq!(parse(b"bytes=\xff0-1", 1000), Wanted::Whole);
    }

    #[test]
    fn what_has_no_byte_and_what_is_abuse_is_refused() {
        let many: Vec<String> = (0..17).map(|n| format!("{}-{}", n * 10, n * 10)).collect();
        for header in [
            "bytes=1000-".to_owned(),
            "bytes=-0".to_owned(),
            "bytes=0-,0-,0-,0-".to_owned(),
            format!("bytes={}", many.join(",")),
        ] {
            assert_eq!(parse(header.as_bytes(), 1000), Wanted::Refused, "{header}");
        }
        assert_eq!(parse(b"bytes=0-0", 0), Wanted::Refused);
    }

    fn spec() -> impl Strategy<Value = (String, Vec<u64>)> {
        prop_oneof![
            (0_u64..70, 0_u64..70).prop_map(|(a, b)| {
                let (a, b) = (a.min(b), a.max(b));
                (format!("{a}-{b}"), (a..=b).collect())
            }),
            (0_u64..70).prop_map(|a| (format!("{a}-"), (a..1000).collect())),
        ]
    }

    proptest! {
        #[test]
        fn the_parts_are_the_bytes_asked_for_each_once(
            specs in prop::collection::vec(spec(), 1..6),
            size in 0_u64..64,
        ) {
            let header: Vec<&str> = specs.iter().map(|(text, _)| text.as_str()).collect();
            let mut expected: Vec<u64> = specs.iter().flat_map(|(_, bytes)| bytes.clone())
                .filter(|&byte| byte < size).collect();
            expected.sort_unstable();
            expected.dedup();
            match parse(format!("bytes={}", header.join(",")).as_bytes(), size) {
                Wanted::Whole => prop_assert!(false, "valid ranges count"),
                Wanted::Refused => prop_assert!(expected.is_empty() || specs.len() > 2),
                Wanted::Parts(parts) => {
                    let mut bytes: Vec<u64> =
                        parts.iter().flat_map(|part| part.start..part.end).collect();
                    bytes.sort_unstable();
                    prop_assert_eq!(bytes, expected);
                }
            }
        }

        #[test]
        fn any_header_yields_parts_within_the_size(header: Vec<u8>, size: u64) {
            let mut header = header;
            header.splice(0..0, *b"bytes=");
            if let Wanted::Parts(parts) = parse(&header, size) {
                prop_assert!(parts.iter().all(|part| part.start < part.end && part.end <= size));
            }
        }
    }
}
