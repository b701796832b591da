//! What is wrong with the disk and since when, for a person: it stays until it is well again, and
//! then what it cost is said as an event. Shared by the metrics' thread and the disk's.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use monitor_spec::state::Event;
use rusqlite::ErrorCode;

use super::lost::Lost;
use crate::store::{self, Store};
use crate::when::local;

/// Events that wait until somebody takes them.
const NEWS_MAX: usize = 32;
/// What failed less long ago may fail again at once: it is not said to be over.
const HOLD_MS: u64 = 20_000;

/// What does not work; each kind is over when it works again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// To write what was measured.
    Keep,
    /// To make room.
    Trim,
    /// To give work to the disk's thread.
    Queue,
}

#[derive(Clone, Debug)]
struct Trouble {
    since_ms: i64,
    last_ms: i64,
    why: String,
}

#[derive(Debug, Default)]
struct State {
    open: BTreeMap<Kind, Trouble>,
    damaged: Vec<(PathBuf, i64)>,
    /// Why a store is damaged, by where it is now; not known of those that a former supervisor
    /// found.
    reasons: BTreeMap<PathBuf, String>,
    lost: Lost,
    news: Vec<Event>,
}

#[derive(Clone, Debug)]
pub(super) struct Troubles {
    dir: Arc<Path>,
    state: Arc<Mutex<State>>,
}

impl Troubles {
    pub fn new(dir: &Path) -> Self {
        let troubles = Self {
            dir: dir.into(),
            state: Arc::default(),
        };
        troubles.look_for_damaged();
        troubles
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn refused(&self, now_ms: i64, kind: Kind, error: &rusqlite::Error) {
        let path = store::path(&self.dir);
        let (path, todo) = (path.display(), todo(error));
        self.set(
            now_ms,
            kind,
            match kind {
                Kind::Keep | Kind::Queue => format!(
                    "what is measured is kept in memory only, for some hours: {path} cannot be \
                     written: {error}. {todo}"
                ),
                Kind::Trim => format!(
                    "old histories are not dropped: {path} cannot be written: {error}. {todo}"
                ),
            },
        );
    }

    /// The same kind twice is one trouble, by the latest reason.
    pub fn set(&self, now_ms: i64, kind: Kind, why: String) {
        let mut state = self.lock();
        if let Some(known) = state.open.get_mut(&kind) {
            known.last_ms = now_ms;
            known.why = why;
            return;
        }
        tracing::warn!("{why}");
        state.tell(now_ms, "store-failing", why.clone());
        let trouble = Trouble {
            since_ms: now_ms,
            last_ms: now_ms,
            why,
        };
        state.open.insert(kind, trouble);
    }

    /// A kind of work was done.
    pub fn well(&self, now_ms: i64, kind: Kind) {
        let mut state = self.lock();
        let is_over = |trouble: &Trouble| now_ms.abs_diff(trouble.last_ms) >= HOLD_MS;
        if !state.open.get(&kind).is_some_and(is_over) {
            return;
        }
        let Some(trouble) = state.open.remove(&kind) else {
            return;
        };
        let since = local(trouble.since_ms);
        let mut text = match kind {
            Kind::Trim => format!("old histories are dropped again, which failed since {since}"),
            Kind::Keep | Kind::Queue => {
                format!("what is measured is written again, which failed since {since}")
            }
        };
        if kind == Kind::Keep || !state.open.contains_key(&Kind::Keep) {
            let lost = std::mem::take(&mut state.lost);
            text.push_str(&format!("; {}", lost.words()));
        }
        tracing::info!("{text}");
        state.tell(now_ms, "store-well", text);
    }

    /// A damaged store was put aside.
    pub fn damaged(&self, now_ms: i64, aside: &Path, error: &rusqlite::Error) {
        let text = format!(
            "the metrics' store was damaged ({error}): it is kept as {}, a new one was begun",
            aside.display()
        );
        tracing::error!("{text}");
        let mut state = self.lock();
        state.reasons.insert(aside.to_owned(), error.to_string());
        state.tell(now_ms, "store-damaged", text);
        drop(state);
        self.look_for_damaged();
    }

    /// Somebody deleted or replaced the store's file.
    pub fn gone(&self, now_ms: i64) {
        let path = store::path(&self.dir);
        let text = format!(
            "{} was deleted or replaced while it was in use: what is there now is used, or a new \
             one begun; of what was measured before, only the last hour is left, in memory",
            path.display()
        );
        tracing::warn!("{text}");
        self.lock().tell(now_ms, "store-gone", text);
    }

    /// Those that lie beside the store: whoever moved or deleted one has seen to it.
    pub fn look_for_damaged(&self) {
        let damaged = Store::damaged(&self.dir);
        self.lock().damaged = damaged;
    }

    pub fn lose(&self, lose: impl FnOnce(&mut Lost)) {
        lose(&mut self.lock().lost);
    }

    pub fn problems(&self) -> Vec<String> {
        let state = self.lock();
        let damaged = state.damaged.iter().map(|(aside, since_ms)| {
            let reason = state.reasons.get(aside);
            let why = reason.map(|why| format!(" ({why})")).unwrap_or_default();
            let aside = aside.display();
            format!(
                "since {}: the metrics' store was damaged{why}, so histories begin there: it is \
                 kept as {aside}, a new one was begun. `sqlite3 {aside} .recover` may save some \
                 of it; move or delete it and this ends",
                local(*since_ms)
            )
        });
        let open = state.open.values().map(|trouble| {
            let lost = if state.lost.is_nothing() {
                String::new()
            } else {
                format!("; so far {}", state.lost.words())
            };
            format!("since {}: {}{lost}", local(trouble.since_ms), trouble.why)
        });
        damaged.chain(open).collect()
    }

    pub fn take_news(&self) -> Vec<Event> {
        std::mem::take(&mut self.lock().news)
    }
}

impl State {
    fn tell(&mut self, time_ms: i64, kind: &str, text: String) {
        if self.news.len() < NEWS_MAX {
            self.news.push(Event {
                time_ms,
                app: String::new(),
                worker: None,
                kind: kind.into(),
                text,
            });
        }
    }
}

fn todo(error: &rusqlite::Error) -> &'static str {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => {
            "Make room on its disk, or let histories take less (`disk` of `[metrics]`)"
        }
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen) => {
            "Let Pando's user write there, on a disk with room"
        }
        _ => "See to its disk: is it full, gone, or does the kernel's log (`dmesg`) name it?",
    }
}
