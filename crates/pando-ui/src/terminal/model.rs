//! What the dashboard knows and what it shows, as a pure machine: messages in, effects out.
//!
//! ```text
//! picture, log line, series, answer ─┐
//!                                    ├─► Model::update ─► effects: call, follow logs, ask series, quit
//! key ───────────────────────────────┘        │
//!                                             └─► draw reads it
//! ```
//! It knows no terminal, no socket and no clock: the time comes with each message.

use std::collections::{BTreeMap, VecDeque};

use monitor_spec::ask::{Query, Series};
use monitor_spec::now::{App, Now};
use monitor_spec::state::Event;
use pando_control::api::{LogLine, ScaleChange};

use super::listing::{self, Listing, Order};
use super::page::{self, Cursor, List, Page, Place};
use super::series::Wanted;
use crate::time::Clock;

/// Log lines that can be scrolled back to.
const LOG_LINES_MAX: usize = 5_000;
/// Log lines shown of the past.
pub const LOG_LINES_ASKED: usize = 500;
const EVENTS_MAX: usize = 1_000;
/// Pages to go back through.
const STACK_MAX: usize = 32;
/// How long an answer stands in the last line.
const NOTICE_MS: i64 = 6_000;
/// Without a picture for so long, the figures are called old.
const STALE_MS: i64 = 3_500;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    Char(char),
    Ctrl(char),
    Enter,
    Esc,
    Tab,
    BackTab,
    Backspace,
    Up,
    Down,
    Left,
    Right,
    PageUp,
    PageDown,
    Home,
    End,
}

#[derive(Debug)]
pub enum Message {
    Picture(Box<Now>),
    /// Pictures come no more; the reason. Another one ends it.
    Lost(String),
    Events(Vec<Event>),
    Series {
        id: u64,
        of: usize,
        series: Vec<Series>,
    },
    /// A line of the stream of that number.
    Log {
        id: u64,
        line: LogLine,
    },
    /// Lines that came too fast to be shown.
    LogsSkipped(u64),
    /// A change that was asked for has been made, or not.
    Changed(Result<String, String>),
    Key(Key),
    Tick,
}

/// What the driver must do.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    Quit,
    /// Give the terminal back and stop, as Ctrl-Z does.
    Suspend,
    Change(Change),
    /// Follow these logs from now on in place of others; `None`: none.
    Logs(Option<(u64, LogScope)>),
    /// Ask for each of these; answers carry the id and the query's place.
    Series {
        id: u64,
        queries: Vec<Query>,
    },
}

/// A change to an app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    Reload(String),
    Restart(String),
    Stop(String),
    Start(String),
    Scale(String, ScaleChange),
}

/// Whose log lines; no app means every one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogScope {
    pub app: Option<String>,
    pub worker: Option<u32>,
}

/// What is being typed in the last line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Prompt {
    Command(String),
    Filter(String),
    Confirm(Change),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    pub text: String,
    pub is_bad: bool,
    pub until_ms: i64,
}

#[derive(Debug)]
pub struct Model {
    pub home: String,
    /// As it is shown; while paused not the newest.
    pub now: Option<Box<Now>>,
    /// When the newest came, by our clock.
    pub heard_ms: i64,
    pub lost: Option<String>,
    pub at_ms: i64,
    pub paused: bool,
    pub stack: Vec<Place>,
    pub sorts: BTreeMap<List, Order>,
    pub prompt: Option<Prompt>,
    pub help: bool,
    pub notice: Option<Notice>,
    pub events: VecDeque<Event>,
    pub logs: Logs,
    pub series: Wanted,
    /// Rows of the list on the screen; set when it is drawn.
    pub rows: usize,
    pub clock: Clock,
}

#[derive(Debug, Default)]
pub struct Logs {
    id: u64,
    scope: Option<LogScope>,
    pub lines: VecDeque<LogLine>,
    pub skipped: u64,
    /// Lines between the newest and the last one shown; 0 follows.
    pub back: usize,
    /// Columns that lines are moved to the left.
    pub left: usize,
}

