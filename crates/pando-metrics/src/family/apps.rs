//! Apps: are they up, and what they answer and ask, by endpoint.

use super::{Family, Head, Picture, counter, duration, flag, gauge};

/// As `pando ls` says them; each is a row, so that a change of status ends no series.
const STATUSES: [&str; 9] = [
    "ready",
    "starting",
    "degraded",
    "unhealthy",
    "crash-loop",
    "waiting",
    "stopping",
    "stopped",
    "exited",
];

const UP: Head = gauge(
    "pando_app_up",
    "pando.app.up",
    "1",
    "1 while at least one worker is ready.",
);
const STATUS: Head = gauge(
    "pando_app_status",
    "pando.app.status",
    "1",
    "1 for the status that the app has, 0 for every other one.",
);
const READY: Head = gauge(
    "pando_app_workers_ready",
    "pando.app.workers.ready",
    "{worker}",
    "Workers that are ready.",
);
const WANTED: Head = gauge(
    "pando_app_workers_wanted",
    "pando.app.workers.wanted",
    "{worker}",
    "Workers that there are to be.",
);
const RESTARTS: Head = counter(
    "pando_app_restarts",
    "pando.app.restarts",
    "{restart}",
    "Restarts of workers that nobody asked for.",
);
const UPTIME: Head = gauge(
    "pando_app_uptime_seconds",
    "pando.app.uptime",
    "s",
    "Time since the app was started.",
);
const LIMIT: Head = gauge(
    "pando_app_worker_memory_limit_bytes",
    "pando.app.worker.memory.limit",
    "By",
    "Memory that one worker may use.",
);
const LEAK: Head = gauge(
    "pando_app_heap_growth_bytes_per_second",
    "pando.app.heap.growth",
    "By/s",
    "What the heaps gain after garbage collection; absent unless steady.",
);
const IN_FLIGHT: Head = gauge(
    "pando_http_requests_in_flight",
    "http.server.active_requests",
    "{request}",
    "Requests that are being answered.",
);
const EVENTS: Head = counter(
    "pando_events",
    "pando.events",
    "{event}",
    "Events such as ready, exited, stalled, reload; the app is empty for those of Pando itself.",
);
const ALL: Head = counter(
    "pando_app_requests",
    "pando.app.requests",
    "{request}",
    "All requests that the app answered, also those of endpoints that have no row any more.",
);
const ALL_OUTGOING: Head = counter(
    "pando_app_outgoing_requests",
    "pando.app.outgoing.requests",
    "{request}",
    "All that the app asked of others, also of peers that have no row any more.",
);
const REQUESTS: Head = counter(
    "pando_http_requests",
    "pando.http.requests",
    "{request}",
    "Requests that the app answered; status is ok (below 400), 4xx or 5xx.",
);
const ABORTED: Head = counter(
    "pando_http_requests_aborted",
    "pando.http.requests.aborted",
    "{request}",
    "Requests whose client went away before the answer's end.",
);
const DURATION: Head = duration(
    "pando_http_request_duration_seconds",
    "http.server.request.duration",
    "Time inside the app, from the request's head to the answer's end.",
);
const OUTGOING: Head = counter(
    "pando_outgoing_requests",
    "pando.outgoing.requests",
    "{request}",
    "What the app asked of others; outcome is ok or error.",
);
const OUTGOING_DURATION: Head = duration(
    "pando_outgoing_request_duration_seconds",
    "http.client.request.duration",
    "Time that others took to answer the app.",
);

pub(super) fn families<'a>(picture: &Picture<'a>, all: &mut Vec<Family<'a>>) {
    state(picture, all);
    totals(picture, all);
    endpoints(picture, all);
    outgoing(picture, all);
}

