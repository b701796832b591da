//! Events and alerts.

use std::collections::VecDeque;

use monitor_spec::now::Now;
use monitor_spec::state::Event;

use super::super::page::Page;
use super::super::verdict;
use super::{Entry, Listing};
use crate::table::Column;
use crate::text::Style;
use crate::time::Clock;
use crate::units::{self, float};

const EVENTS: [Column; 4] = [
    Column::left("TIME", 0),
    Column::left("APP", 0).cut(8),
    Column::left("EVENT", 0),
    Column::left("WHAT", 0).cut(10),
];

/// The newest first; of one app where `app` names it.
pub fn events(events: &VecDeque<Event>, app: Option<&str>, clock: &Clock) -> Listing {
    let wanted = |event: &&Event| app.is_none_or(|app| event.app == app);
    let entries = events.iter().rev().filter(wanted).enumerate();
    Listing {
        columns: EVENTS.to_vec(),
        entries: entries.map(|(at, e)| entry(e, at, clock)).collect(),
        empty: "nothing has happened",
        ..Listing::default()
    }
}

fn entry(event: &Event, at: usize, clock: &Clock) -> Entry {
    let source = match event.worker {
        Some(worker) => format!("{}.{worker}", event.app),
        None if event.app.is_empty() => "pando".to_owned(),
        None => event.app.clone(),
    };
    let time = clock.second(event.time_ms.div_euclid(1_000));
    let entry = Entry::new(format!("{} {source} {}", event.time_ms, event.kind))
        .ranked(time, Style::Dim, -float(at as u64))
        .text(source, Style::Bold)
        .text(&event.kind, verdict::event(&event.kind))
        .text(&event.text, Style::Plain);
    if event.app.is_empty() {
        entry
    } else {
        entry.opens(Page::App(event.app.clone()))
    }
}

const ALERTS: [Column; 5] = [
    Column::left("STATE", 0),
    Column::left("RULE", 0).cut(8),
    Column::left("APP", 0).cut(8),
    Column::right("FOR", 0),
    Column::left("WHAT", 0).cut(10),
];

pub fn alerts(now: &Now) -> Listing {
    let entry = |alert: &monitor_spec::now::Alert| {
        let (state, style) = verdict::alert(alert);
        let lasts = u64::try_from(now.time_ms.saturating_sub(alert.since_ms)).unwrap_or(0);
        let app = if alert.app.is_empty() {
            "-"
        } else {
            &alert.app
        };
        let entry = Entry::new(format!("{} {}", alert.name, alert.app))
            .text(state, style)
            .text(&alert.name, Style::Bold)
            .text(app, Style::Plain)
            .ranked(units::duration(lasts), Style::Plain, float(lasts))
            .text(&alert.text, Style::Plain);
        if alert.app.is_empty() {
            entry
        } else {
            entry.opens(Page::App(alert.app.clone()))
        }
    };
    // What is wrong with the measuring is no rule's, and as much to be known.
    let problem = |text: &String| {
        Entry::new(format!("measuring {text}"))
            .text("wrong", Style::Yellow)
            .text("measuring", Style::Bold)
            .text("-", Style::Plain)
            .ranked("-", Style::Plain, 0.0)
            .text(text, Style::Plain)
    };
    let alerts = now.alerts.iter().map(entry);
    Listing {
        columns: ALERTS.to_vec(),
        entries: alerts.chain(now.problems.iter().map(problem)).collect(),
        empty: "no alert: all rules are content",
        ..Listing::default()
    }
}
