//! Values over time as text: areas of braille dots (two columns and four rows a cell) and
//! sparklines of one row.

use crate::text::Style;
use crate::units;

/// Dots of a braille cell's left and right column from the bottom up (Unicode, U+2800).
const LEFT: [u32; 4] = [0x40, 0x04, 0x02, 0x01];
const RIGHT: [u32; 4] = [0x80, 0x20, 0x10, 0x08];
const BLANK: u32 = 0x2800;
const ROWS_PER_CELL: usize = 4;
const COLUMNS_PER_CELL: usize = 2;
const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// A value's limits: from `warn` it is yellow, from `bad` red.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    pub warn: Option<f64>,
    pub bad: Option<f64>,
}

impl Limits {
    pub fn style(self, value: f64, otherwise: Style) -> Style {
        let above = |limit: Option<f64>| limit.is_some_and(|limit| value >= limit);
        match (above(self.bad), above(self.warn)) {
            (true, _) => Style::Red,
            (false, true) => Style::Yellow,
            (false, false) => otherwise,
        }
    }
}

/// The newest values as `columns` peaks, oldest first. `tick` is the number of the newest value:
/// which values share a column depends on it alone, so that a picture moves by whole columns.
pub fn peaks(values: &[Option<f64>], columns: usize, tick: u64) -> Vec<Option<f64>> {
    let mut peaks = vec![None; columns];
    if columns == 0 || values.is_empty() {
        return peaks;
    }
    let share = (values.len() / columns).max(1);
    let newest = usize::try_from(tick % (share as u64)).unwrap_or(0) + 1;
    let mut end = values.len();
    let mut take = newest;
    for peak in peaks.iter_mut().rev() {
        if end == 0 {
            break;
        }
        let start = end.saturating_sub(take);
        let known = values[start..end].iter().flatten().copied();
        *peak = known.fold(None, |most: Option<f64>, v| {
            Some(most.map_or(v, |m| m.max(v)))
        });
        end = start;
        take = share;
    }
    peaks
}

/// The largest of the values; at least `floor`, so that noise near nothing stays small.
pub fn scale(values: &[Option<f64>], floor: f64) -> f64 {
    values.iter().flatten().copied().fold(floor, f64::max)
}

/// One row of an area: text and the style of each cell.
pub type AreaRow = Vec<(char, Style)>;

/// Rows from top to bottom, `width` cells each.
pub fn area(
    values: &[Option<f64>],
    tick: u64,
    (width, height): (usize, usize),
    top: f64,
    limits: Limits,
) -> Vec<AreaRow> {
    let columns = peaks(values, width * COLUMNS_PER_CELL, tick);
    let dots = |value: Option<f64>| value.map_or(0, |v| level(v, top, height * ROWS_PER_CELL));
    let cell = |row: usize, pair: &[Option<f64>]| {
        let below = (height - 1 - row) * ROWS_PER_CELL;
        let mut code = BLANK;
        for (column, bits) in [(0, LEFT), (1, RIGHT)] {
            let filled = dots(pair.get(column).copied().flatten()).saturating_sub(below);
            code |= bits.iter().take(filled).fold(0, |all, bit| all | bit);
        }
        let worst = scale(pair, f64::MIN);
        let glyph = char::from_u32(code).unwrap_or(' ');
        (glyph, limits.style(worst, Style::Cyan))
    };
    (0..height)
        .map(|row| {
            columns
                .chunks(COLUMNS_PER_CELL)
                .map(|pair| cell(row, pair))
                .collect()
        })
        .collect()
}

/// `▁▂▅█`, one character a peak; unknown is a space.
pub fn sparkline(values: &[Option<f32>], width: usize, tick: u64, floor: f64) -> String {
    let values: Vec<Option<f64>> = values.iter().map(|v| v.map(f64::from)).collect();
    let peaks = peaks(&values, width, tick);
    let top = scale(&peaks, floor);
    let glyph = |peak: &Option<f64>| match peak {
        Some(value) => BLOCKS[level(*value, top, BLOCKS.len()).clamp(1, BLOCKS.len()) - 1],
        None => ' ',
    };
    peaks.iter().map(glyph).collect()
}

