//! A list as rows: built from the picture, sorted, filtered; then drawn on the screen or printed.

pub mod apps;
pub mod edge;
pub mod history;
pub mod traffic;

use std::cmp::Ordering;

use super::chart;
use super::page::Page;
use crate::table::{Cell, Column, Row};
use crate::text::Style;

/// Columns of a trend that has no more room.
pub const TREND_MIN: usize = 8;
/// A column for two seconds of history.
pub const TREND_MAX: usize = 60;

#[derive(Clone, Debug, Default)]
pub struct Listing {
    pub columns: Vec<Column>,
    /// The column of the rows' trends.
    pub trend: Option<usize>,
    /// The least value that fills a trend.
    pub trend_floor: f64,
    pub entries: Vec<Entry>,
    /// What is said where there is no row.
    pub empty: &'static str,
}

/// One row.
#[derive(Clone, Debug, Default)]
pub struct Entry {
    /// Its own among the list's.
    pub key: String,
    pub cells: Vec<Cell>,
    pub sort: Vec<Sort>,
    /// Where Enter leads.
    pub open: Option<Page>,
    pub trend: Vec<Option<f32>>,
    /// Rows that stay below it.
    pub children: Vec<Entry>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Sort {
    Text(String),
    Number(f64),
}

/// By which column, and whether from the largest.
pub type Order = (usize, bool);

impl Entry {
    pub fn new(key: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            ..Self::default()
        }
    }

    pub fn opens(mut self, page: Page) -> Self {
        self.open = Some(page);
        self
    }

    pub fn text(mut self, text: impl AsRef<str>, style: Style) -> Self {
        let cell = Cell::styled(text, style);
        self.sort.push(Sort::Text(cell.text.to_lowercase()));
        self.cells.push(cell);
        self
    }

    /// Sorted by `by`, not by what is shown.
    pub fn ranked(mut self, text: impl AsRef<str>, style: Style, by: f64) -> Self {
        self.sort.push(Sort::Number(by));
        self.cells.push(Cell::styled(text, style));
        self
    }

    /// A dash where nothing is known.
    pub fn number(
        self,
        value: Option<f64>,
        shown: impl Fn(f64) -> String,
        style: impl Fn(f64) -> Style,
    ) -> Self {
        match value {
            Some(value) => self.ranked(shown(value), style(value), value),
            None => self.ranked("-", Style::Dim, f64::NEG_INFINITY),
        }
    }

    pub fn plain(self, value: Option<f64>, shown: impl Fn(f64) -> String) -> Self {
        self.number(value, shown, |_| Style::Plain)
    }

    /// A trend takes the place of this cell.
    pub fn trend(mut self, values: &[Option<f32>]) -> Self {
        self.trend = values.to_vec();
        self.ranked(" ".repeat(TREND_MIN), Style::Plain, 0.0)
    }

    fn matches(&self, needle: &str) -> bool {
        let found = |cell: &Cell| cell.text.to_lowercase().contains(needle);
        self.cells.iter().any(found) || self.children.iter().any(|child| child.matches(needle))
    }
}

impl Listing {
    /// Only rows that have `filter` in some cell; then in that order, or as they came.
    pub fn arrange(mut self, filter: &str, order: Option<Order>) -> Self {
        let needle = filter.to_lowercase();
        if !needle.is_empty() {
            self.entries.retain(|entry| entry.matches(&needle));
        }
        if let Some(order) = order {
            sort(&mut self.entries, order);
            for entry in &mut self.entries {
                sort(&mut entry.children, order);
            }
        }
        self.entries = flat(std::mem::take(&mut self.entries));
        self
    }

    /// The column whose title is nearest to `name`: equal, else beginning with it.
    pub fn column(&self, name: &str) -> Option<usize> {
        let name = name.to_lowercase();
        let titles = || self.columns.iter().map(|c| c.title.to_lowercase());
        titles()
            .position(|title| title == name)
            .or_else(|| titles().position(|title| title.starts_with(&name)))
    }

    /// For [`crate::table`], which knows no trends of its own.
    pub fn rows(&self) -> Vec<Row> {
        let row = |entry: &Entry| Row {
            cells: entry.cells.clone(),
            notes: Vec::new(),
        };
        self.entries.iter().map(row).collect()
    }

    /// As [`Listing::rows`], with trends of the least width.
    pub fn printed(&self, tick: u64) -> Vec<Row> {
        let mut rows = self.rows();
        if let Some(column) = self.trend {
            for (row, entry) in rows.iter_mut().zip(&self.entries) {
                let line = chart::sparkline(&entry.trend, TREND_MIN, tick, self.trend_floor);
                if let Some(cell) = row.cells.get_mut(column) {
                    *cell = Cell::styled(line, Style::Cyan);
                }
            }
        }
        rows
    }
}

fn sort(entries: &mut [Entry], (column, largest_first): Order) {
    entries.sort_by(|a, b| {
        let order = match (a.sort.get(column), b.sort.get(column)) {
            (Some(Sort::Number(a)), Some(Sort::Number(b))) => a.total_cmp(b),
            (Some(Sort::Text(a)), Some(Sort::Text(b))) => a.cmp(b),
            _ => Ordering::Equal,
        };
        if largest_first {
            order.reverse()
        } else {
            order
        }
    });
}

fn flat(entries: Vec<Entry>) -> Vec<Entry> {
    let mut all = Vec::with_capacity(entries.len());
    for mut entry in entries {
        let children = std::mem::take(&mut entry.children);
        all.push(entry);
        all.extend(children);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing() -> Listing {
        let entry = |name: &str, value: Option<f64>| {
            Entry::new(name)
                .text(name, Style::Plain)
                .plain(value, |v| v.to_string())
        };
        let mut parent = entry("web", Some(2.0));
        parent.children = vec![entry("web.0", Some(1.0)), entry("web.1", Some(9.0))];
        Listing {
            columns: vec![Column::left("NAME", 0), Column::right("REQ/S", 0)],
            entries: vec![parent, entry("API", None), entry("b", Some(10.0))],
            ..Listing::default()
        }
    }

    fn check(filter: &str, order: Option<Order>, expect: &[&str]) {
        let listing = listing().arrange(filter, order);
        let keys: Vec<&str> = listing.entries.iter().map(|e| e.key.as_str()).collect();
        assert_eq!(keys, expect, "{filter} {order:?}");
    }

    #[test]
    fn rows_are_sorted_with_what_belongs_to_them() {
        check("", None, &["web", "web.0", "web.1", "API", "b"]);
        check("", Some((0, false)), &["API", "b", "web", "web.0", "web.1"]);
        check("", Some((1, true)), &["b", "web", "web.1", "web.0", "API"]);
        check("api", None, &["API"]);
        check("web.1", None, &["web", "web.0", "web.1"]);
        check("nothing", None, &[]);
    }

    #[test]
    fn columns_are_found_by_name() {
        let names = ["req", "REQ/S", "name", "cpu"].map(|name| listing().column(name));
        assert_eq!(names, [Some(1), Some(1), Some(0), None]);
    }
}
