//! Pando's dashboards: [`terminal`] for `pando monit` and `pando top`, [`web`] for `pando
//! dashboard`. Both are clients of the control socket and draw [`monitor_spec::now::Now`].

pub mod terminal;
pub mod web;
