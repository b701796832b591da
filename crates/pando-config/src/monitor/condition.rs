//! `when = "p95 > 500ms"`: a name, a comparison and a limit, or one of two words.

use monitor_spec::settings::Condition;

use crate::problem::{Refusal, did_you_mean};
use crate::units;

/// Everything that can be asked, as a person writes it.
pub(super) const EXAMPLES: [&str; 15] = [
    "p50 > 100ms",
    "p95 > 500ms",
    "p99 > 2s",
    "error_rate > 5%",
    "lag > 200ms",
    "cpu > 90%",
    "memory > 90%",
    "memory_slope > 50M/h",
    "memory_full < 24h",
    "crash_loop",
    "restarts > 5",
    "down",
    "degraded",
    "certificate < 7d",
    "disk < 5%",
];
/// Requests a second below which an error rate says nothing, unless the rule says otherwise.
pub(super) const MIN_RATE: f64 = 1.0;

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

fn name_of(example: &'static str) -> &'static str {
    example.split(' ').next().unwrap_or(example)
}

/// The condition of a text.
pub(super) fn read(text: &str) -> Result<Condition, Refusal> {
    let at = text.find(['<', '>', '=']).unwrap_or(text.len());
    let (name, rest) = (text[..at].trim(), text[at..].trim());
    let Some(example) = EXAMPLES.iter().find(|example| name_of(example) == name) else {
        return Err(unknown(text, name));
    };
    let wanted = example.split(' ').nth(1);
    let limit = rest.trim_start_matches(['<', '>', '=']).trim();
    match (wanted, rest.chars().next()) {
        (None, None) => {}
        (None, Some(_)) => {
            let why = format!("`{name}` is so or not so");
            return Err(Refusal::new(
                format!("`{text}` has a limit"),
                why,
                format!("write \"{name}\""),
            ));
        }
        (Some(_), None) => {
            let why = format!("`{name}` is compared with a limit");
            let what = format!("`{text}` has no limit");
            return Err(Refusal::new(
                what,
                why,
                format!("write it like \"{example}\""),
            ));
        }
        (Some(wanted), Some(sign)) if wanted.starts_with(sign) && !rest.contains('=') => {}
        (Some(wanted), Some(_)) => {
            let side = if wanted == ">" { "above" } else { "below" };
            let why = format!("an alert fires when `{name}` is {side} its limit");
            let what = format!("`{text}` compares the wrong way");
            return Err(Refusal::new(
                what,
                why,
                format!("write it like \"{example}\""),
            ));
        }
    }
    value(name, limit).map_err(|why| {
        let what = format!("`{text}` has a limit that is none");
        Refusal::new(what, why, format!("write it like \"{example}\""))
    })
}

fn unknown(text: &str, name: &str) -> Refusal {
    let names: Vec<&str> = EXAMPLES.iter().map(|example| name_of(example)).collect();
    let near = match name {
        "latency" | "p90" => Some("p95"),
        "errors" | "error" => Some("error_rate"),
        "leak" => Some("memory_full"),
        "event_loop_lag" | "loop_lag" => Some("lag"),
        _ => did_you_mean(name, names.iter().copied()),
    };
    let fix = match near.and_then(|near| EXAMPLES.iter().find(|e| name_of(e) == near)) {
        Some(example) => format!("did you mean \"{example}\"?"),
        None => "write it like \"p95 > 500ms\"".to_owned(),
    };
    let why = format!("what can be asked is {}", names.join(", "));
    Refusal::new(format!("`{text}` asks for nothing that is known"), why, fix)
}

fn value(name: &str, limit: &str) -> Result<Condition, String> {
    let us = |text: &str| {
        let ms = units::duration_ms(text).map_err(|refusal| refusal.why)?;
        if ms == 0 {
            return Err("no time at all is always exceeded".to_owned());
        }
        Ok(ms * 1000)
    };
    let share = |text: &str| {
        let share = units::percent(text).filter(|share| *share > 0.0);
        share.ok_or_else(|| "it is a share like 5%".to_owned())
    };
    let part = |text: &str| {
        let sound = share(text)?;
        if sound < 1.0 {
            Ok(sound)
        } else {
            Err("it is a share below 100%".to_owned())
        }
    };
    let long = |text: &str| match units::long_duration_ms(text) {
        Ok(0) => Err("no time at all is no warning".to_owned()),
        Ok(ms) => Ok(ms),
        Err(refusal) => Err(refusal.why),
    };
    let percentile = |percentile, text| {
        us(text).map(|above_us| Condition::Latency {
            percentile,
            above_us,
        })
    };
    Ok(match name {
        "p50" => percentile(50, limit)?,
        "p95" => percentile(95, limit)?,
        "p99" => percentile(99, limit)?,
        "error_rate" => Condition::ErrorRate {
            above: part(limit)?,
            min_rate: MIN_RATE,
        },
        "lag" => Condition::Lag {
            above_us: us(limit)?,
        },
        "cpu" => Condition::Cpu {
            above_percent: share(limit)? * 100.0,
        },
        "memory" => Condition::Memory {
            above_share: part(limit)?,
        },
        "memory_slope" => {
            let size = limit.strip_suffix("/h").map(str::trim_end);
            let size = size.ok_or("it is a size an hour, like 50M/h")?;
            Condition::MemorySlope {
                above_bytes_per_hour: units::size_bytes(size).map_err(|refusal| refusal.why)?,
            }
        }
        "memory_full" => Condition::MemoryFull {
            within_ms: long(limit)?,
        },
        "crash_loop" => Condition::CrashLoop,
        "restarts" => restarts(limit)?,
        "down" => Condition::Down,
        "degraded" => Condition::Degraded,
        "certificate" => Condition::Certificate {
            within_ms: long(limit)?,
        },
        "disk" => Condition::Disk {
            below_share: part(limit)?,
        },
        _ => return Err("it is not known".into()),
    })
}

fn restarts(limit: &str) -> Result<Condition, String> {
    let above = limit.parse();
    let above = above.map_err(|_| "it is a count, in the last ten minutes".to_owned())?;
    Ok(Condition::Restarts { above })
}

/// The condition as it is written.
pub(super) fn show(condition: &Condition) -> String {
    let time = |us: u64| units::show_duration(us / 1000);
    let days = |ms: u64| match ms / DAY_MS {
        count @ 2.. if ms.is_multiple_of(DAY_MS) => format!("{count}d"),
        _ => units::show_duration(ms),
    };
    let percent = |share: f64| {
        let percent = (share * 1e6).round() / 1e4;
        format!("{percent}%")
    };
    match condition {
        Condition::Latency {
            percentile,
            above_us,
        } => format!("p{percentile} > {}", time(*above_us)),
        Condition::ErrorRate { above, .. } => format!("error_rate > {}", percent(*above)),
        Condition::Lag { above_us } => format!("lag > {}", time(*above_us)),
        Condition::Cpu { above_percent } => format!("cpu > {}", percent(above_percent / 100.0)),
        Condition::Memory { above_share } => format!("memory > {}", percent(*above_share)),
        Condition::MemorySlope {
            above_bytes_per_hour,
        } => {
            format!(
                "memory_slope > {}/h",
                units::show_size(*above_bytes_per_hour)
            )
        }
        Condition::MemoryFull { within_ms } => {
            format!("memory_full < {}", days(*within_ms))
        }
        Condition::CrashLoop => "crash_loop".into(),
        Condition::Restarts { above } => format!("restarts > {above}"),
        Condition::Down => "down".into(),
        Condition::Degraded => "degraded".into(),
        Condition::Certificate { within_ms } => {
            format!("certificate < {}", days(*within_ms))
        }
        Condition::Disk { below_share } => format!("disk < {}", percent(*below_share)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_is_shown() {
        for text in EXAMPLES {
            let condition = read(text).unwrap();
            assert_eq!(show(&condition), text);
            let tight = text.replace(' ', "");
            assert_eq!(read(&tight), Ok(condition), "{tight}");
        }
        assert_eq!(
            read(" error_rate >0.5 % "),
            Ok(Condition::ErrorRate {
                above: 0.005,
                min_rate: 1.0
            })
        );
    }

    #[test]
    fn what_makes_no_sense_says_what_would() {
        for (text, fix) in [
            ("", "write it like \"p95 > 500ms\""),
            ("p59 > 1s", "did you mean \"p50 > 100ms\"?"),
            ("latency > 1s", "did you mean \"p95 > 500ms\"?"),
            ("erorr_rate > 5%", "did you mean \"error_rate > 5%\"?"),
            ("p95", "write it like \"p95 > 500ms\""),
            ("p95 > ", "write it like \"p95 > 500ms\""),
            ("p95 < 500ms", "write it like \"p95 > 500ms\""),
            ("p95 >= 500ms", "write it like \"p95 > 500ms\""),
            ("p95 > 500", "write it like \"p95 > 500ms\""),
            ("p95 > 0ms", "write it like \"p95 > 500ms\""),
            ("error_rate > 100%", "write it like \"error_rate > 5%\""),
            ("error_rate > 0.05", "write it like \"error_rate > 5%\""),
            ("crash_loop > 3", "write \"crash_loop\""),
            ("restarts > 5%", "write it like \"restarts > 5\""),
            ("down < 1", "write \"down\""),
            ("disk > 5%", "write it like \"disk < 5%\""),
            (
                "memory_slope > 50M",
                "write it like \"memory_slope > 50M/h\"",
            ),
            ("certificate < soon", "write it like \"certificate < 7d\""),
        ] {
            let refusal = read(text).unwrap_err();
            assert_eq!(refusal.fix, fix, "{text}: {refusal:?}");
            assert!(!refusal.why.is_empty());
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in ".{0,30}", name in 0..EXAMPLES.len(), limit in ".{0,12}") {
            let _ = read(&text);
            let _ = read(&format!("{} > {limit}", name_of(EXAMPLES[name])));
        }
    }
}
