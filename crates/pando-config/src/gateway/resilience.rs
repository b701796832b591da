//! What happens when an upstream is slow, full or gone: retry, health, outlier, breaker, pool,
//! queue, slow start.

use gateway_spec::{Breaker, Health, Outlier, Pool, Retry, Upstreams};

use super::{field, reply};
use crate::problem::{Refusal, Report};
use crate::table::{Table, Value, nothing_foreign};

const MAX_RETRIES: i64 = 10;

pub(super) fn read(table: &Table<'_>, upstreams: &mut Upstreams, report: &mut Report) {
    field::set(table, "retry", &mut upstreams.retry, report, retry);
    field::set(table, "health", &mut upstreams.health, report, health);
    field::set(table, "outlier", &mut upstreams.outlier, report, outlier);
    let breaker = &mut upstreams.breaker;
    if let Some(value) = table.get("breaker") {
        self::breaker(&value, breaker, report);
    }
    field::set(
        table,
        "max_connections",
        &mut breaker.max_requests,
        report,
        |v, r| field::number(v, 1, r).map(Some),
    );
    if let Some(value) = table.get("queue") {
        queue(&value, breaker, report);
    }
    field::set(table, "pool", &mut upstreams.pool, report, pool);
    field::duration_or_zero(table, "slow_start", &mut upstreams.slow_start_ms, report);
}

/// `false`, a number of tries, or a table.
fn retry(value: &Value<'_>, report: &mut Report) -> Option<Retry> {
    let mut retry = Retry::default();
    if value.is_bool() {
        if !value.boolean(report)? {
            retry.attempts = 0;
        }
        return Some(retry);
    }
    if value.is_integer() {
        retry.attempts = attempts(value, report)?;
        return Some(retry);
    }
    let table = value.table("retry", "{ attempts = 2 }", report)?;
    table.only(&["attempts", "budget", "statuses"], nothing_foreign, report);
    field::set(&table, "attempts", &mut retry.attempts, report, attempts);
    field::share(&table, "budget", &mut retry.budget, report);
    field::set(&table, "statuses", &mut retry.statuses, report, |v, r| {
        let numbers = v.integers(400..=599, r)?;
        Some(
            numbers
                .into_iter()
                .filter_map(|n| u16::try_from(n).ok())
                .collect(),
        )
    });
    Some(retry)
}

fn attempts(value: &Value<'_>, report: &mut Report) -> Option<u32> {
    u32::try_from(value.integer(0..=MAX_RETRIES, "2", report)?).ok()
}

/// `false`, a path, or a table.
fn health(value: &Value<'_>, report: &mut Report) -> Option<Option<Health>> {
    let mut health = Health::default();
    if value.is_bool() {
        return value.boolean(report).map(|on| on.then_some(health));
    }
    if value.is_str() {
        health.path = health_path(value, report)?;
        return Some(Some(health));
    }
    let table = value.table("health", "\"/healthz\"", report)?;
    let keys = [
        "path", "interval", "timeout", "fall", "rise", "statuses", "host",
    ];
    table.only(&keys, nothing_foreign, report);
    field::set(&table, "path", &mut health.path, report, health_path);
    field::duration(&table, "interval", &mut health.interval_ms, report);
    field::duration(&table, "timeout", &mut health.timeout_ms, report);
    field::count(&table, "fall", 1, &mut health.fall, report);
    field::count(&table, "rise", 1, &mut health.rise, report);
    field::set(&table, "statuses", &mut health.statuses, report, statuses);
    field::string(&table, "host", "\"api.internal\"", &mut health.host, report);
    Some(Some(health))
}

fn health_path(value: &Value<'_>, report: &mut Report) -> Option<String> {
    let text = value.string("\"/healthz\"", report)?;
    let sound =
        text.starts_with('/') && !text.contains(|c: char| c.is_whitespace() || c.is_control());
    if !sound {
        let what = format!("`{text}` is not a path to ask for");
        let why = "each upstream is asked for this path";
        report.error(
            &value.place,
            Refusal::new(what, why, "write it like \"/healthz\""),
        );
    }
    sound.then(|| text.to_owned())
}

