//! What fires, on disk, so that a supervisor that begins anew does not tell it twice.

use std::collections::BTreeMap;
use std::path::Path;

use monitor_spec::now::AlertState;
use serde::{Deserialize, Serialize};

use super::{Engine, Entry, MAX_ALERTS};
use crate::write;

/// A larger file is not ours.
const MAX_BYTES: u64 = 4 * 1024 * 1024;
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Saved {
    v: u32,
    alerts: Vec<Row>,
}

#[derive(Serialize, Deserialize)]
struct Row {
    name: String,
    app: String,
    state: AlertState,
    since_ms: i64,
    fired_ms: i64,
    text: String,
    counted_ms: i64,
}

/// The engine as it was saved; an empty one if there is no file or it is none.
pub fn load(path: &Path) -> Engine {
    let saved = write::read(path, MAX_BYTES)
        .and_then(|bytes| serde_json::from_slice::<Saved>(&bytes).map_err(std::io::Error::other));
    let saved = match saved {
        Ok(saved) if saved.v == VERSION => saved,
        Ok(_) => return Engine::default(),
        Err(error) => {
            if error.kind() != std::io::ErrorKind::NotFound {
                tracing::warn!(%error, path = %path.display(), "the alerts that fired are not known");
            }
            return Engine::default();
        }
    };
    let rows = saved.alerts.into_iter().take(MAX_ALERTS).map(|row| {
        let entry = Entry {
            state: row.state,
            since_ms: row.since_ms,
            fired_ms: row.fired_ms,
            text: row.text,
            counted_ms: row.counted_ms.max(0),
            unknown_ms: 0,
        };
        ((row.name, row.app), entry)
    });
    Engine {
        entries: rows.collect::<BTreeMap<_, _>>(),
        ..Engine::default()
    }
}

/// # Errors
/// Of the file system.
pub fn save(engine: &Engine, path: &Path) -> std::io::Result<()> {
    let rows = engine.entries.iter().map(|((name, app), entry)| Row {
        name: name.clone(),
        app: app.clone(),
        state: entry.state,
        since_ms: entry.since_ms,
        fired_ms: entry.fired_ms,
        text: entry.text.clone(),
        counted_ms: entry.counted_ms,
    });
    let saved = Saved {
        v: VERSION,
        alerts: rows.collect(),
    };
    write::replace(path, &serde_json::to_vec(&saved)?)
}
