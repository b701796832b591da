//! Numbers as people read them.

/// `2 min`, `90 s`, `7 d`.
pub fn duration(ms: u64) -> String {
    match ms {
        ms if ms >= 2 * 86_400_000 => format!("{} d", ms / 86_400_000),
        ms if ms >= 2 * 3_600_000 => format!("{} h", ms / 3_600_000),
        ms if ms >= 60_000 && ms % 60_000 == 0 => format!("{} min", ms / 60_000),
        ms if ms >= 120_000 => format!("{} min", ms / 60_000),
        ms if ms >= 1_000 => format!("{} s", ms / 1_000),
        ms => format!("{ms} ms"),
    }
}

/// `812 ms`, `1.5 s`, `90 µs`.
pub fn time(us: f64) -> String {
    if us >= 1e6 {
        format!("{} s", short(us / 1e6))
    } else if us >= 1e3 {
        format!("{} ms", short(us / 1e3))
    } else {
        format!("{us:.0} µs")
    }
}

/// `512 MB`.
pub fn bytes(count: f64) -> String {
    let mut value = count;
    for unit in ["B", "KB", "MB", "GB"] {
        if value < 1024.0 {
            return format!("{} {unit}", short(value));
        }
        value /= 1024.0;
    }
    format!("{} TB", short(value))
}

/// A share as `5.2%`.
pub fn percent(share: f64) -> String {
    format!("{}%", short(share * 100.0))
}

/// Two or three digits that matter.
pub fn short(value: f64) -> String {
    if value >= 10.0 {
        return format!("{value:.0}");
    }
    let text = format!("{value:.1}");
    text.strip_suffix(".0").unwrap_or(&text).to_owned()
}
