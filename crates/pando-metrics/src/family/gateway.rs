//! The gateway.

use super::{Family, Head, Picture, counter, duration, flag, gauge, instance};

const ANSWERS: Head = counter(
    "pando_gateway_answers",
    "pando.gateway.answers",
    "{request}",
    "All requests that the gateway answered, also those of routes that have no row any more.",
);
const REQUESTS: Head = counter(
    "pando_gateway_requests",
    "pando.gateway.requests",
    "{request}",
    "Requests that the gateway answered, by the class of the answer.",
);
const ABORTED: Head = counter(
    "pando_gateway_requests_aborted",
    "pando.gateway.requests.aborted",
    "{request}",
    "Requests whose client went away before the answer's end.",
);
const BYTES: Head = counter(
    "pando_gateway_response_bytes",
    "pando.gateway.response.bytes",
    "By",
    "Bytes of answers, by route.",
);
const DURATION: Head = duration(
    "pando_gateway_request_duration_seconds",
    "pando.gateway.request.duration",
    "From the request's head to the answer's last byte.",
);
const UPSTREAM: Head = duration(
    "pando_gateway_upstream_duration_seconds",
    "pando.gateway.upstream.duration",
    "The part of it until the upstream's head came.",
);
const RECEIVED: Head = counter(
    "pando_gateway_received_bytes",
    "pando.gateway.received",
    "By",
    "Bytes from clients.",
);
const SENT: Head = counter(
    "pando_gateway_sent_bytes",
    "pando.gateway.sent",
    "By",
    "Bytes to clients.",
);
const HITS: Head = counter(
    "pando_gateway_cache_hits",
    "pando.gateway.cache.hits",
    "{request}",
    "Requests that the cache answered.",
);
const MISSES: Head = counter(
    "pando_gateway_cache_misses",
    "pando.gateway.cache.misses",
    "{request}",
    "Requests that the cache could have answered and did not.",
);
const LIMITED: Head = counter(
    "pando_gateway_requests_limited",
    "pando.gateway.requests.limited",
    "{request}",
    "Requests that a limit refused.",
);
const RETRIES: Head = counter(
    "pando_gateway_retries",
    "pando.gateway.retries",
    "{request}",
    "Requests that were tried again at another upstream.",
);
const TLS: Head = counter(
    "pando_gateway_tls_handshake_failures",
    "pando.gateway.tls.handshake.failures",
    "{handshake}",
    "TLS handshakes that failed.",
);
const CONNECTIONS: Head = gauge(
    "pando_gateway_connections",
    "pando.gateway.connections",
    "{connection}",
    "Open connections of clients.",
);
const TUNNELS: Head = gauge(
    "pando_gateway_tunnels",
    "pando.gateway.tunnels",
    "{connection}",
    "Open upgraded connections (WebSocket).",
);
const IN_FLIGHT: Head = gauge(
    "pando_gateway_requests_in_flight",
    "pando.gateway.requests.in_flight",
    "{request}",
    "Requests that are being answered.",
);
const AVAILABLE: Head = gauge(
    "pando_gateway_upstream_available",
    "pando.gateway.upstream.available",
    "1",
    "1 while requests may go to that upstream.",
);
const EXPIRY: Head = gauge(
    "pando_gateway_certificate_expiry_timestamp_seconds",
    "pando.gateway.certificate.expiry",
    "s",
    "When the certificate ends, as seconds since 1970.",
);
const CERTIFICATE: Head = gauge(
    "pando_gateway_certificate_ok",
    "pando.gateway.certificate.ok",
    "1",
    "1 while the certificate is there and its renewal has no problem.",
);

const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

pub(super) fn families<'a>(picture: &Picture<'a>, all: &mut Vec<Family<'a>>) {
    routes(picture, all);
    whole(picture, all);
    state(picture, all);
}

fn routes<'a>(picture: &Picture<'a>, all: &mut Vec<Family<'a>>) {
    let [mut requests, mut aborted, mut bytes] = [REQUESTS, ABORTED, BYTES].map(Family::new);
    let [mut durations, mut upstream] = [DURATION, UPSTREAM].map(Family::new);
    for (key, route) in &picture.totals.edge {
        let since_ms = route.since_ms;
        let route = &route.counts;
        let app = route.app.as_deref().unwrap_or_default();
        let labels = || {
            vec![
                ("site", key.site.as_str()),
                ("route", &key.route),
                ("app", app),
            ]
        };
        for (class, count) in CLASSES.into_iter().zip(route.classes) {
            let mut labels = labels();
            labels.push(("status", class));
            requests.count(labels, count, since_ms);
        }
        aborted.count(labels(), route.aborted, since_ms);
        bytes.count(labels(), route.bytes_out, since_ms);
        durations.histogram(labels(), &route.latency, since_ms);
        if !route.upstream.is_empty() {
            upstream.histogram(labels(), &route.upstream, since_ms);
        }
    }
    all.extend([requests, aborted, bytes, durations, upstream]);
}

fn whole<'a>(picture: &Picture<'a>, all: &mut Vec<Family<'a>>) {
    let totals = &picture.totals.gateway;
    let seen = picture.now.gateway.is_some() || !picture.totals.edge.is_empty();
    let mut answers = Family::new(ANSWERS);
    if seen {
        for (class, count) in CLASSES.into_iter().zip(totals.classes) {
            answers.number(vec![("status", class)], count as f64);
        }
    }
    all.push(answers);
    for (head, count) in [
        (RECEIVED, totals.bytes_in),
        (SENT, totals.bytes_out),
        (HITS, totals.cache_hits),
        (MISSES, totals.cache_misses),
        (LIMITED, totals.limited),
        (RETRIES, totals.retries),
        (TLS, totals.tls_failures),
    ] {
        let mut family = Family::new(head);
        if seen {
            family.number(Vec::new(), count as f64);
        }
        all.push(family);
    }
}

fn state<'a>(picture: &Picture<'a>, all: &mut Vec<Family<'a>>) {
    let [mut connections, mut tunnels, mut in_flight] =
        [CONNECTIONS, TUNNELS, IN_FLIGHT].map(Family::new);
    let [mut available, mut expiry, mut certificate] =
        [AVAILABLE, EXPIRY, CERTIFICATE].map(Family::new);
    if let Some(gateway) = &picture.now.gateway {
        connections.number(Vec::new(), gateway.connections as f64);
        tunnels.number(Vec::new(), gateway.tunnels as f64);
        in_flight.number(Vec::new(), gateway.traffic.in_flight as f64);
        for upstream in &gateway.upstreams {
            let worker = upstream.instance.and_then(instance).unwrap_or_default();
            let labels = vec![
                ("group", upstream.group.as_str()),
                ("address", &upstream.address),
                ("worker", worker),
            ];
            available.number(labels, flag(upstream.available));
        }
        for one in &gateway.certificates {
            let sound = one.problem.is_none() && one.not_after_s.is_some();
            certificate.number(vec![("host", &one.host)], flag(sound));
            if let Some(end) = one.not_after_s {
                expiry.number(vec![("host", &one.host)], end as f64);
            }
        }
    }
    all.extend([
        connections,
        tunnels,
        in_flight,
        available,
        expiry,
        certificate,
    ]);
}
