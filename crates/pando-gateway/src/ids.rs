//! The names of one request: `X-Request-Id`, and `traceparent` (W3C Trace Context, level 1).

use http::HeaderMap;

const MAX_REQUEST_ID: usize = 128;

/// Passed on from the client, or begun here.
#[derive(Debug)]
pub struct Ids {
    request_id: String,
    traceparent: String,
}

impl Ids {
    /// A client's request id is kept if it is short and plain; a traceparent if it is valid.
    pub fn of(headers: &HeaderMap, random: impl FnOnce() -> [u64; 3]) -> Self {
        let given = headers.get("x-request-id").and_then(|v| v.to_str().ok());
        let given = given.filter(|id| is_plain(id));
        let trace = headers.get("traceparent").and_then(|v| v.to_str().ok());
        let trace = trace.filter(|t| is_traceparent(t));
        let traceparent = match trace {
            Some(trace) => trace.to_owned(),
            None => {
                let [a, b, c] = random();
                hex_traceparent(a, b | 1, c | 1)
            }
        };
        let request_id = match given {
            Some(id) => id.to_owned(),
            None => traceparent[3..35].to_owned(),
        };
        Self {
            request_id,
            traceparent,
        }
    }

    pub fn request_id(&self) -> &str {
        &self.request_id
    }

    pub fn traceparent(&self) -> &str {
        &self.traceparent
    }

    /// 32 hex digits.
    pub fn trace_id(&self) -> &str {
        &self.traceparent[3..35]
    }
}

fn hex_traceparent(a: u64, b: u64, parent: u64) -> String {
    let mut text = String::with_capacity(55);
    text.push_str("00-");
    push_hex(&mut text, a);
    push_hex(&mut text, b);
    text.push('-');
    push_hex(&mut text, parent);
    text.push_str("-01");
    text
}

/// 16 digits.
fn push_hex(text: &mut String, number: u64) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for shift in (0..16).rev() {
        let digit = (number >> (shift * 4)) & 0xf;
        text.push(char::from(DIGITS[digit as usize]));
    }
}

fn is_plain(id: &str) -> bool {
    !id.is_empty()
        && id.len() <= MAX_REQUEST_ID
        && id.bytes().all(|b| {
            b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'=' | b'/' | b'+')
        })
}

/// `00-<32 hex>-<16 hex>-<2 hex>`, neither id all zero; longer for versions to come.
fn is_traceparent(text: &str) -> bool {
    let bytes = text.as_bytes();
    let hex = |range: std::ops::Range<usize>| {
        bytes[range]
            .iter()
            .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    bytes.len() >= 55
        && bytes.len() <= 128
        && (bytes.len() == 55 || (bytes[55] == b'-' && &bytes[..2] != b"00"))
        && bytes[2] == b'-'
        && bytes[35] == b'-'
        && bytes[52] == b'-'
        && hex(0..2)
        && hex(3..35)
        && hex(36..52)
        && hex(53..55)
        && &bytes[..2] != b"ff"
        && bytes[3..35].iter().any(|&b| b != b'0')
        && bytes[36..52].iter().any(|&b| b != b'0')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(pairs: &[(&'static str, &str)]) -> Ids {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert(*name, value.parse().unwrap());
        }
        Ids::of(&headers, || [1, 2, 3])
    }

    #[test]
    fn good_names_are_kept_and_others_made() {
        let made = ids(&[]);
        assert_eq!(
            made.traceparent(),
            "00-00000000000000010000000000000003-0000000000000003-01"
        );
        assert_eq!(made.request_id(), made.trace_id());
        let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
        let kept = ids(&[("traceparent", trace), ("x-request-id", "abc-1")]);
        assert_eq!((kept.traceparent(), kept.request_id()), (trace, "abc-1"));
        for bad in [
            "00-0-0-0",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-00",
            "x",
        ] {
            assert_ne!(ids(&[("traceparent", bad)]).traceparent(), bad);
        }
        assert_ne!(ids(&[("x-request-id", "a b")]).request_id(), "a b");
    }
}
