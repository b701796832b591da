//! The model on the screen.
//!
//! ```text
//! pando › api                                   2m · 14:03:44     where one is, the time
//! ● ready 2/2 · cluster · :3000 · up 2h 5m                        what it is
//! requests/s 128     p95 12 ms      loop lag 3.4 ms   memory …    charts
//! 1 workers  2 endpoints  3 outgoing  4 logs  5 events            lists; one is shown
//! ↵ open  / filter  : command  ? help  q quit                     keys, prompt or answer
//! ```

mod charts;
mod facts;
mod help;
mod list;
mod logs;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Modifier;

use super::listing;
use super::look::{Look, Pen, columns};
use super::model::{Model, Prompt};
use super::page::{List, Page};
use crate::text::{Style, fit, wrap};

/// Below this nothing can be read.
const WIDTH_MIN: u16 = 40;
const HEIGHT_MIN: u16 = 10;
/// From here on the overview has its newest events below the apps.
const HEIGHT_OF_EVENTS: u16 = 34;
const EVENTS_SHOWN: u16 = 6;
/// Lines of a warning on a screen that is so high.
const WARNING_LINES: usize = 4;
const HEIGHT_FOR_WARNINGS: u16 = 24;

/// Draws everything.
pub fn draw(model: &mut Model, look: &Look, buf: &mut Buffer) {
    let area = buf.area;
    let mut pen = Pen { buf, look };
    if area.width < WIDTH_MIN || area.height < HEIGHT_MIN {
        let lines = [
            format!("{}x{} is too small", area.width, area.height),
            format!("needs {WIDTH_MIN}x{HEIGHT_MIN}"),
            "q quits".to_owned(),
        ];
        for (text, y) in lines.iter().zip(0..area.height) {
            pen.put(0, y, area.width, text, Style::Plain);
        }
        return;
    }
    header(model, &mut pen, area);
    footer(model, &mut pen, area);
    // A column is free on both sides.
    let body = Rect::new(1, 1, area.width - 2, area.height - 2);
    if model.help {
        help::draw(&mut pen, body);
    } else if model.now.is_some() {
        page(model, &mut pen, body);
    } else {
        waiting(model, &mut pen, body);
    }
}

fn header(model: &Model, pen: &mut Pen, area: Rect) {
    let mut right = Vec::new();
    if model.paused {
        right.push(("paused".to_owned(), Style::Yellow));
    }
    if let Some(alerts) = firing(model) {
        right.push((alerts, Style::Red));
    }
    right.push((format!("charts {}", model.series.span_name()), Style::Dim));
    let time_ms = model.now.as_ref().map_or(model.at_ms, |now| now.time_ms);
    let time = pen.look.clock.second(time_ms.div_euclid(1_000));
    right.push((time, Style::Plain));
    let mut end = area.right() - 1;
    for (text, style) in right.iter().rev() {
        end -= pen.put_right(end, 0, text, *style).min(end);
        end = end.saturating_sub(2);
    }
    let mut path = vec![("pando".to_owned(), Style::Dim)];
    for (at, place) in shown_path(model).iter().enumerate() {
        let last = at + 1 == shown_path(model).len();
        path.push((" › ".into(), Style::Dim));
        let style = if last { Style::Bold } else { Style::Plain };
        path.push((place.clone(), style));
    }
    pen.pieces(1, 0, end.saturating_sub(1), &path);
}

/// The page with what it is part of, not every step that led here.
fn shown_path(model: &Model) -> Vec<String> {
    let page = &model.place().page;
    let part = matches!(page, Page::Worker { .. } | Page::Endpoint { .. });
    let parent = page.app().filter(|_| part).map(str::to_owned);
    parent.into_iter().chain([page.title()]).collect()
}

fn firing(model: &Model) -> Option<String> {
    use monitor_spec::now::AlertState;
    let alerts = &model.now.as_ref()?.alerts;
    let count = alerts
        .iter()
        .filter(|a| a.state == AlertState::Firing)
        .count();
    match count {
        0 => None,
        1 => Some("✖ 1 alert".into()),
        more => Some(format!("✖ {more} alerts")),
    }
}

/// The last line: what is typed, what was answered, or what can be done.
fn footer(model: &Model, pen: &mut Pen, area: Rect) {
    let (y, room) = (area.bottom() - 1, area.width - 2);
    match &model.prompt {
        Some(Prompt::Command(text)) => {
            let taken = typed(pen, y, room, ":", text);
            let candidates = model.completions(text).join(" ");
            pen.put(
                3 + taken,
                y,
                room.saturating_sub(taken + 2),
                &candidates,
                Style::Dim,
            );
        }
        Some(Prompt::Filter(text)) => {
            typed(pen, y, room, "/", text);
        }
        Some(Prompt::Confirm(change)) => {
            let taken = pen.put(1, y, room, &change.question(), Style::Bold);
            pen.put(
                2 + taken,
                y,
                room.saturating_sub(taken + 1),
                "y / n",
                Style::Yellow,
            );
        }
        None => match &model.notice {
            Some(notice) if notice.is_bad => {
                pen.put(1, y, room, &format!("✖ {}", notice.text), Style::Red);
            }
            Some(notice) => {
                pen.put(1, y, room, &notice.text, Style::Plain);
            }
            None => hints(model, pen, y, room),
        },
    }
}

/// What is typed, with a cursor. Returns the columns taken.
fn typed(pen: &mut Pen, y: u16, room: u16, sign: &str, text: &str) -> u16 {
    let taken = pen.put(1, y, room, &format!("{sign}{text}"), Style::Bold);
    let cursor = pen
        .look
        .paint(Style::Plain)
        .add_modifier(Modifier::REVERSED);
    taken + pen.put_painted(1 + taken, y, 1, " ", cursor)
}

