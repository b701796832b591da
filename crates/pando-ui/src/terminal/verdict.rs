//! What is well and what is wrong: signs, colours and limits of states and numbers. The limits are
//! those of the page in the browser (`parts.js`).

use monitor_spec::now::{Alert, AlertState, App, Traffic};

use super::chart::Limits;
use crate::text::Style;

/// Event-loop delay that users notice, and one in which health checks fail.
pub const LAG: Limits = Limits {
    warn: Some(100_000.0),
    bad: Some(500_000.0),
};
/// Of a memory limit.
const MEMORY_WARN: f64 = 0.80;
const MEMORY_BAD: f64 = 0.95;
/// Share of answers with 5xx.
const ERRORS_WARN: f64 = 0.01;
const ERRORS_BAD: f64 = 0.05;
/// Of a certificate's life, milliseconds.
pub const CERTIFICATE_BAD_MS: i64 = 7 * 86_400_000;
pub const CERTIFICATE_WARN_MS: i64 = 21 * 86_400_000;

/// A state's sign, which is there without colours too, and its colour.
pub fn state(state: &str) -> (char, Style) {
    match state {
        "ready" => ('●', Style::Green),
        "starting" | "waiting" | "reloading" => ('◐', Style::Cyan),
        "degraded" | "draining" | "stopping" | "backoff" => ('▲', Style::Yellow),
        "unhealthy" | "stalled" | "crash-loop" => ('✖', Style::Red),
        _ => ('○', Style::Dim),
    }
}

/// `● ready`.
pub fn state_cell(word: &str) -> (String, Style) {
    let (sign, style) = state(word);
    (format!("{sign} {word}"), style)
}

pub fn app_state(app: &App) -> &str {
    if app.reloading {
        "reloading"
    } else {
        &app.status
    }
}

/// Share of answers with 5xx, 0 to 1.
pub fn error_share(traffic: &Traffic) -> f64 {
    if traffic.rate > 0.0 {
        (traffic.errors_5xx / traffic.rate).clamp(0.0, 1.0)
    } else {
        0.0
    }
}

pub fn error_style(share: f64) -> Style {
    if share >= ERRORS_BAD {
        Style::Red
    } else if share >= ERRORS_WARN {
        Style::Yellow
    } else if share > 0.0 {
        Style::Plain
    } else {
        Style::Dim
    }
}

/// Of memory in bytes under a limit.
pub fn memory(limit_bytes: Option<u64>) -> Limits {
    let share = |share| limit_bytes.map(|limit| crate::units::float(limit) * share);
    Limits {
        warn: share(MEMORY_WARN),
        bad: share(MEMORY_BAD),
    }
}

pub fn alert(alert: &Alert) -> (&'static str, Style) {
    match alert.state {
        AlertState::Firing => ("✖ firing", Style::Red),
        AlertState::Pending => ("▲ pending", Style::Yellow),
        AlertState::Resolved => ("● resolved", Style::Green),
    }
}

/// Of an event's kind.
pub fn event(kind: &str) -> Style {
    match kind {
        "crash-loop" | "alert-firing" | "stalled" | "stuck" | "unhealthy" | "killed"
        | "log-lines-lost" | "store-damaged" => Style::Red,
        "exited" | "memory-limit" | "not-ready" | "reload-failed" | "upstream-down"
        | "log-error" | "limit" | "store-failing" | "store-gone" | "clock-jumped" => Style::Yellow,
        "ready" | "recovered" | "healthy" | "reloaded" | "upstream-up" | "alert-resolved"
        | "store-well" => Style::Green,
        _ => Style::Plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_browser_has_the_same_limits() {
        let parts = include_str!("../../assets/parts.js");
        for (name, warn, bad) in [
            ("lag", LAG.warn, LAG.bad),
            ("memory", Some(MEMORY_WARN), Some(MEMORY_BAD)),
            ("errors", Some(ERRORS_WARN), Some(ERRORS_BAD)),
        ] {
            let line = parts
                .lines()
                .find_map(|line| line.trim().strip_prefix(&format!("{name}: [")))
                .unwrap();
            let numbers = line.trim_end_matches("],").replace('_', "");
            let there: Vec<f64> = numbers.split(", ").map(|n| n.parse().unwrap()).collect();
            assert_eq!((Some(there[0]), Some(there[1])), (warn, bad), "{name}");
        }
    }
}