/// A share of a whole, 0 to 1: `███░░░`.
pub fn bar(share: f64, width: usize) -> String {
    // A block for what is hardly anything would lie.
    let is_little = share * units::float(width as u64) < 0.25;
    let filled = if is_little {
        0
    } else {
        level(share, 1.0, width)
    };
    (0..width)
        .map(|at| if at < filled { '█' } else { '░' })
        .collect()
}

/// How many of `steps` a value fills: at least one, as it is known.
fn level(value: f64, top: f64, steps: usize) -> usize {
    let most = u32::try_from(steps).unwrap_or(u32::MAX);
    let share = if top > 0.0 { value / top } else { 0.0 };
    let filled = units::whole((share * f64::from(most)).round());
    usize::try_from(filled)
        .unwrap_or(steps)
        .clamp(1, steps.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(values: &[f64]) -> Vec<Option<f64>> {
        values.iter().copied().map(Some).collect()
    }

    fn text(rows: &[AreaRow]) -> Vec<String> {
        rows.iter()
            .map(|row| row.iter().map(|(c, _)| *c).collect())
            .collect()
    }

    #[test]
    fn areas_are_of_dots() {
        let check = |values: &[Option<f64>], size, expect: &[&str]| {
            let rows = area(values, 0, size, 4.0, Limits::default());
            assert_eq!(text(&rows), expect, "{values:?}");
        };
        check(&known(&[0.0, 1.0, 2.0, 4.0]), (2, 1), &["⣀⣼"]);
        check(&known(&[1.0, 4.0]), (1, 2), &["⢸", "⣼"]);
        check(&[None, Some(4.0)], (1, 1), &["⢸"]);
        check(&known(&[4.0]), (2, 1), &["\u{2800}⢸"]);
        check(&[], (2, 1), &["\u{2800}\u{2800}"]);
        check(&known(&[f64::NAN, f64::INFINITY]), (1, 1), &["⣸"]);
    }

    #[test]
    fn a_picture_moves_by_whole_columns() {
        let all = known(&(0..40).map(f64::from).collect::<Vec<_>>());
        let columns = |end: usize| peaks(&all[end - 20..end], 5, end as u64 - 1);
        for end in 24..36 {
            let (before, after) = (columns(end), columns(end + 1));
            if end % 4 == 0 {
                assert_eq!(before[1..5], after[0..4], "at {end}");
            } else {
                assert_eq!(before[1..4], after[1..4], "at {end}");
            }
        }
    }

    #[test]
    fn what_is_over_its_limit_shows_it() {
        let limits = Limits {
            warn: Some(2.0),
            bad: Some(4.0),
        };
        let rows = area(
            &known(&[1.0, 1.0, 1.0, 3.0, 5.0, 1.0]),
            0,
            (3, 1),
            5.0,
            limits,
        );
        let styles: Vec<Style> = rows[0].iter().map(|(_, style)| *style).collect();
        assert_eq!(styles, [Style::Cyan, Style::Yellow, Style::Red]);
    }

    #[test]
    fn sparklines_and_bars() {
        let values = [None, Some(0.0), Some(4.0), Some(8.0)];
        assert_eq!(sparkline(&values, 4, 0, 1.0), " ▁▄█");
        assert_eq!(sparkline(&values, 6, 0, 1.0), "   ▁▄█");
        assert_eq!(sparkline(&values, 2, 1, 1.0), "▁█");
        assert_eq!(bar(0.5, 4), "██░░");
        assert_eq!(bar(0.0, 4), "░░░░");
        assert_eq!(bar(7.0, 2), "██");
    }
}
