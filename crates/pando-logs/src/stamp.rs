//! RFC 3339 timestamps in UTC with milliseconds: `2026-11-21T03:44:00.123Z`, always 24 bytes.
//!
//! Written by hand: it is on the path of every batch and the fixed width is part of the format.
//! The calendar arithmetic counts days in eras of 400 years that begin on March 1st.

use std::time::{SystemTime, UNIX_EPOCH};

pub const STAMP_BYTES: usize = 24;

const DAY_MS: i64 = 86_400_000;
const ERA_DAYS: i64 = 146_097;
/// Days from 0000-03-01 to 1970-01-01.
const EPOCH_DAYS: i64 = 719_468;
/// 9999-12-31T23:59:59.999Z; the width allows no more.
const MAX_MS: i64 = 253_402_300_799_999;

/// Milliseconds since the epoch, now. A clock before 1970 reads 0.
pub fn now_ms() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

pub fn format(time_ms: i64) -> [u8; STAMP_BYTES] {
    let time_ms = time_ms.clamp(0, MAX_MS);
    let (year, month, day) = date(time_ms / DAY_MS);
    let ms = time_ms % DAY_MS;
    let mut out = *b"0000-00-00T00:00:00.000Z";
    digits(&mut out[0..4], year);
    digits(&mut out[5..7], month);
    digits(&mut out[8..10], day);
    digits(&mut out[11..13], ms / 3_600_000);
    digits(&mut out[14..16], ms / 60_000 % 60);
    digits(&mut out[17..19], ms / 1_000 % 60);
    digits(&mut out[20..23], ms % 1_000);
    out
}

/// Milliseconds since the epoch of a stamp that [`format`] wrote; `None` for anything else.
pub fn parse(stamp: &[u8]) -> Option<i64> {
    let s: &[u8; STAMP_BYTES] = stamp.try_into().ok()?;
    let marks = [
        (4, b'-'),
        (7, b'-'),
        (10, b'T'),
        (13, b':'),
        (16, b':'),
        (19, b'.'),
        (23, b'Z'),
    ];
    if marks.iter().any(|&(at, mark)| s[at] != mark) {
        return None;
    }
    let (year, month, day) = (number(&s[0..4])?, number(&s[5..7])?, number(&s[8..10])?);
    let (hour, minute) = (number(&s[11..13])?, number(&s[14..16])?);
    let (second, ms) = (number(&s[17..19])?, number(&s[20..23])?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 {
        return None;
    }
    Some(days(year, month, day) * DAY_MS + ((hour * 60 + minute) * 60 + second) * 1_000 + ms)
}

fn digits(out: &mut [u8], mut value: i64) {
    for byte in out.iter_mut().rev() {
        *byte = b'0' + u8::try_from(value % 10).unwrap_or(0);
        value /= 10;
    }
}

fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |n, &b| {
        b.is_ascii_digit().then(|| n * 10 + i64::from(b - b'0'))
    })
}

fn date(days_since_epoch: i64) -> (i64, i64, i64) {
    let days = days_since_epoch + EPOCH_DAYS;
    let (era, day_of_era) = (days / ERA_DAYS, days % ERA_DAYS);
    let leap_days = day_of_era / 1_460 - day_of_era / 36_524 + day_of_era / 146_096;
    let year_of_era = (day_of_era - leap_days) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * ERA_DAYS + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year
        - EPOCH_DAYS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_instants() {
        let cases: [(i64, &[u8]); 5] = [
            (0, b"1970-01-01T00:00:00.000Z"),
            (951_782_400_000, b"2000-02-29T00:00:00.000Z"),
            (1_795_232_640_123, b"2026-11-21T03:44:00.123Z"),
            (4_107_542_399_999, b"2100-02-28T23:59:59.999Z"),
            (MAX_MS, b"9999-12-31T23:59:59.999Z"),
        ];
        for (ms, text) in cases {
            assert_eq!(
                String::from_utf8_lossy(&format(ms)),
                String::from_utf8_lossy(text)
            );
            assert_eq!(parse(text), Some(ms));
        }
        for bad in [
            "",
            "2026-11-21 03:44:00.123Z",
            "2026-13-21T03:44:00.123Z",
            "20x6-11-21T03:44:00.123Z",
        ] {
            assert_eq!(parse(bad.as_bytes()), None, "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_stamp_is_what_jiff_says_and_reads_back(ms in 0..=MAX_MS) {
            let text = format(ms);
            proptest::prop_assert_eq!(parse(&text), Some(ms));
            let time = jiff::Timestamp::from_millisecond(ms).unwrap();
            let expect = format!("{time:.3}");
            proptest::prop_assert_eq!(&text[..], expect.as_bytes());
        }
    }
}
