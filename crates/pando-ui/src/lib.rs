//! Pando's dashboards: [`terminal`] for `pando monit` and `pando top`, [`web`] for `pando
//! dashboard`. Both are clients of the control socket and draw [`monitor_spec::now::Now`].
//! [`table`], [`text`], [`time`] and [`units`] are what every command prints with.

pub mod table;
pub mod terminal;
pub mod text;
pub mod time;
pub mod units;
pub mod web;

#[cfg(test)]
mod sample;
