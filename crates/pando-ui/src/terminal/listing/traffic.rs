//! Endpoints of an app and what it calls itself.

use monitor_spec::now::{App, Endpoint, Outgoing};

use super::super::chart::bar;
use super::super::page::Page;
use super::super::verdict;
use super::apps::{percentile, rate_and_errors};
use super::{Entry, Listing};
use crate::table::Column;
use crate::text::Style;
use crate::units::{self, float};

const ENDPOINTS: [Column; 12] = [
    Column::left("METHOD", 0),
    Column::left("ROUTE", 0).cut(12).at_least(16),
    Column::right("REQ/S", 0).at_least(6),
    Column::right("ERR", 0).at_least(5),
    Column::right("4XX/S", 5).at_least(6),
    Column::right("P50", 2).at_least(7),
    Column::right("P95", 0).at_least(7),
    Column::right("P99", 1).at_least(7),
    Column::right("MAX", 4).at_least(7),
    Column::right("IN 60 S", 6),
    Column::right("TIME", 3).at_least(5),
    Column::left("", 3),
];
/// Of the bar beside a share of time.
const BAR: usize = 8;

pub fn endpoints(app: &App) -> Listing {
    Listing {
        columns: ENDPOINTS.to_vec(),
        entries: app.endpoints.iter().map(|e| endpoint(app, e)).collect(),
        empty: "no request in the last 60 s",
        ..Listing::default()
    }
}

fn endpoint(app: &App, endpoint: &Endpoint) -> Entry {
    let traffic = &endpoint.traffic;
    let latency = traffic.latency;
    let entry = Entry::new(format!("{} {}", endpoint.method, endpoint.route))
        .opens(Page::Endpoint {
            app: app.name.clone(),
            method: endpoint.method.clone(),
            route: endpoint.route.clone(),
        })
        .text(&endpoint.method, Style::Dim)
        .text(&endpoint.route, Style::Bold);
    let entry =
        rate_and_errors(entry, traffic).number(Some(traffic.errors_4xx), units::rate, |rate| {
            if rate > 0.0 { Style::Plain } else { Style::Dim }
        });
    let entry = percentile(entry, latency, |l| l.p50_us);
    let entry = percentile(entry, latency, |l| l.p95_us);
    let entry = percentile(entry, latency, |l| l.p99_us);
    percentile(entry, latency, |l| l.max_us)
        .plain(Some(float(endpoint.requests)), units::whole_count)
        .plain(Some(endpoint.time_share * 100.0), units::percent)
        .ranked(
            bar(endpoint.time_share, BAR),
            Style::Cyan,
            endpoint.time_share,
        )
}

const OUTGOING: [Column; 7] = [
    Column::left("KIND", 0),
    Column::left("TO", 0).cut(12).at_least(16),
    Column::right("CALLS/S", 0),
    Column::right("ERR", 0).at_least(5),
    Column::right("P50", 1).at_least(7),
    Column::right("P95", 0).at_least(7),
    Column::right("P99", 2).at_least(7),
];

pub fn outgoing(app: &App) -> Listing {
    Listing {
        columns: OUTGOING.to_vec(),
        entries: app.outgoing.iter().map(call).collect(),
        empty: "no call to anybody was seen",
        ..Listing::default()
    }
}

fn call(call: &Outgoing) -> Entry {
    let share = if call.rate > 0.0 {
        call.errors / call.rate
    } else {
        0.0
    };
    let entry = Entry::new(format!("{} {}", call.kind, call.peer))
        .text(&call.kind, Style::Dim)
        .text(&call.peer, Style::Bold)
        .plain(Some(call.rate), units::rate)
        .number(Some(share * 100.0), units::percent, |percent| {
            verdict::error_style(percent / 100.0)
        });
    let entry = percentile(entry, call.latency, |l| l.p50_us);
    let entry = percentile(entry, call.latency, |l| l.p95_us);
    percentile(entry, call.latency, |l| l.p99_us)
}