impl Model {
    pub fn new(home: String, first: Page, clock: Clock) -> Self {
        Self {
            home,
            now: None,
            heard_ms: 0,
            lost: None,
            at_ms: 0,
            paused: false,
            stack: vec![Place::new(first)],
            sorts: BTreeMap::new(),
            prompt: None,
            help: false,
            notice: None,
            events: VecDeque::new(),
            logs: Logs::default(),
            series: Wanted::default(),
            rows: 10,
            clock,
        }
    }

    /// Takes one message at that time (milliseconds since 1970).
    pub fn update(&mut self, message: Message, at_ms: i64) -> Vec<Effect> {
        self.at_ms = at_ms;
        let mut effects = Vec::new();
        match message {
            Message::Picture(now) => self.picture(now),
            Message::Lost(why) => self.lost = Some(why),
            Message::Events(past) => self.past(past),
            Message::Series { id, of, series } => self.series.take(id, of, &series),
            Message::Log { id, line } => self.log(id, line),
            Message::LogsSkipped(lines) => self.logs.skipped += lines,
            Message::Changed(Ok(text)) => self.say(text, false),
            Message::Changed(Err(text)) => self.say(text, true),
            Message::Key(key) => self.key(key, &mut effects),
            Message::Tick => {}
        }
        if self.notice.as_ref().is_some_and(|n| n.until_ms < at_ms) {
            self.notice = None;
        }
        self.settle(&mut effects);
        effects
    }

    fn picture(&mut self, now: Box<Now>) {
        self.lost = None;
        self.heard_ms = self.at_ms;
        for event in &now.events {
            self.event(event.clone());
        }
        if !self.paused || self.now.is_none() {
            self.now = Some(now);
        }
    }

