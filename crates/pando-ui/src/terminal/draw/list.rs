//! A list: its heading with the page's other lists, its titles, its rows.

use ratatui::layout::Rect;
use ratatui::style::Modifier;

use super::super::chart;
use super::super::listing::{Entry, Listing, TREND_MAX, TREND_MIN};
use super::super::look::{Pen, columns};
use super::super::model::Model;
use super::super::page::List;
use super::{facts, logs};
use crate::table::{self, Align};
use crate::text::{self, Style};

/// Narrower screens have one space between columns.
const WIDTH_OF_TWO_SPACES: u16 = 110;

pub fn draw(model: &mut Model, pen: &mut Pen, area: Rect) {
    if area.height < 2 {
        return;
    }
    heading(model, pen, area);
    let below = Rect {
        y: area.y + 1,
        height: area.height - 1,
        ..area
    };
    match model.place().list() {
        List::Logs => logs::draw(model, pen, below),
        List::Facts => facts::details(model, pen, below),
        List::Apps
        | List::Top
        | List::Workers
        | List::Endpoints
        | List::Outgoing
        | List::Events
        | List::Routes
        | List::Upstreams
        | List::Certificates
        | List::Alerts => table(model, pen, below),
    }
}

/// A dim line with words in it.
pub fn rule(pen: &mut Pen, area: Rect, words: &[(String, Style)]) {
    let taken = pen.pieces(area.x, area.y, area.width, words);
    let left = area.width.saturating_sub(taken + 1);
    let line = "─".repeat(usize::from(left));
    pen.put(area.x + taken + 1, area.y, left, &line, Style::Dim);
}

/// `1 workers  2 endpoints  3 outgoing`; with one list its name. The filter, if there is one.
fn heading(model: &Model, pen: &mut Pen, area: Rect) {
    let place = model.place();
    let lists = place.page.lists();
    let mut words = Vec::new();
    for (at, list) in lists.iter().enumerate() {
        let is_open = at == place.tab;
        if lists.len() > 1 {
            words.push((format!("{} ", at + 1), Style::Dim));
        }
        let style = if is_open { Style::Bold } else { Style::Dim };
        let name = if is_open && lists.len() > 1 {
            format!("[{}]", list.name())
        } else {
            list.name().to_owned()
        };
        words.push((name, style));
        if at + 1 < lists.len() {
            words.push(("  ".into(), Style::Plain));
        }
    }
    if !place.filter.is_empty() {
        words.push((format!("  /{}", place.filter), Style::Yellow));
    }
    rule(pen, area, &words);
}

fn table(model: &mut Model, pen: &mut Pen, area: Rect) {
    let listing = model.listing();
    if listing.entries.is_empty() {
        let text = if model.place().filter.is_empty() {
            listing.empty
        } else {
            "no row has this text; Esc shows all"
        };
        pen.put(area.x, area.y, area.width, text, Style::Dim);
        return;
    }
    let layout = Widths::fit(&listing, area.width);
    let list = model.place().list();
    titles(
        pen,
        area,
        &listing,
        &layout,
        model.sorts.get(&list).copied(),
    );
    let height = usize::from(area.height - 1);
    model.rows = height;
    let count = listing.entries.len();
    let cursor = model.cursor_mut();
    let lowest = cursor.index.saturating_sub(height.saturating_sub(1));
    let last_offset = count.saturating_sub(height);
    cursor.offset = cursor
        .offset
        .clamp(lowest, cursor.index.max(lowest))
        .min(last_offset);
    let (offset, selected) = (cursor.offset, cursor.index);
    let tick = tick(model);
    let shown = listing.entries.iter().enumerate().skip(offset).take(height);
    for ((at, entry), y) in shown.zip(area.y + 1..) {
        let line = Rect {
            y,
            height: 1,
            ..area
        };
        row(pen, line, &listing, entry, &layout, tick);
        if at == selected {
            select(pen, line);
        }
    }
    if count > height {
        let text = format!(
            " {}-{} of {count} ",
            offset + 1,
            (offset + height).min(count)
        );
        pen.put_right(area.right(), area.y - 1, &text, Style::Dim);
    }
}

