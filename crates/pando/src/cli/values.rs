//! Values of the command line that have a grammar of their own.

use app_spec::Instances;
use jiff::civil::{DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use pando_control::api::ScaleChange;

/// `4`, `+2`, `-1`, `max`.
pub fn scale(text: &str) -> Result<ScaleChange, String> {
    let count = |digits: &str| {
        let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        let count = plain.then(|| digits.parse::<u32>().ok()).flatten();
        match count {
            Some(n) if n <= app_spec::MAX_INSTANCES => Ok(n),
            Some(_) => Err(format!(
                "an app may have {} workers",
                app_spec::MAX_INSTANCES
            )),
            None => Err("a count is `4`, `+2`, `-1` or `max`".to_owned()),
        }
    };
    match text.split_at_checked(1) {
        _ if text == "max" => Ok(ScaleChange::As(Instances::Max)),
        Some(("+", digits)) => count(digits).map(ScaleChange::Up),
        Some(("-", digits)) => count(digits).map(ScaleChange::Down),
        Some(_) | None => match count(text)? {
            0 => Err("no worker at all is `pando stop`".to_owned()),
            n => Ok(ScaleChange::To(n)),
        },
    }
}

/// A point in time, milliseconds since the epoch: `10m` (ago; ms, s, m, h, d, w), RFC 3339,
/// `2026-11-21 04:03`, `2026-11-21`, or `04:03` of today, in the zone of `now`.
pub fn when(text: &str, now: &Zoned) -> Result<i64, String> {
    let text = text.trim();
    if let Some(ago) = duration_ms(text) {
        return Ok(now.timestamp().as_millisecond().saturating_sub(ago));
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time.as_millisecond());
    }
    let zone: TimeZone = now.time_zone().clone();
    let local = text.parse::<DateTime>().or_else(|_| {
        text.parse::<Time>()
            .map(|time| now.date().to_datetime(time))
    });
    match local.map(|local| local.to_zoned(zone)) {
        Ok(Ok(time)) => Ok(time.timestamp().as_millisecond()),
        Ok(Err(e)) => Err(e.to_string()),
        Err(_) => Err(
            "a time is `10m` (ago), `14:30`, `2026-11-21`, `2026-11-21 14:30`, or RFC \
                       3339 such as `2026-11-21T14:30:00Z`"
                .to_owned(),
        ),
    }
}

/// `500ms`, `10s`, `1h30m`, `2d`, `1w`; a number needs its unit.
fn duration_ms(text: &str) -> Option<i64> {
    let mut rest = text;
    let mut total: i64 = 0;
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, after) = rest.split_at(digits);
        let letters = after.len()
            - after
                .trim_start_matches(|c: char| c.is_ascii_lowercase())
                .len();
        let (unit, after) = after.split_at(letters);
        let unit_ms = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "w" => 604_800_000,
            _ => return None,
        };
        total = total.checked_add(number.parse::<i64>().ok()?.checked_mul(unit_ms)?)?;
        rest = after;
    }
    (!text.is_empty()).then_some(total)
}

/// A signal's name with or without SIG, or its number.
pub fn signal(text: &str) -> Result<String, String> {
    const NAMES: [&str; 14] = [
        "SIGHUP", "SIGINT", "SIGQUIT", "SIGKILL", "SIGUSR1", "SIGUSR2", "SIGTERM", "SIGCONT",
        "SIGSTOP", "SIGTSTP", "SIGWINCH", "SIGALRM", "SIGPIPE", "SIGABRT",
    ];
    const NUMBERS: [u32; 14] = [1, 2, 3, 9, 10, 12, 15, 18, 19, 20, 28, 14, 13, 6];
    let upper = text.to_uppercase();
    let name = if upper.starts_with("SIG") {
        upper.clone()
    } else {
        format!("SIG{upper}")
    };
    let by_name = NAMES.iter().find(|n| **n == name);
    let by_number = || {
        let number: u32 = text.parse().ok()?;
        NAMES.get(NUMBERS.iter().position(|n| *n == number)?)
    };
    by_name
        .or_else(by_number)
        .map(|n| (*n).to_owned())
        .ok_or_else(|| {
            let short: Vec<&str> = NAMES.iter().map(|n| &n[3..]).collect();
            format!("a signal is one of {}", short.join(", "))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scale_arguments() {
        for (text, expect) in [
            ("4", Some(ScaleChange::To(4))),
            ("+2", Some(ScaleChange::Up(2))),
            ("-1", Some(ScaleChange::Down(1))),
            ("max", Some(ScaleChange::As(Instances::Max))),
            ("512", Some(ScaleChange::To(512))),
            ("513", None),
            ("0", None),
            ("", None),
            ("+", None),
            ("--1", None),
            ("+-1", None),
            ("1.5", None),
            ("four", None),
            ("99999999999", None),
            ("é", None),
        ] {
            assert_eq!(scale(text).ok(), expect, "{text}");
        }
    }

    #[test]
    fn durations() {
        for (text, expect) in [
            ("500ms", Some(500)),
            ("10m", Some(600_000)),
            ("1h30m", Some(5_400_000)),
            ("2d", Some(172_800_000)),
            ("1w", Some(604_800_000)),
            ("10", None),
            ("m", None),
            ("", None),
            ("1y", None),
            ("9999999999999999999s", None),
            ("9223372036854775807w", None),
        ] {
            assert_eq!(duration_ms(text), expect, "{text}");
        }
    }

    #[test]
    fn points_in_time() {
        let now: Zoned = "2026-11-21T12:00:00[UTC]".parse().unwrap();
        let at = |text: &str| when(text, &now).map(|ms| ms - now.timestamp().as_millisecond());
        for (text, minutes) in [
            ("10m", -10),
            ("2026-11-21T11:00:00Z", -60),
            ("2026-11-21T14:00:00+01:00", 60),
            ("2026-11-21 11:30", -30),
            ("2026-11-21T11:30:00", -30),
            ("11:30", -30),
            ("2026-11-21", -720),
        ] {
            assert_eq!(at(text), Ok(minutes * 60_000), "{text}");
        }
        assert!(at("yesterday").is_err() && at("25:00").is_err() && at("").is_err());
    }

    #[test]
    fn signals_have_many_spellings() {
        for text in ["SIGUSR2", "usr2", "USR2", "12"] {
            assert_eq!(signal(text).as_deref(), Ok("SIGUSR2"));
        }
        assert!(signal("SIGNOPE").is_err() && signal("0").is_err() && signal("").is_err());
    }
}
