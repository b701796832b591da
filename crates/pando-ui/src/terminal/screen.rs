//! The terminal itself: taken on entry and given back on every way out, a panic among them.

use std::io::{self, BufWriter, Stdout, Write};
use std::sync::Once;

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use ratatui::layout::{Position, Rect};

use super::draw::draw;
use super::look::Look;
use super::model::{Key, Model};

/// A frame goes out in one write.
const BUFFER_BYTES: usize = 64 * 1024;

pub struct Screen {
    terminal: Terminal<CrosstermBackend<BufWriter<Stdout>>>,
    is_ours: bool,
}

impl Screen {
    /// # Errors
    /// There is no terminal.
    pub fn new() -> io::Result<Self> {
        restore_on_panic();
        let stdout = BufWriter::with_capacity(BUFFER_BYTES, io::stdout());
        let mut screen = Self {
            terminal: Terminal::new(CrosstermBackend::new(stdout))?,
            is_ours: false,
        };
        screen.enter()?;
        Ok(screen)
    }

    /// Takes the terminal, also again after another program had it.
    ///
    /// # Errors
    /// Its mode cannot be set.
    pub fn enter(&mut self) -> io::Result<()> {
        // Raw mode is remembered by the library: what another program undid must be done anew.
        disable_raw_mode()?;
        enable_raw_mode()?;
        self.is_ours = true;
        execute!(io::stdout(), EnterAlternateScreen)?;
        // `Terminal::clear` would ask the terminal where its cursor is, and some do not answer.
        let size = self.terminal.size()?;
        self.terminal.resize(Rect::from((Position::ORIGIN, size)))
    }

    pub fn leave(&mut self) {
        if std::mem::take(&mut self.is_ours) {
            give_back();
        }
    }

    /// # Errors
    /// The terminal has gone.
    pub fn draw(&mut self, model: &mut Model, look: &Look) -> io::Result<()> {
        self.terminal
            .draw(|frame| draw(model, look, frame.buffer_mut()))?;
        Ok(())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.leave();
    }
}

/// Nothing is left to do about a terminal that does not take it.
fn give_back() {
    let mut stdout = io::stdout();
    let _ = execute!(stdout, LeaveAlternateScreen, Show);
    let _ = stdout.flush();
    let _ = disable_raw_mode();
}

/// What a panic says must be readable, and the shell after it usable.
fn restore_on_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            give_back();
            before(info);
        }));
    });
}

/// A key as the model knows it.
pub fn key(event: KeyEvent) -> Option<Key> {
    if event.kind == KeyEventKind::Release {
        return None;
    }
    if event.modifiers.contains(KeyModifiers::CONTROL)
        && let KeyCode::Char(c) = event.code
    {
        return Some(Key::Ctrl(c.to_ascii_lowercase()));
    }
    const KEYS: [(KeyCode, Key); 13] = [
        (KeyCode::Enter, Key::Enter),
        (KeyCode::Esc, Key::Esc),
        (KeyCode::Tab, Key::Tab),
        (KeyCode::BackTab, Key::BackTab),
        (KeyCode::Backspace, Key::Backspace),
        (KeyCode::Up, Key::Up),
        (KeyCode::Down, Key::Down),
        (KeyCode::Left, Key::Left),
        (KeyCode::Right, Key::Right),
        (KeyCode::PageUp, Key::PageUp),
        (KeyCode::PageDown, Key::PageDown),
        (KeyCode::Home, Key::Home),
        (KeyCode::End, Key::End),
    ];
    if let KeyCode::Char(c) = event.code {
        return Some(Key::Char(c));
    }
    let found = KEYS.iter().find(|(code, _)| *code == event.code);
    found.map(|(_, key)| *key)
}