fn state<'a>(picture: &Picture<'a>, all: &mut Vec<Family<'a>>) {
    let [mut up, mut status, mut ready, mut wanted] = [UP, STATUS, READY, WANTED].map(Family::new);
    let [mut restarts, mut uptime, mut limit] = [RESTARTS, UPTIME, LIMIT].map(Family::new);
    let [mut leak, mut in_flight, mut events] = [LEAK, IN_FLIGHT, EVENTS].map(Family::new);
    for app in &picture.now.apps {
        let labels = || vec![("app", app.name.as_str())];
        up.number(labels(), flag(app.ready > 0));
        for name in STATUSES {
            let labels = vec![("app", app.name.as_str()), ("status", name)];
            status.number(labels, flag(app.status == name));
        }
        ready.number(labels(), app.ready.into());
        wanted.number(labels(), app.wanted.into());
        uptime.number(labels(), app.uptime_ms as f64 / 1e3);
        in_flight.number(labels(), app.traffic.in_flight as f64);
        if let Some(bytes) = app.memory_limit_bytes {
            limit.number(labels(), bytes as f64);
        }
        if let Some(bytes) = app.leak_bytes_per_hour {
            leak.number(labels(), bytes / 3600.0);
        }
    }
    for (app, count) in picture.restarts {
        restarts.number(vec![("app", app)], *count as f64);
    }
    for ((app, kind), count) in &picture.totals.events {
        events.number(vec![("app", app), ("kind", kind)], *count as f64);
    }
    all.extend([up, status, ready, wanted, restarts, uptime, limit]);
    all.extend([leak, in_flight, events]);
}

fn totals<'a>(picture: &Picture<'a>, all: &mut Vec<Family<'a>>) {
    let [mut requests, mut outgoing] = [ALL, ALL_OUTGOING].map(Family::new);
    for (app, total) in &picture.totals.apps {
        let since_ms = total.since_ms;
        let total = &total.counts;
        let errors = (total.errors_4xx, total.errors_5xx);
        for (status, count) in statuses(total.requests, errors) {
            let labels = vec![("app", app.as_str()), ("status", status)];
            requests.count(labels, count, since_ms);
        }
        for (outcome, count) in outcomes(total.outgoing, total.outgoing_errors) {
            let labels = vec![("app", app.as_str()), ("outcome", outcome)];
            outgoing.count(labels, count, since_ms);
        }
    }
    all.extend([requests, outgoing]);
}

fn statuses(all: u64, (errors_4xx, errors_5xx): (u64, u64)) -> [(&'static str, u64); 3] {
    let fine = all.saturating_sub(errors_4xx).saturating_sub(errors_5xx);
    [("ok", fine), ("4xx", errors_4xx), ("5xx", errors_5xx)]
}

fn outcomes(all: u64, errors: u64) -> [(&'static str, u64); 2] {
    [("ok", all.saturating_sub(errors)), ("error", errors)]
}

fn endpoints<'a>(picture: &Picture<'a>, all: &mut Vec<Family<'a>>) {
    let [mut requests, mut aborted, mut durations] = [REQUESTS, ABORTED, DURATION].map(Family::new);
    for (key, endpoint) in &picture.totals.endpoints {
        let labels = || {
            vec![
                ("app", key.app.as_str()),
                ("method", &key.method),
                ("route", &key.route),
            ]
        };
        let since_ms = endpoint.since_ms;
        let endpoint = &endpoint.counts;
        let errors = (endpoint.errors_4xx, endpoint.errors_5xx);
        for (status, count) in statuses(endpoint.requests(), errors) {
            let mut labels = labels();
            labels.push(("status", status));
            requests.count(labels, count, since_ms);
        }
        aborted.count(labels(), endpoint.aborted, since_ms);
        durations.histogram(labels(), &endpoint.latency, since_ms);
    }
    all.extend([requests, aborted, durations]);
}

fn outgoing<'a>(picture: &Picture<'a>, all: &mut Vec<Family<'a>>) {
    let [mut requests, mut durations] = [OUTGOING, OUTGOING_DURATION].map(Family::new);
    for (key, outgoing) in &picture.totals.outgoing {
        let labels = || {
            vec![
                ("app", key.app.as_str()),
                ("kind", &key.kind),
                ("peer", &key.peer),
            ]
        };
        let since_ms = outgoing.since_ms;
        let outgoing = &outgoing.counts;
        for (outcome, count) in outcomes(outgoing.latency.count(), outgoing.errors) {
            let mut labels = labels();
            labels.push(("outcome", outcome));
            requests.count(labels, count, since_ms);
        }
        durations.histogram(labels(), &outgoing.latency, since_ms);
    }
    all.extend([requests, durations]);
}
