//! The gateway's routes, upstreams and certificates.

use monitor_spec::edge::{Certificate, Upstream};
use monitor_spec::now::{EdgeRoute, Gateway, Now};

use super::super::page::Page;
use super::super::verdict;
use super::apps::{percentile, rate_and_errors};
use super::{Entry, Listing};
use crate::table::Column;
use crate::text::Style;
use crate::units::{self, float};

const NO_GATEWAY: &str = "no gateway serves: `[gateway]` in pando.toml brings one";

const ROUTES: [Column; 9] = [
    Column::left("SITE", 0).cut(8),
    Column::left("ROUTE", 0).cut(8),
    Column::left("APP", 3).cut(8),
    Column::right("REQ/S", 0).at_least(6),
    Column::right("ERR", 0).at_least(5),
    Column::right("P50", 2).at_least(7),
    Column::right("P95", 0).at_least(7),
    Column::right("P99", 1).at_least(7),
    Column::right("IN 60 S", 4),
];

pub fn routes(gateway: Option<&Gateway>) -> Listing {
    Listing {
        columns: ROUTES.to_vec(),
        entries: rows(gateway, |g| &g.routes, route),
        empty: gateway.map_or(NO_GATEWAY, |_| "no request in the last 60 s"),
        ..Listing::default()
    }
}

fn route(route: &EdgeRoute) -> Entry {
    let latency = route.traffic.latency;
    let entry = Entry::new(format!("{} {}", route.site, route.route))
        .text(&route.site, Style::Plain)
        .text(&route.route, Style::Bold)
        .text(route.app.as_deref().unwrap_or("-"), Style::Plain);
    let entry = match &route.app {
        Some(app) => entry.opens(Page::App(app.clone())),
        None => entry,
    };
    let entry = rate_and_errors(entry, &route.traffic);
    let entry = percentile(entry, latency, |l| l.p50_us);
    let entry = percentile(entry, latency, |l| l.p95_us);
    percentile(entry, latency, |l| l.p99_us).plain(Some(float(route.requests)), units::whole_count)
}

const UPSTREAMS: [Column; 7] = [
    Column::left("GROUP", 0).cut(8),
    Column::left("ADDRESS", 0).cut(12),
    Column::right("WORKER", 1),
    Column::left("STATE", 0),
    Column::right("REQ/S", 0).at_least(6),
    Column::right("FAILED", 0),
    Column::right("IN FLIGHT", 2),
];

pub fn upstreams(gateway: Option<&Gateway>) -> Listing {
    Listing {
        columns: UPSTREAMS.to_vec(),
        entries: rows(gateway, |g| &g.upstreams, upstream),
        empty: gateway.map_or(NO_GATEWAY, |_| "no upstream: files and fixed answers only"),
        ..Listing::default()
    }
}

fn upstream(upstream: &Upstream) -> Entry {
    let (state, style) = if upstream.available {
        ("● available", Style::Green)
    } else {
        ("✖ away", Style::Red)
    };
    let failed = if upstream.failures > 0 {
        Style::Red
    } else {
        Style::Dim
    };
    Entry::new(format!("{} {}", upstream.group, upstream.address))
        .text(&upstream.group, Style::Plain)
        .text(&upstream.address, Style::Bold)
        .plain(upstream.instance.map(f64::from), |n| n.to_string())
        .text(state, style)
        .plain(Some(float(upstream.requests)), units::whole_count)
        .number(Some(float(upstream.failures)), units::whole_count, |_| {
            failed
        })
        .plain(Some(float(upstream.in_flight)), units::whole_count)
}

const CERTIFICATES: [Column; 3] = [
    Column::left("HOST", 0).cut(12),
    Column::left("ENDS", 0),
    Column::left("PROBLEM", 1).cut(12),
];

pub fn certificates(now: &Now) -> Listing {
    let gateway = now.gateway.as_ref();
    Listing {
        columns: CERTIFICATES.to_vec(),
        entries: rows(
            gateway,
            |g| &g.certificates,
            |c| certificate(c, now.time_ms),
        ),
        empty: gateway.map_or(NO_GATEWAY, |_| "no certificate: nothing is served by TLS"),
        ..Listing::default()
    }
}

fn certificate(certificate: &Certificate, now_ms: i64) -> Entry {
    let entry = Entry::new(&certificate.host).text(&certificate.host, Style::Bold);
    let ends_ms = certificate.not_after_s.and_then(|s| i64::try_from(s).ok());
    let entry = match ends_ms.map(|s| s.saturating_mul(1_000).saturating_sub(now_ms)) {
        None => entry.ranked("✖ missing: a stand-in is served", Style::Red, f64::MIN),
        Some(left_ms) => {
            let left = u64::try_from(left_ms).unwrap_or(0);
            let (sign, style) = if left_ms < verdict::CERTIFICATE_BAD_MS {
                ('✖', Style::Red)
            } else if left_ms < verdict::CERTIFICATE_WARN_MS {
                ('▲', Style::Yellow)
            } else {
                ('●', Style::Green)
            };
            let text = if left == 0 {
                format!("{sign} has ended")
            } else {
                format!("{sign} in {}", units::duration(left))
            };
            entry.ranked(text, style, float(left))
        }
    };
    entry.text(certificate.problem.as_deref().unwrap_or(""), Style::Yellow)
}

fn rows<T>(
    gateway: Option<&Gateway>,
    of: impl Fn(&Gateway) -> &Vec<T>,
    row: impl Fn(&T) -> Entry,
) -> Vec<Entry> {
    gateway.map_or_else(Vec::new, |gateway| of(gateway).iter().map(row).collect())
}
