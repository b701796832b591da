//! Text by the width it takes on a terminal, and its colours.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// How a piece of text looks on a terminal that has colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Style {
    #[default]
    Plain,
    Bold,
    Dim,
    Red,
    Green,
    Yellow,
    Blue,
    Magenta,
    Cyan,
}

impl Style {
    /// The parameter of ECMA-48's "select graphic rendition".
    fn code(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Bold => Some("1"),
            Self::Dim => Some("2"),
            Self::Red => Some("31"),
            Self::Green => Some("32"),
            Self::Yellow => Some("33"),
            Self::Blue => Some("34"),
            Self::Magenta => Some("35"),
            Self::Cyan => Some("36"),
        }
    }

    /// `text` in this style, if there are colours.
    pub fn paint(self, text: &str, color: bool) -> String {
        match self.code() {
            Some(code) if color && !text.is_empty() => format!("\x1b[{code}m{text}\x1b[0m"),
            Some(_) | None => text.to_owned(),
        }
    }
}

/// Columns that `text` takes.
pub fn width(text: &str) -> usize {
    text.width()
}

/// `text` in one line: control characters, which could move the cursor, and those that turn the
/// direction of what follows become spaces.
pub fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| if is_unruly(c) { ' ' } else { c })
        .collect()
}

/// Unicode's line ends and the marks of its bidirectional algorithm (UAX #9), besides controls.
fn is_unruly(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
        )
        || matches!(c, '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// As [`one_line`], and the escape sequences of an app's own colours (ECMA-48) are gone whole.
pub fn without_escapes(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' if chars.next_if_eq(&'[').is_some() => skip_until(&mut chars, |c| {
                matches!(c, '\u{40}'..='\u{7e}') || c.is_control()
            }),
            '\u{1b}' if chars.next_if_eq(&']').is_some() => {
                skip_until(&mut chars, |c| matches!(c, '\u{7}' | '\u{9c}' | '\\'));
            }
            '\u{1b}' => {}
            '\t' => kept.push_str("    "),
            c if is_unruly(c) => kept.push(' '),
            c => kept.push(c),
        }
    }
    kept
}

fn skip_until(chars: &mut impl Iterator<Item = char>, is_end: impl Fn(char) -> bool) {
    let _end = chars.find(|c| is_end(*c));
}

/// `text` in at most `columns`, with an ellipsis where something was cut.
pub fn fit(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let Some(room) = columns.checked_sub(1) else {
        return String::new();
    };
    let mut taken = 0;
    let mut kept = String::new();
    for c in text.chars() {
        taken += c.width().unwrap_or(0);
        if taken > room {
            break;
        }
        kept.push(c);
    }
    kept.push('…');
    kept
}

/// `text` as lines of at most `columns`, broken at spaces where there are any.
pub fn wrap(text: &str, columns: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if width(line) + 1 + width(word) <= columns => {
                line.push(' ');
                line.push_str(word);
            }
            Some(_) | None => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_by_what_it_takes_on_the_screen() {
        for (text, columns, expect) in [
            ("api", 3, "api"),
            ("api-gateway", 5, "api-…"),
            ("日本語", 6, "日本語"),
            ("日本語", 5, "日本…"),
            ("日本語", 4, "日…"),
            ("e\u{301}e\u{301}e\u{301}", 2, "e\u{301}…"),
            ("api", 1, "…"),
            ("api", 0, ""),
            ("", 0, ""),
        ] {
            assert_eq!(fit(text, columns), expect, "{text} in {columns}");
            assert!(width(&fit(text, columns)) <= columns);
        }
    }

    #[test]
    fn escapes_do_not_get_through() {
        assert_eq!(one_line("a\x1b[2J\nb"), "a [2J b");
        assert_eq!(one_line("a\u{202e}b\u{9b}2J"), "a b 2J");
        for (text, expect) in [
            ("\x1b[31mred\x1b[0m\tx", "red    x"),
            ("\x1b]0;title\x07a\x1b", "a"),
            ("\x1b]8;;http://x\x1b\\link", "link"),
            ("a\rb\x1b[", "a b"),
        ] {
            assert_eq!(without_escapes(text), expect);
        }
    }

    #[test]
    fn text_wraps_at_spaces() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("abcdefghij k", 4), ["abcdefghij", "k"]);
        assert!(wrap("", 4).is_empty());
    }

    #[test]
    fn no_colour_means_no_escape() {
        assert_eq!(Style::Red.paint("x", false), "x");
        assert_eq!(Style::Red.paint("x", true), "\x1b[31mx\x1b[0m");
        assert_eq!(Style::Red.paint("", true), "");
    }
}
