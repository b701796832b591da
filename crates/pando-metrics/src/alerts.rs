//! Alerts: rules, a picture a second, and what follows from it.
//!
//! ```text
//!            holds              holds for `for`                over for `for`
//!   (none) ───────> pending ─────────────────────> firing ─────────────────────> resolved
//!      ^               │ over                        │  ^        (kept 10 min)      │
//!      └───────────────┘                             └──┘ not known: stays          │ holds
//!      ^                                                                            v
//!      └──────────────────────────────────────────────────────────────────────── pending
//! ```
//!
//! [`Engine::step`] is pure. Time is counted in steps of at most [`MAX_STEP_MS`], so that a clock
//! that jumps neither fires nor resolves anything. What is not known (no report, no request, a
//! reload) is no reason to resolve. While an alert fires its limit is a tenth easier, so that a
//! value at the limit does not flap.

mod file;
mod flow;
mod judge;
mod rules;
mod words;

use std::collections::BTreeMap;

use monitor_spec::now::{Alert, AlertState, Now};
use monitor_spec::settings::{Condition, MonitorSpec, Notify};

pub use file::{load, save};
pub use rules::{Rule, rules};

use flow::Flows;
use judge::{Known, Verdict};

/// More than this between two pictures is a clock that jumped, or a machine that slept.
const MAX_STEP_MS: i64 = 5_000;
/// After the start of the supervisor nothing is decided: the first pictures are incomplete.
const SETTLE_MS: i64 = 10_000;
/// What is over for less than this is not over, whatever `for` says.
const MIN_CLEAR_MS: i64 = 10_000;
/// A crash loop is tried every 30 s: a worker that lives for less has not shown that it can.
const CRASH_CLEAR_MS: i64 = 30_000;
/// A condition that nobody knows anything of for this long is no longer pending.
const PENDING_UNKNOWN_MS: i64 = 15_000;
/// After this time without any data an alert no longer says anything.
const STALE_MS: i64 = 60 * 60 * 1000;
/// How long what was resolved is still shown.
const KEEP_RESOLVED_MS: i64 = 10 * 60 * 1000;
/// Alerts at a time; further ones are not tracked until there is room.
pub const MAX_ALERTS: usize = 1000;

/// Something to tell.
#[derive(Clone, Debug, PartialEq)]
pub struct Transition {
    /// Its state is firing or resolved.
    pub alert: Alert,
    /// When it began to fire.
    pub fired_ms: i64,
    pub time_ms: i64,
    pub notify: Vec<Notify>,
}

/// One rule on one app.
#[derive(Clone, Debug, Default, PartialEq)]
struct Entry {
    state: AlertState,
    /// When the state began, by the wall clock.
    since_ms: i64,
    /// When it began to fire.
    fired_ms: i64,
    text: String,
    /// For how long the condition has held (pending) or been over (firing).
    counted_ms: i64,
    unknown_ms: i64,
}

type Key = (String, String);

#[derive(Debug, Default)]
pub struct Engine {
    entries: BTreeMap<Key, Entry>,
    flows: Flows,
    last_ms: Option<i64>,
    settled_ms: i64,
    /// Something that the file does not have yet.
    changed: bool,
}

impl Engine {
    /// Alerts as they are, for people.
    pub fn alerts(&self) -> Vec<Alert> {
        let all = self.entries.iter();
        let mut alerts: Vec<Alert> = all.map(|(key, entry)| alert(key, entry)).collect();
        let rank = |state: AlertState| match state {
            AlertState::Firing => 0,
            AlertState::Pending => 1,
            AlertState::Resolved => 2,
        };
        alerts.sort_by_key(|alert| (rank(alert.state), -alert.since_ms));
        alerts
    }

    /// Whether there is something to save; asked once.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// One picture. Returns what is to be told.
    pub fn step(&mut self, now_ms: i64, now: &Now, spec: &MonitorSpec) -> Vec<Transition> {
        let passed_ms = now_ms.saturating_sub(self.last_ms.unwrap_or(now_ms));
        let passed_ms = passed_ms.clamp(0, MAX_STEP_MS);
        self.last_ms = Some(now_ms);
        self.flows.step(passed_ms, now);
        self.settled_ms = self.settled_ms.saturating_add(passed_ms);
        if self.settled_ms < SETTLE_MS {
            return Vec::new();
        }
        let rules = rules(spec);
        let mut told = Vec::new();
        for rule in &rules {
            for app in judge::subjects(rule, now) {
                let key = (rule.name.clone(), app.clone());
                let firing = self.state(&key) == Some(AlertState::Firing);
                let known = Known {
                    rules: &rules,
                    flows: &self.flows,
                };
                let verdict = judge::judge(rule, &app, now, firing, &known);
                self.apply(key, rule, verdict, (now_ms, passed_ms), &mut told);
            }
        }
        self.orphans(now_ms, now, &rules, spec, &mut told);
        let before = self.entries.len();
        self.entries.retain(|_, entry| {
            entry.state != AlertState::Resolved
                || now_ms.saturating_sub(entry.since_ms) < KEEP_RESOLVED_MS
        });
        self.changed |= before != self.entries.len();
        told
    }

    fn state(&self, key: &Key) -> Option<AlertState> {
        self.entries.get(key).map(|entry| entry.state)
    }

