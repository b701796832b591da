//! A table that fits the terminal: what does not fit is first left out by column, then cut by
//! cell, never wrapped.

use crate::text::{self, Style};

/// Spaces between columns.
const GAP: usize = 2;
/// Of a row's notes; the first line has a mark in it.
const NOTE_INDENT: usize = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    Left,
    Right,
}

/// One column's title and how it gives way where there is too little room.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    pub title: &'static str,
    pub align: Align,
    /// 0 stays always; of the others the highest is left out first.
    pub priority: u8,
    /// Its cells may be cut down to this; `None`: they are never cut.
    pub min: Option<usize>,
    /// Never narrower, so that numbers that change from second to second move nothing.
    pub floor: usize,
}

impl Column {
    pub const fn left(title: &'static str, priority: u8) -> Self {
        Self {
            title,
            align: Align::Left,
            priority,
            min: None,
            floor: 0,
        }
    }

    pub const fn right(title: &'static str, priority: u8) -> Self {
        Self {
            title,
            align: Align::Right,
            priority,
            min: None,
            floor: 0,
        }
    }

    /// May be cut down to `min`.
    pub const fn cut(mut self, min: usize) -> Self {
        self.min = Some(min);
        self
    }

    /// Never narrower than `floor`.
    pub const fn at_least(mut self, floor: usize) -> Self {
        self.floor = floor;
        self
    }
}

#[derive(Clone, Debug, Default)]
pub struct Cell {
    pub text: String,
    pub style: Style,
}

impl Cell {
    pub fn new(text: impl AsRef<str>) -> Self {
        Self::styled(text, Style::Plain)
    }

    pub fn styled(text: impl AsRef<str>, style: Style) -> Self {
        Self {
            text: text::one_line(text.as_ref()),
            style,
        }
    }
}

/// A row: one cell a column, and lines of its own below it (a problem).
#[derive(Clone, Debug, Default)]
pub struct Row {
    pub cells: Vec<Cell>,
    pub notes: Vec<Cell>,
}

/// The room and the looks.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// `None`: as wide as it gets (the output is not a terminal).
    pub width: Option<usize>,
    pub color: bool,
}

/// The table's lines. A column in which every cell is empty is left out.
pub fn render(columns: &[Column], rows: &[Row], layout: Layout) -> Vec<String> {
    let widths = fit_columns(columns, rows, layout.width, GAP);
    let titles: Vec<Cell> = columns
        .iter()
        .map(|c| Cell::styled(c.title, Style::Dim))
        .collect();
    let mut lines = vec![line(columns, &widths, &titles, layout.color)];
    for row in rows {
        lines.push(line(columns, &widths, &row.cells, layout.color));
        for note in &row.notes {
            lines.extend(note_of(note, layout));
        }
    }
    lines
}

/// A note as it stands below a row, wrapped.
pub fn note_of(note: &Cell, layout: Layout) -> Vec<String> {
    let room = layout
        .width
        .unwrap_or(usize::MAX)
        .saturating_sub(NOTE_INDENT)
        .max(1);
    let parts = text::wrap(&note.text, room);
    let line = |(i, part): (usize, &String)| {
        let mark = if i == 0 { "  ! " } else { "    " };
        note.style.paint(&format!("{mark}{part}"), layout.color)
    };
    parts.iter().enumerate().map(line).collect()
}

