//! What keys do. One table for all pages; `?` shows it ([`HELP`]).

use pando_control::api::ScaleChange;

use super::command::{self, Command};
use super::listing::Listing;
use super::model::{Change, Effect, Key, Model, Prompt};
use super::page::{List, Page, Place};

/// Characters of a command or a filter.
const PROMPT_MAX: usize = 200;
const LOG_SIDE_STEP: usize = 20;

/// Keys by subject, as the help shows them.
pub const HELP: [(&str, &[(&str, &str)]); 4] = [
    (
        "Moving",
        &[
            ("↑ ↓ j k", "row"),
            ("PgUp End …", "further"),
            ("Enter", "into it"),
            ("Esc", "back"),
            ("Tab 1…5", "next list, that list"),
            ("q Ctrl-C", "leave"),
        ],
    ),
    (
        "Looking",
        &[
            ("/", "only rows with a text"),
            ("s S", "sort by the next, reverse"),
            ("z Z", "more time in charts, less"),
            ("p Space", "hold the picture"),
            ("← →", "shift log lines"),
        ],
    ),
    (
        "Going",
        &[
            ("l", "logs of this app"),
            ("e", "events"),
            ("a", "alerts"),
            ("g", "gateway"),
            ("h", "all apps"),
            (":", "a command"),
        ],
    ),
    (
        "Doing",
        &[
            ("r", "reload, loses nothing"),
            ("+ -", "one worker more, one less"),
            ("R", "restart (asks)"),
            ("X", "stop (asks)"),
            ("U", "start again"),
        ],
    ),
];

impl Model {
    pub(super) fn key(&mut self, key: Key, effects: &mut Vec<Effect>) {
        self.notice = None;
        if key == Key::Ctrl('c') {
            effects.push(Effect::Quit);
        } else if key == Key::Ctrl('z') {
            effects.push(Effect::Suspend);
        } else if let Some(prompt) = self.prompt.take() {
            self.prompt_key(prompt, key, effects);
        } else if self.help {
            self.help = false;
        } else {
            self.plain_key(key, effects);
        }
    }

    fn plain_key(&mut self, key: Key, effects: &mut Vec<Effect>) {
        match key {
            Key::Up | Key::Char('k') => self.step(-1),
            Key::Down | Key::Char('j') => self.step(1),
            Key::PageUp | Key::Ctrl('b' | 'u') => self.step(-self.page_rows()),
            Key::PageDown | Key::Ctrl('f' | 'd') => self.step(self.page_rows()),
            Key::Home => self.step(isize::MIN),
            Key::End | Key::Char('G') => self.step(isize::MAX),
            Key::Left => self.logs.left = self.logs.left.saturating_sub(LOG_SIDE_STEP),
            Key::Right => self.logs.left = (self.logs.left + LOG_SIDE_STEP).min(10_000),
            Key::Enter => self.enter(),
            Key::Esc | Key::Backspace => self.back(),
            Key::Tab => self.tab(1),
            Key::BackTab => self.tab(-1),
            Key::Char(letter) => self.letter(letter, effects),
            Key::Ctrl(_) => {}
        }
    }

    fn letter(&mut self, letter: char, effects: &mut Vec<Effect>) {
        match letter {
            'q' => effects.push(Effect::Quit),
            '?' => self.help = true,
            ':' => self.prompt = Some(Prompt::Command(String::new())),
            '/' => self.prompt = Some(Prompt::Filter(self.place().filter.clone())),
            '1'..='9' => self.open_tab(letter),
            's' => self.sort_next(),
            'S' => self.sort_turn(),
            'z' => self.zoom(self.series.span.saturating_add(1)),
            'Z' => self.zoom(self.series.span.saturating_sub(1)),
            'p' | ' ' => self.pause(),
            'l' => self.logs_of(self.selected_app()),
            'e' => self.go(Page::Events),
            'a' => self.go(Page::Alerts),
            'g' => self.go(Page::Gateway),
            'h' => self.home_page(Page::Apps),
            'r' => self.change(Change::Reload, effects),
            'R' => self.ask(Change::Restart),
            'X' => self.ask(Change::Stop),
            'U' => self.change(Change::Start, effects),
            '+' | '=' => self.change(|app| Change::Scale(app, ScaleChange::Up(1)), effects),
            '-' => self.change(|app| Change::Scale(app, ScaleChange::Down(1)), effects),
            _ => {}
        }
    }

    fn page_rows(&self) -> isize {
        isize::try_from(self.rows.saturating_sub(1).max(1)).unwrap_or(1)
    }