fn tick(model: &Model) -> u64 {
    let time_ms = model.now.as_ref().map_or(0, |now| now.time_ms);
    u64::try_from(time_ms / 1_000).unwrap_or(0)
}

/// Rows without titles and without a cursor.
pub fn bare_rows(pen: &mut Pen, area: Rect, listing: &Listing) {
    let layout = Widths::fit(listing, area.width);
    for (entry, y) in listing.entries.iter().zip(area.y..area.bottom()) {
        let line = Rect {
            y,
            height: 1,
            ..area
        };
        row(pen, line, listing, entry, &layout, 0);
    }
}

struct Widths {
    of: Vec<Option<usize>>,
    gap: u16,
}

impl Widths {
    /// What is left goes to the trend, which can use it.
    fn fit(listing: &Listing, width: u16) -> Self {
        let gap = if width >= WIDTH_OF_TWO_SPACES { 2 } else { 1 };
        let room = usize::from(width);
        let rows = listing.rows();
        let mut of = table::fit_columns(&listing.columns, &rows, Some(room), usize::from(gap));
        let shown = of.iter().flatten().count();
        let taken = of.iter().flatten().sum::<usize>() + usize::from(gap) * shown.saturating_sub(1);
        if let Some(Some(trend)) = listing.trend.and_then(|at| of.get_mut(at)) {
            *trend = (*trend + room.saturating_sub(taken)).clamp(TREND_MIN, TREND_MAX);
        }
        Self { of, gap }
    }
}

fn titles(
    pen: &mut Pen,
    area: Rect,
    listing: &Listing,
    layout: &Widths,
    order: Option<(usize, bool)>,
) {
    let mut x = area.x;
    for (at, column) in listing.columns.iter().enumerate() {
        let Some(width) = layout.of[at] else { continue };
        let width = u16::try_from(width).unwrap_or(u16::MAX);
        let (title, style) = match order {
            Some((by, largest_first)) if by == at => {
                let sign = if largest_first { '▾' } else { '▴' };
                let room = usize::from(width).saturating_sub(1);
                (
                    format!("{}{sign}", text::fit(column.title, room)),
                    Style::Bold,
                )
            }
            Some(_) | None => (column.title.to_owned(), Style::Dim),
        };
        match column.align {
            Align::Left => pen.put(x, area.y, width, &title, style),
            Align::Right => pen.put_right(x + width, area.y, &title, style),
        };
        x += width + layout.gap;
    }
}

fn row(pen: &mut Pen, line: Rect, listing: &Listing, entry: &Entry, layout: &Widths, tick: u64) {
    let mut x = line.x;
    for (at, (column, cell)) in listing.columns.iter().zip(&entry.cells).enumerate() {
        let Some(width) = layout.of[at] else { continue };
        let shown_width = u16::try_from(width).unwrap_or(u16::MAX);
        if listing.trend == Some(at) {
            let trend = chart::sparkline(&entry.trend, width, tick, listing.trend_floor);
            pen.put(x, line.y, shown_width, &trend, Style::Cyan);
        } else {
            let shown = text::fit(&cell.text, width);
            match column.align {
                Align::Left => pen.put(x, line.y, shown_width, &shown, cell.style),
                Align::Right => {
                    let before = shown_width.saturating_sub(columns(&shown));
                    pen.put(x + before, line.y, shown_width, &shown, cell.style)
                }
            };
        }
        x += shown_width + layout.gap;
    }
}

/// The row under the cursor, in reverse: seen without colours, and on every background.
fn select(pen: &mut Pen, line: Rect) {
    let wide = Rect {
        x: line.x.saturating_sub(1),
        width: line.width + 2,
        ..line
    };
    for x in wide.x..wide.right().min(pen.buf.area.right()) {
        if let Some(cell) = pen.buf.cell_mut((x, line.y)) {
            cell.modifier.remove(Modifier::DIM);
            cell.modifier.insert(Modifier::REVERSED);
        }
    }
}
