//! How the home is watched, kept in `settings.json` beside the store. Headers and webhooks in it
//! are secret, so it is readable by us alone.

use std::io;
use std::path::{Path, PathBuf};

use monitor_spec::settings::MonitorSpec;

use crate::write;

/// A larger file is not ours.
const MAX_BYTES: u64 = 1024 * 1024;
const FILE: &str = "settings.json";

fn path(dir: &Path) -> PathBuf {
    dir.join(FILE)
}

/// What was kept; the defaults if nothing was.
///
/// # Errors
/// A sentence: the file is there and cannot be used.
pub fn load(dir: &Path) -> Result<MonitorSpec, String> {
    let path = path(dir);
    let read = write::read(&path, MAX_BYTES);
    let spec = read.and_then(|bytes| serde_json::from_slice(&bytes).map_err(io::Error::other));
    match spec {
        Ok(spec) => Ok(spec),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(MonitorSpec::default()),
        Err(error) => Err(format!(
            "{} cannot be used, so all is as by default until the next `pando up`: {error}",
            path.display()
        )),
    }
}

/// # Errors
/// Of the file system.
pub fn save(dir: &Path, spec: &MonitorSpec) -> io::Result<()> {
    write::replace(&path(dir), &serde_json::to_vec_pretty(spec)?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use monitor_spec::settings::{Notify, Otlp};

    use super::*;

    #[test]
    fn settings_come_back_and_are_private() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("metrics");
        assert_eq!(load(&dir), Ok(MonitorSpec::default()));
        let spec = MonitorSpec {
            listen: vec!["127.0.0.1:9464".parse().unwrap()],
            otlp: Some(Otlp::default()),
            notify: vec![Notify::Log],
            ..MonitorSpec::default()
        };
        save(&dir, &spec).unwrap();
        save(&dir, &spec).unwrap();
        assert_eq!(load(&dir), Ok(spec));
        let mode = std::fs::metadata(path(&dir)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        std::fs::write(path(&dir), "{").unwrap();
        assert!(load(&dir).unwrap_err().contains("settings.json"));
    }
}
