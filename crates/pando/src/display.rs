//! What a person sees: tables, lines, colours, numbers with units. Everything here but
//! [`output`] and [`progress`] is pure. What the dashboard shares is in [`pando_ui`].

pub mod apps;
pub mod log_line;
pub mod output;
pub mod progress;
pub mod workers;

pub use pando_ui::{table, text, time, units};
