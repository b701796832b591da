//! An entry as bytes: by hand, into a buffer that is used again.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use gateway_spec::AccessLogFormat;
use http::{Method, Version};

use super::Entry;

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];
const HEX: [u8; 16] = *b"0123456789abcdef";

/// Appends one line with its end.
pub(super) fn line(format: AccessLogFormat, entry: &Entry<'_>, out: &mut Vec<u8>) {
    match format {
        AccessLogFormat::Json => json(entry, out),
        AccessLogFormat::Text => text(entry, out),
    }
    out.push(b'\n');
}

/// The line that says how many lines are missing before it.
pub(super) fn dropped(format: AccessLogFormat, time: SystemTime, count: u64, out: &mut Vec<u8>) {
    match format {
        AccessLogFormat::Json => {
            out.extend_from_slice(b"{\"time\":\"");
            rfc3339(time, out);
            out.extend_from_slice(b"\",\"dropped\":");
            number(count, out);
            out.push(b'}');
        }
        AccessLogFormat::Text => {
            out.extend_from_slice(b"- - - [");
            common_time(time, out);
            out.extend_from_slice(b"] dropped=");
            number(count, out);
        }
    }
    out.push(b'\n');
}

fn json(entry: &Entry<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"time\":\"");
    rfc3339(entry.time, out);
    out.extend_from_slice(b"\",\"client\":\"");
    ip(entry.client, out);
    out.push(b'"');
    text_field("method", entry.method.as_str().as_bytes(), out);
    text_field("host", entry.host.as_bytes(), out);
    text_field("path", entry.path.as_bytes(), out);
    number_field("status", u64::from(entry.status), out);
    if entry.aborted {
        key("aborted", out);
        out.extend_from_slice(b"true");
    }
    number_field("bytes_in", entry.bytes_in, out);
    number_field("bytes_out", entry.bytes_out, out);
    text_field("protocol", protocol(entry.version).as_bytes(), out);
    text_field("tls", entry.tls.as_bytes(), out);
    text_field("site", entry.site.as_bytes(), out);
    text_field("route", entry.route.as_bytes(), out);
    text_field("upstream", entry.upstream.as_bytes(), out);
    text_field("worker", entry.worker.as_bytes(), out);
    time_field("queue_ms", entry.queue, out);
    time_field("upstream_ms", entry.upstream_time, out);
    time_field("total_ms", entry.total, out);
    number_field("retries", u64::from(entry.retries), out);
    text_field("cache", entry.cache.as_bytes(), out);
    text_field("request_id", entry.request_id.as_bytes(), out);
    text_field("trace_id", entry.trace_id.as_bytes(), out);
    text_field("user", entry.user.as_bytes(), out);
    text_field("user_agent", entry.user_agent, out);
    text_field("referer", entry.referer, out);
    out.push(b'}');
}

fn key(name: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

fn text_field(name: &str, value: &[u8], out: &mut Vec<u8>) {
    if value.is_empty() {
        return;
    }
    key(name, out);
    out.push(b'"');
    escape_json(value, out);
    out.push(b'"');
}

fn number_field(name: &str, value: u64, out: &mut Vec<u8>) {
    key(name, out);
    number(value, out);
}

fn time_field(name: &str, value: Duration, out: &mut Vec<u8>) {
    key(name, out);
    milliseconds(value, out);
}

/// The combined format of nginx and Apache, then what they do not have as `name=value`.
fn text(entry: &Entry<'_>, out: &mut Vec<u8>) {
    ip(entry.client, out);
    out.extend_from_slice(b" - ");
    quoted_or_dash(entry.user.as_bytes(), out);
    out.extend_from_slice(b" [");
    common_time(entry.time, out);
    out.extend_from_slice(b"] \"");
    escape_text(entry.method.as_str().as_bytes(), out);
    out.push(b' ');
    escape_text(entry.path.as_bytes(), out);
    out.push(b' ');
    out.extend_from_slice(protocol(entry.version).as_bytes());
    out.extend_from_slice(b"\" ");
    number(u64::from(entry.status), out);
    out.push(b' ');
    number(entry.bytes_out, out);
    out.extend_from_slice(b" \"");
    dash(entry.referer, out);
    out.extend_from_slice(b"\" \"");
    dash(entry.user_agent, out);
    out.push(b'"');
    if entry.aborted {
        word("aborted", "1", out);
    }
    word("host", entry.host, out);
    word("site", entry.site, out);
    word("route", entry.route, out);
    word("upstream", entry.upstream, out);
    word("worker", entry.worker, out);
    for (name, value) in [
        ("queue", entry.queue),
        ("upstream_time", entry.upstream_time),
        ("total", entry.total),
    ] {
        name_equals(name, out);
        milliseconds(value, out);
    }
    for (name, value) in [
        ("retries", u64::from(entry.retries)),
        ("in", entry.bytes_in),
    ] {
        name_equals(name, out);
        number(value, out);
    }
    word("cache", entry.cache, out);
    word("id", entry.request_id, out);
    word("trace", entry.trace_id, out);
    word("tls", entry.tls, out);
}

fn name_equals(name: &str, out: &mut Vec<u8>) {
    out.push(b' ');
    out.extend_from_slice(name.as_bytes());
    out.push(b'=');
}

fn word(name: &str, value: &str, out: &mut Vec<u8>) {
    if !value.is_empty() {
        name_equals(name, out);
        escape_word(value.as_bytes(), out);
    }
}

fn dash(value: &[u8], out: &mut Vec<u8>) {
    escape_text(if value.is_empty() { b"-" } else { value }, out);
}

fn quoted_or_dash(value: &[u8], out: &mut Vec<u8>) {
    escape_word(if value.is_empty() { b"-" } else { value }, out);
}

fn number(value: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Milliseconds with three decimals: microseconds are not lost.
fn milliseconds(value: Duration, out: &mut Vec<u8>) {
    let micros = u64::try_from(value.as_micros()).unwrap_or(u64::MAX);
    number(micros / 1000, out);
    let rest = (micros % 1000) as u32;
    out.extend_from_slice(&[b'.', digit(rest / 100), digit(rest / 10), digit(rest)]);
}

fn ip(address: IpAddr, out: &mut Vec<u8>) {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            number(u64::from(a), out);
            for octet in [b, c, d] {
                out.push(b'.');
                number(u64::from(octet), out);
            }
        }
        // Writing to a Vec cannot fail.
        IpAddr::V6(v6) => drop(write!(out, "{v6}")),
    }
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "HTTP/0.9",
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2.0",
        Version::HTTP_3 => "HTTP/3.0",
        _ => "HTTP/1.1",
    }
}

