//! Numbers with units, for reading.

/// `0s`, `12s`, `5m 3s`, `2h 5m`, `3d 4h`: the two largest units, seconds at the least.
pub fn duration(ms: u64) -> String {
    let seconds = ms / 1_000;
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    if days > 0 {
        pair(days, "d", hours % 24, "h")
    } else if hours > 0 {
        pair(hours, "h", minutes % 60, "m")
    } else if minutes > 0 {
        pair(minutes, "m", seconds % 60, "s")
    } else {
        format!("{seconds}s")
    }
}

/// As [`duration`], but exact below ten seconds: `500ms`, `1.5s`.
pub fn interval(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms}ms"),
        1_000..10_000 if !ms.is_multiple_of(1_000) => {
            format!("{}.{}s", ms / 1_000, ms % 1_000 / 100)
        }
        _longer => duration(ms),
    }
}

fn pair(large: u64, large_unit: &str, small: u64, small_unit: &str) -> String {
    if small == 0 {
        format!("{large}{large_unit}")
    } else {
        format!("{large}{large_unit} {small}{small_unit}")
    }
}

/// `812 B`, `38.2 MB`, `1.5 GB`; a KB is 1024 B, as in `memory = "512M"`.
#[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KB", "MB", "GB", "TB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    // 999.5 would be shown as 1000: four digits.
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1_024.0;
        unit += 1;
    }
    if unit == 0 {
        format!("{bytes} B")
    } else if value < 99.95 {
        format!("{value:.1} {}", UNITS[unit])
    } else {
        format!("{value:.0} {}", UNITS[unit])
    }
}

/// `0%`, `0.4%`, `12%`, `180%`.
pub fn percent(value: f64) -> String {
    if !value.is_finite() || value < 0.05 {
        "0%".to_owned()
    } else if value < 9.95 {
        format!("{value:.1}%")
    } else {
        format!("{value:.0}%")
    }
}

/// A time that something took: `0.08 ms`, `3.1 ms`, `128 ms`, `1.20 s`, `45 s`, `2m 5s`.
pub fn took(us: f64) -> String {
    let ms = us / 1_000.0;
    if !ms.is_finite() || ms <= 0.0 {
        "0 ms".to_owned()
    } else if ms < 0.995 {
        format!("{ms:.2} ms")
    } else if ms < 9.95 {
        format!("{ms:.1} ms")
    } else if ms < 999.5 {
        format!("{ms:.0} ms")
    } else if ms < 9_995.0 {
        format!("{:.2} s", ms / 1_000.0)
    } else if ms < 99_500.0 {
        format!("{:.0} s", ms / 1_000.0)
    } else {
        duration(whole(ms))
    }
}

/// How often a second: `0`, `0.04`, `3.1`, `128`, `12.3k`, `1.2M`.
pub fn rate(per_s: f64) -> String {
    if !per_s.is_finite() || per_s < 0.005 {
        "0".to_owned()
    } else if per_s < 0.095 {
        format!("{per_s:.2}")
    } else if per_s < 9.95 {
        format!("{per_s:.1}")
    } else if per_s < 9_999.5 {
        format!("{per_s:.0}")
    } else if per_s < 999_950.0 {
        format!("{:.1}k", per_s / 1_000.0)
    } else {
        format!("{:.1}M", per_s / 1_000_000.0)
    }
}

/// A count in few digits: `7`, `128`, `12.3k`.
pub fn count(number: u64) -> String {
    if number < 10_000 {
        number.to_string()
    } else {
        rate(float(number))
    }
}

/// As [`count`], of a number that is whole.
pub fn whole_count(number: f64) -> String {
    count(whole(number))
}

#[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
pub fn float(number: u64) -> f64 {
    number as f64
}

/// Without its fraction; 0 where it is no count.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "such casts saturate, and NaN is 0"
)]
pub fn whole(number: f64) -> u64 {
    number as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_intervals_are_exact() {
        let told = [0, 500, 1_000, 1_500, 10_000, 90_000].map(interval);
        assert_eq!(told, ["0ms", "500ms", "1s", "1.5s", "10s", "1m 30s"]);
    }

    #[test]
    fn durations_have_two_units_at_most() {
        for (ms, expect) in [
            (0, "0s"),
            (999, "0s"),
            (12_000, "12s"),
            (60_000, "1m"),
            (303_000, "5m 3s"),
            (7_500_000, "2h 5m"),
            (7_200_000, "2h"),
            (273_600_000, "3d 4h"),
            (86_400_000 * 400, "400d"),
        ] {
            assert_eq!(duration(ms), expect);
        }
    }

    #[test]
    fn sizes_have_three_digits() {
        for (bytes, expect) in [
            (0, "0 B"),
            (812, "812 B"),
            (1_000, "1.0 KB"),
            (1_536, "1.5 KB"),
            (40_055_603, "38.2 MB"),
            (159_383_552, "152 MB"),
            (1_610_612_736, "1.5 GB"),
            (u64::MAX, "16777216 TB"),
        ] {
            assert_eq!(size(bytes), expect);
        }
    }

    #[test]
    fn times_that_something_took() {
        for (us, expect) in [
            (0.0, "0 ms"),
            (f64::NAN, "0 ms"),
            (83.0, "0.08 ms"),
            (996.0, "1.0 ms"),
            (3_140.0, "3.1 ms"),
            (128_400.0, "128 ms"),
            (999_900.0, "1.00 s"),
            (45_000_000.0, "45 s"),
            (125_000_000.0, "2m 5s"),
        ] {
            assert_eq!(took(us), expect);
        }
    }

    #[test]
    fn rates() {
        for (per_s, expect) in [
            (0.0, "0"),
            (f64::NAN, "0"),
            (0.04, "0.04"),
            (3.06, "3.1"),
            (128.4, "128"),
            (12_345.0, "12.3k"),
            (1_234_567.0, "1.2M"),
        ] {
            assert_eq!(rate(per_s), expect);
        }
        assert_eq!([count(7), count(12_345)], ["7", "12.3k"]);
    }

    #[test]
    fn percents() {
        for (value, expect) in [
            (0.0, "0%"),
            (0.04, "0%"),
            (0.42, "0.4%"),
            (9.96, "10%"),
            (180.4, "180%"),
            (f64::NAN, "0%"),
        ] {
            assert_eq!(percent(value), expect);
        }
    }
}
