//! Keys and commands on one screen.

use ratatui::layout::Rect;

use super::super::command::COMMANDS;
use super::super::keys::HELP;
use super::super::look::Pen;
use crate::text::Style;

const KEY_WIDTH: u16 = 18;
const COLUMN_WIDTH: u16 = 38;

pub fn draw(pen: &mut Pen, body: Rect) {
    let columns = (body.width / COLUMN_WIDTH).max(1);
    let mut lines: Vec<(String, String)> = Vec::new();
    for (subject, keys) in HELP {
        lines.push((subject.to_owned(), String::new()));
        lines.extend(keys.iter().map(|(key, what)| (format!("  {key}"), (*what).to_owned())));
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
        pen.put(x, y, KEY_WIDTH, key, style);
        let room = COLUMN_WIDTH - KEY_WIDTH - 1;
        let room = if column + 1 == columns {
            body.right().saturating_sub(x + KEY_WIDTH + 1)
        } else {
            room
        };
        pen.put(x + KEY_WIDTH + 1, y, room, what, Style::Plain);
    }
}