/// The last decimal digit of a number.
fn digit(value: u32) -> u8 {
    b'0' + (value % 10) as u8
}

fn two(value: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(&[digit(value / 10), digit(value)]);
}

struct Moment {
    year: u32,
    month: u32,
    day: u32,
    second_of_day: u32,
    milli: u32,
}

/// UTC date and time in the proleptic Gregorian calendar: years begin in March, so that the leap
/// day is the last of its year, and 400 years are 146097 days.
fn moment(time: SystemTime) -> Moment {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let days = since.as_secs() / 86_400 + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    Moment {
        year: (era * 400 + year_of_era + u64::from(month <= 2)) as u32,
        month: month as u32,
        day: (day_of_year - (153 * shifted + 2) / 5 + 1) as u32,
        second_of_day: (since.as_secs() % 86_400) as u32,
        milli: since.subsec_millis(),
    }
}

fn clock(second_of_day: u32, out: &mut Vec<u8>) {
    two(second_of_day / 3600, out);
    out.push(b':');
    two(second_of_day / 60 % 60, out);
    out.push(b':');
    two(second_of_day % 60, out);
}

fn year(value: u32, out: &mut Vec<u8>) {
    two(value / 100, out);
    two(value, out);
}

/// `2026-11-25T10:26:36.123Z`
fn rfc3339(time: SystemTime, out: &mut Vec<u8>) {
    let at = moment(time);
    year(at.year, out);
    out.push(b'-');
    two(at.month, out);
    out.push(b'-');
    two(at.day, out);
    out.push(b'T');
    clock(at.second_of_day, out);
    out.extend_from_slice(&[
        b'.',
        digit(at.milli / 100),
        digit(at.milli / 10),
        digit(at.milli),
        b'Z',
    ]);
}

/// `25/Nov/2026:10:26:36 +0000`
fn common_time(time: SystemTime, out: &mut Vec<u8>) {
    let at = moment(time);
    two(at.day, out);
    out.push(b'/');
    let month = MONTHS.get(at.month as usize - 1).unwrap_or(&"Jan");
    out.extend_from_slice(month.as_bytes());
    out.push(b'/');
    year(at.year, out);
    out.push(b':');
    clock(at.second_of_day, out);
    out.extend_from_slice(b" +0000");
}

