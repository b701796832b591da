//! How things look: colours and attributes of the terminal's own, and the one place where text
//! reaches the screen. Nothing sets a background, so light and dark terminals both stay readable.

use ratatui::buffer::Buffer;
use ratatui::style::{Color, Modifier, Style as Paint};
use unicode_width::UnicodeWidthChar;

use crate::text::{self, Style};
use crate::time::Clock;

/// What the terminal can show, and the time zone of its user.
#[derive(Debug)]
pub struct Look {
    pub color: bool,
    /// Without it everything is ASCII.
    pub unicode: bool,
    pub clock: Clock,
}

/// Whether a locale's name (`LC_ALL`, else `LC_CTYPE`, else `LANG`) means UTF-8.
pub fn is_utf8(variable: impl Fn(&str) -> Option<String>) -> bool {
    let names = ["LC_ALL", "LC_CTYPE", "LANG"];
    let set = |name: &&str| variable(name).filter(|value| !value.is_empty());
    let locale = names.iter().find_map(set).unwrap_or_default();
    let locale = locale.to_ascii_lowercase();
    locale.contains("utf-8") || locale.contains("utf8")
}

impl Look {
    pub fn paint(&self, style: Style) -> Paint {
        let plain = Paint::default();
        let colored = |color| {
            if self.color { plain.fg(color) } else { plain }
        };
        match style {
            Style::Plain => plain,
            Style::Bold => plain.add_modifier(Modifier::BOLD),
            Style::Dim => plain.add_modifier(Modifier::DIM),
            // What is wrong is bold as well: red alone is little on some screens.
            Style::Red => colored(Color::Red).add_modifier(Modifier::BOLD),
            Style::Green => colored(Color::Green),
            Style::Yellow => colored(Color::Yellow),
            Style::Blue => colored(Color::Blue),
            Style::Magenta => colored(Color::Magenta),
            Style::Cyan => colored(Color::Cyan),
        }
    }

    /// `text` as this terminal can show it.
    pub fn readable(&self, text: &str) -> String {
        let text = text::one_line(text);
        if self.unicode {
            return text;
        }
        text.chars()
            .flat_map(|c| std::iter::repeat_n(ascii(c), c.width().unwrap_or(0)))
            .collect()
    }
}

/// The nearest ASCII character.
fn ascii(c: char) -> char {
    match c {
        ' '..='~' => c,
        '●' => '*',
        '◐' => '~',
        '▲' => '!',
        '✖' => 'x',
        '○' => 'o',
        '…' => '~',
        '·' | '─' | '━' => '-',
        '│' => '|',
        '×' => 'x',
        '›' | '▶' => '>',
        '▾' | '↓' => 'v',
        '▴' | '↑' => '^',
        '▁' => '.',
        '▂' => ':',
        '▃' => '-',
        '▄' => '=',
        '▅' => '+',
        '▆' => '*',
        '▇' => '%',
        '█' => '#',
        '░' => '.',
        '\u{2800}' => ' ',
        '\u{2801}'..='\u{28ff}' => match (u32::from(c) & 0xff).count_ones() {
            1..=2 => '.',
            3..=5 => ':',
            _ => '#',
        },
        _ => '?',
    }
}

/// A rectangle's text, put piece by piece.
pub struct Pen<'a> {
    pub buf: &'a mut Buffer,
    pub look: &'a Look,
}

impl Pen<'_> {
    /// Puts `text` at the place, cut to `room` columns. Returns the columns it took.
    pub fn put(&mut self, x: u16, y: u16, room: u16, text: &str, style: Style) -> u16 {
        let paint = self.look.paint(style);
        self.put_painted(x, y, room, text, paint)
    }

    pub fn put_painted(&mut self, x: u16, y: u16, room: u16, text: &str, paint: Paint) -> u16 {
        let area = self.buf.area;
        if y >= area.bottom() || x >= area.right() {
            return 0;
        }
        let room = room.min(area.right() - x);
        let fitted = text::fit(&text::one_line(text), usize::from(room));
        let shown = self.look.readable(&fitted);
        let (end, _) = self.buf.set_stringn(x, y, &shown, usize::from(room), paint);
        end - x
    }

    /// Puts pieces one after the other.
    pub fn pieces(&mut self, x: u16, y: u16, room: u16, pieces: &[(String, Style)]) -> u16 {
        let mut taken = 0;
        for (piece, style) in pieces {
            taken += self.put(x + taken, y, room.saturating_sub(taken), piece, *style);
        }
        taken
    }

    /// As [`Pen::pieces`], but one that does not fit is left out with all behind it, and so is a
    /// label (dim, with a space at its end) without its value. The first piece may be cut.
    pub fn whole_pieces(&mut self, x: u16, y: u16, room: u16, pieces: &[(String, Style)]) {
        let mut fits = pieces.len().min(1);
        let mut taken = pieces.first().map_or(0, |(text, _)| columns(text));
        while let Some((text, style)) = pieces.get(fits) {
            let is_label = *style == Style::Dim && text.ends_with(' ');
            let value = pieces.get(fits + 1).filter(|_| is_label);
            let with_value = value.map_or(0, |(value, _)| columns(value));
            if taken + columns(text) + with_value > room {
                break;
            }
            taken += columns(text);
            fits += 1;
        }
        self.pieces(x, y, room, &pieces[..fits]);
    }

    /// Puts `text` so that it ends before `right`.
    pub fn put_right(&mut self, right: u16, y: u16, text: &str, style: Style) -> u16 {
        let width = columns(text);
        self.put(right.saturating_sub(width), y, width, text, style)
    }
}

/// Columns that `text` takes, as the screen counts them.
pub fn columns(text: &str) -> u16 {
    u16::try_from(text::width(text)).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_locale_says_what_can_be_shown() {
        let check = |set: &[(&str, &str)], expect: bool| {
            let get = |name: &str| {
                let found = set.iter().find(|(n, _)| *n == name);
                found.map(|(_, value)| (*value).to_owned())
            };
            assert_eq!(is_utf8(get), expect, "{set:?}");
        };
        check(&[("LANG", "en_US.UTF-8")], true);
        check(&[("LANG", "C.utf8")], true);
        check(&[("LANG", "en_US.UTF-8"), ("LC_ALL", "C")], false);
        check(&[("LANG", "en_US.UTF-8"), ("LC_ALL", "")], true);
        check(&[("LANG", "de_DE.ISO-8859-1")], false);
        check(&[], false);
    }

    #[test]
    fn ascii_keeps_the_width() {
        let look = Look {
            color: false,
            unicode: false,
            clock: Clock::new(jiff::tz::TimeZone::UTC, jiff::civil::date(2026, 11, 25)),
        };
        assert_eq!(look.readable("● api … ▁▄█ 日\x1b[2J"), "* api ~ .=# ?? [2J");
    }
}
