//! The rules that hold: those of the file, and the default set, which is meant to be right for
//! every app without tuning. A rule of the file with the name of a default one replaces it.

use monitor_spec::settings::{AlertRule, Condition, MonitorSpec, Notify};

const MINUTE_MS: u64 = 60_000;
const DAY_MS: u64 = 24 * 60 * MINUTE_MS;
/// Rules of a home.
const MAX_RULES: usize = 256;

#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    pub name: String,
    pub apps: Vec<String>,
    pub condition: Condition,
    pub for_ms: u64,
    pub notify: Vec<Notify>,
}

impl Rule {
    pub fn is_for(&self, app: &str) -> bool {
        app.is_empty() || self.apps.is_empty() || self.apps.iter().any(|name| name == app)
    }
}

/// Names, conditions, and how long each must hold.
fn defaults() -> [(&'static str, Condition, u64); 10] {
    [
        ("crash-loop", Condition::CrashLoop, 0),
        ("restarts", Condition::Restarts { above: 5 }, MINUTE_MS),
        ("down", Condition::Down, MINUTE_MS / 2),
        ("degraded", Condition::Degraded, 2 * MINUTE_MS),
        (
            "event-loop-lag",
            Condition::Lag { above_us: 200_000 },
            MINUTE_MS,
        ),
        (
            "error-rate",
            Condition::ErrorRate {
                above: 0.05,
                min_rate: 1.0,
            },
            2 * MINUTE_MS,
        ),
        (
            "memory",
            Condition::Memory { above_share: 0.9 },
            2 * MINUTE_MS,
        ),
        (
            "memory-leak",
            Condition::MemoryFull { within_ms: DAY_MS },
            10 * MINUTE_MS,
        ),
        (
            "certificate",
            Condition::Certificate {
                within_ms: 7 * DAY_MS,
            },
            10 * MINUTE_MS,
        ),
        ("disk", Condition::Disk { below_share: 0.05 }, MINUTE_MS),
    ]
}

pub fn rules(spec: &MonitorSpec) -> Vec<Rule> {
    let notify = |own: &[Notify]| {
        let chosen = if own.is_empty() { &spec.notify } else { own };
        if chosen.is_empty() {
            vec![Notify::Log]
        } else {
            chosen.to_vec()
        }
    };
    let of_file = spec
        .alerts
        .iter()
        .take(MAX_RULES)
        .map(|rule: &AlertRule| Rule {
            name: rule.name.clone(),
            apps: rule.apps.clone(),
            condition: rule.condition.clone(),
            for_ms: rule.for_ms,
            notify: notify(&rule.notify),
        });
    let mut rules: Vec<Rule> = of_file.collect();
    if spec.default_alerts {
        for (name, condition, for_ms) in defaults() {
            if !rules.iter().any(|rule| rule.name == name) {
                rules.push(Rule {
                    name: name.into(),
                    apps: Vec::new(),
                    condition,
                    for_ms,
                    notify: notify(&[]),
                });
            }
        }
    }
    rules
}