/// Each column's width; `None` for one that is left out.
pub fn fit_columns(
    columns: &[Column],
    rows: &[Row],
    width: Option<usize>,
    gap: usize,
) -> Vec<Option<usize>> {
    let cells = |i: usize| {
        rows.iter()
            .filter_map(move |r| r.cells.get(i))
            .map(|c| c.text.as_str())
    };
    let mut widths: Vec<Option<usize>> = columns
        .iter()
        .enumerate()
        .map(|(i, column)| {
            let widest = cells(i).map(text::width).max().unwrap_or(0);
            (widest > 0 || column.priority == 0)
                .then(|| widest.max(text::width(column.title)).max(column.floor))
        })
        .collect();
    let Some(room) = width else { return widths };
    let least = |i: usize, natural: usize| match columns[i].min {
        Some(min) => natural.min(min.max(text::width(columns[i].title))),
        None => natural,
    };
    while total(
        widths
            .iter()
            .enumerate()
            .filter_map(|(i, w)| w.map(|w| least(i, w))),
        gap,
    ) > room
    {
        let shown = (0..columns.len()).filter(|i| widths[*i].is_some() && columns[*i].priority > 0);
        let Some(last) = shown.max_by_key(|i| columns[*i].priority) else {
            break;
        };
        widths[last] = None;
    }
    let mut order: Vec<usize> = (0..columns.len()).collect();
    order.sort_by_key(|i| std::cmp::Reverse(columns[*i].priority));
    for i in order {
        let too_much = total(widths.iter().flatten().copied(), gap).saturating_sub(room);
        if let Some(natural) = widths[i] {
            widths[i] = Some(natural.saturating_sub(too_much).max(least(i, natural)));
        }
    }
    widths
}

fn total(widths: impl Iterator<Item = usize>, gap: usize) -> usize {
    let (sum, count) = widths.fold((0, 0_usize), |(sum, count), w| (sum + w, count + 1));
    sum + gap * count.saturating_sub(1)
}

fn line(columns: &[Column], widths: &[Option<usize>], cells: &[Cell], color: bool) -> String {
    let mut line = String::new();
    let mut spaces = 0;
    for ((column, width), cell) in columns.iter().zip(widths).zip(cells) {
        let Some(width) = *width else { continue };
        let shown = text::fit(&cell.text, width);
        let pad = width - text::width(&shown);
        let (before, after) = match column.align {
            Align::Left => (0, pad),
            Align::Right => (pad, 0),
        };
        if !shown.is_empty() {
            line.extend(std::iter::repeat_n(' ', spaces + before));
            line.push_str(&cell.style.paint(&shown, color));
            spaces = after + GAP;
        } else {
            spaces += pad + GAP;
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 4] = [
        Column::left("NAME", 0).cut(6),
        Column::right("N", 0),
        Column::left("NOTE", 3).cut(4),
        Column::left("EMPTY", 2),
    ];

    fn rows() -> Vec<Row> {
        let row = |name: &str, n: &str, note: &str| Row {
            cells: vec![
                Cell::new(name),
                Cell::new(n),
                Cell::new(note),
                Cell::default(),
            ],
            notes: Vec::new(),
        };
        vec![row("日本語のアプリ", "4", "a note"), row("b", "120", "")]
    }

    fn check(width: Option<usize>, expect: &[&str]) {
        let lines = render(
            &COLUMNS,
            &rows(),
            Layout {
                width,
                color: false,
            },
        );
        assert_eq!(lines, expect, "at {width:?}");
    }

    #[test]
    fn columns_are_cut_then_left_out() {
        check(
            None,
            &[
                "NAME              N  NOTE",
                "日本語のアプリ    4  a note",
                "b               120",
            ],
        );
        check(
            Some(25),
            &[
                "NAME              N  NOTE",
                "日本語のアプリ    4  a n…",
                "b               120",
            ],
        );
        check(
            Some(20),
            &[
                "NAME         N  NOTE",
                "日本語の…    4  a n…",
                "b          120",
            ],
        );
        // Too narrow for anything: what must stay stays, cut as far as it goes.
        check(Some(5), &["NAME      N", "日本…     4", "b       120"]);
    }

    #[test]
    fn notes_wrap_under_their_row() {
        let note = Cell::new("one two three");
        let row = Row {
            cells: vec![Cell::new("a"), Cell::new("1")],
            notes: vec![note],
        };
        let lines = render(
            &COLUMNS,
            &[row],
            Layout {
                width: Some(12),
                color: false,
            },
        );
        assert_eq!(lines, ["NAME  N", "a     1", "  ! one two", "    three"]);
    }
}
