//! The preload that workers of Node get by `NODE_OPTIONS=--require`: where its file lies.

use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use node_agent::SOURCE;

/// Writes the preload where a worker can read it and returns its path: below `home`, or for an app
/// that runs as another user, who may not look into `home`, in a directory of the temp dir.
///
/// # Errors
/// The file cannot be written, or somebody else owns the directory.
pub(super) fn install(home: &Path, other_user: bool) -> io::Result<PathBuf> {
    let version = crc32fast::hash(SOURCE.as_bytes());
    let dir = if other_user {
        let uid = rustix::process::geteuid().as_raw();
        std::env::temp_dir().join(format!("pando-agent-{uid}"))
    } else {
        home.join("agent")
    };
    let mode = if other_user { 0o755 } else { 0o700 };
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(&dir)?;
    let meta = std::fs::symlink_metadata(&dir)?;
    if !meta.is_dir() || meta.uid() != rustix::process::geteuid().as_raw() {
        let why = format!("{} belongs to somebody else", dir.display());
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    }
    let path = dir.join(format!("agent-{version:08x}.cjs"));
    if std::fs::read(&path).is_ok_and(|text| text == SOURCE.as_bytes()) {
        return Ok(path);
    }
    let fresh = dir.join(format!("agent-{version:08x}.{}", std::process::id()));
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o644)
        .open(&fresh)?;
    file.write_all(SOURCE.as_bytes())?;
    std::fs::rename(&fresh, &path)?;
    Ok(path)
}

/// `NODE_OPTIONS` with the preload, the user's own options kept and first.
pub(super) fn node_options(own: Option<&str>, preload: &Path) -> String {
    // Node splits NODE_OPTIONS at spaces; double quotes hold a value together.
    let quoted = preload
        .display()
        .to_string()
        .replace('\\', "\\\\")
        .replace('"', "\\\"");
    let ours = format!("--require=\"{quoted}\"");
    match own.map(str::trim).filter(|own| !own.is_empty()) {
        Some(own) => format!("{own} {ours}"),
        None => ours,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_users_own_options_stay() {
        let path = Path::new("/h o/agent.js");
        assert_eq!(node_options(None, path), "--require=\"/h o/agent.js\"");
        assert_eq!(
            node_options(Some("--max-old-space-size=64"), path),
            "--max-old-space-size=64 --require=\"/h o/agent.js\""
        );
    }

    #[test]
    fn it_is_written_once_and_readable() {
        let home = tempfile::tempdir().unwrap();
        let first = install(home.path(), false).unwrap();
        assert_eq!(std::fs::read_to_string(&first).unwrap(), SOURCE);
        assert_eq!(install(home.path(), false).unwrap(), first);
    }
}
