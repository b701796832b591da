//! A file that is read again when it changes.

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;

use crate::tls::{FileSource, Stamp};

/// Between two looks at a file.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// Turns the content into what is wanted, or says why it cannot.
type Parse<T> = fn(&str) -> Result<T, String>;

/// What a file holds. Looked at in the background when it is asked for; what it held last stays
/// while it is gone or broken.
pub(super) struct Watched<T> {
    inner: Arc<Inner<T>>,
    started: Instant,
    looked_ms: AtomicU64,
}

struct Inner<T> {
    path: PathBuf,
    files: Arc<dyn FileSource>,
    parse: Parse<T>,
    value: ArcSwapOption<T>,
    stamp: Mutex<Option<Stamp>>,
    complained: AtomicBool,
}

impl<T> fmt::Debug for Watched<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Watched").field(&self.inner.path).finish()
    }
}

impl<T: Send + Sync + 'static> Watched<T> {
    /// Reads it for the first time, here.
    pub(super) fn new(path: PathBuf, files: Arc<dyn FileSource>, parse: Parse<T>) -> Self {
        let inner = Arc::new(Inner {
            path,
            files,
            parse,
            value: ArcSwapOption::empty(),
            stamp: Mutex::new(None),
            complained: AtomicBool::new(false),
        });
        inner.look();
        Self {
            inner,
            started: Instant::now(),
            looked_ms: AtomicU64::new(0),
        }
    }

    /// `None` while nothing could be read of it yet.
    pub(super) fn current(&self) -> Option<Arc<T>> {
        let now_ms = self.started.elapsed().as_millis() as u64;
        let looked_ms = self.looked_ms.load(Ordering::Relaxed);
        let due = now_ms >= looked_ms + LOOK_AGAIN.as_millis() as u64;
        let first = |()| {
            let swapped = self.looked_ms.compare_exchange(
                looked_ms,
                now_ms,
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
            swapped.is_ok()
        };
        if due && first(()) {
            let inner = Arc::clone(&self.inner);
            drop(tokio::task::spawn_blocking(move || inner.look()));
        }
        self.inner.value.load_full()
    }
}

impl<T> Inner<T> {
    fn look(&self) {
        let read = || -> Result<Option<T>, String> {
            let stamp = self
                .files
                .stamp(&self.path)
                .map_err(|error| error.to_string())?;
            let mut last = self.stamp.lock().unwrap_or_else(PoisonError::into_inner);
            if *last == Some(stamp) {
                return Ok(None);
            }
            let bytes = self
                .files
                .read(&self.path)
                .map_err(|error| error.to_string())?;
            // Also what cannot be used is not looked at again before it changes.
            *last = Some(stamp);
            drop(last);
            let text = String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
            (self.parse)(&text).map(Some)
        };
        match read() {
            Ok(None) => {}
            Ok(Some(value)) => {
                if self.value.swap(Some(Arc::new(value))).is_some() {
                    tracing::info!(path = %self.path.display(), "read again: it changed");
                }
                self.complained.store(false, Ordering::Relaxed);
            }
            Err(error) => {
                if !self.complained.swap(true, Ordering::Relaxed) {
                    let kept = self.value.load().is_some();
                    tracing::error!(path = %self.path.display(), error, kept_former = kept,
                        "cannot use the file for authentication; make it readable and correct, \
                         it is looked at again");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<String, String> {
        if text.is_empty() {
            Err("empty".into())
        } else {
            Ok(text.to_owned())
        }
    }

    #[test]
    fn what_it_held_stays_until_it_holds_something_better() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let watched = Watched::new(path.clone(), Arc::new(crate::tls::DirectFiles), parse);
        let look = || {
            watched.inner.look();
            watched.inner.value.load_full().map(|text| text.to_string())
        };
        assert_eq!(look(), None);
        std::fs::write(&path, "one").unwrap();
        assert_eq!(look().as_deref(), Some("one"));
        std::fs::write(&path, "").unwrap();
        assert_eq!(look().as_deref(), Some("one"));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(look().as_deref(), Some("one"));
        std::fs::write(&path, "three").unwrap();
        assert_eq!(look().as_deref(), Some("three"));
    }
}