    fn event(&mut self, event: Event) {
        if self.events.len() >= EVENTS_MAX {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }

    /// Events from before the first picture.
    fn past(&mut self, past: Vec<Event>) {
        let seen = std::mem::take(&mut self.events);
        let new: Vec<Event> = seen.into_iter().filter(|e| !past.contains(e)).collect();
        past.into_iter().chain(new).for_each(|e| self.event(e));
    }

    fn log(&mut self, id: u64, line: LogLine) {
        if id != self.logs.id {
            return;
        }
        if self.logs.lines.len() >= LOG_LINES_MAX {
            self.logs.lines.pop_front();
        }
        self.logs.lines.push_back(line);
        if self.logs.back > 0 || self.paused {
            self.logs.back = (self.logs.back + 1).min(LOG_LINES_MAX);
        }
    }

    pub fn say(&mut self, text: impl Into<String>, is_bad: bool) {
        self.notice = Some(Notice {
            text: text.into(),
            is_bad,
            until_ms: self.at_ms + NOTICE_MS,
        });
    }

    /// Asks for what the page needs and has not, and keeps the cursor on its row.
    fn settle(&mut self, effects: &mut Vec<Effect>) {
        let scope = self.log_scope();
        if scope != self.logs.scope {
            self.logs = Logs {
                id: self.logs.id + 1,
                scope: scope.clone(),
                ..Logs::default()
            };
            let id = self.logs.id;
            effects.push(Effect::Logs(scope.map(|scope| (id, scope))));
        }
        let subject = self.subject();
        let clock = self.now.as_ref().map_or(self.at_ms, |now| now.time_ms);
        if !self.paused
            && self.lost.is_none()
            && let Some((id, queries)) = self.series.due(subject, self.at_ms, clock)
        {
            effects.push(Effect::Series { id, queries });
        }
        self.hold_cursor();
    }

    fn log_scope(&self) -> Option<LogScope> {
        let place = self.place();
        if place.list() != List::Logs {
            return None;
        }
        let worker = match &place.page {
            Page::Worker { instance, .. } => Some(*instance),
            Page::Apps
            | Page::Top
            | Page::App(_)
            | Page::Endpoint { .. }
            | Page::Gateway
            | Page::Alerts
            | Page::Events
            | Page::Logs => None,
        };
        Some(LogScope {
            app: place.page.app().map(str::to_owned),
            worker,
        })
    }

    /// What the charts are of.
    pub fn subject(&self) -> Page {
        match &self.place().page {
            Page::Apps | Page::Top => match self.selected_app() {
                Some(app) => Page::App(app),
                None => Page::Apps,
            },
            page @ (Page::App(_)
            | Page::Worker { .. }
            | Page::Endpoint { .. }
            | Page::Gateway
            | Page::Alerts
            | Page::Events
            | Page::Logs) => page.clone(),
        }
    }

    pub fn place(&self) -> &Place {
        // The stack is never empty: `back` keeps the first.
        &self.stack[self.stack.len() - 1]
    }

    pub fn place_mut(&mut self) -> &mut Place {
        let last = self.stack.len() - 1;
        &mut self.stack[last]
    }

    pub fn cursor(&self) -> &Cursor {
        let place = self.place();
        &place.cursors[place.tab.min(place.cursors.len() - 1)]
    }

    pub fn cursor_mut(&mut self) -> &mut Cursor {
        let place = self.place_mut();
        let tab = place.tab.min(place.cursors.len() - 1);
        &mut place.cursors[tab]
    }

    pub fn go(&mut self, page: Page) {
        if self.place().page == page {
            return;
        }
        if self.stack.len() >= STACK_MAX {
            self.stack.remove(1);
        }
        self.stack.push(Place::new(page));
    }

    pub fn go_to_list(&mut self, page: Page, list: List) {
        self.go(page);
        let place = self.place_mut();
        if let Some(tab) = place.page.lists().iter().position(|l| *l == list) {
            place.tab = tab;
        }
    }

    /// The list on the screen, sorted and filtered.
    pub fn listing(&self) -> Listing {
        let place = self.place();
        let list = place.list();
        let order = self.sorts.get(&list).copied();
        self.plain_listing(list).arrange(&place.filter, order)
    }

    pub fn plain_listing(&self, list: List) -> Listing {
        let place = self.place();
        if list == List::Events {
            return listing::history::events(&self.events, place.page.app(), &self.clock);
        }
        let Some(now) = &self.now else {
            return Listing::default();
        };
        let of_app = |build: fn(&App) -> Listing| {
            let app = place.page.app().and_then(|name| page::app(now, name));
            app.map_or_else(Listing::default, build)
        };
        match list {
            List::Apps => listing::apps::apps(now),
            List::Top => listing::apps::top(now),
            List::Workers => of_app(listing::apps::workers),
            List::Endpoints => of_app(listing::traffic::endpoints),
            List::Outgoing => of_app(listing::traffic::outgoing),
            List::Routes => listing::edge::routes(now.gateway.as_ref()),
            List::Upstreams => listing::edge::upstreams(now.gateway.as_ref()),
            List::Certificates => listing::edge::certificates(now),
            List::Alerts => listing::history::alerts(now),
            List::Events | List::Logs | List::Facts => Listing::default(),
        }
    }

    /// After rows came, went or moved the cursor is where its row is.
    fn hold_cursor(&mut self) {
        let follows_top = self.place().list() == List::Events && self.cursor().index == 0;
        let listing = self.listing();
        let cursor = self.cursor_mut();
        let found = listing.entries.iter().position(|e| e.key == cursor.key);
        let last = listing.entries.len().saturating_sub(1);
        cursor.index = match found {
            Some(at) if !follows_top => at,
            Some(_) | None => cursor.index.min(last),
        };
        if let Some(entry) = listing.entries.get(cursor.index) {
            cursor.key.clone_from(&entry.key);
        }
    }

    /// The app that a key would act on.
    pub fn selected_app(&self) -> Option<String> {
        let place = self.place();
        if let Some(app) = place.page.app() {
            return Some(app.to_owned());
        }
        match place.list() {
            List::Apps | List::Top => {
                let name = self.cursor().key.split('\0').next()?;
                let now = self.now.as_ref()?;
                page::app(now, name).map(|app| app.name.clone())
            }
            List::Workers
            | List::Endpoints
            | List::Outgoing
            | List::Logs
            | List::Events
            | List::Facts
            | List::Routes
            | List::Upstreams
            | List::Certificates
            | List::Alerts => None,
        }
    }

    /// Pictures should have come and did not.
    pub fn is_stale(&self) -> bool {
        self.lost.is_some() || (self.now.is_some() && self.at_ms - self.heard_ms > STALE_MS)
    }
}

#[cfg(test)]
mod tests;