fn hints(model: &Model, pen: &mut Pen, y: u16, room: u16) {
    let place = model.place();
    let on_app = model.selected_app().is_some();
    let mut hints: Vec<(&str, &str)> = vec![("?", "help")];
    if model.stack.len() > 1 || !place.filter.is_empty() {
        hints.push(("Esc", "back"));
    }
    match place.list() {
        List::Logs => hints.extend([("/", "filter"), ("p", "hold")]),
        List::Facts => {}
        List::Apps
        | List::Top
        | List::Workers
        | List::Endpoints
        | List::Outgoing
        | List::Events
        | List::Routes
        | List::Upstreams
        | List::Certificates
        | List::Alerts => hints.extend([("Enter", "open"), ("/", "filter"), ("s", "sort")]),
    }
    if on_app {
        hints.extend([("r", "reload"), ("+-", "scale"), ("l", "logs")]);
    }
    hints.extend([
        ("z", "zoom"),
        ("a", "alerts"),
        ("g", "gateway"),
        (":", "command"),
    ]);
    hints.dedup();
    let mut x = 1;
    for (key, what) in hints {
        let width = columns(key) + 1 + columns(what);
        if x + width + columns("  q quit") > room {
            break;
        }
        x += pen.put(x, y, room, key, Style::Bold) + 1;
        x += pen.put(x, y, room, what, Style::Dim) + 2;
    }
    pen.put(x, y, room, "q", Style::Bold);
    pen.put(x + 2, y, room, "quit", Style::Dim);
}

/// Before the first picture.
fn waiting(model: &Model, pen: &mut Pen, body: Rect) {
    let y = body.y + body.height / 3;
    match &model.lost {
        Some(why) => {
            pen.put(body.x, y, body.width, &format!("✖ {why}"), Style::Red);
            pen.put(
                body.x,
                y + 1,
                body.width,
                "trying again; q leaves",
                Style::Dim,
            );
        }
        None => {
            let text = format!("waiting for the daemon of {} …", model.home);
            pen.put(body.x, y, body.width, &text, Style::Dim);
        }
    }
}

fn page(model: &mut Model, pen: &mut Pen, body: Rect) {
    let mut y = body.y;
    y += facts::lines(model, pen, rest(body, y));
    y += warning(model, pen, rest(body, y));
    let (left, events) = split_events(model, rest(body, y));
    y += charts::draw(model, pen, left);
    let below = Rect {
        height: left.bottom().saturating_sub(y),
        y,
        ..left
    };
    list::draw(model, pen, below);
    if events.height > 0 {
        newest_events(model, pen, events);
    }
}

fn rest(body: Rect, y: u16) -> Rect {
    Rect {
        y,
        height: body.bottom().saturating_sub(y),
        ..body
    }
}

/// What nobody may overlook: figures that are old, the first alert, what is wrong with measuring.
fn warning(model: &Model, pen: &mut Pen, area: Rect) -> u16 {
    let Some((text, style)) = warning_text(model) else {
        return 0;
    };
    // A short screen is for the figures.
    let most = if area.height >= HEIGHT_FOR_WARNINGS {
        WARNING_LINES
    } else {
        1
    };
    let lines = wrap(&text, area.width.into());
    let mut y = area.y;
    for (at, line) in lines.iter().enumerate().take(most) {
        let cut = at + 1 == most && lines.len() > most;
        let line = if cut {
            fit(&format!("{line} …"), area.width.into())
        } else {
            line.clone()
        };
        pen.put(area.x, y, area.width, &line, style);
        y += 1;
    }
    y - area.y
}

fn warning_text(model: &Model) -> Option<(String, Style)> {
    let now = model.now.as_ref()?;
    if model.is_stale() {
        let seconds = (model.at_ms - model.heard_ms).max(0) / 1_000;
        let why = model.lost.as_deref().unwrap_or("the daemon sends nothing");
        return Some((format!("✖ figures are {seconds} s old: {why}"), Style::Red));
    }
    let about = model.place().page.app();
    let firing = now.alerts.iter().find(|alert| {
        alert.state == monitor_spec::now::AlertState::Firing
            && about.is_none_or(|app| alert.app == app)
    });
    if let Some(alert) = firing {
        let text = if about.is_none() && !alert.app.is_empty() {
            format!("✖ {}: {}", alert.app, alert.text)
        } else {
            format!("✖ {}", alert.text)
        };
        return Some((text, Style::Red));
    }
    let problem = now.problems.first()?;
    let more = match now.problems.len() - 1 {
        0 => String::new(),
        more => format!(" ({more} more: a)"),
    };
    Some((format!("▲{more} {problem}"), Style::Yellow))
}

/// The room of the overview and of the events below it.
fn split_events(model: &Model, area: Rect) -> (Rect, Rect) {
    let wanted = EVENTS_SHOWN + 1;
    let overview = model.place().page == Page::Apps;
    let none = Rect { height: 0, ..area };
    if !overview || area.height + 3 < HEIGHT_OF_EVENTS || model.events.is_empty() {
        return (area, none);
    }
    let above = Rect {
        height: area.height - wanted,
        ..area
    };
    let below = Rect {
        y: above.bottom(),
        height: wanted,
        ..area
    };
    (above, below)
}

fn newest_events(model: &Model, pen: &mut Pen, area: Rect) {
    list::rule(pen, area, &[("events".into(), Style::Bold)]);
    let listing = listing::history::events(&model.events, None, &pen.look.clock);
    let rows = Rect {
        y: area.y + 1,
        height: area.height - 1,
        ..area
    };
    list::bare_rows(pen, rows, &listing);
}

#[cfg(test)]
mod tests;
