//! What hub, preloads and gateway say comes to pictures, totals and rows for the store. Pure: no
//! clock, no files.

use monitor_spec::edge;
use monitor_spec::now::{self, Now};
use monitor_spec::state::{Event, State};

use crate::totals::Totals;

/// Events that wait for the next picture.
const EVENTS_MAX: usize = 256;

pub struct Engine {
    version: &'static str,
    time_ms: i64,
    state: State,
    events: Vec<Event>,
    totals: Totals,
}

impl Engine {
    pub fn new(now_ms: i64, version: &'static str) -> Self {
        Self {
            version,
            time_ms: now_ms,
            state: State::default(),
            events: Vec::new(),
            totals: Totals {
                since_ms: now_ms,
                ..Totals::default()
            },
        }
    }

    pub fn state(&mut self, state: State) {
        self.state = state;
    }

    pub fn edge(&mut self, _report: edge::Report) {}

    pub fn event(&mut self, event: Event) {
        if self.events.len() < EVENTS_MAX {
            self.events.push(event);
        }
    }

    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    pub fn totals(&self) -> &Totals {
        &self.totals
    }

    pub fn tick(&mut self, now_ms: i64) {
        self.time_ms = now_ms;
    }

    pub fn picture(&self, _histories: bool) -> Now {
        let apps = self.state.apps.iter().map(|app| now::App {
            name: app.name.clone(),
            status: app.status.clone(),
            wanted: app.wanted,
            ready: app.ready,
            ..now::App::default()
        });
        Now {
            time_ms: self.time_ms,
            version: self.version.into(),
            apps: apps.collect(),
            ..Now::default()
        }
    }
}