    /// Moves the cursor; in logs the window over the lines.
    fn step(&mut self, rows: isize) {
        if self.place().list() == List::Logs {
            let back = self.logs.back;
            let most = self.logs.lines.len();
            self.logs.back = back.saturating_add_signed(rows.saturating_neg()).min(most);
            return;
        }
        let listing = self.listing();
        let last = listing.entries.len().saturating_sub(1);
        let cursor = self.cursor_mut();
        cursor.index = cursor.index.saturating_add_signed(rows).min(last);
        if let Some(entry) = listing.entries.get(cursor.index) {
            cursor.key.clone_from(&entry.key);
        }
    }

    fn enter(&mut self) {
        let listing = self.listing();
        let entry = listing.entries.get(self.cursor().index);
        if let Some(page) = entry.and_then(|entry| entry.open.clone()) {
            self.go(page);
        }
    }

    /// Drops the filter if there is one, else leaves the page. The first page stays.
    fn back(&mut self) {
        if !self.place().filter.is_empty() {
            self.place_mut().filter.clear();
        } else if self.stack.len() > 1 {
            self.stack.pop();
        }
    }

    fn home_page(&mut self, page: Page) {
        self.stack = vec![Place::new(page)];
    }

    fn tab(&mut self, by: isize) {
        let place = self.place_mut();
        let count = place.page.lists().len();
        let next = place.tab.checked_add_signed(by).unwrap_or(count - 1);
        place.tab = if next < count { next } else { 0 };
        place.filter.clear();
    }

    fn open_tab(&mut self, digit: char) {
        let wanted = digit.to_digit(10).and_then(|d| usize::try_from(d).ok());
        let place = self.place_mut();
        if let Some(tab) = wanted.and_then(|n| n.checked_sub(1))
            && tab < place.page.lists().len()
        {
            place.tab = tab;
            place.filter.clear();
        }
    }

    fn zoom(&mut self, span: usize) {
        self.series.zoom(span);
        self.say(format!("charts show {}", self.series.span_name()), false);
    }

    fn pause(&mut self) {
        self.paused = !self.paused;
        if !self.paused {
            self.logs.back = 0;
        }
    }

    /// Numbers from the largest, texts from A.
    fn sort_by(&mut self, column: usize, listing: &Listing) {
        let list = self.place().list();
        let largest_first = match listing.entries.first().and_then(|e| e.sort.get(column)) {
            Some(super::listing::Sort::Number(_)) => true,
            Some(super::listing::Sort::Text(_)) | None => false,
        };
        self.sorts.insert(list, (column, largest_first));
        let title = listing.columns.get(column).map_or("", |c| c.title);
        self.say(format!("sorted by {title}"), false);
    }

    /// The next column; after the last one the order is again that of the daemon.
    fn sort_next(&mut self) {
        let list = self.place().list();
        let listing = self.plain_listing(list);
        let is_sortable =
            |at: &usize| Some(*at) != listing.trend && !listing.columns[*at].title.is_empty();
        let first = self.sorts.get(&list).map_or(0, |(column, _)| column + 1);
        match (first..listing.columns.len()).find(is_sortable) {
            Some(next) => self.sort_by(next, &listing),
            None => {
                self.sorts.remove(&list);
                self.say("not sorted", false);
            }
        }
    }

    fn sort_turn(&mut self) {
        let list = self.place().list();
        if let Some((_, largest_first)) = self.sorts.get_mut(&list) {
            *largest_first = !*largest_first;
        }
    }

    fn logs_of(&mut self, app: Option<String>) {
        match app {
            Some(app) if !matches!(self.place().page, Page::Worker { .. }) => {
                self.go_to_list(Page::App(app), List::Logs);
            }
            Some(_) => self.open_tab('2'),
            None => self.go(Page::Logs),
        }
    }

    fn change(&mut self, change: impl Fn(String) -> Change, effects: &mut Vec<Effect>) {
        match self.selected_app() {
            Some(app) => self.order(change(app), effects),
            None => self.say("select an app first", true),
        }
    }

    fn ask(&mut self, change: impl Fn(String) -> Change) {
        match self.selected_app() {
            Some(app) => self.prompt = Some(Prompt::Confirm(change(app))),
            None => self.say("select an app first", true),
        }
    }

    fn order(&mut self, change: Change, effects: &mut Vec<Effect>) {
        self.say(change.in_words(), false);
        effects.push(Effect::Change(change));
    }

    fn prompt_key(&mut self, prompt: Prompt, key: Key, effects: &mut Vec<Effect>) {
        match prompt {
            Prompt::Confirm(change) => {
                if key == Key::Char('y') || key == Key::Char('Y') {
                    self.order(change, effects);
                }
            }
            Prompt::Filter(text) => self.filter_key(text, key),
            Prompt::Command(text) => self.command_key(text, key, effects),
        }
    }

