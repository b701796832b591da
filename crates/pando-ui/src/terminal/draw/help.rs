//! Keys and commands on one screen.

use ratatui::layout::Rect;

use super::super::command::COMMANDS;
use super::super::keys::HELP;
use super::super::look::Pen;
use crate::text::Style;

/// Of a key and of a command.
const KEY_WIDTH: u16 = 12;
const COMMAND_WIDTH: u16 = 20;
const COLUMN_WIDTH: u16 = 39;

pub fn draw(pen: &mut Pen, body: Rect) {
    let columns = (body.width / COLUMN_WIDTH).max(1);
    let mut lines: Vec<(String, String)> = Vec::new();
    for (subject, keys) in HELP {
        lines.push((subject.to_owned(), String::new()));
        lines.extend(
            keys.iter()
                .map(|(key, what)| (format!("  {key}"), (*what).to_owned())),
        );
    }
    lines.push(("Commands".into(), String::new()));
    for (name, arguments, what) in COMMANDS {
        lines.push((format!("  :{name} {arguments}"), what.to_owned()));
    }
    let height = usize::from(body.height);
    for (at, (key, what)) in lines.iter().take(height * usize::from(columns)).enumerate() {
        let column = u16::try_from(at / height).unwrap_or(0);
        let x = body.x + column * COLUMN_WIDTH;
        let y = body.y + u16::try_from(at % height).unwrap_or(0);
        let style = if what.is_empty() {
            Style::Dim
        } else {
            Style::Bold
        };
        let width = if key.starts_with("  :") && key.len() > 3 {
            COMMAND_WIDTH
        } else {
            KEY_WIDTH
        };
        pen.put(x, y, width, key, style);
        let room = COLUMN_WIDTH - width - 2;
        pen.put(x + width + 1, y, room, what, Style::Plain);
    }
}