/// RFC 8259 section 7. What is not UTF-8 becomes U+FFFD.
fn escape_json(bytes: &[u8], out: &mut Vec<u8>) {
    let plain = |byte: &u8| (0x20..0x7f).contains(byte) && *byte != b'"' && *byte != b'\\';
    if bytes.iter().all(plain) {
        out.extend_from_slice(bytes);
        return;
    }
    for chunk in bytes.utf8_chunks() {
        for char in chunk.valid().chars() {
            match char {
                '"' | '\\' => out.extend_from_slice(&[b'\\', char as u8]),
                '\0'..='\x1f' | '\x7f'..='\u{9f}' | '\u{2028}' | '\u{2029}' => {
                    // Writing to a Vec cannot fail.
                    drop(write!(out, "\\u{:04x}", u32::from(char)));
                }
                _ => out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        if !chunk.invalid().is_empty() {
            out.extend_from_slice(b"\\ufffd");
        }
    }
}

/// Inside quotes: quotes, backslashes and all that is not printable ASCII as `\xHH`.
fn escape_text(bytes: &[u8], out: &mut Vec<u8>) {
    escape_hex(
        bytes,
        |byte| (0x20..0x7f).contains(&byte) && byte != b'"' && byte != b'\\',
        out,
    );
}

/// Outside quotes: spaces too.
fn escape_word(bytes: &[u8], out: &mut Vec<u8>) {
    escape_hex(
        bytes,
        |byte| (0x21..0x7f).contains(&byte) && byte != b'"' && byte != b'\\',
        out,
    );
}

fn escape_hex(bytes: &[u8], plain: impl Fn(u8) -> bool, out: &mut Vec<u8>) {
    if bytes.iter().all(|&byte| plain(byte)) {
        out.extend_from_slice(bytes);
        return;
    }
    for &byte in bytes {
        if plain(byte) {
            out.push(byte);
        } else {
            let (high, low) = (HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]);
            out.extend_from_slice(&[b'\\', b'x', high, low]);
        }
    }
}

/// An entry for tests and the fuzzer.
pub(super) fn example() -> Entry<'static> {
    Entry {
        time: UNIX_EPOCH + Duration::from_micros(1_795_602_396_123_456),
        client: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)),
        method: &Method::GET,
        host: "api.example.com",
        path: "/items/7?full=1",
        version: Version::HTTP_11,
        status: 200,
        aborted: false,
        bytes_in: 0,
        bytes_out: 1234,
        site: "api.example.com",
        route: "/items/*",
        upstream: "127.0.1.2:3000",
        worker: "api.1",
        queue: Duration::from_micros(12),
        upstream_time: Duration::from_micros(1204),
        total: Duration::from_micros(1310),
        retries: 0,
        cache: "miss",
        request_id: "01jd0000000000000000000000",
        trace_id: "4bf92f3577b34da6a3ce929d0e0e4736",
        user: "",
        user_agent: b"curl/8.5.0",
        referer: b"",
        tls: "TLSv1.3",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn formatted(format: AccessLogFormat, entry: &Entry<'_>) -> String {
        let mut out = Vec::new();
        line(format, entry, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_json_line() {
        assert_eq!(
            formatted(AccessLogFormat::Json, &example()),
            concat!(
                r#"{"time":"2026-11-25T10:26:36.123Z","client":"192.0.2.7","method":"GET","#,
                r#""host":"api.example.com","path":"/items/7?full=1","status":200,"bytes_in":0,"#,
                r#""bytes_out":1234,"protocol":"HTTP/1.1","tls":"TLSv1.3","#,
                r#""site":"api.example.com","route":"/items/*","upstream":"127.0.1.2:3000","#,
                r#""worker":"api.1","queue_ms":0.012,"upstream_ms":1.204,"total_ms":1.310,"#,
                r#""retries":0,"cache":"miss","request_id":"01jd0000000000000000000000","#,
                r#""trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","user_agent":"curl/8.5.0"}"#,
                "\n"
            )
        );
    }

    #[test]
    fn a_text_line_is_the_combined_format_and_more() {
        assert_eq!(
            formatted(AccessLogFormat::Text, &example()),
            concat!(
                r#"192.0.2.7 - - [25/Nov/2026:10:26:36 +0000] "GET /items/7?full=1 HTTP/1.1" "#,
                r#"200 1234 "-" "curl/8.5.0" host=api.example.com site=api.example.com "#,
                "route=/items/* upstream=127.0.1.2:3000 worker=api.1 queue=0.012 ",
                "upstream_time=1.204 total=1.310 retries=0 in=0 cache=miss ",
                "id=01jd0000000000000000000000 trace=4bf92f3577b34da6a3ce929d0e0e4736 ",
                "tls=TLSv1.3\n"
            )
        );
    }

    #[test]
    fn no_request_can_forge_a_line() {
        let entry = Entry {
            path: "/a\"b\\c\nd",
            user: "a b",
            user_agent: b"x\r\n\"\xff\xc3\xa9",
            ..example()
        };
        let json = formatted(AccessLogFormat::Json, &entry);
        assert!(json.contains(r#""path":"/a\"b\\c\u000ad""#), "{json}");
        assert!(
            json.contains(r#""user_agent":"x\u000d\u000a\"\ufffdé""#),
            "{json}"
        );
        let text = formatted(AccessLogFormat::Text, &entry);
        assert!(
            text.contains(r#""GET /a\x22b\x5cc\x0ad HTTP/1.1""#),
            "{text}"
        );
        assert!(text.contains(r#" - a\x20b ["#), "{text}");
        assert!(text.contains(r#""x\x0d\x0a\x22\xff\xc3\xa9""#), "{text}");
    }

    proptest! {
        #[test]
        fn any_bytes_stay_one_line(data: Vec<u8>) {
            super::super::fuzz_line(&data);
        }

        #[test]
        fn dates_are_those_of_a_library(seconds in 0_u64..4_102_444_800) {
            let mut out = Vec::new();
            rfc3339(UNIX_EPOCH + Duration::from_secs(seconds), &mut out);
            let expected = jiff::Timestamp::from_second(seconds as i64).unwrap();
            prop_assert_eq!(
                String::from_utf8(out).unwrap(),
                expected.strftime("%Y-%m-%dT%H:%M:%S.000Z").to_string()
            );
        }
    }
}
