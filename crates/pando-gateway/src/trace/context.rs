//! The header `traceparent` (W3C Trace Context, level 1, section 3.2).

use http::HeaderMap;

use crate::forward::head::TRACEPARENT;

const SAMPLED: u8 = 1;
/// The trace's id was made at random (level 2); passed on as it came.
const RANDOM: u8 = 2;
/// `00-<32>-<16>-<2>`.
const LENGTH: usize = 55;
/// Versions to come may be longer.
const MAX_LENGTH: usize = 256;

/// Whose child a span is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context {
    pub trace_id: u128,
    pub span_id: u64,
    pub flags: u8,
}

impl Context {
    /// Of a request: there must be one header, and it must be valid.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let mut all = headers.get_all(TRACEPARENT).iter();
        let text = all.next()?.as_bytes();
        all.next().is_none().then(|| Self::parse(text))?
    }

    /// Strict for version 0; of later versions what version 0 has.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let text = text.trim_ascii();
        let dashes = [2, 35, 52];
        if text.len() < LENGTH
            || text.len() > MAX_LENGTH
            || dashes.into_iter().any(|at| text[at] != b'-')
        {
            return None;
        }
        let version = hex(&text[..2])?;
        let more = &text[LENGTH..];
        let fits = more.is_empty() || (version != 0 && more[0] == b'-');
        let context = Self {
            trace_id: hex(&text[3..35])?,
            span_id: u64::try_from(hex(&text[36..52])?).ok()?,
            flags: u8::try_from(hex(&text[53..55])?).ok()?,
        };
        let valid = version != 0xff && context.trace_id != 0 && context.span_id != 0;
        (fits && valid).then_some(context)
    }

    pub fn is_sampled(self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// The flags that go on.
    pub fn flags(sampled: bool, came: Option<Self>) -> u8 {
        let random = came.map_or(0, |context| context.flags & RANDOM);
        random | if sampled { SAMPLED } else { 0 }
    }
}

impl Context {
    /// The header, always of version 0. By hand: every request of a gateway that traces has one.
    pub fn header(self) -> String {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        put_hex(&mut text[3..35], &self.trace_id.to_be_bytes());
        put_hex(&mut text[36..52], &self.span_id.to_be_bytes());
        put_hex(&mut text[53..], &[self.flags]);
        digits(&text)
    }
}

/// 32 digits.
pub fn hex_of(number: u128) -> String {
    let mut text = [0; 32];
    put_hex(&mut text, &number.to_be_bytes());
    digits(&text)
}

/// Two digits a byte.
fn put_hex(out: &mut [u8], bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (pair, byte) in out.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 0xf)];
    }
}

fn digits(text: &[u8]) -> String {
    // Digits and dashes are text.
    std::str::from_utf8(text).unwrap_or_default().to_owned()
}

/// Lower case only.
fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(value))
    })
}

/// For the fuzzer: what is taken is written as it came, but for what version 0 does not have.
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    if let Some(context) = Context::parse(data) {
        let text = context.header();
        assert_eq!(Context::parse(text.as_bytes()), Some(context));
        assert_eq!(text.as_bytes()[2..], data.trim_ascii()[2..LENGTH]);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn what_is_read_is_written() {
        let context = Context::parse(GOOD.as_bytes()).unwrap();
        assert_eq!(context.header(), GOOD);
        assert!(context.is_sampled());
    }

    /// The standard's own cases (section 3.2.2, and its test suite).
    const CASES: [(&str, bool); 18] = [
        (
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00",
            true,
        ),
        (
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-ff",
            true,
        ),
        (
            " 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\t",
            true,
        ),
        // A later version, as it is and with more.
        (
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            true,
        ),
        (
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what",
            true,
        ),
        (
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.what",
            false,
        ),
        (
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what",
            false,
        ),
        (
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            false,
        ),
        (
            "0-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            false,
        ),
        (
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            false,
        ),
        (
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            false,
        ),
        (
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            false,
        ),
        (
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
            false,
        ),
        (
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
            false,
        ),
        (
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            false,
        ),
        (
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0x",
            false,
        ),
        (
            "00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            false,
        ),
        ("", false),
    ];

    #[test]
    fn the_cases_of_the_standard() {
        for (text, valid) in CASES {
            assert_eq!(Context::parse(text.as_bytes()).is_some(), valid, "{text}");
        }
    }

    #[test]
    fn two_headers_are_none() {
        let mut headers = HeaderMap::new();
        assert_eq!(Context::of(&headers), None);
        headers.append(TRACEPARENT, GOOD.parse().unwrap());
        assert!(Context::of(&headers).is_some());
        headers.append(TRACEPARENT, GOOD.parse().unwrap());
        assert_eq!(Context::of(&headers), None);
    }

    proptest! {
        #[test]
        fn any_bytes(data: Vec<u8>) {
            fuzz(&data);
        }

        #[test]
        fn what_is_written_is_read(trace_id in 1u128.., span_id in 1u64.., flags: u8) {
            let context = Context { trace_id, span_id, flags };
            prop_assert_eq!(Context::parse(context.header().as_bytes()), Some(context));
        }
    }
}
