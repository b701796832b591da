//! A [`MonitorSpec`] key by key, for the plan. What is as by default is left out.

use monitor_spec::settings::{AlertRule, Condition, MonitorSpec, Notify, Otlp};

use super::condition::{self, MIN_RATE};
use crate::units::{show_duration, show_size};

/// One key: its name, its value for people, and all of it to compare.
pub(crate) struct Key {
    pub name: String,
    pub shown: String,
    pub whole: String,
}

fn key(name: impl Into<String>, shown: impl Into<String>) -> Key {
    let shown = shown.into();
    Key {
        name: name.into(),
        whole: shown.clone(),
        shown,
    }
}

/// Every key that is not as by default.
pub(crate) fn keys(spec: &MonitorSpec) -> Vec<Key> {
    let nothing = MonitorSpec::default();
    let mut keys = Vec::new();
    if !spec.listen.is_empty() {
        let all: Vec<String> = spec.listen.iter().map(ToString::to_string).collect();
        keys.push(key("metrics.listen", all.join(", ")));
    }
    if spec.disk_bytes != nothing.disk_bytes {
        keys.push(key("metrics.disk", show_size(spec.disk_bytes)));
    }
    if let Some(otlp) = &spec.otlp {
        otlp_keys(otlp, &mut keys);
    }
    if spec.default_alerts != nothing.default_alerts {
        keys.push(key("alerts.defaults", spec.default_alerts.to_string()));
    }
    if !spec.notify.is_empty() {
        keys.push(places("alerts.notify", &spec.notify));
    }
    for rule in &spec.alerts {
        let name = format!("alert.{}", rule.name);
        keys.push(key(&name, show_rule(rule)));
        if !rule.notify.is_empty() {
            keys.push(places(&format!("{name}.notify"), &rule.notify));
        }
    }
    keys
}

fn otlp_keys(otlp: &Otlp, keys: &mut Vec<Key>) {
    let nothing = Otlp::default();
    keys.push(key("otlp.endpoint", &otlp.endpoint));
    for (name, value) in &otlp.headers {
        keys.push(Key {
            name: format!("otlp.headers.{name}"),
            shown: "***".into(),
            whole: value.clone(),
        });
    }
    let mut other = |name: &str, is: String, was: String| {
        if is != was {
            keys.push(key(name, is));
        }
    };
    other(
        "otlp.metrics",
        otlp.metrics.to_string(),
        nothing.metrics.to_string(),
    );
    other(
        "otlp.traces",
        otlp.traces.to_string(),
        nothing.traces.to_string(),
    );
    other(
        "otlp.sample",
        otlp.sample.to_string(),
        nothing.sample.to_string(),
    );
    let interval = show_duration(otlp.interval_ms);
    other(
        "otlp.interval",
        interval,
        show_duration(nothing.interval_ms),
    );
    other("otlp.service", otlp.service.clone(), nothing.service);
}

fn places(name: &str, notify: &[Notify]) -> Key {
    let shown: Vec<String> = notify.iter().map(Notify::place).collect();
    let whole: Vec<String> = notify
        .iter()
        .map(|place| match place {
            Notify::Webhook { url } => url.clone(),
            Notify::Command { line } => line.clone(),
            Notify::Log => "log".into(),
        })
        .collect();
    Key {
        name: name.to_owned(),
        shown: shown.join(", "),
        whole: whole.join("\n"),
    }
}

/// `p95 > 500ms for 2m on api, web`
fn show_rule(rule: &AlertRule) -> String {
    let mut text = condition::show(&rule.condition);
    if let Condition::ErrorRate { min_rate, .. } = rule.condition
        && min_rate.total_cmp(&MIN_RATE).is_ne()
    {
        text.push_str(&format!(" from {min_rate}r/s"));
    }
    if rule.for_ms > 0 {
        text.push_str(&format!(" for {}", show_duration(rule.for_ms)));
    }
    if !rule.apps.is_empty() {
        text.push_str(&format!(" on {}", rule.apps.join(", ")));
    }
    text
}