/// `200`, or `[200, 399]`: the first and the last that are healthy.
fn statuses(value: &Value<'_>, report: &mut Report) -> Option<(u16, u16)> {
    if value.is_integer() {
        let status = reply::status(value, 100, 599, report)?;
        return Some((status, status));
    }
    let numbers = value.integers(100..=599, report)?;
    let numbers: Vec<u16> = numbers
        .into_iter()
        .filter_map(|n| u16::try_from(n).ok())
        .collect();
    match numbers[..] {
        [first, last] if first <= last => Some((first, last)),
        _ => {
            let what = "`statuses` is not a range";
            let why = "it is the first and the last status that are healthy";
            report.error(
                &value.place,
                Refusal::new(what, why, "write it like `statuses = [200, 399]`"),
            );
            None
        }
    }
}

/// `true`, `false`, or a table.
fn outlier(value: &Value<'_>, report: &mut Report) -> Option<Outlier> {
    let mut outlier = Outlier::default();
    if value.is_bool() {
        outlier.on = value.boolean(report)?;
        return Some(outlier);
    }
    let table = value.table("outlier", "{ consecutive = 5 }", report)?;
    table.only(
        &["on", "consecutive", "eject", "max_eject", "max_share"],
        nothing_foreign,
        report,
    );
    field::boolean(&table, "on", &mut outlier.on, report);
    field::count(&table, "consecutive", 1, &mut outlier.consecutive, report);
    field::duration(&table, "eject", &mut outlier.eject_ms, report);
    field::duration(&table, "max_eject", &mut outlier.max_eject_ms, report);
    field::share(&table, "max_share", &mut outlier.max_share, report);
    if outlier.eject_ms > outlier.max_eject_ms {
        let what = "`eject` is longer than `max_eject`";
        let why = "the first ejection is the shortest";
        report.error(
            &value.place,
            Refusal::new(what, why, "make `max_eject` longer"),
        );
    }
    Some(outlier)
}

fn breaker(value: &Value<'_>, breaker: &mut Breaker, report: &mut Report) {
    let Some(table) = value.table("breaker", "{ error_share = 0.5 }", report) else {
        return;
    };
    table.only(
        &["error_share", "window", "min_requests", "open"],
        nothing_foreign,
        report,
    );
    field::set(
        &table,
        "error_share",
        &mut breaker.error_share,
        report,
        |v, r| v.share(r).map(Some),
    );
    field::duration(&table, "window", &mut breaker.window_ms, report);
    field::count(&table, "min_requests", 1, &mut breaker.min_requests, report);
    field::duration(&table, "open", &mut breaker.open_ms, report);
}

/// How many requests wait, or `{ max, wait }`.
fn queue(value: &Value<'_>, breaker: &mut Breaker, report: &mut Report) {
    if value.is_integer() {
        breaker.max_pending = field::number(value, 0, report).unwrap_or(breaker.max_pending);
        return;
    }
    let Some(table) = value.table("queue", "{ max = 1024, wait = \"10s\" }", report) else {
        return;
    };
    table.only(&["max", "wait"], nothing_foreign, report);
    field::count(&table, "max", 0, &mut breaker.max_pending, report);
    field::duration(&table, "wait", &mut breaker.pending_ms, report);
}

fn pool(value: &Value<'_>, report: &mut Report) -> Option<Pool> {
    let table = value.table("pool", "{ idle = 256 }", report)?;
    table.only(
        &["connect", "idle", "idle_timeout", "read"],
        nothing_foreign,
        report,
    );
    let mut pool = Pool::default();
    field::duration(&table, "connect", &mut pool.connect_ms, report);
    field::count(&table, "idle", 0, &mut pool.idle, report);
    field::duration(&table, "idle_timeout", &mut pool.idle_ms, report);
    field::duration(&table, "read", &mut pool.read_ms, report);
    Some(pool)
}
