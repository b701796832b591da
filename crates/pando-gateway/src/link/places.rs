//! Directories and logs that the gateway may not open by their paths: its supervisor opens them,
//! and from then on they are reached through the descriptor, as `/proc/self/fd/N`.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use gateway_spec::{Action, GatewaySpec, PathUse};

use super::Handle;

/// Descriptors kept. What was opened stays open, so that a configuration that names it again is
/// the same as before.
const PLACES_MAX: usize = 1024;

#[derive(Debug, Default)]
pub struct Places {
    open: BTreeMap<PathBuf, OwnedFd>,
}

impl Places {
    /// Puts descriptors in the place of paths where that is needed; returns where `state` is. What
    /// cannot be opened stays as it is: its user finds out, and says so.
    pub async fn resolve(
        &mut self,
        handle: &Handle,
        spec: &mut GatewaySpec,
        state: &Path,
    ) -> PathBuf {
        for (path, used) in spec.paths(state) {
            let full = self.open.len() >= PLACES_MAX;
            if full || self.open.contains_key(&path) || !needs_help(&path, used) {
                continue;
            }
            match handle.open(&path).await {
                Ok(fd) => drop(self.open.insert(path, fd)),
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "the supervisor cannot open it");
                }
            }
        }
        let replace = |path: &mut PathBuf| *path = self.place(path);
        spec.access_log.path.iter_mut().for_each(replace);
        if let Some(disk) = &mut spec.cache_store.disk {
            replace(&mut disk.path);
        }
        spec.acme.storage.iter_mut().for_each(replace);
        let routes = spec.sites.iter_mut().flat_map(|site| &mut site.routes);
        for route in routes {
            if let Action::Files(files) = &mut route.action {
                replace(&mut files.root);
            }
        }
        self.place(state)
    }

    fn place(&self, path: &Path) -> PathBuf {
        self.open.get(path).map_or_else(
            || path.to_owned(),
            |fd| format!("/proc/self/fd/{}", fd.as_raw_fd()).into(),
        )
    }
}

/// Whether this process cannot use the path by itself.
fn needs_help(path: &Path, used: PathUse) -> bool {
    match used {
        // These are read through `FileSource`.
        PathUse::Read => false,
        // Made, and given to this user.
        PathUse::OwnDir => true,
        PathUse::ReadDir => is_denied(fs::read_dir(path)),
        PathUse::Append => is_denied(fs::OpenOptions::new().append(true).create(true).open(path)),
    }
}

fn is_denied<T>(tried: std::io::Result<T>) -> bool {
    tried.is_err_and(|error| error.kind() == ErrorKind::PermissionDenied)
}
