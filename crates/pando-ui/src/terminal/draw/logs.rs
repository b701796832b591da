//! Log lines, the newest at the bottom.

use pando_control::api::{LogLine, LogStream};
use ratatui::layout::Rect;

use super::super::look::{Pen, columns};
use super::super::model::{LogScope, Model};
use super::super::page::Page;
use crate::text::{self, Style};

/// Lines looked at for one that matches the filter.
const LABEL_MAX: usize = 20;

pub fn draw(model: &mut Model, pen: &mut Pen, area: Rect) {
    model.rows = usize::from(area.height);
    let filter = model.place().filter.to_lowercase();
    let matches = |line: &&LogLine| filter.is_empty() || line.text.to_lowercase().contains(&filter);
    let newest = model.logs.lines.iter().rev().filter(matches);
    let shown: Vec<&LogLine> = newest
        .skip(model.logs.back)
        .take(usize::from(area.height))
        .collect();
    if shown.is_empty() {
        pen.put(area.x, area.y, area.width, empty(model), Style::Dim);
        return;
    }
    let scope = scope(&model.place().page);
    let label = |line: &LogLine| label(&scope, line);
    let widest = shown.iter().map(|line| columns(&label(line))).max();
    let width = widest.unwrap_or(0);
    for (line, y) in shown.iter().rev().zip(area.y..) {
        let time = pen.look.clock.second(line.time_ms.div_euclid(1_000));
        let mut x = area.x + pen.put(area.x, y, area.width, &time, Style::Dim) + 1;
        pen.put(x, y, width, &label(line), Style::Plain);
        x += if width > 0 { width + 1 } else { 0 };
        let (bar, style) = match line.stream {
            LogStream::Out => ("│", Style::Dim),
            LogStream::Err => ("!", Style::Red),
        };
        x += pen.put(x, y, 1, bar, style) + 1;
        let room = area.right().saturating_sub(x);
        let kept: String = line.text.chars().skip(model.logs.left).collect();
        pen.put(x, y, room, &kept, Style::Plain);
    }
    let mut notes = Vec::new();
    if model.logs.back > 0 {
        notes.push(format!("{} lines newer: End follows", model.logs.back));
    }
    if model.logs.skipped > 0 {
        notes.push(format!("{} came too fast to show", model.logs.skipped));
    }
    if !notes.is_empty() {
        let text = format!(" {} ", notes.join(", "));
        pen.put_right(area.right(), area.y - 1, &text, Style::Yellow);
    }
}

fn empty(model: &Model) -> &'static str {
    if model.place().filter.is_empty() {
        "nothing was written yet"
    } else {
        "no line has this text; Esc shows all"
    }
}

fn scope(page: &Page) -> LogScope {
    let is_worker = matches!(page, Page::Worker { .. });
    LogScope {
        app: page.app().map(str::to_owned),
        worker: is_worker.then_some(0),
    }
}

/// Who wrote it, as far as the page does not say so itself.
fn label(scope: &LogScope, line: &LogLine) -> String {
    let label = match (&scope.app, scope.worker) {
        (Some(_), Some(_)) => String::new(),
        (Some(_), None) => line.worker.to_string(),
        (None, _) => format!("{}.{}", line.app, line.worker),
    };
    text::fit(&label, LABEL_MAX)
}
