//! From ready to stopped: health, timeouts, signals, restarts.

use app_spec::{AppSpec, Health, Restart, RestartPolicy};

use crate::checks::{self, Places};
use crate::problem::{Refusal, Report};
use crate::signal;
use crate::table::{Table, Value, nothing_foreign, zero};

const MAX_FAST_EXITS: i64 = 10_000;

pub(super) fn read(
    table: &Table<'_>,
    spec: &mut AppSpec,
    places: &mut Places,
    report: &mut Report,
) {
    if let Some(value) = table.get("health") {
        spec.health = health(&value, &table.title, report);
    }
    for (key, target) in [
        ("wait_ready", &mut spec.wait_ready),
        ("stop_message", &mut spec.stop.message),
    ] {
        if let Some(value) = table.get(key) {
            places.set(
                if key == "wait_ready" {
                    "wait_ready"
                } else {
                    "stop_message"
                },
                &value.place,
            );
            *target = value.boolean(report).unwrap_or(*target);
        }
    }
    let timeouts = table.get("timeouts").and_then(|v| {
        v.table(
            &format!("{}.timeouts", table.title),
            "{ ready = \"30s\", stop = \"30s\" }",
            report,
        )
    });
    if let Some(timeouts) = timeouts {
        timeouts.only(&["ready", "drain", "stop"], nothing_foreign, report);
        let t = &mut spec.timeouts;
        // No drain is a choice; no time to get ready or to stop is a mistake.
        for (key, target, zero_is_fine) in [
            ("ready", &mut t.ready_ms, false),
            ("drain", &mut t.drain_ms, true),
            ("stop", &mut t.stop_ms, false),
        ] {
            duration(&timeouts, key, target, zero_is_fine, report);
        }
    }
    if let Some(value) = table.get("stop_signal") {
        let text = value.string("\"SIGTERM\"", report);
        if let Some(name) = text.and_then(|t| report.take(&value.place, signal::stop_signal(t))) {
            spec.stop.signal = name;
        }
    }
    if let Some(value) = table.get("restart") {
        places.set("restart", &value.key_place);
        restart(&value, &table.title, &mut spec.restart, report);
    }
}

pub(super) fn duration(
    table: &Table<'_>,
    key: &str,
    target: &mut u64,
    zero_is_fine: bool,
    report: &mut Report,
) {
    if let Some(value) = table.get(key) {
        *target = value.duration_ms(zero_is_fine, report).unwrap_or(*target);
    }
}

/// The defaults of a health check of `target`, as app-spec has them.
pub(crate) fn default_health(target: String) -> Health {
    Health {
        target,
        interval_ms: 10_000,
        timeout_ms: 5_000,
        failures: 3,
    }
}

fn health(value: &Value<'_>, title: &str, report: &mut Report) -> Option<Health> {
    if value.is_str() {
        let text = value.string("\"/healthz\"", report)?;
        return report
            .take(&value.place, checks::health_target(text))
            .map(default_health);
    }
    let title = format!("{title}.health");
    let table = value.table(&title, "\"/healthz\"", report)?;
    table.only(
        &["path", "url", "interval", "timeout", "failures"],
        nothing_foreign,
        report,
    );
    let target = match (table.get("path"), table.get("url")) {
        (Some(one), None) | (None, Some(one)) => {
            let text = one.string("\"/healthz\"", report);
            text.and_then(|text| report.take(&one.place, checks::health_target(text)))
        }
        (Some(_), Some(url)) => {
            let why = "a health check asks one thing";
            let refusal =
                Refusal::new("both `path` and `url` are given", why, "remove one of them");
            report.error(&url.key_place, refusal);
            None
        }
        (None, None) => {
            let what = format!("[{title}] has neither `path` nor `url`");
            let fix = "add `path = \"/healthz\"`";
            report.missing(
                &table.place,
                Refusal::new(what, "nothing says what to ask", fix),
            );
            None
        }
    };
    let mut health = default_health(target.clone().unwrap_or_default());
    duration(&table, "interval", &mut health.interval_ms, false, report);
    duration(&table, "timeout", &mut health.timeout_ms, false, report);
    if let Some(failures) = table
        .get("failures")
        .and_then(|v| v.integer(1..=1000, "3", report))
    {
        health.failures = failures as u32;
    }
    target.map(|_| health)
}

const POLICIES: [(&str, RestartPolicy); 3] = [
    ("always", RestartPolicy::Always),
    ("on-failure", RestartPolicy::OnFailure),
    ("never", RestartPolicy::Never),
];

fn restart(value: &Value<'_>, title: &str, restart: &mut Restart, report: &mut Report) {
    if !value.is_table() {
        if let Some(policy) = value.choice(&POLICIES, report) {
            restart.policy = policy;
        }
        return;
    }
    let example = "{ policy = \"on-failure\" }";
    let Some(table) = value.table(&format!("{title}.restart"), example, report) else {
        return;
    };
    let keys = [
        "policy",
        "min_uptime",
        "max_fast_exits",
        "window",
        "backoff_min",
        "backoff_max",
        "stop_exit_codes",
    ];
    table.only(&keys, nothing_foreign, report);
    if let Some(policy) = table
        .get("policy")
        .and_then(|v| v.choice(&POLICIES, report))
    {
        restart.policy = policy;
    }
    duration(
        &table,
        "min_uptime",
        &mut restart.min_uptime_ms,
        true,
        report,
    );
    duration(&table, "window", &mut restart.window_ms, false, report);
    duration(
        &table,
        "backoff_min",
        &mut restart.backoff_min_ms,
        false,
        report,
    );
    duration(
        &table,
        "backoff_max",
        &mut restart.backoff_max_ms,
        false,
        report,
    );
    let exits = table.get("max_fast_exits");
    if let Some(n) = exits.and_then(|v| v.integer(1..=MAX_FAST_EXITS, "16", report)) {
        restart.max_fast_exits = n as u32;
    }
    if let Some(codes) = table
        .get("stop_exit_codes")
        .and_then(|v| v.integers(0..=255, report))
    {
        restart.stop_exit_codes = codes.into_iter().map(|code| code as i32).collect();
    }
}

/// A duration of a flag, not zero.
pub(crate) fn positive(ms: u64) -> Result<u64, Refusal> {
    if ms == 0 {
        Err(Refusal {
            what: "it is zero".to_owned(),
            ..zero("")
        })
    } else {
        Ok(ms)
    }
}
