//! `$PANDO_HOME` and what is in it.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::error::ExpectedError;

/// The apps' state; made and read by the supervisor.
pub const JOURNAL: &str = "state.journal";
/// What root and the supervisor say of themselves.
pub const DAEMON_LOG: &str = "daemon.log";
/// Held while a command starts the daemon.
pub const START_LOCK: &str = "start.lock";
/// There after `pando kill`: the apps are down because somebody wanted it.
pub const KILLED: &str = "killed";

/// The home directory that the call names, or `~/.pando`; absolute, maybe not there yet.
pub fn resolve(asked: Option<&Path>) -> Result<PathBuf, ExpectedError> {
    let home = match asked {
        Some(path) if !path.as_os_str().is_empty() => path.to_owned(),
        Some(_) | None => std::env::home_dir()
            .filter(|h| !h.as_os_str().is_empty())
            .ok_or_else(|| {
                ExpectedError::wrong_call(
                    "there is no home directory",
                    "HOME is not set and the user has none in the user database",
                    "say where Pando may keep its state: --home DIR, or PANDO_HOME",
                )
            })?
            .join(".pando"),
    };
    std::path::absolute(&home).map_err(|e| {
        ExpectedError::wrong_call(
            format!("{} cannot be the home directory", home.display()),
            e.to_string(),
            "give an absolute path with --home",
        )
    })
}

/// Makes the directory (0700) if it is not there.
pub fn prepare(home: &Path) -> Result<(), ExpectedError> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(home)
        .map_err(|e| {
            ExpectedError::failed(
                format!("{} cannot be made", home.display()),
                e.to_string(),
                "choose a directory that you may write to with --home or PANDO_HOME",
            )
        })
}

/// Whether apps are kept that a daemon would bring back.
pub fn has_apps(home: &Path) -> bool {
    home.join(JOURNAL).metadata().is_ok_and(|m| m.len() > 0)
}

/// Whether the last thing that happened to the daemon was `pando kill`.
pub fn was_killed(home: &Path) -> bool {
    home.join(KILLED).exists()
}

/// Remembers or forgets that `pando kill` was called.
///
/// # Errors
/// The file cannot be written or removed.
pub fn set_killed(home: &Path, killed: bool) -> io::Result<()> {
    let path = home.join(KILLED);
    if killed {
        let text = b"pando kill; `pando resurrect` brings the apps back\n";
        let mut options = OpenOptions::new();
        options.create(true).write(true).truncate(true).mode(0o600);
        return options.open(path)?.write_all(text);
    }
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_is_absolute() {
        assert_eq!(
            resolve(Some(Path::new("/srv/p"))).unwrap(),
            Path::new("/srv/p")
        );
        assert!(resolve(Some(Path::new("p"))).unwrap().is_absolute());
        assert!(resolve(Some(Path::new(""))).unwrap().ends_with(".pando"));
    }

    #[test]
    fn kill_is_remembered_until_the_next_start() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!was_killed(dir.path()) && !has_apps(dir.path()));
        set_killed(dir.path(), true).unwrap();
        assert!(was_killed(dir.path()));
        set_killed(dir.path(), false).unwrap();
        set_killed(dir.path(), false).unwrap();
        assert!(!was_killed(dir.path()));
        std::fs::write(dir.path().join(JOURNAL), "").unwrap();
        assert!(!has_apps(dir.path()));
        std::fs::write(dir.path().join(JOURNAL), "x").unwrap();
        assert!(has_apps(dir.path()));
    }
}
