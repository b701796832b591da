//! Watching files for `watch`: a change that is followed by quiet reloads the app.

use std::collections::BTreeMap;
use std::path::{Component, Path};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use app_spec::{AppSpec, Watch};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::runtime::Handle;

use super::{Hub, Mail, Mailbox};

#[derive(Default)]
pub(super) struct Watches {
    running: BTreeMap<String, (Watch, RecommendedWatcher)>,
}

impl Watches {
    pub fn remove(&mut self, app: &str) {
        self.running.remove(app);
    }
}

impl Hub {
    /// Watches what the spec wants, or nothing.
    pub(super) fn watch(&mut self, spec: &AppSpec, running: bool) {
        let wanted = spec.watch.as_ref().filter(|_| running);
        let Some(wanted) = wanted else {
            return self.watches.remove(&spec.name);
        };
        if self
            .watches
            .running
            .get(&spec.name)
            .is_some_and(|(now, _)| now == wanted)
        {
            return;
        }
        match begin(
            &spec.name,
            wanted,
            self.mailbox.clone(),
            self.control.runtime.clone(),
        ) {
            Ok(watcher) => {
                let entry = (wanted.clone(), watcher);
                self.watches.running.insert(spec.name.clone(), entry);
            }
            Err(error) => tracing::error!(%error, app = %spec.name, "cannot watch its files"),
        }
    }
}

fn begin(
    app: &str,
    watch: &Watch,
    mailbox: Mailbox,
    runtime: Handle,
) -> notify::Result<RecommendedWatcher> {
    let (app, delay) = (app.to_owned(), Duration::from_millis(watch.delay_ms));
    let ignore = watch.ignore.clone();
    let roots = watch.paths.clone();
    let changes = Arc::new(AtomicU64::new(0));
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let Ok(event) = event else { return };
        let counts = matches!(
            event.kind,
            EventKind::Create(_) | EventKind::Modify(_) | EventKind::Remove(_)
        ) && event
            .paths
            .iter()
            .any(|path| is_watched(path, &roots, &ignore));
        if !counts {
            return;
        }
        // The last change of a burst is the one that still has its number after the delay.
        let number = changes.fetch_add(1, Ordering::Relaxed) + 1;
        let (changes, app, mailbox) = (Arc::clone(&changes), app.clone(), mailbox.clone());
        runtime.spawn(async move {
            tokio::time::sleep(delay).await;
            if changes.load(Ordering::Relaxed) == number {
                mailbox.post(Mail::Changed { app });
            }
        });
    })?;
    for path in &watch.paths {
        watcher.watch(path, RecursiveMode::Recursive)?;
    }
    Ok(watcher)
}

/// Dotfiles and node_modules below a watched path never count, nor what the user ignores.
fn is_watched(path: &Path, roots: &[std::path::PathBuf], ignore: &[String]) -> bool {
    let below = roots
        .iter()
        .find_map(|root| path.strip_prefix(root).ok())
        .unwrap_or(path);
    !below.components().any(|component| match component {
        Component::Normal(name) => name.to_str().is_some_and(|name| {
            name.starts_with('.') || name == "node_modules" || ignore.iter().any(|i| i == name)
        }),
        Component::Prefix(_) | Component::RootDir | Component::CurDir | Component::ParentDir => {
            false
        }
    })
}

#[cfg(test)]
mod tests {
    use super::is_watched;

    #[test]
    fn dotfiles_modules_and_ignored_segments_do_not_count() {
        let roots = ["/srv/.app".into()];
        let ignore = ["logs".to_owned()];
        for (path, counts) in [
            ("/srv/.app/server.js", true),
            ("/srv/.app/src/a.js", true),
            ("/srv/.app/.git/index", false),
            ("/srv/.app/node_modules/x/i.js", false),
            ("/srv/.app/logs/out", false),
        ] {
            assert_eq!(is_watched(path.as_ref(), &roots, &ignore), counts, "{path}");
        }
    }
}
