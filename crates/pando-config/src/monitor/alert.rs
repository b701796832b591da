//! `[alerts]`, and a rule each `[alert.NAME]`.

use monitor_spec::settings::{AlertRule, Condition, MonitorSpec};

use super::{app_of_file, condition, notify};
use crate::app::Context;
use crate::gateway::{self, field};
use crate::name;
use crate::problem::{Refusal, Report};
use crate::table::{Table, Value, nothing_foreign};

/// Rules of one file.
const MAX_RULES: usize = 100;
/// How long a condition must hold where the rule does not say: one slow second is no alert.
const FOR_MS: u64 = 60_000;

/// `[alerts]`: what holds for every rule.
pub(super) fn all(
    value: &Value<'_>,
    spec: &mut MonitorSpec,
    context: &Context<'_>,
    report: &mut Report,
) {
    let Some(table) = value.table("alerts", "{ defaults = true }", report) else {
        return;
    };
    table.only(&["defaults", "notify"], foreign, report);
    field::boolean(&table, "defaults", &mut spec.default_alerts, report);
    field::set(&table, "notify", &mut spec.notify, report, |v, r| {
        notify::read(v, context, r)
    });
}

fn foreign(key: &str) -> Option<Refusal> {
    matches!(key, "when" | "for" | "apps" | "min_rate").then(|| {
        Refusal::new(
            format!("unknown key `{key}` in [alerts]"),
            "[alerts] has what holds for all of them; each rule has a name",
            "write it below [alert.NAME], such as [alert.slow]",
        )
    })
}

pub(super) fn rules(
    value: &Value<'_>,
    apps: &[&str],
    context: &Context<'_>,
    report: &mut Report,
) -> Vec<AlertRule> {
    let Some(table) = value.table("alert", "{ }", report) else {
        return Vec::new();
    };
    let values = table.values();
    if let Some(first) = values.get(MAX_RULES) {
        let what = format!("{} rules are too many", values.len());
        let why = format!("one file has at most {MAX_RULES}");
        report.error(&first.key_place, Refusal::new(what, why, "leave some out"));
    }
    let rules = values.iter().take(MAX_RULES);
    rules
        .filter_map(|value| rule(value, apps, context, report))
        .collect()
}

fn rule(
    value: &Value<'_>,
    apps: &[&str],
    context: &Context<'_>,
    report: &mut Report,
) -> Option<AlertRule> {
    if !value.is_table() {
        let what = format!("[alert] has a key `{}` that is not a rule", value.key);
        let why = "each rule is a table with its name in the header";
        let fix = "write [alert.NAME] above its keys, such as [alert.slow]";
        report.error(&value.key_place, Refusal::new(what, why, fix));
        return None;
    }
    if !name::is_valid(value.key) {
        let what = format!("`{}` cannot be the name of an alert", value.key);
        let why = "a name is 1 to 64 letters, digits, `.`, `_` or `-`";
        let fix = format!("call it `{}`", name::make_valid(value.key));
        report.error(&value.key_place, Refusal::new(what, why, fix));
    }
    let table = value.table(&format!("alert.{}", value.key), "{ }", report)?;
    table.only(
        &["when", "for", "apps", "notify", "min_rate"],
        nothing_foreign,
        report,
    );
    let mut rule = AlertRule {
        name: value.key.to_owned(),
        apps: Vec::new(),
        condition: Condition::Degraded,
        for_ms: FOR_MS,
        notify: Vec::new(),
    };
    let known = when(&table, &mut rule, report);
    field::duration_or_zero(&table, "for", &mut rule.for_ms, report);
    field::set(&table, "notify", &mut rule.notify, report, |v, r| {
        notify::read(v, context, r)
    });
    if let Some(value) = table.get("apps") {
        rule.apps = rule_apps(&value, apps, &rule.condition, report);
    }
    min_rate(&table, &mut rule.condition, report);
    known.then_some(rule)
}

fn when(table: &Table<'_>, rule: &mut AlertRule, report: &mut Report) -> bool {
    let Some(value) = table.get("when") else {
        let what = format!("[{}] does not say when", table.title);
        let fix = "add `when = \"p95 > 500ms\"`";
        let refusal = Refusal::new(what, "a rule has a condition", fix);
        report.missing(&table.place, refusal);
        return false;
    };
    let read = value
        .string("\"p95 > 500ms\"", report)
        .and_then(|text| report.take(&value.place, condition::read(text)));
    if let Some(condition) = read {
        // A crash loop has lasted long enough when it is called one.
        if matches!(condition, Condition::CrashLoop) {
            rule.for_ms = 0;
        }
        rule.condition = condition;
        return true;
    }
    false
}

fn rule_apps(
    value: &Value<'_>,
    apps: &[&str],
    condition: &Condition,
    report: &mut Report,
) -> Vec<String> {
    if matches!(
        condition,
        Condition::Certificate { .. } | Condition::Disk { .. }
    ) {
        let why = "certificates and the disk are the machine's";
        let refusal = Refusal::new("this rule has no apps", why, "remove `apps`");
        report.error(&value.key_place, refusal);
    }
    let names = value.strings("[\"api\"]", report).unwrap_or_default();
    for (name, place) in &names {
        if let Some(refusal) = app_of_file(name, apps) {
            report.warning(place, refusal);
        }
    }
    names.into_iter().map(|(name, _)| name.to_owned()).collect()
}

fn min_rate(table: &Table<'_>, condition: &mut Condition, report: &mut Report) {
    let Some(value) = table.get("min_rate") else {
        return;
    };
    let Condition::ErrorRate { min_rate, .. } = condition else {
        let why = "it says how many requests there must be for an error rate";
        let fix = "remove it, or ask for \"error_rate > 5%\"";
        report.error(
            &value.key_place,
            Refusal::new("`min_rate` is not for this rule", why, fix),
        );
        return;
    };
    let rate = value
        .string("\"1r/s\"", report)
        .and_then(|text| report.take(&value.place, gateway::rate(text)));
    if let Some((requests, ms)) = rate {
        *min_rate = f64::from(requests) * 1000.0 / ms as f64;
    }
}
