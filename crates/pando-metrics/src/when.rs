//! A moment for people.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// `2026-11-25 18:13:01` in the machine's time zone, of milliseconds since 1970.
pub fn local(time_ms: i64) -> String {
    match Timestamp::from_millisecond(time_ms) {
        Ok(time) => {
            let local = time.to_zoned(TimeZone::system());
            local.strftime("%Y-%m-%d %H:%M:%S").to_string()
        }
        Err(_) => format!("@{time_ms}"),
    }
}
