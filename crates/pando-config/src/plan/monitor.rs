//! What separates the settings of metrics and alerts that hold from those that are wanted.

use monitor_spec::settings::MonitorSpec;

use super::Change;
use crate::monitor::text::{self, Key};

const NONE: &str = "(none)";

/// Setting by setting, as in pando.toml; empty where nothing is to be done. Secrets are masked.
pub fn monitor(old: &MonitorSpec, new: &MonitorSpec) -> Vec<Change> {
    let (from, to) = (text::keys(old), text::keys(new));
    let find = |all: &[Key], name: &str| all.iter().position(|key| key.name == name);
    let mut changed = Vec::new();
    for was in &from {
        let is = find(&to, &was.name).map(|at| &to[at]);
        if is.is_some_and(|is| is.whole == was.whole) {
            continue;
        }
        let shown = match is {
            // Secrets look alike.
            Some(is) if is.shown == was.shown => format!("{} (another)", is.shown),
            Some(is) => is.shown.clone(),
            None => NONE.to_owned(),
        };
        changed.push(Change {
            key: was.name.clone(),
            from: was.shown.clone(),
            to: shown,
        });
    }
    for is in &to {
        if find(&from, &is.name).is_none() {
            changed.push(Change {
                key: is.name.clone(),
                from: NONE.to_owned(),
                to: is.shown.clone(),
            });
        }
    }
    changed
}