    fn apply(
        &mut self,
        key: Key,
        rule: &Rule,
        verdict: Verdict,
        (now_ms, passed_ms): (i64, i64),
        told: &mut Vec<Transition>,
    ) {
        let for_ms = i64::try_from(rule.for_ms).unwrap_or(i64::MAX);
        let Some(entry) = self.entries.get_mut(&key) else {
            if let Verdict::Holds(text) = verdict {
                self.begin(key, text, rule, now_ms, told);
            }
            return;
        };
        match (entry.state, verdict) {
            (AlertState::Pending, Verdict::Holds(text)) => {
                entry.counted_ms += passed_ms;
                entry.unknown_ms = 0;
                entry.text = text;
                if entry.counted_ms >= for_ms {
                    fire(&key, entry, rule, now_ms, told);
                    self.changed = true;
                }
            }
            (AlertState::Pending, Verdict::Unknown) => {
                entry.unknown_ms += passed_ms;
                if entry.unknown_ms > PENDING_UNKNOWN_MS {
                    self.forget(&key);
                }
            }
            (AlertState::Pending, Verdict::Over(_) | Verdict::Gone(_)) => self.forget(&key),
            (AlertState::Firing, Verdict::Holds(text)) => {
                (entry.counted_ms, entry.unknown_ms) = (0, 0);
                entry.text = text;
            }
            (AlertState::Firing, Verdict::Over(text)) => {
                entry.counted_ms += passed_ms;
                entry.unknown_ms = 0;
                if entry.counted_ms >= for_ms.max(clear_ms(&rule.condition)) {
                    resolve(&key, entry, text, &rule.notify, now_ms, told);
                    self.changed = true;
                }
            }
            (AlertState::Firing, Verdict::Unknown) => {
                entry.unknown_ms += passed_ms;
                if entry.unknown_ms > STALE_MS {
                    let text = "nothing has been known of it for an hour".to_owned();
                    resolve(&key, entry, text, &rule.notify, now_ms, told);
                    self.changed = true;
                }
            }
            (AlertState::Firing, Verdict::Gone(text)) => {
                resolve(&key, entry, text, &rule.notify, now_ms, told);
                self.changed = true;
            }
            (AlertState::Resolved, Verdict::Holds(text)) => {
                self.forget(&key);
                self.begin(key, text, rule, now_ms, told);
            }
            (AlertState::Resolved, Verdict::Over(_) | Verdict::Unknown | Verdict::Gone(_)) => {}
        }
    }

    fn forget(&mut self, key: &Key) {
        self.entries.remove(key);
        self.changed = true;
    }

    fn begin(
        &mut self,
        key: Key,
        text: String,
        rule: &Rule,
        now_ms: i64,
        told: &mut Vec<Transition>,
    ) {
        if self.entries.len() >= MAX_ALERTS {
            return;
        }
        let mut entry = Entry {
            since_ms: now_ms,
            text,
            ..Entry::default()
        };
        if rule.for_ms == 0 {
            fire(&key, &mut entry, rule, now_ms, told);
        }
        self.entries.insert(key, entry);
        self.changed = true;
    }

    /// What no rule and no app stands behind any more.
    fn orphans(
        &mut self,
        now_ms: i64,
        now: &Now,
        rules: &[Rule],
        spec: &MonitorSpec,
        told: &mut Vec<Transition>,
    ) {
        let mut gone = Vec::new();
        for (key, entry) in &mut self.entries {
            let (name, app) = key;
            let rule = rules.iter().find(|rule| rule.name == *name);
            let known = app.is_empty() || now.apps.iter().any(|one| one.name == *app);
            let text = match rule {
                None => "the rule is gone",
                Some(rule) if !rule.is_for(app) => "the rule no longer names it",
                Some(_) if !known => "the app is gone",
                Some(_) => continue,
            };
            match entry.state {
                AlertState::Firing => {
                    let notify = rule.map_or(&spec.notify, |rule| &rule.notify);
                    resolve(key, entry, text.to_owned(), notify, now_ms, told);
                    self.changed = true;
                }
                AlertState::Pending => gone.push(key.clone()),
                AlertState::Resolved => {}
            }
        }
        for key in gone {
            self.forget(&key);
        }
    }
}

fn clear_ms(condition: &Condition) -> i64 {
    if matches!(condition, Condition::CrashLoop) {
        CRASH_CLEAR_MS
    } else {
        MIN_CLEAR_MS
    }
}

fn alert((name, app): &Key, entry: &Entry) -> Alert {
    Alert {
        name: name.clone(),
        app: app.clone(),
        state: entry.state,
        since_ms: entry.since_ms,
        text: entry.text.clone(),
    }
}

fn fire(key: &Key, entry: &mut Entry, rule: &Rule, now_ms: i64, told: &mut Vec<Transition>) {
    if rule.for_ms > 0 {
        let wait = words::duration(rule.for_ms);
        entry.text = format!("{} for {wait}", entry.text);
    }
    entry.state = AlertState::Firing;
    (entry.since_ms, entry.fired_ms) = (now_ms, now_ms);
    (entry.counted_ms, entry.unknown_ms) = (0, 0);
    told.push(transition(key, entry, &rule.notify, now_ms));
}

fn resolve(
    key: &Key,
    entry: &mut Entry,
    text: String,
    notify: &[Notify],
    now_ms: i64,
    told: &mut Vec<Transition>,
) {
    entry.state = AlertState::Resolved;
    entry.since_ms = now_ms;
    entry.text = text;
    (entry.counted_ms, entry.unknown_ms) = (0, 0);
    told.push(transition(key, entry, notify, now_ms));
}

fn transition(key: &Key, entry: &Entry, notify: &[Notify], now_ms: i64) -> Transition {
    Transition {
        alert: alert(key, entry),
        fired_ms: entry.fired_ms,
        time_ms: now_ms,
        notify: notify.to_vec(),
    }
}

#[cfg(test)]
mod tests;
