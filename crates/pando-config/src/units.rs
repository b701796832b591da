//! Durations (`"30s"`) and sizes (`"512M"`) as people write them.

use crate::problem::Refusal;

/// A day. Anything longer in a timeout is a typing error.
const MAX_DURATION_MS: u64 = 24 * 60 * 60 * 1000;
/// Ten years: what is kept for longer is kept for ever.
const MAX_LONG_DURATION_MS: u64 = 3650 * MAX_DURATION_MS;
/// 16 TiB, more than any one process has.
const MAX_SIZE_BYTES: u64 = 16 << 40;

const DURATION_UNITS: [(&str, f64); 5] = [
    ("ms", 1.0),
    ("s", 1_000.0),
    ("m", 60_000.0),
    ("h", 3_600_000.0),
    ("d", 86_400_000.0),
];

/// Powers of 1024; `"1G"`, `"1GB"` and `"1GiB"` are the same.
const SIZE_UNITS: [(&str, u64); 5] = [
    ("b", 1),
    ("k", 1 << 10),
    ("m", 1 << 20),
    ("g", 1 << 30),
    ("t", 1 << 40),
];

/// Milliseconds of `500ms`, `30s`, `1.5s`, `2m`, `1h`; at most a day.
pub(crate) fn duration_ms(text: &str) -> Result<u64, Refusal> {
    let ms = any_duration_ms(text)?;
    if ms > MAX_DURATION_MS {
        return Err(Refusal::new(
            format!("`{text}` is longer than a day"),
            "a wait of that length is surely a typing error",
            "use at most \"24h\"",
        ));
    }
    Ok(ms)
}

/// As [`duration_ms`], for what is kept rather than waited for: `365d`, at most ten years.
pub(crate) fn long_duration_ms(text: &str) -> Result<u64, Refusal> {
    let ms = any_duration_ms(text)?;
    if ms > MAX_LONG_DURATION_MS {
        return Err(Refusal::new(
            format!("`{text}` is longer than ten years"),
            "nothing is kept for that long",
            "use at most \"3650d\"",
        ));
    }
    Ok(ms)
}

fn any_duration_ms(text: &str) -> Result<u64, Refusal> {
    let (number, unit) = split(text);
    let lowered = unit.to_lowercase();
    let factor = DURATION_UNITS
        .iter()
        .find(|(name, _)| *name == lowered)
        .map(|(_, f)| *f);
    let (Some(value), Some(factor)) = (decimal(number), factor) else {
        return Err(not_a_duration(text, number, &lowered));
    };
    Ok((value * factor).round() as u64)
}

/// The share that `20%` is.
pub(crate) fn percent(text: &str) -> Option<f64> {
    let (number, unit) = split(text);
    (unit == "%")
        .then(|| decimal(number))
        .flatten()
        .map(|n| n / 100.0)
}

fn not_a_duration(text: &str, number: &str, unit: &str) -> Refusal {
    let why = "a duration is a number with its unit: ms, s, m, h or d";
    if unit.is_empty() && decimal(number).is_some() {
        let fix = match number.parse::<u64>() {
            Ok(n) if n >= 1000 && n.is_multiple_of(1000) => {
                format!("write \"{}s\", or \"{n}s\" if seconds were meant", n / 1000)
            }
            Ok(n) if n >= 1000 => format!("write \"{n}ms\""),
            Ok(_) | Err(_) => format!("write \"{number}s\" or \"{number}ms\""),
        };
        return Refusal::new(format!("`{text}` has no unit"), why, fix);
    }
    Refusal::new(
        format!("`{text}` is not a duration"),
        why,
        "write it like \"500ms\", \"30s\" or \"2m\"",
    )
}

/// Bytes of `512M`, `1.5G`, `64KiB`; at most 16T.
pub(crate) fn size_bytes(text: &str) -> Result<u64, Refusal> {
    let (number, unit) = split(text);
    let lowered = unit.to_lowercase();
    let letter = lowered
        .strip_suffix("ib")
        .or_else(|| lowered.strip_suffix('b'));
    let letter = match letter {
        Some("") => "b",
        Some(rest) => rest,
        None => &lowered,
    };
    let factor = SIZE_UNITS
        .iter()
        .find(|(name, _)| *name == letter)
        .map(|(_, f)| *f);
    let (Some(value), Some(factor)) = (decimal(number), factor) else {
        return Err(not_a_size(text, number, &lowered));
    };
    let bytes = (value * factor as f64).round();
    if bytes > MAX_SIZE_BYTES as f64 {
        return Err(Refusal::new(
            format!("`{text}` is more than 16T"),
            "no process has that much memory, no log is that large",
            "check the unit: K, M, G",
        ));
    }
    Ok(bytes as u64)
}

