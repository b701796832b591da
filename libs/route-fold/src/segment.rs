//! What one segment of a path stands for. The preload has the same rules in JavaScript (`fold.js`);
//! `tests/examples.json` is what both must agree on.

/// Longer ones are never a word.
const MAX_SEGMENT: usize = 64;
/// From this length letters mixed with digits are a token.
const LONG_MIXED: usize = 16;
const LONG_MIXED_DIGITS: usize = 3;

/// A child of a node that is no word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hole {
    Id = 0,
    Email = 1,
    Date = 2,
    /// Siblings that were merged.
    Any = 3,
}

impl Hole {
    pub(crate) const COUNT: usize = 4;

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Id => ":id",
            Self::Email => ":email",
            Self::Date => ":date",
            Self::Any => "*",
        }
    }

    /// The hole of a path that was folded before.
    pub(crate) fn named(segment: &str) -> Option<Self> {
        let all = [Self::Id, Self::Email, Self::Date, Self::Any];
        all.into_iter().find(|hole| hole.name() == segment)
    }

    /// What a segment with so many digits stands for; `None` of a word.
    pub(crate) fn of(segment: &str, digits: usize) -> Option<Self> {
        let bytes = segment.as_bytes();
        let length = bytes.len();
        if digits == length || length > MAX_SEGMENT {
            return Some(Self::Id);
        }
        if is_addressed(bytes) {
            return is_email(segment).then_some(Self::Email);
        }
        if digits == 0 {
            return None;
        }
        if is_date(bytes) {
            return Some(Self::Date);
        }
        let token = length >= LONG_MIXED && digits >= LONG_MIXED_DIGITS && !bytes.contains(&b'.');
        (token || is_hex(bytes) || is_uuid(bytes) || is_ulid(bytes)).then_some(Self::Id)
    }
}

fn is_addressed(bytes: &[u8]) -> bool {
    bytes.contains(&b'@') || (bytes.len() > 3 && bytes.windows(3).any(|three| three == b"%40"))
}

/// Something, one sign for "at", something with a dot inside.
fn is_email(segment: &str) -> bool {
    let (name, host) = match segment.split_once('@') {
        Some(parts) => parts,
        None => match segment.split_once("%40") {
            Some(parts) => parts,
            None => return false,
        },
    };
    let dotted = host.char_indices().any(|(at, char)| {
        let inside = at > 0 && at + 1 < host.len();
        char == '.' && inside
    });
    !name.is_empty() && !host.contains('@') && dotted
}

fn is_hex(bytes: &[u8]) -> bool {
    let prefixed = bytes.len() > 2 && bytes[0] == b'0' && bytes[1].eq_ignore_ascii_case(&b'x');
    let digits = if prefixed { &bytes[2..] } else { bytes };
    digits.len() >= 8 && digits.iter().all(u8::is_ascii_hexdigit)
}

/// RFC 9562 section 4.
fn is_uuid(bytes: &[u8]) -> bool {
    bytes.len() == 36
        && bytes.iter().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// 128 bits in Crockford's base 32.
fn is_ulid(bytes: &[u8]) -> bool {
    let letter = |byte: &u8| {
        let byte = byte.to_ascii_uppercase();
        byte.is_ascii_digit()
            || (byte.is_ascii_uppercase() && !matches!(byte, b'I' | b'L' | b'O' | b'U'))
    };
    bytes.len() == 26 && bytes[0] <= b'7' && bytes.iter().all(letter)
}

/// `2026-11-25`, and with a time behind `T` (RFC 3339, or without its zone).
fn is_date(bytes: &[u8]) -> bool {
    let shape = |part: &[u8], shape: &[u8]| {
        part.len() == shape.len()
            && part.iter().zip(shape).all(|(byte, like)| match like {
                b'0' => byte.is_ascii_digit(),
                like => byte == like,
            })
    };
    let Some((day, time)) = bytes.split_at_checked(10) else {
        return false;
    };
    if !shape(day, b"0000-00-00") {
        return false;
    }
    let Some((b'T', time)) = time.split_first() else {
        return time.is_empty();
    };
    let clock = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b':' | b'.');
    let end = time.iter().position(|byte| !clock(byte));
    let (clock, zone) = time.split_at(end.unwrap_or(time.len()));
    let zoned = zone.is_empty() || zone == b"Z" || {
        let (sign, offset) = zone.split_at(1);
        matches!(sign, b"+" | b"-") && (shape(offset, b"00:00") || shape(offset, b"0000"))
    };
    !clock.is_empty() && zoned
}
