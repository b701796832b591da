//! An alert as JSON and as a line.

use monitor_spec::now::AlertState;
use serde_json::{Value, json};

use crate::alerts::Transition;

/// Chat services refuse longer messages (Discord: 2000 characters).
const MAX_TEXT_CHARS: usize = 1900;
const VERSION: u32 = 1;

pub(super) fn state(state: AlertState) -> &'static str {
    match state {
        AlertState::Pending => "pending",
        AlertState::Firing => "firing",
        AlertState::Resolved => "resolved",
    }
}

/// `FIRING slow on api: p95 is 812 ms, over 500 ms for 2 min (web-1)`
pub(super) fn line(one: &Transition, host: &str) -> String {
    let alert = &one.alert;
    let state = state(alert.state).to_uppercase();
    let on = if alert.app.is_empty() {
        String::new()
    } else {
        format!(" on {}", alert.app)
    };
    format!("{state} {}{on}: {} ({host})", alert.name, alert.text)
}

/// `text` is what Slack and those like it show, `content` is Discord's name for it.
pub(super) fn json(batch: &[&Transition], host: &str) -> Value {
    let lines: Vec<String> = batch.iter().map(|one| line(one, host)).collect();
    let text: String = lines.join("\n").chars().take(MAX_TEXT_CHARS).collect();
    let alerts: Vec<Value> = batch.iter().map(|one| alert(one)).collect();
    json!({
        "version": VERSION,
        "host": host,
        "text": text,
        "content": text,
        "alerts": alerts,
    })
}

pub(super) fn alert(one: &Transition) -> Value {
    json!({
        "name": one.alert.name,
        "app": one.alert.app,
        "state": state(one.alert.state),
        "text": one.alert.text,
        "fired_ms": one.fired_ms,
        "time_ms": one.time_ms,
    })
}
