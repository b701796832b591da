//! Server-sent events as bytes (WHATWG HTML, 9.2). Data is always one line of JSON, which has no
//! raw line breaks.

use hyper::body::Bytes;
use serde::Serialize;

/// A comment that keeps the connection known to be alive.
pub const PING: &[u8] = b":\n\n";
/// How long the browser waits before it connects again, milliseconds.
pub const RETRY_MS: u32 = 1000;

/// One event with JSON as its data.
///
/// # Errors
/// The value has no JSON.
pub fn event(name: &str, value: &impl Serialize) -> serde_json::Result<Bytes> {
    let mut bytes = Vec::with_capacity(256);
    bytes.extend_from_slice(b"event: ");
    bytes.extend_from_slice(name.as_bytes());
    bytes.extend_from_slice(b"\ndata: ");
    serde_json::to_writer(&mut bytes, value)?;
    bytes.extend_from_slice(b"\n\n");
    Ok(bytes.into())
}

/// The first words of a stream.
pub fn hello() -> Bytes {
    format!("retry: {RETRY_MS}\n\n").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_a_name_and_one_line() {
        let bytes = event("log", &["a\nb\r\n", "\u{2028}event: x\n\n"]).unwrap();
        let text = std::str::from_utf8(&bytes).unwrap();
        assert_eq!(
            text,
            "event: log\ndata: [\"a\\nb\\r\\n\",\"\u{2028}event: x\\n\\n\"]\n\n"
        );
        assert_eq!(hello(), "retry: 1000\n\n");
    }
}