    /// The list follows what is typed; Esc takes it back.
    fn filter_key(&mut self, text: String, key: Key) {
        let was_empty = text.is_empty();
        match (key, edited(text, key)) {
            (Key::Esc, _) => self.place_mut().filter.clear(),
            (Key::Enter, _) => {}
            (Key::Backspace, _) if was_empty => {}
            (_, text) => {
                self.place_mut().filter.clone_from(&text);
                self.prompt = Some(Prompt::Filter(text));
            }
        }
    }

    fn command_key(&mut self, text: String, key: Key, effects: &mut Vec<Effect>) {
        let is_done = key == Key::Backspace && text.is_empty();
        if key == Key::Tab {
            let completed = command::complete(&text, &self.completions(&text));
            self.prompt = Some(Prompt::Command(completed));
        } else if key == Key::Enter && !text.trim().is_empty() {
            match command::parse(&text, self.selected_app().as_deref()) {
                Ok(command) => self.run(command, effects),
                Err(why) => self.say(why, true),
            }
        } else if key != Key::Esc && key != Key::Enter && !is_done {
            self.prompt = Some(Prompt::Command(edited(text, key)));
        }
    }

    pub fn completions(&self, text: &str) -> Vec<String> {
        let apps = self.now.as_ref().map_or(&[][..], |now| &now.apps);
        let apps: Vec<String> = apps.iter().map(|app| app.name.clone()).collect();
        let listing = self.plain_listing(self.place().list());
        let columns: Vec<&str> = listing.columns.iter().map(|c| c.title).collect();
        command::completions(text, &apps, &columns)
    }

    fn run(&mut self, command: Command, effects: &mut Vec<Effect>) {
        match command {
            Command::Quit => effects.push(Effect::Quit),
            Command::Help => self.help = true,
            Command::Apps => self.home_page(Page::Apps),
            Command::Top => self.home_page(Page::Top),
            Command::App(app) => self.known(app, Page::App),
            Command::Gateway => self.go(Page::Gateway),
            Command::Alerts => self.go(Page::Alerts),
            Command::Events(None) => self.go(Page::Events),
            Command::Events(Some(app)) => self.go_to_list(Page::App(app), List::Events),
            Command::Logs(None) => self.go(Page::Logs),
            Command::Logs(Some(app)) => self.go_to_list(Page::App(app), List::Logs),
            Command::Pause => self.pause(),
            Command::Zoom(span) => self.zoom(span),
            Command::Filter(text) => self.place_mut().filter = text,
            Command::Change(change @ (Change::Restart(_) | Change::Stop(_))) => {
                self.prompt = Some(Prompt::Confirm(change));
            }
            Command::Change(change) => self.order(change, effects),
            Command::Sort(name) => {
                let listing = self.plain_listing(self.place().list());
                match listing.column(&name) {
                    Some(column) => self.sort_by(column, &listing),
                    None => self.say(format!("no column {name} here"), true),
                }
            }
        }
    }

    fn known(&mut self, app: String, page: impl Fn(String) -> Page) {
        let now = self.now.as_ref();
        if now.is_some_and(|now| super::page::app(now, &app).is_some()) {
            self.go(page(app));
        } else {
            self.say(format!("no app {app}"), true);
        }
    }
}

impl Change {
    /// While it is being done.
    pub fn in_words(&self) -> String {
        match self {
            Self::Reload(app) => format!("reloading {app} …"),
            Self::Restart(app) => format!("restarting {app} …"),
            Self::Stop(app) => format!("stopping {app} …"),
            Self::Start(app) => format!("starting {app} …"),
            Self::Scale(app, change) => format!("scaling {app} {} …", amount(*change)),
        }
    }

    /// Before it is done, for those that ask.
    pub fn question(&self) -> String {
        match self {
            Self::Restart(app) => {
                format!("restart {app}? All its workers stop at once (r reloads without a gap).")
            }
            Self::Stop(app) => format!("stop {app}? It serves nobody until it is started again."),
            Self::Reload(_) | Self::Start(_) | Self::Scale(..) => self.in_words(),
        }
    }
}

fn amount(change: ScaleChange) -> String {
    match change {
        ScaleChange::To(count) => format!("to {count}"),
        ScaleChange::Up(more) => format!("by +{more}"),
        ScaleChange::Down(fewer) => format!("by -{fewer}"),
        ScaleChange::As(_) => String::new(),
    }
}

fn edited(mut text: String, key: Key) -> String {
    if let Key::Char(c) = key {
        if !c.is_control() && text.len() < PROMPT_MAX {
            text.push(c);
        }
    } else if key == Key::Backspace {
        text.pop();
    } else if key == Key::Ctrl('u') {
        text.clear();
    } else if key == Key::Ctrl('w') {
        let kept = text.trim_end().rfind(' ').map_or(0, |at| at + 1);
        text.truncate(kept);
    }
    text
}
