//! What a person sees: tables, lines, colours, numbers with units. Everything here but
//! [`output`] and [`progress`] is pure.

pub mod apps;
pub mod log_line;
pub mod output;
pub mod progress;
pub mod table;
pub mod text;
pub mod time;
pub mod units;
pub mod workers;
