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