fn not_a_size(text: &str, number: &str, unit: &str) -> Refusal {
    let why = "a size is a number with its unit: K, M or G (powers of 1024)";
    if unit.is_empty() && decimal(number).is_some() {
        let fix = match number.parse::<u64>() {
            Ok(n) if n >= 1 << 20 => format!("write \"{}\"", show_size(n)),
            Ok(_) | Err(_) => format!("write \"{number}M\""),
        };
        return Refusal::new(format!("`{text}` has no unit"), why, fix);
    }
    Refusal::new(
        format!("`{text}` is not a size"),
        why,
        "write it like \"512M\" or \"1.5G\"",
    )
}

/// The number and the unit behind it, each trimmed.
fn split(text: &str) -> (&str, &str) {
    let text = text.trim();
    let at = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    (&text[..at], text[at..].trim_start())
}

fn decimal(number: &str) -> Option<f64> {
    // "." and "1." are typing errors, though Rust reads the latter.
    let plain = number.chars().next()?.is_ascii_digit() && !number.ends_with('.');
    plain.then(|| number.parse().ok()).flatten()
}

/// `1.5s`, `30s`, `2m`: the shortest exact form.
pub(crate) fn show_duration(ms: u64) -> String {
    match ms {
        0 => "0s".to_owned(),
        ms if ms.is_multiple_of(3_600_000) => format!("{}h", ms / 3_600_000),
        ms if ms.is_multiple_of(60_000) => format!("{}m", ms / 60_000),
        ms if ms.is_multiple_of(1_000) => format!("{}s", ms / 1_000),
        ms => format!("{ms}ms"),
    }
}

/// `512M`, `1.5G`: the largest unit in which it is short.
pub(crate) fn show_size(bytes: u64) -> String {
    for (unit, factor) in SIZE_UNITS.iter().rev() {
        if bytes >= *factor && (bytes * 2).is_multiple_of(*factor) {
            let whole = bytes / factor;
            let half = if bytes.is_multiple_of(*factor) {
                ""
            } else {
                ".5"
            };
            return format!("{whole}{half}{}", unit.to_uppercase());
        }
    }
    format!("{bytes}B")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, ms) in [
            ("500ms", 500),
            ("30s", 30_000),
            ("1.5s", 1_500),
            ("2m", 120_000),
            ("1h", 3_600_000),
            ("0s", 0),
            (" 2 S ", 2_000),
            ("24h", 86_400_000),
        ] {
            assert_eq!(duration_ms(text), Ok(ms), "{text}");
        }
        for text in [
            "", "s", "30", "30 x", "1.s", "-1s", "25h", "2d", "1e3s", "NaNs", "infs", ".5s",
            "1.2.3s",
        ] {
            assert!(duration_ms(text).is_err(), "{text}");
        }
        assert_eq!(
            duration_ms("30").unwrap_err().fix,
            "write \"30s\" or \"30ms\""
        );
        assert!(duration_ms("3000").unwrap_err().fix.contains("\"3s\""));
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("1G", 1 << 30),
            ("512M", 512 << 20),
            ("1.5G", 3 << 29),
            ("64KiB", 64 << 10),
            ("10mb", 10 << 20),
            ("7B", 7),
            ("1 g", 1 << 30),
        ] {
            assert_eq!(size_bytes(text), Ok(bytes), "{text}");
        }
        for text in ["", "G", "512", "1X", "-1G", "17T", "9e9G", "1.G", "1ibib"] {
            assert!(size_bytes(text).is_err(), "{text}");
        }
        assert_eq!(size_bytes("536870912").unwrap_err().fix, "write \"512M\"");
    }

    #[test]
    fn shown_as_written() {
        for text in ["512M", "1.5G", "1G", "64K", "7B", "16T"] {
            assert_eq!(show_size(size_bytes(text).unwrap()), text);
        }
        for text in ["500ms", "30s", "2m", "1h", "1500ms", "0s", "90s"] {
            assert_eq!(show_duration(duration_ms(text).unwrap()), text);
        }
    }
}
